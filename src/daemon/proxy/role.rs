//! The main thread: what PID 1 asks for, handed to the workers; what they report, handed back.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::admin::{self, Admin, Question, Waiting};
use super::counters::{Count, Sums, Vitals};
use super::crew::{self, Command, Event, Handle};
use super::departures::Departures;
use super::directory::Directory;
use super::limits::{ADMIN_CONNECTIONS_MAX, BEAT, EVENTS, LOG_END, ORPHAN_DRAIN, OUTBOX, WORKERS_MAX};
use super::metrics::Measured;
use super::snapshot::Snapshot;
use super::{access_log, error_pages};
use crate::config::{Config, Log, Resolver};
use crate::daemon::event_loop::{self, BLOCKING_THREADS};
use crate::daemon::link::{Link, Sender};
use crate::daemon::log;
use crate::link::{FromProxy, Generation, ProxyReport, ToProxy};

/// A bug of this program (sysexits EX_SOFTWARE).
const BUG: u8 = 70;

/// Plays the role until the other end of `link` closes; then drains for a moment.
pub fn run(link: OwnedFd) -> ExitCode {
    let result = event_loop::build(BLOCKING_THREADS)
        .and_then(|runtime| event_loop::play(&runtime, async { Role::new(link)?.run().await }));
    match result {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("the proxy ends: {error}");
            ExitCode::from(BUG)
        }
    }
}

struct Role {
    link: Link<FromProxy, ToProxy>,
    outbox: mpsc::Sender<FromProxy>,
    events: mpsc::Receiver<Event>,
    events_in: mpsc::Sender<Event>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    directory: Directory,
    access_log: access_log::Writer,
    workers: Vec<Handle>,
    /// Sockets that PID 1 has sent for a configuration to come.
    arrived: HashMap<(SocketAddr, usize), OwnedFd>,
    /// What the workers accept on.
    accepting: HashSet<(SocketAddr, usize)>,
    prepared: Option<Prepared>,
    /// Workers that have not yet said that they serve this generation.
    awaited: Option<(Generation, HashSet<usize>)>,
    /// The admin endpoint that is open, and a socket for one to come.
    admin: Option<Admin>,
    admin_arrived: Option<(SocketAddr, OwnedFd)>,
    asked: mpsc::Receiver<Question>,
    asked_in: mpsc::Sender<Question>,
    waiting: Waiting,
    /// Workers that have not drained, and what the others had to cut.
    draining: Option<(HashSet<usize>, u64)>,
    /// The tracked upstreams without a server, as PID 1 knows them.
    told_down: Option<Vec<String>>,
    departures: Departures,
}

struct Prepared {
    generation: Generation,
    workers: usize,
    log: Log,
    resolver: Resolver,
    admin: Option<SocketAddr>,
    snapshot: Snapshot,
}

enum Flow {
    Continue,
    Exit(ExitCode),
}

impl Role {
    fn new(link: OwnedFd) -> io::Result<Self> {
        let link = Link::from_fd(link)?;
        let (outbox, letters) = mpsc::channel(OUTBOX);
        tokio::spawn(post(link.sender(), letters));
        let (events_in, events) = mpsc::channel(EVENTS);
        let (asked_in, asked) = mpsc::channel(ADMIN_CONNECTIONS_MAX);
        Ok(Self {
            link,
            outbox,
            events,
            events_in,
            snapshot: Arc::default(),
            directory: Directory::default(),
            access_log: access_log::Writer::to_standard_output()?,
            workers: vec![],
            arrived: HashMap::new(),
            accepting: HashSet::new(),
            prepared: None,
            awaited: None,
            admin: None,
            admin_arrived: None,
            asked,
            asked_in,
            waiting: Waiting::default(),
            draining: None,
            told_down: None,
            departures: Departures::default(),
        })
    }

