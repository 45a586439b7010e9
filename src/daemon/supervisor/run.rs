//! The loop of PID 1: what happens goes into the plan, what the plan says is done. Nothing in it can end it but the
//! plan.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Weak;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::control::{self, Ask};
use super::edition::{Edition, is_built_in};
use super::notices::Notices;
use super::player::{Heard, Stage};
use super::reload::{Loaded, Loading};
use super::sockets::Sockets;
use super::start::{Call, Calls, Settings};
use super::status::{Refusal, Reports};
use super::watch::{Demand, Sighting, Watch};
use super::wishes::Wishes;
use crate::daemon::log;
use crate::link::control::HappeningKind;
use crate::link::{FenceQuery, FenceVerdict, FromProxy, FromVrrp, Generation, ToProxy, ToRunner, ToVrrp};
use crate::notification::history::History;
use crate::os::process;
use crate::os::snapshot::Snapshot;
use crate::supervision::heartbeat::Sight;
use crate::supervision::{Event, Freezes, Plan, Player, RoleName, Saying};

/// Messages of both roles that wait for this loop; a role that says more waits.
const MAX_HEARD: usize = 256;
/// Of the event loop, in which the kernel is asked, a message read, and handed on.
const LISTENING_TURNS: usize = 4;
/// Requests from the control socket that wait for this loop.
const MAX_ASKS: usize = 16;

pub(super) struct Supervisor {
    pub(super) plan: Plan,
    pub(super) in_force: Edition,
    /// Editions that the roles are being asked about.
    pub(super) pending: BTreeMap<Generation, Edition>,
    /// Sockets that the proxy may still accept from.
    pub(super) retiring: Vec<Sockets>,
    pub(super) proxy: Option<Stage<ToProxy>>,
    pub(super) vrrp: Option<Stage<ToVrrp>>,
    pub(super) runner: Option<Stage<ToRunner>>,
    pub(super) notices: Notices,
    pub(super) history: History,
    /// The groups that this proxy has been given and has not let go of. They close when no configuration has them any
    /// more.
    pub(super) given: Vec<Weak<[OwnedFd]>>,
    /// Processes that have not been reaped.
    pub(super) players: HashMap<u32, Player>,
    pub(super) heard: mpsc::Sender<Heard>,
    pub(super) loading: Loading,
    pub(super) generations: u64,
    pub(super) workers: usize,
    pub(super) wishes: Wishes,
    pub(super) freezes: Freezes,
    pub(super) reports: Reports,
    /// The proxy's last word on what the vrrp role tracks, for one that starts later.
    pub(super) upstreams_down: Option<Vec<String>>,
    pub(super) refused: Option<Refusal>,
    pub(super) replaced: bool,
    pub(super) started: Instant,
    /// What silent roles do, to be judged once all that they have said before is heard.
    pub(super) seen: Vec<(Player, usize, Sight)>,
    pub(super) is_over: bool,
}

impl Supervisor {
    fn start(&mut self) {
        let Edition { config, origin, sockets, warnings, .. } = &self.in_force;
        log::apply(config.log);
        let listen: Vec<_> = sockets.addresses().iter().map(ToString::to_string).collect();
        info!(
            "{}: vipgate {} with {} workers on {}, configured by {}",
            config.node,
            env!("CARGO_PKG_VERSION"),
            self.workers,
            listen.join(", "),
            origin.path.display()
        );
        for warning in warnings {
            warn!("{warning}");
        }
        self.warn_replaced();
        self.record(HappeningKind::Role, &format!("vipgate {} is started", env!("CARGO_PKG_VERSION")));
        self.happen(Event::Candidate(self.in_force.candidate()));
    }

    pub(super) fn warn_replaced(&self) {
        if self.replaced {
            warn!("{}", self.replaced_warning());
        }
    }

