//! Accepting: connections go from the queue of a listening socket to tasks of the same worker.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::client::Client;
use super::fence::Standing;
use super::limits::{ACCEPT_PAUSE, ACCEPTS_PER_TURN};
use super::wire::Wire;
use super::worker::{View, Worker};
use crate::os::accept::accept;

/// One worker's socket of one address.
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    /// Gaps that happened before its queue was last seen empty: what waited in them has been taken out.
    good: Cell<u64>,
    /// Empty the queue, then close.
    stop: Notify,
    /// The address's place in the configuration with this number.
    place: Cell<(u64, Option<usize>)>,
}

/// How a look into the queue ended.
pub(super) enum Taken {
    /// There may be more.
    More,
    Empty,
    /// Too few descriptors, or too little memory.
    Short,
}

impl Listener {
    pub(super) fn new(address: SocketAddr, gaps: u64) -> Self {
        Self { address, good: Cell::new(gaps), stop: Notify::new(), place: Cell::new((0, None)) }
    }

    pub(super) fn stop(&self) {
        self.stop.notify_one();
    }

    /// Where this address is in the gateway of `view`.
    pub(super) fn place(&self, view: &View) -> Option<usize> {
        let (number, place) = self.place.get();
        if number == view.number {
            return place;
        }
        let place = view.snapshot.gateway.place(self.address);
        self.place.set((view.number, place));
        place
    }
}

/// Accepts until the listener is stopped and its queue is empty.
pub(super) async fn run(worker: Rc<Worker>, listener: Rc<Listener>, socket: AsyncFd<OwnedFd>) {
    loop {
        let found = worker.fence.found.notified();
        if listener.good.get() != worker.fence.gaps() {
            // What waited through a gap is told from what comes after it by emptying the queue at once.
            empty(&worker, &listener, &socket);
        }
        let ready = tokio::select! {
            biased;
            () = listener.stop.notified() => break,
            () = found => continue,
            ready = async { worker.has_room().await; socket.ready(Interest::READABLE).await } => ready,
        };
        let Ok(mut ready) = ready else { break };
        match take(&worker, &listener, &socket, ACCEPTS_PER_TURN) {
            Taken::Empty => ready.clear_ready(),
            Taken::More => (),
            Taken::Short => sleep(ACCEPT_PAUSE).await,
        }
        tokio::task::yield_now().await;
    }
    empty(&worker, &listener, &socket);
}

/// Takes everything that waits.
fn empty(worker: &Rc<Worker>, listener: &Rc<Listener>, socket: &AsyncFd<OwnedFd>) {
    let gaps = worker.fence.gaps();
    loop {
        match take(worker, listener, socket, usize::MAX) {
            Taken::Empty => {
                listener.good.set(gaps);
                return;
            }
            Taken::More => (),
            // The rest stays suspect until the queue has been seen empty.
            Taken::Short => return,
        }
    }
}

/// Takes what waits, by asking the kernel, but at most so many, and no more than the worker has room for if that is a
/// bound.
pub(super) fn take(worker: &Rc<Worker>, listener: &Rc<Listener>, socket: &impl AsFd, most: usize) -> Taken {
    for _ in 0..most {
        match accept(socket.as_fd()) {
            Ok((stream, peer)) => {
                let standing = Standing::good_up_to(listener.good.get());
                let limits = worker.limits_of(listener);
                worker.serve(Client::new(Wire::fresh(stream), peer, Rc::clone(listener), standing, limits));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Taken::Empty,
            Err(error) if worker.shortage.explains(&error, listener.address) => return Taken::Short,
            // That connection failed before it was taken.
            Err(_) => (),
        }
        if most != usize::MAX && worker.is_full() {
            break;
        }
    }
    Taken::More
}