    async fn run(mut self) -> io::Result<ExitCode> {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut linked = true;
        loop {
            let patience = self.waiting.deadline();
            let flow = tokio::select! {
                message = self.link.receive(), if linked => match message {
                    Ok(Some((message, fd))) => self.message(message, fd).await,
                    Ok(None) => {
                        linked = false;
                        self.parent_gone().await
                    }
                    Err(error) => {
                        tracing::error!("the link to the supervisor is broken: {error}");
                        linked = false;
                        self.parent_gone().await
                    }
                },
                Some(event) = self.events.recv() => self.event(event, linked).await,
                _ = beat.tick() => self.beat(),
                Some(question) = self.asked.recv() => self.question(question, linked).await,
                () = sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {
                    let askers = self.waiting.release();
                    admin::tell(askers, None, || self.measure());
                    Flow::Continue
                }
            };
            match flow {
                Flow::Continue => (),
                Flow::Exit(code) => {
                    self.access_log.finish(LOG_END);
                    return Ok(code);
                }
            }
        }
    }

    async fn message(&mut self, message: ToProxy, fd: Option<OwnedFd>) -> Flow {
        match message {
            ToProxy::Listener { address, worker } => match fd {
                Some(fd) => _ = self.arrived.insert((address, worker), fd),
                None => tracing::error!(%address, worker, "a listener came without its socket"),
            },
            ToProxy::AdminListener { address } => match fd {
                Some(fd) => self.admin_arrived = Some((address, fd)),
                None => tracing::error!(%address, "the admin listener came without its socket"),
            },
            ToProxy::Status { query, status } => {
                let askers = self.waiting.answered(query);
                admin::tell(askers, Some(status), || self.measure());
            }
            ToProxy::Prepare { generation, workers, config } => {
                let answer = match self.prepare(generation, workers, *config) {
                    Ok(()) => FromProxy::Prepared { generation },
                    Err(reason) => FromProxy::Refused { generation, reason },
                };
                self.say(answer).await;
            }
            ToProxy::Commit { generation } => return self.commit(generation).await,
            ToProxy::Abort { generation } => {
                if self.prepared.as_ref().is_some_and(|p| p.generation == generation) {
                    self.prepared = None;
                }
                self.arrived.clear();
                self.admin_arrived = None;
            }
            ToProxy::FenceVerdict(verdict) => {
                // Every worker knows its own questions, and their numbers are not another's.
                for worker in &self.workers {
                    // A worker whose inbox is full refuses when its own time is up.
                    let _ = worker.commands.try_send(Command::Verdict(verdict));
                }
            }
            ToProxy::Leave { number, addresses, bound, before } => {
                self.leave(number, addresses, bound, before).await;
            }
            ToProxy::Keep { number } => {
                self.departures.give_up(number);
                self.command(|| Command::Keep { number }).await;
            }
            ToProxy::Drain { bound } => return self.drain(bound).await,
            ToProxy::Report => {
                let report = self.report();
                self.say(FromProxy::Report(report)).await;
            }
        }
        Flow::Continue
    }

    fn prepare(&mut self, generation: Generation, workers: usize, config: Config) -> Result<(), String> {
        self.prepared = None;
        if self.draining.is_some() {
            return Err("the proxy is draining".into());
        }
        if !(1..=WORKERS_MAX).contains(&workers) {
            return Err(format!("{workers} workers: 1 to {WORKERS_MAX} are possible"));
        }
        if !self.workers.is_empty() && workers != self.workers.len() {
            return Err(format!(
                "the number of workers cannot change from {} to {workers} in a running proxy; restart it",
                self.workers.len()
            ));
        }
        for address in config.servers.iter().flat_map(|s| &s.listen) {
            for worker in 0..workers {
                let key = (*address, worker);
                if !self.arrived.contains_key(&key) && !self.accepting.contains(&key) {
                    return Err(format!("no socket for {address} came for worker {worker}"));
                }
            }
        }
        let admin = config.admin.map(|admin| admin.listen);
        let has_socket = |address| {
            self.admin_arrived.as_ref().is_some_and(|(a, _)| *a == address)
                || self.admin.as_ref().is_some_and(|admin| admin.address == address)
        };
        if let Some(address) = admin.filter(|address| !has_socket(*address)) {
            return Err(format!("no socket for {address} came for the admin endpoint"));
        }
        let log = config.log;
        let resolver = config.resolver.clone();
        let pages = error_pages::read(&config)?;
        let snapshot = Snapshot::try_new(config, generation, pages, &mut self.directory)?;
        self.prepared = Some(Prepared { generation, workers, log, resolver, admin, snapshot });
        Ok(())
    }

