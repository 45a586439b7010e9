//! One worker: a thread, its runtime, its listeners and connections.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::access_log::AccessLog;
use super::buffers::Buffers;
use super::client::{Client, Leaving};
use super::connection;
use super::counters::Vitals;
use super::crew::{Command, Event};
use super::deadline::Deadlines;
use super::drain::Departure;
use super::fence::Fence;
use super::limits::{CONNECTIONS_MAX, PIPES_MAX, SPARE_FIELDS, SWEEP, TURN, TURN_MIN, TURNS_PER_FENCE_BOUND};
use super::listener::{self, Listener};
use super::pipes::Pipes;
use super::pool::Pool;
use super::rescue::Siblings;
use super::shortage::Shortage;
use super::snapshot::Snapshot;
use crate::config::ClientLimits;
use crate::gateway::{RequestFields, RequestIds, SecondText};
use crate::http1::Fields;
use crate::link::Generation;
use crate::os::{clock, descriptor};

pub(super) struct Worker {
    pub(super) index: usize,
    snapshot: Arc<ArcSwap<Snapshot>>,
    view: RefCell<Rc<View>>,
    /// Addresses that are served no more, with the last configuration that did: for requests still under way.
    retired: RefCell<HashMap<SocketAddr, Rc<View>>>,
    pub(super) fence: Rc<Fence>,
    pub(super) buffers: Buffers,
    pub(super) pipes: Pipes,
    pub(super) deadlines: Deadlines,
    /// Memory of heads that have been let go.
    fields: RefCell<Vec<Fields>>,
    pub(super) siblings: Siblings,
    pub(super) shortage: Shortage,
    pub(super) vitals: Arc<Vitals>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) listeners: RefCell<Vec<Rc<Listener>>>,
    pub(super) connections: RefCell<HashMap<u64, Connection>>,
    next_connection: Cell<u64>,
    /// Addresses whose connections are to end.
    pub(super) departures: RefCell<Vec<Departure>>,
    /// What every connection is told, old or new.
    pub(super) leaving: Cell<Leaving>,
    /// Connections that were cut at a bound.
    pub(super) cut: Cell<u64>,
    limit: usize,
    /// A connection ended.
    room: Notify,
    date: RefCell<(u64, Rc<str>)>,
    second: RefCell<Rc<SecondText>>,
    request_ids: RefCell<RequestIds>,
    pub(super) request_fields: RefCell<RequestFields>,
    /// `None`: the worker is about to end.
    pub(super) access_log: RefCell<Option<AccessLog>>,
}

pub(super) struct Connection {
    pub(super) client: Rc<Client>,
    pub(super) task: Option<AbortHandle>,
}

/// A configuration's snapshot with this worker's own state for each of its upstreams.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Counts this worker's views.
    pub(super) number: u64,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) pools: Vec<Rc<Pool>>,
}

impl Worker {
    pub(super) fn new(
        index: usize,
        vitals: Arc<[Arc<Vitals>]>,
        snapshot: Arc<ArcSwap<Snapshot>>,
        events: mpsc::Sender<Event>,
        access_log: Option<AccessLog>,
    ) -> Self {
        let own = vitals.get(index).map(Arc::clone).unwrap_or_default();
        let limit = connection_limit(vitals.len());
        Self {
            index,
            snapshot,
            view: RefCell::default(),
            retired: RefCell::default(),
            fence: Rc::new(Fence::new(index, events.clone(), Arc::clone(&own))),
            buffers: Buffers::default(),
            pipes: Pipes::default(),
            deadlines: Deadlines::default(),
            fields: RefCell::default(),
            siblings: Siblings::new(index, vitals),
            shortage: Shortage::default(),
            vitals: own,
            events,
            listeners: RefCell::default(),
            connections: RefCell::default(),
            next_connection: Cell::new(0),
            departures: RefCell::default(),
            leaving: Cell::default(),
            cut: Cell::new(0),
            limit,
            room: Notify::new(),
            date: RefCell::new((u64::MAX, "".into())),
            second: RefCell::new(Rc::new(SecondText::new(0))),
            request_ids: RefCell::new(RequestIds::new(seed())),
            request_fields: RefCell::default(),
            access_log: RefCell::new(access_log),
        }
    }

