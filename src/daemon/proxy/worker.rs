//! One worker: a thread, its runtime, its listeners and connections.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, LocalSet};
use tokio::time::{Instant, sleep};

use super::buffers::Buffers;
use super::client::{Client, Leaving, Shared};
use super::connection;
use super::counters::{Count, Vitals};
use super::fence::Fence;
use super::limits::{
    COMMANDS, CONNECTIONS_MAX, DRAIN_FIRST_REQUEST, FILE_THREADS, TURN, TURN_MIN, TURNS_PER_FENCE_BOUND,
    WORKER_STACK,
};
use super::listener::{self, Listener};
use super::pool::Pool;
use super::shortage::Shortage;
use super::snapshot::Snapshot;
use crate::link::{FenceQuery, FenceVerdict, Generation};
use crate::os::descriptor;

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

pub(super) fn start(
    index: usize,
    workers: usize,
    snapshot: Arc<ArcSwap<Snapshot>>,
    events: mpsc::Sender<Event>,
) -> io::Result<Handle> {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let vitals = Arc::new(Vitals::default());
    let shared_vitals = Arc::clone(&vitals);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(FILE_THREADS)
        .build()?;
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).stack_size(WORKER_STACK).spawn(
        move || {
            let local = LocalSet::new();
            runtime.block_on(local.run_until(async {
                let worker = Rc::new(Worker::new(index, workers, snapshot, events, shared_vitals));
                worker.run(inbox).await;
            }));
            drop(local);
            // A read that hangs must not hold up the end.
            runtime.shutdown_background();
        },
    )?;
    Ok(Handle { commands, vitals, thread })
}

pub(super) struct Worker {
    index: usize,
    snapshot: Arc<ArcSwap<Snapshot>>,
    view: RefCell<Rc<View>>,
    /// Addresses that are served no more, with the last configuration that did: for requests still under way.
    retired: RefCell<HashMap<SocketAddr, Rc<View>>>,
    pub(super) fence: Rc<Fence>,
    pub(super) buffers: Buffers,
    pub(super) shortage: Shortage,
    pub(super) vitals: Arc<Vitals>,
    events: mpsc::Sender<Event>,
    listeners: RefCell<Vec<Rc<Listener>>>,
    connections: RefCell<HashMap<u64, Connection>>,
    next_connection: Cell<u64>,
    limit: usize,
    /// A connection ended.
    room: Notify,
    date: RefCell<(u64, Rc<str>)>,
}

struct Connection {
    listener: SocketAddr,
    shared: Rc<Shared>,
    task: Option<AbortHandle>,
}

/// A configuration's snapshot with this worker's own state for each of its upstreams.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) pools: Vec<Rc<Pool>>,
}

impl Worker {
    pub(super) fn new(
        index: usize,
        workers: usize,
        snapshot: Arc<ArcSwap<Snapshot>>,
        events: mpsc::Sender<Event>,
        vitals: Arc<Vitals>,
    ) -> Self {
        Self {
            index,
            snapshot,
            view: RefCell::default(),
            retired: RefCell::default(),
            fence: Rc::new(Fence::new(index, events.clone(), Arc::clone(&vitals))),
            buffers: Buffers::default(),
            shortage: Shortage::default(),
            vitals,
            events,
            listeners: RefCell::default(),
            connections: RefCell::default(),
            next_connection: Cell::new(0),
            limit: connection_limit(workers),
            room: Notify::new(),
            date: RefCell::new((u64::MAX, "".into())),
        }
    }