    async fn commit(&mut self, generation: Generation) -> Flow {
        let Some(prepared) = self.prepared.take_if(|p| p.generation == generation) else {
            tracing::error!(generation = generation.0, "told to commit what was not prepared");
            return Flow::Continue;
        };
        log::apply(prepared.log);
        self.open_admin(prepared.admin);
        let served: HashSet<SocketAddr> = prepared.snapshot.gateway.addresses().collect();
        let mut listeners: Vec<Vec<_>> = (0..prepared.workers).map(|_| vec![]).collect();
        for ((address, owner), socket) in self.arrived.drain() {
            if served.contains(&address) {
                crew::share((address, owner, socket), &mut listeners);
                self.accepting.insert((address, owner));
            }
        }
        self.accepting.retain(|(address, _)| served.contains(address));
        let snapshot = Arc::new(prepared.snapshot);
        self.snapshot.store(Arc::clone(&snapshot));
        self.directory.attend(&snapshot, &prepared.resolver);
        let vitals: Arc<[Arc<Vitals>]> = (0..prepared.workers).map(|_| Arc::default()).collect();
        // All of them at the first configuration: their number does not change.
        for index in self.workers.len()..prepared.workers {
            let (vitals, snapshot) = (Arc::clone(&vitals), Arc::clone(&self.snapshot));
            let log = self.access_log.intake();
            match crew::start(index, vitals, snapshot, self.events_in.clone(), log) {
                Ok(handle) => self.workers.push(handle),
                Err(error) => {
                    tracing::error!("cannot start worker {index}: {error}");
                    return Flow::Exit(ExitCode::from(BUG));
                }
            }
        }
        self.awaited = Some((generation, (0..self.workers.len()).collect()));
        for (worker, listeners) in self.workers.iter().zip(listeners) {
            // A worker that has ended is noticed at the next beat.
            let _ = worker.commands.send(Command::Commit { generation, listeners }).await;
        }
        Flow::Continue
    }

    fn open_admin(&mut self, wanted: Option<SocketAddr>) {
        if let Some((address, socket)) =
            self.admin_arrived.take().filter(|(address, _)| wanted == Some(*address))
        {
            self.admin = Admin::open(address, socket, self.asked_in.clone())
                .inspect_err(
                    |error| tracing::error!(%address, "the admin endpoint cannot be opened: {error}"),
                )
                .ok();
        }
        self.admin = self.admin.take().filter(|admin| wanted == Some(admin.address));
    }

    async fn question(&mut self, question: Question, linked: bool) -> Flow {
        if let Some(query) = self.waiting.add(question, Instant::now()).filter(|_| linked) {
            self.say(FromProxy::StatusQuery { query }).await;
        }
        Flow::Continue
    }

    async fn event(&mut self, event: Event, linked: bool) -> Flow {
        match event {
            Event::Serving { worker, generation } => {
                let Some((awaited, workers)) = &mut self.awaited else { return Flow::Continue };
                if *awaited == generation {
                    workers.remove(&worker);
                    if workers.is_empty() {
                        self.awaited = None;
                        self.say(FromProxy::Serving { generation }).await;
                    }
                }
            }
            Event::FenceQuery { worker, query } => {
                tracing::debug!(worker, nonce = query.nonce, "fence query");
                self.say(FromProxy::FenceQuery(query)).await;
            }
            Event::Left { worker, number, cut } => {
                if let Some(cut) = self.departures.left(worker, number, cut) {
                    self.say(FromProxy::Left { number, cut }).await;
                }
            }
            Event::Drained { worker, cut } => {
                let Some((workers, sum)) = &mut self.draining else { return Flow::Continue };
                workers.remove(&worker);
                *sum += cut;
                if workers.is_empty() {
                    let cut = *sum;
                    if !linked {
                        return Flow::Exit(ExitCode::SUCCESS);
                    }
                    self.say(FromProxy::Drained { cut }).await;
                }
            }
        }
        Flow::Continue
    }

