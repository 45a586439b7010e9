//! The event loop of the vrrp role, and what PID 1 says to it.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::alarm::Alarm;
use super::commands::Commands;
use super::distinct;
use super::door;
use super::groups;
use super::instance::Instance;
use super::kernel::Kernel;
use super::peering::{self, Peering};
use super::peers;
use super::proxy_health::{ProxyWatch, Question};
use super::report;
use super::resolver::{Answer, Resolver};
use super::shell::Shell;
use super::succession::{self, Heir};
use super::tracker::{Sighting, Tracker};
use super::turns::{TURN, is_due};
use super::wire::Readiness;
use super::wishes::{self, Wishes};
use crate::config::{Config, Host, SyncGroup, Transport, VrrpInstance};
use crate::daemon::event_loop::{self, BLOCKING_THREADS, readable};
use crate::daemon::link::Link;
use crate::daemon::log;
use crate::link::{FenceQuery, FenceVerdict, FromVrrp, Generation, ToVrrp};
use crate::os::netlink::{Event, EventSocket};

/// Messages to PID 1 that may wait: seconds of beats. PID 1 that reads nothing for so long is frozen or gone.
const OUTBOX: usize = 256;
/// Answers of DNS and of the front door; whoever has one waits until there is room.
const INBOX: usize = 16;
/// Kernel state is looked at this often, and at once when the kernel has news.
const VERIFY_EVERY: Duration = Duration::from_secs(1);
/// News of the kernel come in bursts; one look serves for all of a burst.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(10);
/// A virtual router that the configuration has lost hands over within this.
const LEAVE_BOUND: Duration = Duration::from_secs(3);
/// Why a wish for a virtual router came to nothing.
const BECAME_ANOTHER: &str = "an edit has made it another virtual router meanwhile";
/// sysexits: an internal fault, and missing permission.
const EX_SOFTWARE: u8 = 70;
const EX_NOPERM: u8 = 77;

/// Plays the role until the link ends. Returns once nothing of it is left in the kernel.
pub fn run(link: OwnedFd) -> ExitCode {
    let runtime = match event_loop::build(BLOCKING_THREADS) {
        Ok(runtime) => runtime,
        Err(error) => return failed("no event loop", &error),
    };
    let code = event_loop::play(&runtime, play(link));
    // A name that is still being looked up must not keep the process.
    runtime.shutdown_background();
    code
}

async fn play(link: OwnedFd) -> ExitCode {
    let link = match Link::from_fd(link) {
        Ok(link) => link,
        Err(error) => return failed("no link to PID 1", &error),
    };
    let (outbox, outgoing) = mpsc::channel(OUTBOX);
    // Ends with the link, or with the role. The reading side sees the end of the link as well, and acts on it.
    let writer = tokio::spawn(link.sender().send_all(outgoing));
    let (answers, resolved) = mpsc::channel(INBOX);
    let (door, knocked) = mpsc::channel(INBOX);
    let (seen, sightings) = mpsc::channel(INBOX);
    let tracker = Tracker::new(seen, Commands::new(outbox.clone()));
    let code = match Role::new(outbox, Resolver::new(answers), tracker, door) {
        Ok((role, told)) => match Alarm::new() {
            Ok(alarm) => role.turn_until_the_end(alarm, link, resolved, knocked, sightings, told).await,
            Err(error) => failed("no timer", &error),
        },
        Err(error) => failed("no netlink socket", &error),
    };
    writer.abort();
    code
}

fn failed(what: &str, error: &io::Error) -> ExitCode {
    error!("the vrrp role cannot work: {what}: {error}");
    ExitCode::from(if error.kind() == io::ErrorKind::PermissionDenied { EX_NOPERM } else { EX_SOFTWARE })
}

