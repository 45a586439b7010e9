//! What is known of one exchange when it is over: for the access log and the counters.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Written while the exchange goes on, by whoever knows.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) started: Instant,
    /// Of the answer; 0 while there is none.
    pub(super) status: Cell<u16>,
    /// Bytes of the answer's body, and all bytes, that went to the client.
    pub(super) body_sent: Cell<u64>,
    pub(super) sent: Cell<u64>,
    /// Bytes of the request, its body included.
    pub(super) received: Cell<u64>,
    /// The last try at an upstream, and those before it.
    last: Cell<Option<Try>>,
    earlier: RefCell<Vec<Try>>,
}

/// One try at one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Try {
    pub(super) address: SocketAddr,
    /// 0: no response came.
    pub(super) status: u16,
    pub(super) began: Instant,
    pub(super) connected: Option<Duration>,
    pub(super) answered: Option<Duration>,
    pub(super) took: Option<Duration>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            status: Cell::new(0),
            body_sent: Cell::new(0),
            sent: Cell::new(0),
            received: Cell::new(0),
            last: Cell::new(None),
            earlier: RefCell::default(),
        }
    }
}

impl Tally {
    /// A try begins.
    pub(super) fn begin(&self, address: SocketAddr, began: Instant) {
        let next = Try { address, status: 0, began, connected: None, answered: None, took: None };
        if let Some(before) = self.last.replace(Some(next)) {
            self.earlier.borrow_mut().push(before);
        }
    }

    /// Something is known about the last try.
    pub(super) fn note(&self, change: impl FnOnce(&mut Try)) {
        if let Some(mut last) = self.last.get() {
            change(&mut last);
            self.last.set(Some(last));
        }
    }

    pub(super) fn tries(&self) -> Vec<Try> {
        self.earlier.borrow().iter().copied().chain(self.last.get()).collect()
    }

    pub(super) fn count_sent(&self, all: usize, body: usize) {
        self.sent.set(self.sent.get() + all as u64);
        self.body_sent.set(self.body_sent.get() + body as u64);
    }
}
