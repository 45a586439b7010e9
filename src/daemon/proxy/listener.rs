//! Accepting: connections go from the queue of a listening socket to tasks of the same worker.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::Poll;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::client::{Client, Facts};
use super::fence::Standing;
use super::limits::{ACCEPT_PAUSE, ACCEPTS_PER_TURN};
use super::worker::Worker;
use crate::os::accept::accept;

/// One worker's socket of one address.
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    /// Gaps that happened before its queue was last seen empty: what waited in them has been taken out.
    good: Cell<u64>,
    /// Empty the queue, then close.
    stop: Notify,
}

impl Listener {
    pub(super) fn new(address: SocketAddr, gaps: u64) -> Self {
        Self { address, good: Cell::new(gaps), stop: Notify::new() }
    }

    pub(super) fn stop(&self) {
        self.stop.notify_one();
    }
}

/// Accepts until the listener is stopped and its queue is empty.
pub(super) async fn run(worker: Rc<Worker>, listener: Rc<Listener>, socket: TcpListener) {
    loop {
        let found = worker.fence.found.notified();
        if listener.good.get() != worker.fence.gaps() {
            // What waited through a gap is told from what comes after it by emptying the queue at once.
            empty(&worker, &listener, &socket);
        }
        let accepted = tokio::select! {
            biased;
            () = listener.stop.notified() => break,
            () = found => continue,
            accepted = async { worker.has_room().await; socket.accept().await } => accepted,
        };
        let mut next = Some(accepted);
        for left in (0..ACCEPTS_PER_TURN).rev() {
            match next {
                None => break,
                Some(Ok((stream, peer))) => serve(&worker, &listener, stream, peer),
                Some(Err(error)) if worker.shortage.explains(&error, listener.address) => {
                    sleep(ACCEPT_PAUSE).await;
                    break;
                }
                // That connection failed before it was taken.
                Some(Err(_)) => (),
            }
            // Before the next one is taken: a connection that nobody serves would be reset.
            if left == 0 || worker.is_full() {
                break;
            }
            next = std::future::poll_fn(|cx| match socket.poll_accept(cx) {
                Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
                Poll::Pending => Poll::Ready(None),
            })
            .await;
        }
        tokio::task::yield_now().await;
    }
    empty(&worker, &listener, &socket);
}

/// Takes everything that waits, by asking the kernel: the runtime may not have heard of it yet.
fn empty(worker: &Rc<Worker>, listener: &Rc<Listener>, socket: &TcpListener) {
    let gaps = worker.fence.gaps();
    loop {
        match accept(socket.as_fd()) {
            Ok((stream, peer)) => {
                if let Ok(stream) = TcpStream::from_std(stream) {
                    serve(worker, listener, stream, peer);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                listener.good.set(gaps);
                return;
            }
            // The rest stays suspect until the queue has been seen empty.
            Err(error) if worker.shortage.explains(&error, listener.address) => return,
            // That connection failed before it was taken.
            Err(_) => (),
        }
    }
}

fn serve(worker: &Rc<Worker>, listener: &Rc<Listener>, stream: TcpStream, peer: SocketAddr) {
    let standing = Standing::good_up_to(listener.good.get());
    let facts = Facts::new(peer, Rc::clone(listener), standing);
    worker.serve(Client { stream, facts });
}