struct Role {
    shell: Shell,
    instances: Vec<Instance>,
    events: AsyncFd<EventSocket>,
    resolver: Resolver,
    tracker: Tracker,
    groups: Vec<SyncGroup>,
    proxy: ProxyWatch,
    peering: Peering,
    door: mpsc::Sender<Knock>,
    prepared: Option<(Generation, Box<Config>)>,
    wishes: Wishes,
    turns: u64,
    next_turn: Instant,
    next_look: Instant,
    looked: Instant,
    /// `Resigned` is owed to PID 1.
    resigning: bool,
    told_gap: u64,
}

/// What became of a question at the front door.
type Knock = (Question, Result<(), String>);

enum Wake {
    Link(io::Result<Option<ToVrrp>>),
    Resolved(Answer),
    Door(Knock),
    Seen(Sighting),
    Peer(peering::Event),
    Socket,
    Timer(io::Result<()>),
}

impl Role {
    fn new(
        outbox: mpsc::Sender<FromVrrp>,
        resolver: Resolver,
        tracker: Tracker,
        door: mpsc::Sender<Knock>,
    ) -> io::Result<(Self, mpsc::Receiver<peering::Event>)> {
        let events = readable(EventSocket::open()?)?;
        let now = Instant::now();
        let (peering, told) = Peering::new(now)?;
        let role = Self {
            shell: Shell::new(Kernel::open()?, outbox),
            instances: vec![],
            events,
            resolver,
            tracker,
            groups: vec![],
            proxy: ProxyWatch::new(),
            peering,
            door,
            prepared: None,
            wishes: Wishes::default(),
            turns: 0,
            next_turn: now,
            next_look: now,
            looked: now,
            resigning: false,
            told_gap: 0,
        };
        Ok((role, told))
    }

    async fn turn_until_the_end(
        mut self,
        mut alarm: Alarm,
        mut link: Link<FromVrrp, ToVrrp>,
        mut resolved: mpsc::Receiver<Answer>,
        mut knocked: mpsc::Receiver<Knock>,
        mut sightings: mpsc::Receiver<Sighting>,
        mut told: mpsc::Receiver<peering::Event>,
    ) -> ExitCode {
        loop {
            let due = self.deadline();
            let wake = tokio::select! {
                message = link.receive() => Wake::Link(message.map(|m| m.map(|(message, _)| message))),
                Some(answer) = resolved.recv() => Wake::Resolved(answer),
                Some(knock) = knocked.recv() => Wake::Door(knock),
                Some(sighting) = sightings.recv() => Wake::Seen(sighting),
                Some(event) = told.recv() => Wake::Peer(event),
                wake = poll_fn(|context| self.poll_own(&mut alarm, due, context)) => wake,
            };
            self.peering.note_turn(due);
            self.tell_of_gaps();
            let is_routine = matches!(wake, Wake::Socket | Wake::Timer(Ok(())));
            match wake {
                Wake::Link(Ok(Some(message))) => self.handle_message(message),
                Wake::Link(Ok(None)) => {
                    info!("PID 1 is gone");
                    self.leave(&mut told).await;
                    return ExitCode::SUCCESS;
                }
                Wake::Link(Err(error)) => {
                    error!("the link to PID 1 is broken: {error}");
                    self.leave(&mut told).await;
                    return ExitCode::from(EX_SOFTWARE);
                }
                Wake::Resolved(answer) => {
                    if self.resolver.handle_answer(answer, Instant::now()) {
                        peers::assign(&mut self.instances, &mut self.resolver, &mut self.shell);
                    }
                }
                Wake::Door((question, answer)) => {
                    self.proxy.handle_answer(question, answer, Instant::now());
                }
                Wake::Seen(sighting) => self.tracker.handle_sighting(sighting),
                Wake::Peer(event) => self.peering.handle(event, &mut self.instances, &mut self.shell),
                Wake::Timer(Err(error)) => {
                    error!("the timer is broken: {error}");
                    self.leave(&mut told).await;
                    return ExitCode::from(EX_SOFTWARE);
                }
                Wake::Socket | Wake::Timer(Ok(())) => {}
            }
            self.turn(is_routine);
        }
    }

