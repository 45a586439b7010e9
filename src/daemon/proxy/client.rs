//! One client's connection: its wire, and what the worker knows about it.

use std::cell::{Cell, OnceCell};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::buffers::Lent;
use super::deadline::{Alarm, Deadlines, Wait};
use super::fence::Standing;
use super::limits::{IDLE_LINGER, LINGER_IDLE, LINGER_TOTAL};
use super::listener::Listener;
use super::wire::Wire;
use super::worker::Worker;
use crate::config::ClientLimits;
use crate::os::pipe::Pipe;

pub(super) struct Client {
    pub(super) wire: Wire,
    pub(super) peer: SocketAddr,
    pub(super) listener: Rc<Listener>,
    pub(super) standing: Standing,
    leaving: Cell<Leaving>,
    /// It was counted among those that a bound has ended.
    pub(super) counted: Cell<bool>,
    pub(super) alarm: Alarm,
    /// Requests that it has made so far, the one under way included.
    pub(super) requests: Cell<u32>,
    /// Those of the server that it asked last.
    pub(super) limits: Cell<ClientLimits>,
    /// Counts the worker's connections.
    pub(super) number: u64,
    name: OnceCell<String>,
    local: OnceCell<Option<SocketAddr>>,
}

/// What the worker tells a connection from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leaving {
    #[default]
    No,
    /// As soon as a request has been answered that ends from now on; it is waited for.
    AfterNext,
    /// As soon as a request has been answered; the first one may still come.
    AfterRequest,
    /// As soon as no request is being read or answered.
    WhenIdle,
    /// The same, and a tunnel passes nothing on any more.
    Now,
}

/// How waiting for a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    Readable,
    TimeUp,
    /// The worker wants it to end.
    Unwanted,
    /// The connection broke.
    Over,
}

impl Client {
    pub(super) fn new(
        wire: Wire,
        peer: SocketAddr,
        listener: Rc<Listener>,
        standing: Standing,
        limits: ClientLimits,
        number: u64,
    ) -> Self {
        Self {
            wire,
            peer,
            listener,
            standing,
            leaving: Cell::default(),
            counted: Cell::new(false),
            alarm: Alarm::default(),
            requests: Cell::new(0),
            limits: Cell::new(limits),
            number,
            name: OnceCell::new(),
            local: OnceCell::new(),
        }
    }

    /// Never takes back what was said before.
    pub(super) fn leave(&self, leaving: Leaving) {
        if leaving > self.leaving.get() {
            self.leaving.set(leaving);
            self.alarm.wake();
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get() > Leaving::No
    }

    pub(super) fn must_end(&self) -> bool {
        self.leaving.get() == Leaving::Now
    }

    fn may_wait(&self, first: bool) -> bool {
        match self.leaving.get() {
            Leaving::No | Leaving::AfterNext => true,
            Leaving::AfterRequest => first,
            Leaving::WhenIdle | Leaving::Now => false,
        }
    }

    /// The client's address as upstreams are told.
    pub(super) fn name(&self) -> &str {
        self.name.get_or_init(|| self.peer.ip().to_canonical().to_string())
    }

    /// Where the client connected to.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        *self.local.get_or_init(|| self.wire.local_addr().ok())
    }

    pub(super) fn arm(&self, deadlines: &Deadlines, wait: Wait, bound: Duration) {
        deadlines.arm(&self.alarm, wait, bound);
    }

    /// Waits, without a buffer, until there is something to read.
    pub(super) async fn has_request(&self, worker: &Worker, bound: Duration) -> Waited {
        let first = self.requests.get() == 0;
        self.arm(&worker.deadlines, Wait::ClientRead, bound);
        let waited = poll_fn(|cx| {
            if let Poll::Ready(result) = self.wire.poll_readable(cx) {
                return Poll::Ready(if result.is_ok() { Waited::Readable } else { Waited::Over });
            }
            if !self.may_wait(first) {
                return Poll::Ready(Waited::Unwanted);
            }
            worker.deadlines.poll(&self.alarm, Wait::ClientRead, cx).map(|()| Waited::TimeUp)
        })
        .await;
        self.alarm.disarm(Wait::ClientRead);
        waited
    }

