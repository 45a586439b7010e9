//! A worker's thread as the main thread sees it: how it starts, and what the two tell each other.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::access_log::Intake;
use super::counters::Vitals;
use super::limits::{COMMANDS, FILE_THREADS, RESCUERS, WORKER_STACK};
use super::snapshot::Snapshot;
use super::worker::Worker;
use crate::daemon::event_loop;
use crate::link::{FenceQuery, FenceVerdict, Generation, worker_thread};

/// From the main thread to a worker.
#[derive(Debug)]
pub(super) enum Command {
    /// The snapshot has been swapped: accept on these too, and on nothing that it does not serve. Each comes with the
    /// worker that owns it; a sibling's is to be accepted from only while that one hangs.
    Commit {
        generation: Generation,
        listeners: Vec<(SocketAddr, usize, OwnedFd)>,
    },
    Verdict(FenceVerdict),
    /// The connections of these addresses are to end within `bound`. `before`: the addresses move when none is left.
    Leave {
        number: u64,
        addresses: Vec<IpAddr>,
        bound: Duration,
        before: bool,
    },
    /// They need not any more.
    Keep {
        number: u64,
    },
    /// Finish what is in flight, for at most this long; then the thread ends.
    Drain {
        bound: Duration,
    },
}

/// From a worker to the main thread.
#[derive(Debug)]
pub(super) enum Event {
    /// This generation is being served.
    Serving {
        worker: usize,
        generation: Generation,
    },
    FenceQuery {
        worker: usize,
        query: FenceQuery,
    },
    /// No connection of that `Leave` is left, or its bound is over; so many were cut.
    Left {
        worker: usize,
        number: u64,
        cut: u64,
    },
    /// Nothing is in flight any more; so many connections were cut at the bound.
    Drained {
        worker: usize,
        cut: u64,
    },
}

/// The main thread's end of a worker.
pub(super) struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) vitals: Arc<Vitals>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// The thread is gone, which it must not be before it was told to drain.
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// `vitals`: of all workers; this one's is at `index`.
pub(super) fn start(
    index: usize,
    vitals: Arc<[Arc<Vitals>]>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    events: mpsc::Sender<Event>,
    log: Intake,
) -> io::Result<Handle> {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let own = vitals.get(index).map(Arc::clone).unwrap_or_default();
    let worker = std::thread::Builder::new().name(worker_thread(index)).stack_size(WORKER_STACK);
    let thread = worker.spawn(move || {
        let runtime = match event_loop::build(FILE_THREADS) {
            Ok(runtime) => runtime,
            // The main thread finds that this one has ended.
            Err(error) => return tracing::error!(index, "a worker cannot start: {error}"),
        };
        event_loop::play(&runtime, async move {
            let log = Some(log.worker());
            let worker = Rc::new(Worker::new(index, vitals, snapshot, events, log));
            worker.run(inbox).await;
        });
        // A read that hangs must not hold up the end.
        runtime.shutdown_background();
    })?;
    Ok(Handle { commands, vitals: own, thread })
}

/// Gives a socket to its owner, and a copy of it to each of those who may have to rescue what waits in it.
pub(super) fn share(
    (address, owner, socket): (SocketAddr, usize, OwnedFd),
    listeners: &mut [Vec<(SocketAddr, usize, OwnedFd)>],
) {
    let workers = listeners.len();
    for step in 1..workers.min(RESCUERS + 1) {
        let Some(list) = listeners.get_mut((owner + step) % workers) else { continue };
        match socket.try_clone() {
            Ok(copy) => list.push((address, owner, copy)),
            Err(error) => {
                tracing::warn!(%address, owner, "a worker that hangs cannot be relieved of its connections: {error}");
            }
        }
    }
    if let Some(list) = listeners.get_mut(owner) {
        list.push((address, owner, socket));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_socket_goes_to_its_owner_and_copies_to_the_next_ones() {
        // Workers, the owner, who gets the socket or a copy of it.
        let table: [(usize, usize, &[usize]); 5] =
            [(1, 0, &[0]), (2, 0, &[0, 1]), (2, 1, &[0, 1]), (4, 2, &[0, 1, 2, 3]), (8, 6, &[0, 1, 6, 7])];
        for (workers, owner, expect) in table {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            let mut listeners: Vec<_> = (0..workers).map(|_| vec![]).collect();
            share((address, owner, socket.into()), &mut listeners);
            let got: Vec<_> = (0..workers).filter(|w| !listeners[*w].is_empty()).collect();
            assert_eq!(got, expect, "{workers} workers, {owner} owns it");
            for (a, o, socket) in listeners.into_iter().flatten() {
                assert_eq!(
                    (a, o, TcpListener::from(socket).local_addr().unwrap()),
                    (address, owner, address)
                );
            }
        }
    }
}