    /// For what comes to this role without anybody having said anything to it.
    fn poll_own(&self, alarm: &mut Alarm, due: Instant, context: &mut Context<'_>) -> Poll<Wake> {
        // Each is to be asked, each registers its own wake-up.
        let mut readable = self.events.poll_read_ready(context).is_ready();
        for instance in &self.instances {
            readable |= instance.is_readable(context);
        }
        if readable { Poll::Ready(Wake::Socket) } else { alarm.poll(due, context).map(Wake::Timer) }
    }

    fn deadline(&self) -> Instant {
        let machines = self.instances.iter().filter_map(|i| i.machine.poll_timeout()).map(|(at, _)| at);
        let others = [self.next_turn, self.next_look, self.peering.poll_timeout()];
        machines.chain(others).chain(self.proxy.poll_timeout()).min().unwrap_or(self.next_turn)
    }

    /// More than what the virtual routers do by themselves.
    fn is_anything_due(&self, now: Instant) -> bool {
        let asks_the_door = self.proxy.poll_timeout().is_some_and(|at| at <= now);
        asks_the_door || self.next_look <= now || self.peering.is_due(now)
    }

    /// Before anything else that a wake-up brings: a node that was out must not act on what it believed.
    fn tell_of_gaps(&mut self) {
        for gap in self.shell.gaps_after(&mut self.told_gap) {
            let what =
                if gap.hidden.is_zero() { "this process did not run" } else { "this machine was suspended" };
            let what = format!("{what} for {:.1?}", gap.length);
            warn!("{what}");
            self.shell.has_news = true;
            self.shell.tell(FromVrrp::Gap { what });
            self.proxy.handle_gap(Instant::now());
            self.peering.handle_gap(Instant::now());
        }
        for instance in &mut self.instances {
            instance.wake(&mut self.shell);
        }
    }

    /// `is_routine`: nobody has said anything to this role.
    fn turn(&mut self, is_routine: bool) {
        self.read_events();
        let readiness = match is_routine && !self.is_anything_due(Instant::now()) {
            true => Readiness::Known,
            false => Readiness::Unknown,
        };
        for instance in &mut self.instances {
            instance.turn(&mut self.shell, readiness);
        }
        let now = Instant::now();
        if is_due(self.next_turn, now) {
            self.turns += 1;
            self.next_turn = now + TURN;
            self.shell.tell(FromVrrp::Beat { turns: self.turns });
        }
        if std::mem::take(&mut self.shell.hears_stranger) {
            self.resolver.hear_stranger();
            self.resolver.ask(now);
        }
        // Most wake-ups are for an advert, and perhaps a beat, and the processor knows little of this code by
        // then.
        if is_routine && !self.is_anything_due(now) && !std::mem::take(&mut self.shell.has_news) {
            return;
        }
        if self.next_look <= now {
            self.look_at_kernel();
        }
        self.ask_the_door();
        self.tell_eligibility();
        self.collect_resigned();
        self.peering.turn(&mut self.instances, &mut self.shell);
        let now = Instant::now();
        self.wishes.collect(&mut self.instances, &mut self.shell, now);
        self.shell.warnings.repeat(now);
        self.resolver.ask(now);
    }