    async fn run(self: Rc<Self>, mut inbox: mpsc::Receiver<Command>) {
        let mut last_sweep = Instant::now();
        loop {
            // What came first is looked at first: a command may be older than the gap that the clock shows.
            let command = tokio::select! {
                biased;
                () = sleep(self.turn_length()) => None,
                command = inbox.recv() => Some(command),
            };
            self.fence.look();
            self.vitals.turn();
            match command {
                None => (),
                Some(Some(Command::Commit { generation, listeners })) => {
                    self.commit(generation, listeners).await
                }
                Some(Some(Command::Verdict(verdict))) => self.fence.verdict(verdict.nonce, verdict.held),
                Some(Some(Command::Drain { bound })) => return self.drain(bound, inbox).await,
                // The main thread ended without a word: so does the process.
                Some(None) => return,
            }
            if last_sweep.elapsed() > Duration::from_secs(1) {
                last_sweep = Instant::now();
                self.sweep();
            }
        }
    }

    fn turn_length(&self) -> Duration {
        let bound = self.view.borrow().snapshot.fence;
        bound.map_or(TURN, |b| (b / TURNS_PER_FENCE_BOUND).clamp(TURN_MIN, TURN))
    }

    async fn commit(self: &Rc<Self>, generation: Generation, listeners: Vec<(SocketAddr, usize, OwnedFd)>) {
        let view = self.view();
        self.fence.configure(view.snapshot.fence, &view.snapshot.virtual_addresses);
        for (address, _, socket) in listeners.into_iter().filter(|(_, owner, _)| *owner == self.index) {
            let socket = match tokio_listener(socket) {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::error!(%address, "cannot wait for connections: {error}");
                    continue;
                }
            };
            let listener = Rc::new(Listener::new(address, self.fence.gaps()));
            let mut open = self.listeners.borrow_mut();
            // The same address anew: the old socket's queue is emptied before it closes.
            open.extract_if(.., |l| l.address == address).for_each(|old| old.stop());
            open.push(Rc::clone(&listener));
            tokio::task::spawn_local(listener::run(Rc::clone(self), listener, socket));
        }
        self.listeners.borrow_mut().retain(|listener| {
            let served = view.snapshot.gateway.serves(listener.address);
            if !served {
                listener.stop();
            }
            served
        });
        for connection in self.connections.borrow().values() {
            if !view.snapshot.gateway.serves(connection.listener) {
                connection.shared.leave(Leaving::AfterRequest);
            }
        }
        // The main thread reads events as long as it lives.
        let _ = self.events.send(Event::Serving { worker: self.index, generation }).await;
    }

    /// The configuration in force.
    pub(super) fn view(&self) -> Rc<View> {
        let current = self.snapshot.load();
        let mut view = self.view.borrow_mut();
        if !Arc::ptr_eq(&current, &view.snapshot) {
            let next = Rc::new(View::new(Arc::clone(&current), &view));
            let mut retired = self.retired.borrow_mut();
            for address in view.snapshot.gateway.addresses() {
                if !current.gateway.serves(address) {
                    retired.insert(address, Rc::clone(&view));
                }
            }
            *view = next;
        }
        Rc::clone(&view)
    }

    /// The configuration for a request that came in on `address`.
    pub(super) fn view_for(&self, address: SocketAddr) -> Rc<View> {
        let view = self.view();
        if view.snapshot.gateway.serves(address) {
            return view;
        }
        self.retired.borrow().get(&address).cloned().unwrap_or(view)
    }

    pub(super) fn serve(self: &Rc<Self>, client: Client) {
        let id = self.next_connection.get();
        self.next_connection.set(id.wrapping_add(1));
        let entry = Connection {
            listener: client.facts.listener.address,
            shared: Rc::clone(&client.facts.shared),
            task: None,
        };
        self.connections.borrow_mut().insert(id, entry);
        let worker = Rc::clone(self);
        let task = tokio::task::spawn_local(async move {
            let _entry = Entry { worker: Rc::clone(&worker), id };
            connection::run(&worker, client).await;
        });
        if let Some(entry) = self.connections.borrow_mut().get_mut(&id) {
            entry.task = Some(task.abort_handle());
        }
        self.vitals.set_connections(self.connections.borrow().len());
    }

    /// Waits until one more connection may be served.
    pub(super) async fn has_room(&self) {
        loop {
            let room = self.room.notified();
            if !self.is_full() {
                return;
            }
            room.await;
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.connections.borrow().len() >= self.limit
    }

    /// The current second as HTTP writes it.
    pub(super) fn date(&self) -> Rc<str> {
        let now = SystemTime::now();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let mut date = self.date.borrow_mut();
        if date.0 != second {
            *date = (second, httpdate::fmt_http_date(now).into());
        }
        Rc::clone(&date.1)
    }

    fn sweep(&self) {
        let view = self.view();
        let connections = self.connections.borrow();
        self.retired.borrow_mut().retain(|address, _| {
            !view.snapshot.gateway.serves(*address) && connections.values().any(|c| c.listener == *address)
        });
        for (pool, group) in view.pools.iter().zip(&view.snapshot.upstreams) {
            pool.sweep(group);
        }
    }

    async fn drain(self: &Rc<Self>, bound: Duration, mut inbox: mpsc::Receiver<Command>) {
        let end = Instant::now() + bound;
        let first_requests_end = end.min(Instant::now() + DRAIN_FIRST_REQUEST);
        for listener in self.listeners.borrow_mut().drain(..) {
            listener.stop();
        }
        let mut leaving = Leaving::AfterRequest;
        while Instant::now() < end {
            if Instant::now() >= first_requests_end {
                leaving = Leaving::WhenIdle;
            }
            // Again and again: the listeners' queues may still bring some.
            for connection in self.connections.borrow().values() {
                connection.shared.leave(leaving);
            }
            tokio::task::yield_now().await;
            if self.connections.borrow().is_empty() && leaving == Leaving::WhenIdle {
                break;
            }
            tokio::select! {
                () = sleep(self.turn_length()) => (),
                command = inbox.recv() => match command {
                    Some(Command::Verdict(verdict)) => self.fence.verdict(verdict.nonce, verdict.held),
                    Some(Command::Commit { .. } | Command::Drain { .. }) => (),
                    None => return,
                },
            }
            self.fence.look();
            self.vitals.turn();
        }
        let cut: Vec<_> = self.connections.borrow().values().filter_map(|c| c.task.clone()).collect();
        for task in &cut {
            self.vitals.count(Count::Cut);
            task.abort();
        }
        tokio::task::yield_now().await;
        let event = Event::Drained { worker: self.index, cut: cut.len() as u64 };
        // The main thread reads events as long as it lives.
        let _ = self.events.send(event).await;
    }
}