    fn beat(&mut self) -> Flow {
        if self.draining.is_none() && self.workers.iter().any(Handle::is_finished) {
            tracing::error!("a worker ended by itself");
            return Flow::Exit(ExitCode::from(BUG));
        }
        let turns = self.workers.iter().map(|w| w.vitals.turns()).collect();
        // Half of the box is for messages that must not be lost; a beat that finds no room says nothing new.
        if self.outbox.capacity() > OUTBOX / 2 {
            let _ = self.outbox.try_send(FromProxy::Beat { turns });
            self.tell_upstreams();
        }
        Flow::Continue
    }

    /// What is not told now is told with a later beat.
    fn tell_upstreams(&mut self) {
        // Once nobody tracks any, nothing that was said of them may count when somebody does again.
        let none = || self.told_down.is_some().then(Vec::new);
        let down = self.snapshot.load().tracked_down().or_else(none);
        if let Some(down) = down.filter(|down| self.told_down.as_ref() != Some(down))
            && self.outbox.try_send(FromProxy::Upstreams { down: down.clone() }).is_ok()
        {
            self.told_down = Some(down);
        }
    }

    async fn drain(&mut self, bound: Duration) -> Flow {
        if self.draining.is_some() {
            return Flow::Continue;
        }
        self.draining = Some(((0..self.workers.len()).collect(), 0));
        self.command(|| Command::Drain { bound }).await;
        if self.workers.is_empty() {
            self.say(FromProxy::Drained { cut: 0 }).await;
        }
        Flow::Continue
    }

    async fn leave(&mut self, number: u64, addresses: Vec<IpAddr>, bound: Duration, before: bool) {
        if self.draining.is_some() || self.workers.is_empty() {
            // A drain ends them all, and tells when.
            return;
        }
        self.departures.begin(number, self.workers.len());
        self.command(|| Command::Leave { number, addresses: addresses.clone(), bound, before }).await;
    }

    async fn command(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            // A worker that has ended has nothing in flight; that it has is noticed at the next beat.
            let _ = worker.commands.send(command()).await;
        }
    }

    /// Nobody is left to say anything to: finish what is in flight, and go.
    async fn parent_gone(&mut self) -> Flow {
        let idle = match &self.draining {
            Some((workers, _)) => workers.is_empty(),
            None => self.workers.is_empty(),
        };
        if idle {
            return Flow::Exit(ExitCode::SUCCESS);
        }
        tracing::info!("the supervisor is gone; finishing what is in flight");
        self.drain(ORPHAN_DRAIN).await
    }

    fn report(&self) -> ProxyReport {
        let sums = self.sums();
        ProxyReport {
            workers: self.workers.len(),
            connections: sums.connections,
            requests: sums.counted(Count::Requests),
            upstreams: self.snapshot.load().report(),
            counters: sums
                .named()
                .chain([("access_log_lines_lost", self.access_log.intake().lost())])
                .map(|(name, n)| (name.to_owned(), n))
                .collect(),
        }
    }

    fn sums(&self) -> Sums {
        Sums::of(self.workers.iter().map(|worker| &*worker.vitals).chain([self.directory.vitals()]))
    }

    fn measure(&self) -> Measured {
        let upstreams = self.snapshot.load().report();
        Measured { workers: self.workers.len(), sums: self.sums(), upstreams, node: None }
    }

    async fn say(&self, message: FromProxy) {
        // Fails only when the link is closed, which the receiving side notices.
        let _ = self.outbox.send(message).await;
    }
}

/// Sends what is in the box, in order.
async fn post(sender: Sender<FromProxy>, letters: mpsc::Receiver<FromProxy>) {
    if let Err(error) = sender.send_all(letters).await {
        tracing::debug!("the supervisor does not listen: {error}");
    }
}