    fn handle_message(&mut self, message: ToVrrp) {
        match message {
            ToVrrp::Prepare { generation, config } => match distinct::check(&config.vrrp) {
                Ok(()) => {
                    self.prepared = Some((generation, config));
                    self.shell.tell(FromVrrp::Prepared { generation });
                }
                Err(reason) => self.shell.tell(FromVrrp::Refused { generation, reason }),
            },
            ToVrrp::Commit { generation } => match self.prepared.take_if(|(g, _)| *g == generation) {
                Some((_, config)) => {
                    log::apply(config.log);
                    // Whoever has taken over while this process did not run has said so: before this node says anything.
                    self.receive();
                    self.apply(*config);
                    self.shell.tell(FromVrrp::Committed { generation });
                }
                None => warn!("PID 1 commits configuration {} that was not prepared", generation.0),
            },
            ToVrrp::Abort { generation } => drop(self.prepared.take_if(|(g, _)| *g == generation)),
            ToVrrp::Origin { digest } => self.peering.set_digest(digest),
            ToVrrp::Proxy(health) => self.proxy.handle_health(health, Instant::now()),
            ToVrrp::Upstreams { down } => self.tracker.handle_upstreams(down),
            ToVrrp::FenceQuery(query) => {
                let verdict = self.judge(query);
                self.shell.tell(FromVrrp::FenceVerdict(verdict));
            }
            ToVrrp::AskPeers { question, listen } => {
                peers::ask(question, &listen, &self.instances, &self.peering, &self.shell);
            }
            ToVrrp::Left { number } => wishes::left(number, &mut self.instances, &mut self.shell),
            ToVrrp::StepDown { question, wish } => {
                let (instances, shell) = (&mut self.instances, &mut self.shell);
                self.wishes.handle(question, wish, &self.groups, instances, shell, Instant::now());
            }
            ToVrrp::Resign { bound } => {
                self.resigning = true;
                let now = Instant::now();
                for instance in &mut self.instances {
                    instance.resign(bound, &mut self.shell, now);
                }
            }
            ToVrrp::Outcome { number, outcome } => self.peering.answer_order(number, outcome),
            ToVrrp::Ended(ended) => self.tracker.commands.handle_ended(ended),
            ToVrrp::Report => {
                let (tracker, peering) = (&self.tracker, &self.peering);
                let report = report::report(&self.instances, &self.shell, &self.resolver, tracker, peering);
                self.shell.tell(FromVrrp::Report(report));
            }
        }
    }

    fn apply(&mut self, config: Config) {
        let now = Instant::now();
        self.peering.configure(&config);
        self.proxy.handle_config(config.servers.iter().all(|server| server.listen.is_empty()));
        self.shell.virtual_addresses = config.vrrp.iter().flat_map(VrrpInstance::addresses).collect();
        self.shell.drain_timeout = config.drain_timeout;
        self.shell.vrids = config.vrrp.iter().map(|i| (i.family(), i.vrid.get())).collect();
        self.resolver.want(config.vrrp.iter().flat_map(|instance| hosts(&instance.transport)), now);
        self.tracker.want(&config.vrrp);
        self.groups = config.sync_groups;
        let before = std::mem::take(&mut self.instances);
        let (heirs, before) = succession::arrange(before, config.vrrp, &mut self.shell, now);
        for Heir { wanted, from, cut_short } in heirs {
            if let Some(mut instance) = from {
                let is_master = instance.is_master();
                instance.priority = self.tracker.standing(&wanted, &self.shell.survey, is_master).priority;
                instance.reconfigure(wanted, &mut self.shell, now);
                self.instances.push(instance);
            } else {
                let mut new = Instance::start(wanted, &mut self.shell, now);
                new.stepped_down = cut_short.then(|| Err(BECAME_ANOTHER.to_owned()));
                self.wishes.tell_new(&mut new, &mut self.shell, now);
                self.instances.push(new);
            }
        }
        for mut gone in before {
            info!(instance = gone.config.name, "no longer configured");
            gone.leaving = true;
            gone.resign(LEAVE_BOUND, &mut self.shell, now);
            self.instances.push(gone);
        }
        self.look_at_kernel();
        self.resolver.ask(now);
    }

    fn receive(&mut self) {
        for instance in &mut self.instances {
            instance.receive(&mut self.shell, Readiness::Unknown);
        }
    }

    fn judge(&mut self, query: FenceQuery) -> FenceVerdict {
        self.tell_of_gaps();
        // Who has taken over meanwhile has said so.
        self.receive();
        self.look_at_kernel();
        // The clocks count from after the question, and last: a freeze at any moment before the verdict is seen here.
        self.tell_of_gaps();
        FenceVerdict { nonce: query.nonce, held: self.shell.unmoved_since(query.since) }
    }

