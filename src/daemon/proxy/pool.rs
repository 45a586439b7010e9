//! One worker's side of an upstream: whose turn it is, and the connections that wait to be used again.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::net::TcpStream;

use super::limits::UPSTREAM_IDLE_TIMEOUT;
use super::snapshot::Group;
use crate::balance::Smooth;

#[derive(Debug)]
pub(super) struct Pool {
    balance: RefCell<Smooth>,
    /// Which of a server's addresses is next.
    turn: Cell<usize>,
    /// The one used last on top.
    idle: RefCell<Vec<Idle>>,
    /// Up to which change of addresses `idle` has been looked through.
    seen: Cell<u64>,
}

#[derive(Debug)]
struct Idle {
    stream: TcpStream,
    address: SocketAddr,
    since: Instant,
}

impl Pool {
    pub(super) fn new(group: &Group) -> Self {
        Self {
            balance: RefCell::new(Smooth::new(group.config.servers.iter().map(|s| s.weight))),
            turn: Cell::new(0),
            idle: RefCell::default(),
            seen: Cell::new(0),
        }
    }

    /// Takes over the idle connections of the same upstream in an older configuration.
    pub(super) fn inherit(&self, old: &Self) {
        self.idle.borrow_mut().append(&mut old.idle.borrow_mut());
    }

    /// Place and address of the server whose turn it is; not the one to `avoid`.
    pub(super) fn pick(&self, group: &Group, avoid: Option<usize>) -> Option<(usize, SocketAddr)> {
        self.follow(group);
        let usable = |n: usize| Some(n) != avoid && group.servers.get(n).is_some_and(|s| s.is_usable());
        let place = self.balance.borrow_mut().pick(usable)?;
        Some((place, self.address(group, place)?))
    }

    /// Closes connections to addresses that no server has any more: another container may have one of them by now.
    fn follow(&self, group: &Group) {
        let changes = group.changes.so_far();
        if self.seen.replace(changes) != changes {
            self.idle.borrow_mut().retain(|i| group.servers.iter().any(|s| s.has(i.address)));
        }
    }

    /// An address of the server at `place`, if it is still in rotation.
    pub(super) fn again(&self, group: &Group, place: usize) -> Option<SocketAddr> {
        group.servers.get(place).filter(|s| s.is_usable())?;
        self.address(group, place)
    }

    fn address(&self, group: &Group, place: usize) -> Option<SocketAddr> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        group.servers.get(place)?.address(turn)
    }

    /// A connection to `address` that still seems to be open.
    pub(super) fn take(&self, address: SocketAddr) -> Option<TcpStream> {
        let mut idle = self.idle.borrow_mut();
        while let Some(at) = idle.iter().rposition(|i| i.address == address) {
            let found = idle.remove(at);
            if found.since.elapsed() < UPSTREAM_IDLE_TIMEOUT && is_quiet(&found.stream) {
                return Some(found.stream);
            }
        }
        None
    }

    /// Keeps a connection whose last response ended where it said; the oldest makes room.
    pub(super) fn keep(&self, stream: TcpStream, address: SocketAddr, limit: u32) {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if limit == 0 {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= limit {
            idle.remove(0);
        }
        idle.push(Idle { stream, address, since: Instant::now() });
    }

    /// Whoever does not answer on one connection will not on the others.
    pub(super) fn forget(&self, address: SocketAddr) {
        self.idle.borrow_mut().retain(|i| i.address != address);
    }

    /// Closes what has been idle for too long or was closed at the other end.
    pub(super) fn sweep(&self, group: &Group) {
        let now = Instant::now();
        self.idle.borrow_mut().retain(|i| {
            now.duration_since(i.since) < UPSTREAM_IDLE_TIMEOUT
                && is_quiet(&i.stream)
                && group.servers.iter().any(|s| s.is_up(i.address))
        });
    }
}

/// Neither closed nor with bytes that nobody asked for, as far as this worker's last look at its sockets goes.
fn is_quiet(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
