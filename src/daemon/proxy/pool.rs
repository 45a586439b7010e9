//! One worker's side of an upstream: whose turn it is, and the connections that wait to be used again.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counters::{ServerTally, Vitals};
use super::limits::{LARGE_FROM, PIPED_FROM, UPSTREAM_AGE_MAX};
use super::snapshot::Group;
use super::wire::Wire;
use crate::balance::{Algorithm, Balancer, Outcome, Peer, PeerId, Tried};

#[derive(Debug)]
pub(super) struct Pool {
    algorithm: Algorithm,
    balancer: RefCell<Balancer>,
    /// What the balancer's peers were made from.
    changes: Cell<u64>,
    /// By the places of the balancer's peers.
    idle: RefCell<Vec<Spares>>,
    /// All of them together.
    waiting: Cell<usize>,
    random: Cell<u64>,
    large: Cell<bool>,
    vitals: Arc<Vitals>,
    /// Of each server of the upstream.
    tallies: RefCell<Vec<Arc<ServerTally>>>,
}

/// Idle connections to one address, the one used last on top.
#[derive(Debug)]
struct Spares {
    address: SocketAddr,
    list: Vec<Idle>,
}

#[derive(Debug)]
struct Idle {
    upstream: Upstream,
    since: Instant,
}

/// A connection to a server of an upstream.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) wire: Wire,
    /// Requests that it has carried, the one under way included.
    requests: u32,
    born: Instant,
}

impl Upstream {
    pub(super) fn new(wire: Wire, now: Instant) -> Self {
        Self { wire, requests: 1, born: now }
    }
}

/// A try that counts at its peer for as long as it lasts.
pub(super) struct Turn<'a> {
    pool: &'a Pool,
    id: PeerId,
    outcome: Outcome,
    now: Option<Instant>,
}

impl Turn<'_> {
    pub(super) fn ended(mut self, outcome: Outcome, now: Instant) {
        (self.outcome, self.now) = (outcome, Some(now));
    }
}

impl Drop for Turn<'_> {
    /// Also of a task that is given up.
    fn drop(&mut self) {
        let mut balancer = self.pool.balancer.borrow_mut();
        balancer.end(self.id, self.outcome, self.now.unwrap_or_else(Instant::now));
        if self.outcome == Outcome::Failure
            && let Some(server) = balancer.peer(self.id).map(|peer| peer.server)
            && let Some(tally) = self.pool.tallies.borrow().get(server)
        {
            tally.failed();
        }
    }
}

impl Pool {
    pub(super) fn new(group: &Group, seed: u64, vitals: Arc<Vitals>) -> Self {
        let pool = Self {
            algorithm: group.algorithm,
            balancer: RefCell::new(Balancer::new(group.algorithm, vec![])),
            changes: Cell::new(0),
            idle: RefCell::default(),
            waiting: Cell::new(0),
            // Never 0: that would stay 0.
            random: Cell::new(seed | 1),
            large: Cell::new(false),
            vitals,
            tallies: RefCell::default(),
        };
        pool.refresh(group);
        pool
    }

    /// Whether it can serve the same upstream in another configuration: what is known about its servers stays then.
    pub(super) fn suits(&self, group: &Group) -> bool {
        self.algorithm == group.algorithm
    }

    /// Takes over the idle connections of one that does not suit any more.
    pub(super) fn inherit(&self, group: &Group, old: &Self) {
        // Nothing is left behind that `refresh` could take for a list of the old one's places.
        self.idle.replace(old.idle.take());
        old.waiting.set(0);
        self.refresh(group);
    }

    /// Takes over what DNS has found since.
    fn refresh(&self, group: &Group) {
        self.changes.set(group.changes());
        let peers: Vec<Peer> = group.peers().collect();
        let name = &group.config.name;
        let tallies = group.servers.iter().map(|s| self.vitals.tally(name, &s.name())).collect();
        *self.tallies.borrow_mut() = tallies;
        let mut balancer = self.balancer.borrow_mut();
        balancer.replace(peers);
        let mut old = std::mem::take(&mut *self.idle.borrow_mut());
        let spares = balancer.standings().map(|(peer, _)| {
            let kept = old.iter_mut().find(|spares| spares.address == peer.address);
            let list = kept.map(|spares| std::mem::take(&mut spares.list)).unwrap_or_default();
            Spares { address: peer.address, list }
        });
        let spares: Vec<Spares> = spares.collect();
        // The connections to addresses that are gone are closed here.
        self.waiting.set(spares.iter().map(|s| s.list.len()).sum());
        *self.idle.borrow_mut() = spares;
    }

