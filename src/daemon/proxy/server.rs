//! What the main thread publishes about one server of an upstream, for all workers and across configurations: the
//! addresses it has, and what is known about each.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;

use crate::config::Host;
use crate::link::UpstreamServerReport;

#[derive(Debug)]
pub(super) struct Server {
    pub(super) host: Host,
    pub(super) port: u16,
    /// In order; empty until a name has been resolved.
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    changes: Arc<Changes>,
    /// Why its name cannot be resolved; empty: it can.
    problem: Mutex<String>,
    /// Somebody failed to connect: the name may stand for something else by now.
    pub(super) resolve: Notify,
}

/// One address of a server. The same one for as long as the name stands for it.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    up: AtomicBool,
    /// Why it is up or down.
    reason: Mutex<String>,
}

/// Counts the changes of the addresses of an upstream's servers, so that a worker that looks before each pick finds
/// out for the price of one load. Whether an address is up is no such change.
#[derive(Debug, Default)]
pub(super) struct Changes(AtomicU64);

impl Changes {
    /// Whoever sees this number sees at least the addresses that it counts.
    pub(super) fn so_far(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn count(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl Server {
    /// `changes`: of its upstream.
    pub(super) fn new(host: Host, port: u16, changes: Arc<Changes>) -> Self {
        let (endpoints, problem) = match &host {
            Host::Address(ip) => (vec![Arc::new(Endpoint::new(SocketAddr::new(*ip, port)))], ""),
            Host::Name(_) => (vec![], "name not resolved yet"),
        };
        Self {
            host,
            port,
            endpoints: ArcSwap::from_pointee(endpoints),
            changes,
            problem: Mutex::new(problem.into()),
            resolve: Notify::new(),
        }
    }

    /// Neither locks nor allocates; not to be kept across an await.
    pub(super) fn endpoints(&self) -> Guard<Arc<Vec<Arc<Endpoint>>>> {
        self.endpoints.load()
    }

    /// As the configuration names it.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// It has this address, and the address is up.
    pub(super) fn is_up(&self, address: SocketAddr) -> bool {
        find(&self.endpoints.load(), address).is_some_and(|e| e.is_up())
    }

    /// `false`: connections to it lead to somebody else by now, or to nobody.
    pub(super) fn has(&self, address: SocketAddr) -> bool {
        find(&self.endpoints.load(), address).is_some()
    }

    /// `addresses`: sorted. What is known about those that stay is kept.
    pub(super) fn set_addresses(&self, addresses: &[SocketAddr]) {
        let old = self.endpoints.load();
        if old.iter().map(|e| &e.address).eq(addresses) {
            return;
        }
        let endpoint = |address: &SocketAddr| match find(&old, *address) {
            Some(known) => Arc::clone(known),
            None => Arc::new(Endpoint::new(*address)),
        };
        self.endpoints.store(Arc::new(addresses.iter().map(endpoint).collect()));
        self.changes.count();
    }

    pub(super) fn set_problem(&self, problem: &str) {
        problem.clone_into(&mut self.problem.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Called by whoever could not connect; costs nothing for an address.
    pub(super) fn could_not_connect(&self) {
        match self.host {
            Host::Name(_) => self.resolve.notify_one(),
            Host::Address(_) => (),
        }
    }

    /// A line per address; one without if there is none.
    /// One of its addresses is.
    pub(super) fn has_one_up(&self) -> bool {
        self.endpoints.load().iter().any(|endpoint| endpoint.is_up())
    }

    pub(super) fn report(&self) -> Vec<UpstreamServerReport> {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let name = format!("{}:{}", self.host, self.port);
        let endpoints = self.endpoints.load();
        if endpoints.is_empty() {
            return vec![UpstreamServerReport { address: name, up: false, reason: problem }];
        }
        let line = |endpoint: &Arc<Endpoint>| UpstreamServerReport {
            address: match &self.host {
                Host::Address(_) => endpoint.address.to_string(),
                Host::Name(_) => format!("{name} ({})", endpoint.address.ip()),
            },
            up: endpoint.is_up(),
            reason: match problem.as_str() {
                "" => endpoint.reason(),
                problem => format!("{}; {problem}", endpoint.reason()),
            },
        };
        endpoints.iter().map(line).collect()
    }
}

/// Endpoints are sorted.
fn find(endpoints: &[Arc<Endpoint>], address: SocketAddr) -> Option<&Arc<Endpoint>> {
    endpoints.get(endpoints.binary_search_by(|e| e.address.cmp(&address)).ok()?)
}

impl Endpoint {
    /// In rotation before it has been checked, as HAProxy's servers are; the first check decides.
    fn new(address: SocketAddr) -> Self {
        Self { address, up: AtomicBool::new(true), reason: Mutex::new("not checked".into()) }
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    pub(super) fn set_checked(&self, up: bool, reason: String) {
        self.up.store(up, Ordering::Relaxed);
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    fn reason(&self) -> String {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(last: &[u8]) -> Vec<SocketAddr> {
        last.iter().map(|n| ([192, 0, 2, *n], 80).into()).collect()
    }

    fn shown(server: &Server) -> Vec<String> {
        let line = |r: UpstreamServerReport| format!("{} {} {}", r.address, u8::from(r.up), r.reason);
        server.report().into_iter().map(line).collect()
    }

    #[test]
    fn addresses_that_stay_keep_what_is_known_about_them() {
        let changes = Arc::new(Changes::default());
        let server = Server::new(Host::Name("app".into()), 80, Arc::clone(&changes));
        assert_eq!(shown(&server), ["app:80 0 name not resolved yet"]);
        server.set_problem("");
        server.set_addresses(&addresses(&[1, 2]));
        server.endpoints()[1].set_checked(false, "refused".into());
        assert_eq!(shown(&server), ["app:80 (192.0.2.1) 1 not checked", "app:80 (192.0.2.2) 0 refused"]);
        server.set_addresses(&addresses(&[1, 2]));
        assert_eq!(changes.so_far(), 1, "the same set is no change");
        server.set_problem("no answer");
        server.set_addresses(&addresses(&[2, 3]));
        assert_eq!(
            shown(&server),
            ["app:80 (192.0.2.2) 0 refused; no answer", "app:80 (192.0.2.3) 1 not checked; no answer"]
        );
        assert_eq!(changes.so_far(), 2);
    }

    #[test]
    fn an_address_is_up_until_a_check_says_otherwise() {
        let server = Server::new(Host::Name("app".into()), 80, Arc::default());
        let all = addresses(&[1, 2, 3]);
        assert!(!server.has(all[0]) && !server.is_up(all[0]), "a name without addresses");
        server.set_addresses(&all);
        server.endpoints()[1].set_checked(false, String::new());
        assert!(server.has(all[1]) && !server.is_up(all[1]) && server.is_up(all[2]));
        assert!(!server.has(addresses(&[4])[0]));
        let fixed = Server::new(Host::Address([192, 0, 2, 1].into()), 80, Arc::default());
        assert_eq!(shown(&fixed), ["192.0.2.1:80 1 not checked"]);
    }
}