impl View {
    fn new(snapshot: Arc<Snapshot>, old: &Self) -> Self {
        let pools = snapshot.upstreams.iter().map(|group| {
            let before = old.snapshot.upstreams.iter().zip(&old.pools);
            match before.into_iter().find(|(g, _)| g.config.name == group.config.name) {
                Some((g, pool)) if g.config.servers == group.config.servers => Rc::clone(pool),
                Some((_, old)) => {
                    let pool = Pool::new(group);
                    pool.inherit(old);
                    Rc::new(pool)
                }
                None => Rc::new(Pool::new(group)),
            }
        });
        Self { pools: pools.collect(), snapshot: Arc::clone(&snapshot) }
    }
}

fn tokio_listener(socket: OwnedFd) -> io::Result<TcpListener> {
    descriptor::set_nonblocking(socket.as_fd())?;
    TcpListener::from_std(socket.into())
}

/// Takes a connection off the list when its task ends, however it ends.
struct Entry {
    worker: Rc<Worker>,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut connections = self.worker.connections.borrow_mut();
        connections.remove(&self.id);
        self.worker.vitals.set_connections(connections.len());
        self.worker.room.notify_waiters();
    }
}

/// Two descriptors for each, and some for listeners and files.
fn connection_limit(workers: usize) -> usize {
    use nix::sys::resource::{Resource, getrlimit};
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    let share = usize::try_from(files.saturating_sub(128) / 2).unwrap_or(usize::MAX) / workers.max(1);
    share.clamp(32, CONNECTIONS_MAX)
}
