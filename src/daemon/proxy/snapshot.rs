//! One configuration as the workers see it: read-only, but for what checks and DNS publish about each server.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::limits::FENCE_INTERVALS;
use crate::balance::{Algorithm, Peer, PeerSettings, Policy};
use crate::config::{Config, Host, Upstream};
use crate::gateway::Gateway;
use crate::link::{Generation, UpstreamReport, UpstreamServerReport};

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
    pub(super) algorithm: Algorithm,
    /// Tells this configuration's group from that of another.
    generation: u64,
    pub(super) servers: Vec<Arc<Server>>,
}

/// What the main thread publishes about one server of an upstream.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) host: Host,
    pub(super) port: u16,
    up: AtomicBool,
    /// Why it is up or down.
    reason: Mutex<String>,
    /// Empty until a name has been resolved.
    addresses: ArcSwap<Vec<SocketAddr>>,
    /// How often they have changed.
    changes: AtomicU64,
    /// Somebody failed to connect: the name may stand for something else by now.
    pub(super) resolve: Notify,
    /// There are addresses.
    resolved: Notify,
}

impl Snapshot {
    /// `server` finds the shared state of a server of an upstream, which outlives configurations.
    pub(super) fn try_new(
        config: Config,
        generation: Generation,
        mut server: impl FnMut(&Upstream, usize) -> Arc<Server>,
    ) -> Result<Self, String> {
        let gateway = Gateway::try_new(&config)?;
        let shortest = config.vrrp.iter().map(|v| v.advert_interval).min();
        let virtual_addresses = config.vrrp.iter().flat_map(|v| v.addresses()).map(IpAddr::V4).collect();
        let upstreams = config.upstreams.into_iter().map(|config| {
            let servers = (0..config.servers.len()).map(|n| server(&config, n)).collect();
            Group {
                policy: Policy::of(&config),
                algorithm: Algorithm::of(config.balance),
                config,
                generation: generation.0,
                servers,
            }
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

impl Group {
    /// Changes whenever `peers` may have changed.
    pub(super) fn changes(&self) -> u64 {
        (self.generation << 32) | self.servers.iter().map(|s| s.changes()).sum::<u64>()
    }

    /// Each address of each server.
    pub(super) fn peers(&self) -> impl Iterator<Item = Peer> + '_ {
        self.servers.iter().zip(&self.config.servers).enumerate().flat_map(|(place, (server, config))| {
            let settings = PeerSettings::of(config);
            let addresses = server.addresses();
            let peers = addresses.iter().map(|address| Peer { server: place, address: *address, settings });
            peers.collect::<Vec<_>>()
        })
    }

    pub(super) fn is_usable(&self, server: usize, _address: SocketAddr) -> bool {
        self.servers.get(server).is_some_and(|s| s.is_usable())
    }
}

impl Server {
    pub(super) fn new(host: Host, port: u16) -> Self {
        let (addresses, reason) = match &host {
            Host::Address(address) => (vec![SocketAddr::new(*address, port)], "not checked"),
            Host::Name(_) => (vec![], "name not resolved yet"),
        };
        Self {
            host,
            port,
            up: AtomicBool::new(true),
            reason: Mutex::new(reason.into()),
            addresses: ArcSwap::from_pointee(addresses),
            changes: AtomicU64::new(0),
            resolve: Notify::new(),
            resolved: Notify::new(),
        }
    }

    /// In rotation: up, and it is known where it is.
    pub(super) fn is_usable(&self) -> bool {
        self.up.load(Ordering::Relaxed) && !self.addresses.load().is_empty()
    }

    /// One of its addresses; `turn` says which.
    pub(super) fn address(&self, turn: usize) -> Option<SocketAddr> {
        let addresses = self.addresses.load();
        addresses.get(turn.checked_rem(addresses.len())?).copied()
    }

    /// One of its addresses, as soon as there is one. For one caller at a time.
    pub(super) async fn known_address(&self, turn: usize) -> SocketAddr {
        loop {
            match self.address(turn) {
                Some(address) => return address,
                None => self.resolved.notified().await,
            }
        }
    }

    pub(super) fn addresses(&self) -> Arc<Vec<SocketAddr>> {
        self.addresses.load_full()
    }

    pub(super) fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        self.addresses.store(Arc::new(addresses));
        self.changes.fetch_add(1, Ordering::Release);
        self.resolved.notify_one();
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(super) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }

    pub(super) fn set_reason(&self, reason: String) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    fn reason(&self) -> String {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Called by whoever could not connect; costs nothing for an address.
    pub(super) fn could_not_connect(&self) {
        match self.host {
            Host::Name(_) => self.resolve.notify_one(),
            Host::Address(_) => (),
        }
    }
}