    /// Reads once into the free part of `buffer`; `None` when the time of `Wait::ClientRead` is up.
    pub(super) async fn read(&self, worker: &Worker, buffer: &mut Lent<'_>) -> Option<io::Result<usize>> {
        let read = poll_fn(|cx| match self.wire.poll_read(cx, buffer.space()) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => worker.deadlines.poll(&self.alarm, Wait::ClientRead, cx).map(|()| None),
        })
        .await;
        if let Some(Ok(n)) = read {
            buffer.fill(n);
        }
        read
    }

    /// Reads what is here already; `None`: nothing.
    pub(super) async fn read_now(&self, buffer: &mut Lent<'_>) -> Option<io::Result<usize>> {
        let read = poll_fn(|cx| match self.wire.poll_read(cx, buffer.space()) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => Poll::Ready(None),
        })
        .await;
        if let Some(Ok(n)) = read {
            buffer.fill(n);
        }
        read
    }

    /// All of `bytes`, to a client that takes some of them at least once per `bound`.
    pub(super) async fn write_all(&self, worker: &Worker, bytes: &[u8], bound: Duration) -> io::Result<()> {
        self.write_both(worker, bytes, b"", bound).await
    }

    /// The same for two pieces, one behind the other.
    pub(super) async fn write_both(
        &self,
        worker: &Worker,
        mut first: &[u8],
        mut second: &[u8],
        bound: Duration,
    ) -> io::Result<()> {
        let mut armed = false;
        poll_fn(|cx| {
            loop {
                let written = match (first.is_empty(), second.is_empty()) {
                    (true, true) => return Poll::Ready(Ok(())),
                    (false, true) => self.wire.poll_write(cx, first),
                    (true, false) => self.wire.poll_write(cx, second),
                    (false, false) => self.wire.poll_write_both(cx, first, second),
                };
                match written {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(n)) => {
                        let behind = n.saturating_sub(first.len());
                        first = first.get(n..).unwrap_or_default();
                        second = second.get(behind..).unwrap_or_default();
                        armed = false;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        if !std::mem::replace(&mut armed, true) {
                            self.arm(&worker.deadlines, Wait::ClientWrite, bound);
                        }
                        let up = worker.deadlines.poll(&self.alarm, Wait::ClientWrite, cx);
                        return up.map(|()| Err(io::ErrorKind::TimedOut.into()));
                    }
                }
            }
        })
        .await
    }

    /// As much of `pipe` as the client takes at once, at the latest when `bound` is over.
    pub(super) async fn drain_pipe(
        &self,
        worker: &Worker,
        pipe: &mut Pipe,
        bound: Duration,
    ) -> io::Result<usize> {
        let mut armed = false;
        poll_fn(|cx| match self.wire.poll_drain(cx, pipe) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => {
                if !std::mem::replace(&mut armed, true) {
                    self.arm(&worker.deadlines, Wait::ClientWrite, bound);
                }
                let up = worker.deadlines.poll(&self.alarm, Wait::ClientWrite, cx);
                up.map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        })
        .await
    }

    /// Whether what was just read may be acted upon.
    pub(super) async fn is_cleared(&self, worker: &Worker) -> bool {
        worker.fence.clears(&self.standing, || local(self.wire.local_addr())).await
    }

    /// To be let go next: the client then sees an error and nothing of an answer.
    pub(super) fn reset(&self) {
        // Where this fails the connection is already gone.
        let _ = self.wire.reset_on_close();
    }

    /// Ends the connection while the client may still be sending: closing at once would make the kernel send a reset,
    /// which can overtake the answer. Where the address is about to leave this node, what the kernel has of the answer would
    /// leave with it: it is waited for until the client has taken it, or is cut.
    pub(super) async fn linger(&self, worker: &Worker, mut slice: Duration) {
        if self.wire.shut_write().is_err() {
            return;
        }
        let (mut idle, mut total) = (Duration::ZERO, Duration::ZERO);
        let (mut has_closed, mut rest, mut stuck) = (false, 0, Duration::ZERO);
        // Small: a connection that is about to end holds no buffer of the pool.
        let mut trash = [0; 512];
        loop {
            // In slices: a worker that drains does not wait for clients that neither send nor close.
            self.arm(&worker.deadlines, Wait::ClientRead, slice);
            let read = poll_fn(|cx| {
                while !has_closed {
                    match self.wire.poll_read(cx, &mut trash) {
                        Poll::Ready(Ok(1..)) => {
                            idle = Duration::ZERO;
                            // Whoever sends without end is cut off by the clock all the same.
                            if worker.deadlines.poll(&self.alarm, Wait::ClientRead, cx).is_ready() {
                                return Poll::Ready(false);
                            }
                        }
                        Poll::Ready(Ok(0)) if self.not_taken() > 0 => has_closed = true,
                        Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(true),
                        Poll::Pending => break,
                    }
                }
                let up = worker.deadlines.poll(&self.alarm, Wait::ClientRead, cx);
                up.map(|()| false)
            });
            if read.await {
                return;
            }
            (idle, total) = (idle + slice, total + slice);
            let before = std::mem::replace(&mut rest, self.not_taken());
            if rest > 0 {
                stuck = if rest == before { stuck + slice } else { Duration::ZERO };
                if stuck >= self.limits.get().send_timeout {
                    return;
                }
                slice = IDLE_LINGER;
            } else if has_closed || idle >= LINGER_IDLE || total >= LINGER_TOTAL || self.is_leaving() {
                return;
            }
        }
    }

    /// What this node would not get to the client any more once it has lost the address, in bytes.
    fn not_taken(&self) -> u32 {
        // Where the connection is gone, the end cannot be said again.
        let is_there = self.is_leaving() && self.wire.shut_write().is_ok();
        if is_there { self.wire.unacknowledged().saturating_sub(1) } else { 0 }
    }
}

pub(super) fn local(address: io::Result<SocketAddr>) -> Option<IpAddr> {
    address.ok().map(|a| a.ip())
}

/// Tells when the client has closed its side; never, once it has sent more than the request, since then nothing more
/// can be known without taking it.
#[derive(Debug, Default)]
pub(super) struct GoneWatch {
    more: Cell<bool>,
}

impl GoneWatch {
    pub(super) fn poll(&self, wire: &Wire, cx: &mut Context<'_>) -> Poll<()> {
        if self.more.get() {
            return Poll::Pending;
        }
        match wire.poll_peek(cx) {
            Poll::Ready(Ok(1..)) => {
                self.more.set(true);
                Poll::Pending
            }
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    }
}
