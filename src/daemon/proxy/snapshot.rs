//! One configuration as the workers see it: read-only, but for what checks and DNS publish about each server.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::directory::Directory;
use super::limits::FENCE_INTERVALS;
use super::server::{Changes, Server};
use crate::balance::{Algorithm, Peer, PeerSettings, Policy};
use crate::config::{AccessLog, Action, Config, Tracked, Upstream};
use crate::gateway::{ErrorPages, Gateway, Template};
use crate::link::{Generation, UpstreamReport};

#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) node: String,
    pub(super) gateway: Gateway,
    pub(super) upstreams: Vec<Group>,
    pub(super) access_log: AccessLog,
    /// Something that is written names the client's way in: its address has to be asked for.
    pub(super) names_local: bool,
    /// Something that is written may name the times of tries.
    pub(super) names_times: bool,
    /// The access log has fields of upstreams' responses: their heads are kept until then.
    pub(super) logs_response: bool,
    /// A worker that did not run for longer has to ask before it goes on; `None`: nothing can be taken over.
    pub(super) fence: Option<Duration>,
    /// Addresses that another node may hold by now.
    pub(super) virtual_addresses: Vec<IpAddr>,
    /// Upstreams on which the standing of a virtual router depends.
    tracked: HashSet<String>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            node: String::new(),
            gateway: Gateway::default(),
            upstreams: vec![],
            access_log: AccessLog::Off,
            names_local: false,
            names_times: false,
            logs_response: false,
            fence: None,
            virtual_addresses: vec![],
            tracked: HashSet::new(),
        }
    }
}

/// An upstream and what is known about its servers, in the configuration's order.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) config: Upstream,
    pub(super) policy: Policy,
    pub(super) algorithm: Algorithm,
    /// Tells this configuration's group from that of another.
    generation: u64,
    pub(super) servers: Vec<Arc<Server>>,
    /// Whether they still have the addresses that a worker has seen.
    changes: Arc<Changes>,
}

impl Snapshot {
    /// `directory` finds what is shared of an upstream, and of a server of it, which outlives configurations; `pages`
    /// are those of each server.
    pub(super) fn try_new(
        config: Config,
        generation: Generation,
        pages: Vec<ErrorPages>,
        directory: &mut Directory,
    ) -> Result<Self, String> {
        let gateway = Gateway::try_new(&config, pages)?;
        let shortest = config.vrrp.iter().map(|v| v.advert_interval).min();
        let virtual_addresses = config.vrrp.iter().flat_map(|v| v.addresses()).collect();
        let names = |names: &[&str]| {
            templates(&config).iter().any(|t| names.iter().any(|name| t.text().contains(name)))
        };
        let tracks = config.vrrp.iter().flat_map(|instance| &instance.track);
        let tracked = tracks.filter_map(|track| match &track.what {
            Tracked::Upstream(name) => Some(name.clone()),
            Tracked::Interface(_) | Tracked::File { .. } | Tracked::Check(_) => None,
        });
        let tracked = tracked.collect();
        let names_local = names(&["server_addr", "server_port"]);
        let names_times = !matches!(config.access_log, AccessLog::Off)
            || names(&["upstream_connect_time", "upstream_header_time"]);
        let logs_response =
            matches!(&config.access_log, AccessLog::Text(t) if t.text().contains("upstream_http_"));
        let upstreams = config.upstreams.into_iter().map(|config| {
            let servers = (0..config.servers.len()).map(|n| directory.server(&config, n)).collect();
            Group {
                policy: Policy::of(&config),
                algorithm: Algorithm::of(config.balance),
                generation: generation.0,
                servers,
                changes: directory.changes(&config),
                config,
            }
        });
        Ok(Self {
            node: config.node,
            gateway,
            upstreams: upstreams.collect(),
            access_log: config.access_log,
            names_local,
            names_times,
            logs_response,
            fence: shortest.map(|interval| interval.duration() * FENCE_INTERVALS),
            virtual_addresses,
            tracked,
        })
    }

    /// Of the upstreams that virtual routers track, those of which no server is up; `None`: none is tracked.
    pub(super) fn tracked_down(&self) -> Option<Vec<String>> {
        let tracked = |g: &&Group| self.tracked.contains(&g.config.name);
        let down = |g: &&Group| !g.servers.iter().any(|server| server.has_one_up());
        let down =
            self.upstreams.iter().filter(tracked).filter(down).map(|g| g.config.name.clone()).collect();
        Some(down).filter(|_| !self.tracked.is_empty())
    }

    pub(super) fn report(&self) -> Vec<UpstreamReport> {
        let group = |g: &Group| UpstreamReport {
            name: g.config.name.clone(),
            servers: g.servers.iter().flat_map(|s| s.report()).collect(),
        };
        self.upstreams.iter().map(group).collect()
    }
}

/// Every text with variables.
fn templates(config: &Config) -> Vec<&Template> {
    let mut found = vec![];
    if let AccessLog::Text(template) = &config.access_log {
        found.push(template);
    }
    for site in &config.servers {
        found.extend(site.add_headers.iter().map(|(_, template)| template));
        for route in &site.routes {
            found.extend(route.add_headers.iter().map(|(_, template)| template));
            match &route.action {
                Action::Proxy(to) => found.extend(to.set_headers.iter().map(|(_, template)| template)),
                Action::Files { .. } | Action::Respond { .. } => (),
            }
        }
    }
    found
}

impl Group {
    /// Changes whenever `peers` may have changed.
    pub(super) fn changes(&self) -> u64 {
        (self.generation << 32) | self.changes.so_far()
    }

    /// Each address of each server.
    pub(super) fn peers(&self) -> impl Iterator<Item = Peer> + '_ {
        self.servers.iter().zip(&self.config.servers).enumerate().flat_map(|(place, (server, config))| {
            let settings = PeerSettings::of(config);
            let peer = |address| Peer { server: place, address, settings };
            server.endpoints().iter().map(|e| peer(e.address)).collect::<Vec<_>>()
        })
    }

    pub(super) fn is_usable(&self, server: usize, address: SocketAddr) -> bool {
        self.servers.get(server).is_some_and(|s| s.is_up(address))
    }
}