    fn read_events(&mut self) {
        let own = |event: &Event| match event {
            Event::AddressAdded(address) => self.shell.virtual_addresses.contains(&address.cidr.address()),
            Event::Link { .. } | Event::AddressRemoved(_) | Event::Lost => false,
        };
        match self.events.try_io(Interest::READABLE, EventSocket::receive) {
            // Each renewal of a lease is news as well.
            Ok(events) if events.iter().all(own) => {}
            Ok(_) => self.next_look = self.next_look.min(self.looked + LOOK_AT_MOST_EVERY),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => warn!("the kernel's news cannot be read: {error}"),
        }
    }

    fn look_at_kernel(&mut self) {
        let now = Instant::now();
        self.looked = now;
        self.next_look = now + VERIFY_EVERY;
        self.shell.survey(now);
        let destroys = self.shell.kernel.destroys_sockets.clone();
        self.shell.warnings.set("vrrp", "SOCK_DESTROY", destroys, now);
        for instance in self.instances.iter_mut().filter(|i| !i.leaving) {
            instance.locate(&mut self.shell, now);
            instance.verify(&mut self.shell, now);
        }
        peers::assign(&mut self.instances, &mut self.resolver, &mut self.shell);
    }

    fn ask_the_door(&mut self) {
        let places = self.instances.iter().filter_map(|instance| Some(&instance.wire.as_ref()?.place));
        let own: Vec<IpAddr> = places.map(|place| place.own).collect();
        let Some((question, listen)) = self.proxy.poll_question(Instant::now()) else { return };
        let address = door::address(listen, &own, &self.shell.virtual_addresses);
        let door = self.door.clone();
        // Ends within its own patience; its answer goes to whoever still wants it.
        drop(tokio::spawn(async move {
            let answer = match address {
                Some(address) => door::knock(address).await,
                // Every listener has a virtual address, where a peer might answer: PID 1's word has to do.
                None => Ok(()),
            };
            drop(door.send((question, answer)).await);
        }));
    }

    fn tell_eligibility(&mut self) {
        let now = Instant::now();
        let (eligible, alone) = (self.proxy.eligible(now), self.proxy.eligible_alone(now));
        let mut own = vec![];
        for instance in &mut self.instances {
            let is_master = instance.is_master();
            let standing = self.tracker.standing(&instance.config, &self.shell.survey, is_master);
            self.shell.warnings.set(&instance.config.name, "track", standing.problem, now);
            instance.set_priority(standing.priority, &mut self.shell, now);
            let by_proxy = if instance.is_alone() { &alone } else { &eligible };
            own.push(by_proxy.clone().and(standing.fault).and(instance.has_keys()));
        }
        let eligible = groups::with_others(&self.groups, &self.instances, own);
        for (instance, eligible) in self.instances.iter_mut().zip(eligible) {
            instance.set_eligible(eligible, &mut self.shell, now);
        }
        groups::keep_together(&self.groups, &mut self.instances, &mut self.shell);
    }

    fn collect_resigned(&mut self) {
        let now = Instant::now();
        for gone in self.instances.extract_if(.., |i| i.leaving && i.resigned.is_some()) {
            let mut gone = gone;
            gone.leave(&mut self.shell, now);
        }
        if self.resigning && self.instances.iter().all(|instance| instance.machine.has_resigned()) {
            self.resigning = false;
            let reason = |i: &Instance| format!("{}: {}", i.config.name, i.machine.reason().0);
            let reasons: Vec<String> = self.instances.iter().map(reason).collect();
            self.shell.tell(FromVrrp::Resigned { reason: reasons.join("; ") });
        }
    }

    async fn leave(&mut self, told: &mut mpsc::Receiver<peering::Event>) {
        let now = Instant::now();
        for instance in &mut self.instances {
            instance.leave(&mut self.shell, now);
        }
        self.peering.part(told, &mut self.instances, &mut self.shell).await;
    }
}

fn hosts(transport: &Transport) -> &[Host] {
    match transport {
        Transport::Multicast => &[],
        Transport::Unicast { peers } => peers,
    }
}