    pub(super) async fn run(self: Rc<Self>, mut inbox: mpsc::Receiver<Command>) {
        let mut last_sweep = Instant::now();
        loop {
            // What came first is looked at first: a command may be older than the gap that the clock shows.
            let command = tokio::select! {
                biased;
                () = sleep(self.turn_length()) => None,
                command = inbox.recv() => Some(command),
            };
            self.turn();
            match command {
                None => (),
                Some(Some(Command::Commit { generation, listeners })) => {
                    self.commit(generation, listeners).await
                }
                Some(Some(Command::Verdict(verdict))) => self.fence.verdict(verdict.nonce, verdict.held),
                Some(Some(Command::Leave { number, addresses, bound, before })) => {
                    self.leave(number, addresses, bound, before);
                }
                Some(Some(Command::Keep { number })) => self.keep(number),
                Some(Some(Command::Drain { bound })) => return self.drain(bound, inbox).await,
                // The main thread ended without a word: so does the process.
                Some(None) => return,
            }
            self.depart().await;
            if last_sweep.elapsed() > Duration::from_secs(1) {
                last_sweep = Instant::now();
                self.sweep();
            }
        }
    }

    /// Whatever has to be done again and again, however busy the connections are.
    pub(super) fn turn(self: &Rc<Self>) {
        self.fence.look();
        self.vitals.turn();
        if self.deadlines.are_due() {
            for connection in self.connections.borrow().values() {
                self.deadlines.ring(&connection.client.alarm);
            }
        }
        self.siblings.rescue(self);
        if let Some(log) = &mut *self.access_log.borrow_mut() {
            log.turn(std::time::Instant::now());
        }
    }

    pub(super) fn turn_length(&self) -> Duration {
        let bound = self.view.borrow().snapshot.fence;
        let turn = bound.map_or(TURN, |b| (b / TURNS_PER_FENCE_BOUND).clamp(TURN_MIN, TURN));
        turn.min(self.deadlines.left().max(SWEEP)).max(TURN_MIN)
    }