    /// The peer whose turn it is, among those that the request has not tried.
    pub(super) fn pick(
        &self,
        group: &Group,
        now: Instant,
        tried: &mut Tried,
        client: IpAddr,
    ) -> Option<(PeerId, SocketAddr)> {
        if self.changes.get() != group.changes() {
            self.refresh(group);
        }
        let mut balancer = self.balancer.borrow_mut();
        let usable = |peer: &Peer| group.is_usable(peer.server, peer.address);
        let id = balancer.pick(now, tried, Some(client), || self.draw(), usable)?;
        let address = balancer.peer(id)?.address;
        Some((id, address))
    }

    /// Whether another server could be had.
    pub(super) fn has_another(&self, group: &Group, now: Instant, tried: &Tried) -> bool {
        let usable = |peer: &Peer| group.is_usable(peer.server, peer.address);
        self.balancer.borrow().has_another(now, tried, usable)
    }

    /// The same peer once more: its place in the upstream and its address, if it is still there and in rotation.
    pub(super) fn again(&self, group: &Group, id: PeerId) -> Option<SocketAddr> {
        if self.changes.get() != group.changes() {
            self.refresh(group);
        }
        let balancer = self.balancer.borrow();
        let peer = balancer.peer(id)?;
        group.is_usable(peer.server, peer.address).then_some(peer.address)
    }

    /// The place of its server in the upstream.
    pub(super) fn server(&self, id: PeerId) -> Option<usize> {
        self.balancer.borrow().peer(id).map(|peer| peer.server)
    }

    pub(super) fn begin(&self, id: PeerId) -> Turn<'_> {
        let (mut balancer, tallies) = (self.balancer.borrow_mut(), self.tallies.borrow());
        balancer.begin(id);
        let server = balancer.peer(id).map(|peer| peer.server);
        if let Some(tally) = server.and_then(|n| tallies.get(n)) {
            tally.tried();
        }
        Turn { pool: self, id, outcome: Outcome::Neutral, now: None }
    }

    /// xorshift64*: spreads load, and keeps no secret.
    fn draw(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// The last response's body had so many bytes: the next one may well be alike.
    pub(super) fn note_size(&self, body: u64) {
        self.large.set(body > LARGE_FROM && body <= PIPED_FROM);
    }

    pub(super) fn expects_large(&self) -> bool {
        self.large.get()
    }

    /// A connection to this peer that still seems to be open.
    pub(super) fn take(&self, group: &Group, id: PeerId, now: Instant) -> Option<Upstream> {
        let place = self.balancer.borrow().place(id)?;
        let mut idle = self.idle.borrow_mut();
        let list = &mut idle.get_mut(place)?.list;
        while let Some(Idle { mut upstream, since }) = list.pop() {
            self.waiting.set(self.waiting.get().saturating_sub(1));
            if now.saturating_duration_since(since) < group.config.keepalive_timeout
                && upstream.wire.is_quiet()
            {
                upstream.requests += 1;
                return Some(upstream);
            }
        }
        None
    }

    /// Keeps a connection whose last response ended where it said; the oldest makes room.
    pub(super) fn keep(&self, group: &Group, id: PeerId, upstream: Upstream, now: Instant) {
        let limit = usize::try_from(group.config.keepalive).unwrap_or(usize::MAX);
        let worn = upstream.requests >= group.config.keepalive_requests
            || now.saturating_duration_since(upstream.born) >= UPSTREAM_AGE_MAX;
        let place = self.balancer.borrow().place(id);
        let Some(place) = place.filter(|_| limit > 0 && !worn) else { return };
        let mut idle = self.idle.borrow_mut();
        if self.waiting.get() >= limit {
            let oldest = idle
                .iter_mut()
                .filter(|spares| !spares.list.is_empty())
                .min_by_key(|spares| spares.list.first().map(|idle| idle.since));
            if let Some(spares) = oldest {
                spares.list.remove(0);
                self.waiting.set(self.waiting.get().saturating_sub(1));
            }
        }
        if let Some(spares) = idle.get_mut(place) {
            spares.list.push(Idle { upstream, since: now });
            self.waiting.set(self.waiting.get() + 1);
        }
    }

    /// Whoever does not answer on one connection will not on the others.
    pub(super) fn forget(&self, address: SocketAddr) {
        for spares in self.idle.borrow_mut().iter_mut().filter(|s| s.address == address) {
            self.waiting.set(self.waiting.get().saturating_sub(spares.list.len()));
            spares.list.clear();
        }
    }

    /// Closes what has been idle for too long or was closed at the other end.
    pub(super) fn sweep(&self, group: &Group, now: Instant) {
        if self.changes.get() != group.changes() {
            self.refresh(group);
        }
        let timeout: Duration = group.config.keepalive_timeout;
        let mut idle = self.idle.borrow_mut();
        for spares in idle.iter_mut().filter(|spares| !spares.list.is_empty()) {
            spares.list.retain(|idle| {
                now.saturating_duration_since(idle.since) < timeout && idle.upstream.wire.is_quiet()
            });
        }
        self.waiting.set(idle.iter().map(|spares| spares.list.len()).sum());
    }
}