    /// Feeds the plan and does what it says, and what comes of that.
    pub(super) fn happen(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.plan.handle_event(event, Instant::now());
            self.obey(&mut events);
        }
    }

    fn time_passes(&mut self) {
        self.plan.handle_timeout(Instant::now());
        let mut events = VecDeque::new();
        self.obey(&mut events);
        while let Some(event) = events.pop_front() {
            self.happen(event);
        }
    }

    fn obey(&mut self, events: &mut VecDeque<Event>) {
        while let Some(action) = self.plan.poll_output() {
            if let Some(event) = self.act(action) {
                events.push_back(event);
            }
        }
    }

    pub(super) fn reap(&mut self) {
        while let Some((pid, end)) = process::reap() {
            let Some(player) = self.players.remove(&pid) else {
                debug!("process {pid} {end}");
                continue;
            };
            if !self.plan.is_stopping() {
                warn!("{player} (process {pid}) {end}");
                self.record(HappeningKind::Role, &format!("{player} {end}"));
            }
            if self.plan.view(player.role).incarnation == player.incarnation {
                match player.role {
                    RoleName::Proxy => self.proxy = None,
                    RoleName::Vrrp => {
                        self.vrrp = None;
                        self.wishes.give_up();
                        self.vrrp_is_gone(&end.to_string());
                    }
                    RoleName::Runner => self.runner = None,
                }
            }
            self.happen(Event::Ended(player, end.to_string()));
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Proxy(player, message) => self.hear_proxy(player, message),
            Heard::Vrrp(player, message) => self.hear_vrrp(player, message),
            Heard::Runner(player, message) => self.hear_runner(player, message),
            Heard::Outcome(player, number, outcome) => self.outcome(player, number, outcome),
            Heard::Lost(player, why) => self.happen(Event::LinkLost(player, why)),
        }
    }

    fn hear_proxy(&mut self, player: Player, message: FromProxy) {
        let saying = match message {
            FromProxy::Prepared { generation } => Saying::Prepared(generation),
            FromProxy::Refused { generation, reason } => Saying::Refused(generation, reason),
            FromProxy::Serving { generation } => Saying::InForce(generation),
            FromProxy::Beat { turns } => Saying::Beat(turns),
            FromProxy::Drained { cut } => {
                if cut > 0 {
                    warn!("{cut} connections were cut: they took longer than a stop may");
                }
                Saying::Drained
            }
            FromProxy::Left { number, cut } => {
                if cut > 0 {
                    warn!("{cut} connections were cut: their address has moved, and their time was over");
                }
                return self.follow(self.tell_vrrp(ToVrrp::Left { number }));
            }
            FromProxy::Report(report) => return self.reports.proxy(player, report),
            FromProxy::StatusQuery { query } => return self.take_query(player, query),
            FromProxy::FenceQuery(query) => return self.route_query(query),
            FromProxy::Upstreams { down } => {
                let event = self.tell_vrrp(ToVrrp::Upstreams { down: down.clone() });
                self.upstreams_down = Some(down);
                return self.follow(event);
            }
        };
        self.happen(Event::Said(player, saying));
    }

    fn hear_vrrp(&mut self, player: Player, message: FromVrrp) {
        let saying = match message {
            FromVrrp::Prepared { generation } => Saying::Prepared(generation),
            FromVrrp::Refused { generation, reason } => Saying::Refused(generation, reason),
            FromVrrp::Committed { generation } => Saying::InForce(generation),
            FromVrrp::Beat { turns } => Saying::Beat(vec![turns]),
            FromVrrp::Resigned { reason } => {
                info!("the virtual addresses are given up: {reason}");
                Saying::Resigned
            }
            FromVrrp::Report(report) => return self.reports.vrrp(player, report),
            FromVrrp::Peers { question, answer } => Saying::Peers(question, answer),
            FromVrrp::FenceVerdict(verdict) => {
                return self.follow(self.tell_proxy(ToProxy::FenceVerdict(verdict)));
            }
            FromVrrp::Gap { what } => {
                return self.record(HappeningKind::Gap, &format!("the vrrp role: {what}"));
            }
            FromVrrp::Ordered { number, from, what } => return self.take_order(player, number, from, what),
            FromVrrp::Run(run) => return self.have_run(run),
            FromVrrp::SteppedDown { question, outcome } => return self.fulfilled(question, outcome),
            FromVrrp::Leave { number, addresses, bound, before } => {
                return self.leave(player, number, addresses, bound, before);
            }
            FromVrrp::Keep { number } => return self.follow(self.tell_proxy(ToProxy::Keep { number })),
            // The vrrp role has logged it itself; the next report says the rest.
            FromVrrp::Transition(transition) => return self.pass_on(&transition),
        };
        self.happen(Event::Said(player, saying));
    }

    /// A stop ends all connections, once the addresses have moved.
    fn leave(&mut self, player: Player, number: u64, addresses: Vec<IpAddr>, bound: Duration, before: bool) {
        if before {
            self.happen(Event::Said(player, Saying::EndsConnections(bound)));
        } else if self.plan.is_stopping() {
            return;
        }
        let event = match self.proxy {
            Some(_) => self.tell_proxy(ToProxy::Leave { number, addresses, bound, before }),
            None => self.tell_vrrp(ToVrrp::Left { number }),
        };
        self.follow(event);
    }

    /// Without virtual routers there is no address to lose. With them, and nobody to ask, it may well be lost.
    fn route_query(&mut self, query: FenceQuery) {
        let verdict = |held| ToProxy::FenceVerdict(FenceVerdict { nonce: query.nonce, held });
        let event = if !self.plan.is_wanted(RoleName::Vrrp) {
            self.tell_proxy(verdict(true))
        } else if self.vrrp.is_some() {
            self.tell_vrrp(ToVrrp::FenceQuery(query))
        } else {
            self.tell_proxy(verdict(false))
        };
        self.follow(event);
    }

    pub(super) fn follow(&mut self, event: Option<Event>) {
        if let Some(event) = event {
            self.happen(event);
        }
    }
}

