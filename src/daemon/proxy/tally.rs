//! What is known of one exchange when it is over: for the access log and the counters.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::time::Instant;

use crate::gateway::Try;
use crate::http1::ResponseHead;

/// Written while the exchange goes on, by whoever knows.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) started: Instant,
    /// When the last try had ended, if there was one.
    pub(super) ended: Cell<Option<Instant>>,
    /// Of the answer; 0 while there is none.
    pub(super) status: Cell<u16>,
    /// Bytes of the answer's body, and all bytes, that went to the client.
    pub(super) body_sent: Cell<u64>,
    pub(super) sent: Cell<u64>,
    /// Bytes of the request, its body included.
    pub(super) received: Cell<u64>,
    /// Drawn when somebody asks.
    pub(super) request_id: OnceCell<u128>,
    /// The upstream's head and its bytes, where they are needed at the end.
    pub(super) response: RefCell<Option<(Vec<u8>, ResponseHead)>>,
    /// The last try at an upstream, and those before it.
    last: Cell<Option<Try>>,
    earlier: RefCell<Vec<Try>>,
}

impl Tally {
    pub(super) fn new(started: Instant, received: u64) -> Self {
        Self {
            started,
            ended: Cell::new(None),
            status: Cell::new(0),
            body_sent: Cell::new(0),
            sent: Cell::new(0),
            received: Cell::new(received),
            request_id: OnceCell::new(),
            response: RefCell::default(),
            last: Cell::new(None),
            earlier: RefCell::default(),
        }
    }

    /// A try begins; `None`: there was nobody to try.
    pub(super) fn begin(&self, address: Option<SocketAddr>) {
        if let Some(before) = self.last.replace(Some(Try { address, ..Try::default() })) {
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

    /// `with` gets all of them in their order.
    pub(super) fn with_tries<T>(&self, with: impl FnOnce(&[Try]) -> T) -> T {
        match self.last.get() {
            Some(last) if self.earlier.borrow().is_empty() => with(&[last]),
            last => with(&self.earlier.borrow().iter().copied().chain(last).collect::<Vec<_>>()),
        }
    }

    pub(super) fn count_sent(&self, all: usize, body: usize) {
        self.sent.set(self.sent.get() + all as u64);
        self.body_sent.set(self.body_sent.get() + body as u64);
    }
}
