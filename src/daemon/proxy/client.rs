//! One client's connection: its socket, and what the worker knows about it.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::fence::Standing;
use super::limits::{HEADER_TIMEOUT, KEEPALIVE_TIMEOUT, LINGER_IDLE, LINGER_SLICE, LINGER_TOTAL};
use super::listener::Listener;
use super::worker::Worker;
use crate::os::accept;

pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) facts: Facts,
}

/// Everything but the socket, so that both can be borrowed at once.
pub(super) struct Facts {
    pub(super) peer: SocketAddr,
    pub(super) listener: Rc<Listener>,
    pub(super) standing: Standing,
    pub(super) shared: Rc<Shared>,
    name: OnceCell<String>,
}

impl Facts {
    pub(super) fn new(peer: SocketAddr, listener: Rc<Listener>, standing: Standing) -> Self {
        Self { peer, listener, standing, shared: Rc::default(), name: OnceCell::new() }
    }

    /// The client's address as upstreams are told.
    pub(super) fn name(&self) -> &str {
        self.name.get_or_init(|| self.peer.ip().to_canonical().to_string())
    }
}

/// What the worker tells a connection from outside.
#[derive(Debug, Default)]
pub(super) struct Shared {
    leaving: Cell<Leaving>,
    /// Of a connection that waits for a request.
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leaving {
    #[default]
    No,
    /// As soon as a request has been answered; the first one may still come.
    AfterRequest,
    /// As soon as no request is being read or answered.
    WhenIdle,
}

impl Shared {
    /// Never takes back what was said before.
    pub(super) fn leave(&self, leaving: Leaving) {
        if leaving > self.leaving.get() {
            self.leaving.set(leaving);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get() > Leaving::No
    }

    fn may_wait(&self, first: bool) -> bool {
        match self.leaving.get() {
            Leaving::No => true,
            Leaving::AfterRequest => first,
            Leaving::WhenIdle => false,
        }
    }
}

impl Client {
    /// Waits, without a buffer, until there is something to read. False: the connection has had its time.
    pub(super) async fn has_request(&self, first: bool) -> bool {
        let bound = if first { HEADER_TIMEOUT } else { KEEPALIVE_TIMEOUT };
        let readable = std::future::poll_fn(|cx| self.poll_request(cx, first));
        let result = timeout(bound, readable).await.unwrap_or(false);
        self.facts.shared.waker.take();
        result
    }

    fn poll_request(&self, cx: &mut Context<'_>, first: bool) -> Poll<bool> {
        if let Poll::Ready(result) = self.stream.poll_read_ready(cx) {
            return Poll::Ready(result.is_ok());
        }
        if !self.facts.shared.may_wait(first) {
            return Poll::Ready(false);
        }
        let mut waker = self.facts.shared.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether what was just read may be acted upon.
    pub(super) async fn is_cleared(&self, worker: &Worker) -> bool {
        worker.fence.clears(&self.facts.standing, || local(self.stream.local_addr())).await
    }

    /// Ends the connection so that the client sees an error and nothing of an answer.
    pub(super) fn reset(self) {
        // Where this fails the connection is already gone.
        let _ = accept::reset_on_close(self.stream.as_fd());
    }

    /// Ends the connection while the client may still be sending: closing at once would make the kernel send a reset,
    /// which can overtake the answer.
    pub(super) async fn linger(mut self) {
        use tokio::io::AsyncWriteExt;
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let end = Instant::now() + LINGER_TOTAL;
        let mut idle_end = Instant::now() + LINGER_IDLE;
        // Small: a connection that is about to end holds no buffer of the pool.
        let mut trash = [0; 512];
        loop {
            // In slices: a worker that drains does not wait for clients that neither send nor close.
            let slice = Instant::now() + LINGER_SLICE;
            match timeout_at(slice, self.stream.read(&mut trash)).await {
                Ok(Ok(1..)) if Instant::now() < end => idle_end = Instant::now() + LINGER_IDLE,
                Err(_) if Instant::now() < idle_end.min(end) && !self.facts.shared.is_leaving() => (),
                Ok(_) | Err(_) => return,
            }
        }
    }
}

pub(super) fn local(address: std::io::Result<SocketAddr>) -> Option<IpAddr> {
    address.ok().map(|a| a.ip())
}

/// `future` within `bound`; `None` when the time is up.
pub(super) async fn within<T>(bound: Duration, future: impl Future<Output = T>) -> Option<T> {
    timeout(bound, future).await.ok()
}

/// Ends when the client has closed its side; never, once it has sent more than the request, since then nothing more
/// can be known without taking it.
pub(super) async fn gone(stream: &TcpStream) {
    let mut more = false;
    std::future::poll_fn(|cx| {
        if more {
            return Poll::Pending;
        }
        let mut byte = [0];
        match stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Ok(1..)) => {
                more = true;
                Poll::Pending
            }
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

/// `future`, given up (`None`) when the client leaves. `watch`: the whole request has been read.
pub(super) async fn unless_gone<T>(
    stream: &TcpStream,
    watch: bool,
    future: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        result = future => Some(result),
        () = gone(stream), if watch => None,
    }
}