/// A supervisor and all that it waits for.
pub(super) struct Process1 {
    supervisor: Supervisor,
    hearing: mpsc::Receiver<Heard>,
    loaded: mpsc::Receiver<Loaded>,
    sightings: mpsc::Receiver<Sighting>,
    asked: mpsc::Receiver<Ask>,
    watch: Option<Watch>,
    /// What is watched.
    config: PathBuf,
}

impl Process1 {
    pub(super) fn new(settings: &Settings, workers: usize, seen: &Snapshot, first: Edition) -> Self {
        let now = Instant::now();
        let (heard, hearing) = mpsc::channel(MAX_HEARD);
        let (results, loaded) = mpsc::channel(1);
        let (sight, sightings) = mpsc::channel(1);
        let (asks, asked) = mpsc::channel(MAX_ASKS);
        let in_file = Some(seen).filter(|seen| !is_built_in(&seen.path));
        let watch = Watch::start(settings.config.clone(), in_file, sight)
            .inspect_err(|e| warn!("edits of the configuration are read on SIGHUP only: {e}"))
            .ok();
        match control::listen(&settings.control_suffix) {
            Ok(listener) => drop(tokio::spawn(control::serve(listener, asks))),
            Err(error) => warn!(
                "`vipgate status` will not work: the control socket @vipgate{} cannot be opened: {error}; where \
                 several vipgates share a network namespace, give each its own VIPGATE_CONTROL",
                settings.control_suffix
            ),
        }
        let supervisor = Supervisor {
            plan: Plan::new(now),
            in_force: first,
            pending: BTreeMap::new(),
            retiring: vec![],
            proxy: None,
            vrrp: None,
            runner: None,
            notices: Notices::default(),
            history: History::default(),
            given: vec![],
            players: HashMap::new(),
            heard,
            loading: Loading::new(results),
            generations: 1,
            workers,
            wishes: Wishes::default(),
            freezes: Freezes::default(),
            reports: Reports::default(),
            upstreams_down: None,
            refused: None,
            replaced: seen.links == 0,
            started: now,
            seen: vec![],
            is_over: false,
        };
        Self { supervisor, hearing, loaded, sightings, asked, watch, config: settings.config.clone() }
    }

    pub(super) async fn run(mut self, mut calls: Calls) {
        self.supervisor.start();
        while !self.supervisor.is_over {
            self.turn(&mut calls).await;
            if let Some(call) = self.supervisor.stand_still(&mut calls).await {
                self.answer(call);
            }
            self.supervisor.answer_asks();
        }
        self.supervisor.reap();
    }

    async fn turn(&mut self, calls: &mut Calls) {
        let supervisor = &mut self.supervisor;
        let next = supervisor.next_deadline();
        let timeout = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            call = calls.next() => self.answer(call),
            Some(heard) = self.hearing.recv() => supervisor.hear(heard),
            Some(sighting) = self.sightings.recv() => supervisor.sight(sighting),
            Some(loaded) = self.loaded.recv() => supervisor.take_loaded(loaded),
            Some(ask) = self.asked.recv() => supervisor.take_ask(ask),
            () = timeout => {
                // What was said before the deadline counts before it.
                self.hear_all();
                self.supervisor.reap();
                self.supervisor.time_passes();
                if self.supervisor.begin_try() {
                    self.look(Demand::Again);
                }
                self.judge().await;
            }
        }
    }

    fn hear_all(&mut self) {
        for _ in 0..MAX_HEARD {
            let Ok(heard) = self.hearing.try_recv() else { break };
            self.supervisor.hear(heard);
        }
    }

    /// Who was seen to rest has said before what it had to say: that is heard first, which takes those that listen a turn
    /// of their own.
    async fn judge(&mut self) {
        let seen = std::mem::take(&mut self.supervisor.seen);
        if seen.is_empty() {
            return;
        }
        for _ in 0..LISTENING_TURNS {
            tokio::task::yield_now().await;
        }
        self.hear_all();
        for (player, worker, sight) in seen {
            self.supervisor.happen(Event::Seen(player, worker, sight));
        }
    }

    fn answer(&mut self, call: Call) {
        match call {
            Call::Stop => {
                self.supervisor.record(HappeningKind::Role, "vipgate is told to stop");
                self.supervisor.happen(Event::Stop);
            }
            Call::Reap => self.supervisor.reap(),
            Call::Reload => {
                self.supervisor.hang_up();
                self.look(Demand::Now);
            }
        }
    }

    /// Has the file read, whether or not it has changed.
    fn look(&mut self, demand: Demand) {
        match &self.watch {
            Some(watch) => watch.demand(demand),
            // 1 MiB at most: the roles' heartbeats can wait for that.
            None => self.supervisor.sight(Sighting::of(&self.config, demand)),
        }
    }
}
