//! A worker that hangs takes nobody along: what the kernel has put into its queues is accepted by its siblings.
//!
//! The kernel spreads new connections over the workers' sockets by a hash, and goes on giving a hung worker its share.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::counters::Vitals;
use super::limits::{ACCEPTS_PER_TURN, SIBLING_LATE};
use super::listener::{self, Listener};
use super::worker::Worker;

pub(super) struct Siblings {
    own: usize,
    /// Of all workers.
    vitals: Arc<[Arc<Vitals>]>,
    seen: RefCell<Vec<Seen>>,
    sockets: RefCell<Vec<Socket>>,
}

/// What was last seen of a sibling.
#[derive(Clone, Copy)]
struct Seen {
    turns: u64,
    since: Instant,
    /// Gaps of this worker's own that had been found by then: what came before them waited through them.
    gaps: u64,
}

struct Socket {
    address: SocketAddr,
    owner: usize,
    socket: OwnedFd,
}

impl Siblings {
    pub(super) fn new(own: usize, vitals: Arc<[Arc<Vitals>]>) -> Self {
        let seen = Seen { turns: 0, since: Instant::now(), gaps: 0 };
        let seen = RefCell::new(vec![seen; vitals.len()]);
        Self { own, vitals, seen, sockets: RefCell::default() }
    }

    /// A copy of a sibling's listening socket.
    pub(super) fn adopt(&self, address: SocketAddr, owner: usize, socket: OwnedFd) {
        let mut sockets = self.sockets.borrow_mut();
        sockets.retain(|s| (s.address, s.owner) != (address, owner));
        sockets.push(Socket { address, owner, socket });
    }

    pub(super) fn retain(&self, is_served: impl Fn(SocketAddr) -> bool) {
        self.sockets.borrow_mut().retain(|s| is_served(s.address));
    }

    /// Takes what waits for siblings whose loops do not turn.
    pub(super) fn rescue(&self, worker: &Rc<Worker>) {
        if self.vitals.len() < 2 {
            return;
        }
        let now = Instant::now();
        let gaps = worker.fence.gaps();
        for (index, (seen, vitals)) in self.seen.borrow_mut().iter_mut().zip(&*self.vitals).enumerate() {
            let turns = vitals.turns();
            if turns != seen.turns || index == self.own {
                *seen = Seen { turns, since: now, gaps };
            } else if now.saturating_duration_since(seen.since) >= SIBLING_LATE {
                self.take_over(worker, index, seen.gaps);
            }
        }
    }

    fn take_over(&self, worker: &Rc<Worker>, owner: usize, gaps: u64) {
        for socket in self.sockets.borrow().iter().filter(|s| s.owner == owner) {
            if worker.is_full() {
                return;
            }
            let listener = Rc::new(Listener::new(socket.address, gaps));
            listener::take(worker, &listener, &socket.socket, ACCEPTS_PER_TURN);
        }
    }
}
