//! One configuration as the workers see it: read-only, but for what checks and DNS publish about each server.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::directory::Directory;
use super::limits::FENCE_INTERVALS;
use super::server::{Changes, Server};
use crate::balance::Policy;
use crate::config::{Config, Upstream};
use crate::gateway::Gateway;
use crate::link::UpstreamReport;

#[derive(Debug, Default)]
pub(super) struct Snapshot {
    pub(super) node: String,
    pub(super) gateway: Gateway,
    pub(super) upstreams: Vec<Group>,
    /// A worker that did not run for longer has to ask before it goes on; `None`: nothing can be taken over.
    pub(super) fence: Option<Duration>,
    /// Addresses that another node may hold by now.
    pub(super) virtual_addresses: Vec<IpAddr>,
}

/// An upstream and what is known about its servers, in the configuration's order.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) config: Upstream,
    pub(super) policy: Policy,
    pub(super) servers: Vec<Arc<Server>>,
    /// Whether they still have the addresses that a worker has seen.
    pub(super) changes: Arc<Changes>,
}

impl Snapshot {
    /// `directory` finds what is shared of an upstream, and of a server of it, which outlives configurations.
    pub(super) fn try_new(config: Config, directory: &mut Directory) -> Result<Self, String> {
        let gateway = Gateway::try_new(&config)?;
        let shortest = config.vrrp.iter().map(|v| v.advert_interval).min();
        let virtual_addresses = config.vrrp.iter().flat_map(|v| v.addresses()).map(IpAddr::V4).collect();
        let upstreams = config.upstreams.into_iter().map(|config| {
            let servers = (0..config.servers.len()).map(|n| directory.server(&config, n)).collect();
            let changes = directory.changes(&config);
            Group { policy: Policy::of(&config), config, servers, changes }
        });
        Ok(Self {
            node: config.node,
            gateway,
            upstreams: upstreams.collect(),
            fence: shortest.map(|interval| interval.duration() * FENCE_INTERVALS),
            virtual_addresses,
        })
    }

    pub(super) fn report(&self) -> Vec<UpstreamReport> {
        let group = |g: &Group| UpstreamReport {
            name: g.config.name.clone(),
            servers: g.servers.iter().flat_map(|s| s.report()).collect(),
        };
        self.upstreams.iter().map(group).collect()
    }
}
