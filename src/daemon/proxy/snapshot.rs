//! One configuration as the workers see it: read-only, but for what checks and DNS publish about each server.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::limits::FENCE_INTERVALS;
use super::server::Server;
use crate::balance::Policy;
use crate::config::{Config, Upstream};
use crate::gateway::Gateway;
use crate::link::{UpstreamReport, UpstreamServerReport};

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
}

impl Snapshot {
    /// `server` finds the shared state of a server of an upstream, which outlives configurations.
    pub(super) fn try_new(
        config: Config,
        mut server: impl FnMut(&Upstream, usize) -> Arc<Server>,
    ) -> Result<Self, String> {
        let gateway = Gateway::try_new(&config)?;
        let shortest = config.vrrp.iter().map(|v| v.advert_interval).min();
        let virtual_addresses = config.vrrp.iter().flat_map(|v| v.addresses()).map(IpAddr::V4).collect();
        let upstreams = config.upstreams.into_iter().map(|config| {
            let servers = (0..config.servers.len()).map(|n| server(&config, n)).collect();
            Group { policy: Policy::of(&config), config, servers }
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
        let server = |s: &Arc<Server>| UpstreamServerReport {
            address: format!("{}:{}", s.host, s.port),
            up: s.is_usable(),
            reason: s.reason(),
        };
        let group = |g: &Group| UpstreamReport {
            name: g.config.name.clone(),
            servers: g.servers.iter().map(server).collect(),
        };
        self.upstreams.iter().map(group).collect()
    }
}