    async fn commit(self: &Rc<Self>, generation: Generation, listeners: Vec<(SocketAddr, usize, OwnedFd)>) {
        self.renew_view();
        let view = self.view();
        self.fence.configure(view.snapshot.fence, &view.snapshot.virtual_addresses);
        for (address, owner, socket) in listeners {
            if owner != self.index {
                self.siblings.adopt(address, owner, socket);
                continue;
            }
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
        self.siblings.retain(|address| view.snapshot.gateway.serves(address));
        for connection in self.connections.borrow().values() {
            if !view.snapshot.gateway.serves(connection.client.listener.address) {
                connection.client.leave(Leaving::AfterRequest);
            }
        }
        // The main thread reads events as long as it lives.
        let _ = self.events.send(Event::Serving { worker: self.index, generation }).await;
    }

    /// The configuration in force.
    pub(super) fn view(&self) -> Rc<View> {
        Rc::clone(&self.view.borrow())
    }

    fn renew_view(&self) {
        let current = self.snapshot.load_full();
        let mut view = self.view.borrow_mut();
        if Arc::ptr_eq(&current, &view.snapshot) {
            return;
        }
        let next = Rc::new(View::new(Arc::clone(&current), &view, self));
        let mut retired = self.retired.borrow_mut();
        for address in view.snapshot.gateway.addresses() {
            if !current.gateway.serves(address) {
                retired.insert(address, Rc::clone(&view));
            }
        }
        *view = next;
    }

    /// The configuration for a request that came in on `listener`.
    pub(super) fn view_for(&self, listener: &Listener) -> Rc<View> {
        let view = self.view();
        if listener.place(&view).is_some() {
            return view;
        }
        self.retired.borrow().get(&listener.address).cloned().unwrap_or(view)
    }

    /// What a client may do that has not said yet which server it wants.
    pub(super) fn limits_of(&self, listener: &Listener) -> ClientLimits {
        let view = self.view_for(listener);
        let site = listener.place(&view).and_then(|place| view.snapshot.gateway.site(place, None));
        site.map_or(UNKNOWN_CLIENT, |site| site.client)
    }

    /// Memory for the fields of a head; to be given back.
    pub(super) fn take_fields(&self) -> Fields {
        self.fields.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_fields(&self, fields: Fields) {
        let mut spare = self.fields.borrow_mut();
        if spare.len() < SPARE_FIELDS {
            spare.push(fields);
        }
    }

    /// The number of a connection that was just accepted.
    pub(super) fn next_connection(&self) -> u64 {
        let number = self.next_connection.get() + 1;
        self.next_connection.set(number);
        number
    }

    /// This second as texts of logs have it.
    pub(super) fn second(&self, second: u64) -> Rc<SecondText> {
        let mut text = self.second.borrow_mut();
        if text.second() != second {
            *text = Rc::new(SecondText::new(second));
        }
        Rc::clone(&text)
    }

    pub(super) fn draw_request_id(&self) -> u128 {
        self.request_ids.borrow_mut().draw()
    }

    /// `write` appends a line to the access log.
    pub(super) fn log(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(log) = &mut *self.access_log.borrow_mut() {
            log.line(write);
        }
    }

    pub(super) fn serve(self: &Rc<Self>, client: Client) {
        self.tell_new(&client);
        // One piece of memory, whoever looks at it: as a part of the task it would lie in each of its futures.
        let (id, client) = (client.number, Rc::new(client));
        let entry = Connection { client: Rc::clone(&client), task: None };
        self.connections.borrow_mut().insert(id, entry);
        let worker = Rc::clone(self);
        let task = tokio::task::spawn_local(async move {
            let _entry = Entry { worker: Rc::clone(&worker), id };
            connection::run(&worker, &client).await;
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
        self.buffers.trim();
        self.pipes.trim();
        let view = self.view();
        let connections = self.connections.borrow();
        self.retired.borrow_mut().retain(|address, _| {
            !view.snapshot.gateway.serves(*address)
                && connections.values().any(|c| c.client.listener.address == *address)
        });
        for (pool, group) in view.pools.iter().zip(&view.snapshot.upstreams) {
            pool.sweep(group, std::time::Instant::now());
        }
    }
}

impl View {
    fn new(snapshot: Arc<Snapshot>, old: &Self, worker: &Worker) -> Self {
        let pools = snapshot.upstreams.iter().enumerate().map(|(n, group)| {
            let before = old.snapshot.upstreams.iter().zip(&old.pools);
            let before = before.into_iter().find(|(g, _)| g.config.name == group.config.name);
            if let Some((_, pool)) = before.filter(|(_, pool)| pool.suits(group)) {
                return Rc::clone(pool);
            }
            let seed =
                clock::boottime_ns() ^ (((worker.index as u64) << 32) | n as u64).wrapping_mul(SEED_SPREAD);
            let pool = Pool::new(group, seed, Arc::clone(&worker.vitals));
            if let Some((_, old)) = before {
                pool.inherit(group, old);
            }
            Rc::new(pool)
        });
        Self { number: old.number + 1, pools: pools.collect(), snapshot: Arc::clone(&snapshot) }
    }
}

/// Random bits: what every hash table of the standard library is seeded with.
fn seed() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(()));
    half() << 64 | half()
}

/// Spreads neighbouring numbers over all 64 bits (the golden ratio).
const SEED_SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// For a client of an address that is served no more.
const UNKNOWN_CLIENT: ClientLimits = ClientLimits {
    client_header_timeout: Duration::from_secs(60),
    keepalive_timeout: Duration::ZERO,
    keepalive_requests: 1,
    client_body_timeout: Duration::from_secs(60),
    send_timeout: Duration::from_secs(60),
    client_max_body_size: None,
};

fn tokio_listener(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    descriptor::set_nonblocking(socket.as_fd())?;
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe, which is `os`'s alone, and demands what `AsFd` promises: a descriptor that \
                  stays open and the same"
    )]
    AsyncFd::with_interest(socket, Interest::READABLE)
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

/// Two descriptors for each and for every pipe, and some for listeners and files.
fn connection_limit(workers: usize) -> usize {
    use nix::sys::resource::{Resource, getrlimit};
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    let share = usize::try_from(files.saturating_sub(128) / 2).unwrap_or(usize::MAX) / workers.max(1);
    share.saturating_sub(PIPES_MAX).clamp(32, CONNECTIONS_MAX)
}
