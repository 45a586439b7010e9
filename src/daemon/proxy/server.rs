//! What the main thread publishes about one server of an upstream, for all workers and across configurations.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::config::Host;

#[derive(Debug)]
pub(super) struct Server {
    pub(super) host: Host,
    pub(super) port: u16,
    up: AtomicBool,
    /// Why it is up or down.
    reason: Mutex<String>,
    /// Empty until a name has been resolved.
    addresses: ArcSwap<Vec<SocketAddr>>,
    /// Somebody failed to connect: the name may stand for something else by now.
    pub(super) resolve: Notify,
    /// There are addresses.
    resolved: Notify,
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
        self.resolved.notify_one();
    }

    pub(super) fn set_up(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }

    pub(super) fn set_reason(&self, reason: String) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    pub(super) fn reason(&self) -> String {
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
