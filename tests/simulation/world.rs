//! The world: one queue of events under virtual time, the nodes, the wire, the clients, and the oracle that watches.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::io::Write;
use std::time::Instant;

use vipgate::link::VrrpState;
use vipgate::vrrp::arp::Frame as Arp;

use crate::client::{ASKS_EVERY, Client};
use crate::clock::{Clock, MS, Nanos};
use crate::lan::{Frame, Lan};
use crate::link::{Letter, Message, REPORTS_EVERY};
use crate::node::{Deed, Freeze, Identity, Node, address, mac, v4};
use crate::oracle::{Oracle, RESIGN_BOUND};
use crate::plan::{CLIENTS, Fault, Plan};
use crate::random::Random;

/// The last lines of a failed run that are shown.
const TRACE_LINES: usize = 60;

pub(crate) enum Event {
    Wake { node: usize, armed: u64 },
    Arrive { from: usize, to: usize, frame: Frame },
    Ask(usize),
    Letter(Letter),
    Report(usize),
    Fault(Fault),
}

struct Queued {
    at: Nanos,
    order: u64,
    event: Event,
}

impl Ord for Queued {
    /// The earliest is the greatest: `BinaryHeap` takes that first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Queued {}

/// What a run has seen, so that a test can tell that the faults did happen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) steps: u64,
    pub(crate) takeovers: u64,
    pub(crate) thawed_out: u64,
    pub(crate) resigned: u64,
    pub(crate) broadcasts: u64,
    pub(crate) longest_overlap: Nanos,
    pub(crate) asked: u64,
    pub(crate) answered: u64,
    /// Takeovers because a link told that a process has ended.
    pub(crate) gone: u64,
    /// Masters that went on after a silence only because everybody had promised to be patient.
    pub(crate) relied: u64,
}

pub(crate) struct World {
    pub(crate) now: Nanos,
    order: u64,
    queue: BinaryHeap<Queued>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    pub(crate) lan: Lan,
    pub(crate) random: Random,
    pub(crate) oracle: Oracle,
    lateness: Nanos,
    /// Of the latest `Wake` of each node; older ones are void.
    armed: Vec<(u64, Option<Instant>)>,
    pub(crate) healed: bool,
    trace: VecDeque<String>,
    loud: bool,
    pub(crate) summary: Summary,
}

impl World {
    pub(crate) fn new(plan: Plan, random: Random, base: Instant, loud: bool) -> Self {
        let count = plan.nodes.len();
        let lan = Lan::new(count + CLIENTS, plan.loss_percent, plan.duplicate_percent, plan.delay);
        let nodes = plan.nodes.into_iter().enumerate().map(|(id, node)| {
            let peers = (0..count).filter(|peer| plan.unicast && *peer != id).map(address).collect();
            Node::new(Identity {
                id,
                settings: node.settings,
                password: plan.password.clone(),
                peers,
                clock: Clock::new(base, node.ppm),
                notices_gaps: node.notices_gaps,
                linked: plan.linked,
                quota: node.quota,
            })
        });
        let mut world = Self {
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            nodes: nodes.collect(),
            clients: (0..CLIENTS).map(|n| Client::new(u8::try_from(n).unwrap_or(0))).collect(),
            lan,
            random,
            oracle: Oracle::new(count, plan.lateness, plan.delay.1, plan.loss_percent > 0),
            lateness: plan.lateness,
            armed: vec![(0, None); count],
            healed: false,
            trace: VecDeque::new(),
            loud,
            summary: Summary::default(),
        };
        for node in 0..count {
            world.after(world.now, Event::Fault(Fault::Restart(node)));
        }
        for node in 0..count {
            let first = world.random.between(0, REPORTS_EVERY);
            world.after(first, Event::Report(node));
        }
        for client in 0..CLIENTS {
            world.after(ASKS_EVERY * (1 + client as u64) / 2, Event::Ask(client));
        }
        for (at, fault) in plan.faults {
            world.after(at, Event::Fault(fault));
        }
        world
    }

    pub(crate) fn fault(&mut self, delay: Nanos, fault: Fault) {
        self.after(delay, Event::Fault(fault));
    }

    pub(crate) fn after(&mut self, delay: Nanos, event: Event) {
        self.order += 1;
        self.queue.push(Queued { at: self.now + delay, order: self.order, event });
    }

    /// Every event up to then; what was violated, with the last lines of the trace.
    pub(crate) fn run_until(&mut self, end: Nanos) -> Result<(), String> {
        while self.queue.peek().is_some_and(|next| next.at <= end) {
            let Some(next) = self.queue.pop() else { break };
            self.now = next.at;
            self.summary.steps += 1;
            self.step(next.event)
                .and_then(|()| self.oracle.check(&self.nodes, &self.lan, self.now))
                .map_err(|violation| self.report(&violation))?;
        }
        self.now = end;
        self.summary.takeovers = self.oracle.takeovers;
        self.summary.longest_overlap = self.oracle.longest_overlap;
        Ok(())
    }

    pub(crate) fn report(&self, violation: &str) -> String {
        let lines: Vec<_> = self.trace.iter().map(String::as_str).collect();
        format!("{}\n{:>10.3} ms  VIOLATED: {violation}", lines.join("\n"), self.now as f64 / MS as f64)
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let line = format!("{:>10.3} ms  {line}", self.now as f64 / MS as f64);
        if self.loud {
            // Past the test's capture: a replay is there to be read. A closed terminal is no reason to fail.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        if self.trace.len() == TRACE_LINES {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }

    fn step(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Wake { node, armed } => {
                if self.armed[node].0 != armed || !self.nodes[node].runs() {
                    return Ok(());
                }
                self.armed[node].1 = None;
                let deed = self.nodes[node].wake(self.now);
                self.done(node, deed)
            }
            Event::Arrive { from, to, frame } => self.arrive(from, to, frame),
            Event::Ask(client) => {
                self.ask(client);
                Ok(())
            }
            Event::Letter(letter) => self.deliver(letter),
            Event::Report(node) => {
                self.report_lateness(node);
                Ok(())
            }
            Event::Fault(fault) => self.apply(fault),
        }
    }

    fn arrive(&mut self, from: usize, to: usize, frame: Frame) -> Result<(), String> {
        if !self.lan.passes(from, to, &frame) {
            return Ok(());
        }
        if let Some(client) = to.checked_sub(self.nodes.len()) {
            if let Frame::Arp(bytes) = &frame
                && let Ok(arp) = Arp::parse(bytes)
            {
                let vip = self.vip();
                self.clients[client].receive(&arp, v4(vip), self.now);
            }
            return Ok(());
        }
        self.watch_arrival(to, &frame);
        let deed = self.nodes[to].receive(frame, self.now);
        self.done(to, deed)
    }

    fn watch_arrival(&mut self, to: usize, frame: &Frame) {
        let node = &self.nodes[to];
        let suspended = matches!(node.frozen, Some((Freeze::Suspended, _)));
        if let Frame::Advert { payload, source, .. } = frame
            && node.up
            && !suspended
            && node.machine.is_some()
        {
            let sender = self.nodes.iter().find(|node| node.address == *source);
            let sent = sender.map(|node| (node.id, node.settings.advert_interval.duration()));
            if let (Some((from, interval)), Some(priority)) = (sent, payload.get(2)) {
                self.oracle.arrival(&self.nodes[to], from, interval, *priority, self.now);
            }
        }
    }

    /// What a node's turn leads to: frames on the wire, a timer, the oracle's opinion.
    pub(crate) fn done(&mut self, node: usize, deed: Deed) -> Result<(), String> {
        for line in &deed.log {
            self.tell(&format!("node {node}: {line}"));
        }
        self.oracle.deed(&self.nodes, node, &deed, self.now)?;
        self.nodes[node].yielded &= deed.became != Some(VrrpState::Master);
        if self.nodes[node].up {
            for frame in deed.sent {
                self.send(node, &frame);
            }
        }
        self.summary.broadcasts += deed.broadcasts as u64;
        self.summary.asked += deed.asked.len() as u64;
        self.summary.answered += deed.answered;
        self.summary.gone += u64::from(deed.by_link);
        for peer in deed.asked {
            if let Some(to) = self.nodes.iter().position(|node| node.address == peer) {
                self.write(node, to, Message::Ping);
            }
        }
        for (to, message) in deed.letters {
            self.write(node, to, message);
        }
        if deed.resigned {
            self.summary.resigned += 1;
            self.end_process(node);
            if self.healed {
                self.after(MS, Event::Fault(Fault::Restart(node)));
            }
        }
        self.arm(node);
        Ok(())
    }

    fn send(&mut self, from: usize, frame: &Frame) {
        for to in (0..self.nodes.len() + CLIENTS).filter(|to| *to != from) {
            if !self.addressed(to, frame) || !self.lan.passes(from, to, frame) {
                continue;
            }
            for delay in self.lan.fate(&mut self.random) {
                self.after(delay, Event::Arrive { from, to, frame: frame.clone() });
            }
        }
    }

    fn addressed(&self, to: usize, frame: &Frame) -> bool {
        match frame {
            Frame::Advert { destination, .. } => {
                to < self.nodes.len()
                    && (destination.is_multicast() || *destination == self.nodes[to].address)
            }
            Frame::Arp(bytes) => Arp::parse(bytes).is_ok_and(|arp| {
                let mac = to
                    .checked_sub(self.nodes.len())
                    .map_or_else(|| self.nodes[to].mac, |client| self.clients[client].mac);
                arp.destination == vipgate::net::MacAddr::BROADCAST || arp.destination == mac
            }),
        }
    }

    fn arm(&mut self, node: usize) {
        let Some(machine) = self.nodes[node].machine.as_ref().filter(|_| self.nodes[node].runs()) else {
            return;
        };
        let deadline = machine.poll_timeout().map(|(at, _)| at);
        if self.armed[node].1 == deadline {
            return;
        }
        self.armed[node] = (self.armed[node].0 + 1, deadline);
        if let Some(at) = deadline {
            let due = self.nodes[node].clock.when(at).max(self.now) - self.now;
            let late = self.random.between(0, self.lateness);
            let armed = self.armed[node].0;
            self.after(due + late, Event::Wake { node, armed });
        }
    }

    /// One request of a client: straight to the entry's node, or first a question to all.
    fn ask(&mut self, client: usize) {
        self.after(ASKS_EVERY, Event::Ask(client));
        let station = self.nodes.len() + client;
        let vip = self.vip();
        match self.clients[client].entry {
            None => {
                let frame = Frame::Arp(self.clients[client].request(v4(vip)).emit().into());
                self.send(station, &frame);
            }
            Some(entry) => {
                let server = self.nodes.iter().find(|node| mac(node.address) == entry).filter(|node| {
                    let probe = Frame::Arp([].into());
                    node.up
                        && node.runs()
                        && node.holds(self.now)
                        && self.lan.passes(station, node.id, &probe)
                        && self.lan.passes(node.id, station, &probe)
                });
                let server = server.map(|node| node.id);
                self.clients[client].outcome(server, self.now);
            }
        }
    }

    fn vip(&self) -> std::net::IpAddr {
        self.nodes[0].settings.addresses[0]
    }

    pub(crate) fn apply(&mut self, fault: Fault) -> Result<(), String> {
        self.tell(&format!("{fault:?}"));
        match fault {
            Fault::Freeze(node, freeze) => {
                if self.nodes[node].runs() {
                    self.nodes[node].frozen = Some((freeze, self.now));
                }
                Ok(())
            }
            Fault::Thaw(node) => self.thaw(node),
            Fault::Crash(node) => {
                self.end_process(node);
                Ok(())
            }
            Fault::Restart(node) if self.nodes[node].machine.is_none() => {
                self.oracle.disturbed(node, self.now);
                let deed = self.nodes[node].start(self.now);
                self.armed[node].1 = None;
                self.oracle.started(node, self.now);
                for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
                    self.write(node, peer, Message::Hello { answers: false });
                }
                self.done(node, deed)
            }
            Fault::Restart(_) => Ok(()),
            Fault::InterfaceLost(node) => self.surroundings(node, |node| node.up = false),
            Fault::InterfaceFound(node) => self.surroundings(node, |node| node.up = true),
            Fault::Ineligible(node) => self.surroundings(node, |node| node.eligible = false),
            Fault::Eligible(node) => self.surroundings(node, |node| node.eligible = true),
            Fault::Cut(a, b) => {
                self.lan.cut(a, b);
                Ok(())
            }
            Fault::Mend(a, b) => {
                self.lan.mend(a, b);
                Ok(())
            }
            Fault::FilterAdverts(a, b) => {
                self.lan.filter(a, b);
                Ok(())
            }
            Fault::PassAdverts(a, b) => {
                self.lan.unfilter(a, b);
                Ok(())
            }
            Fault::Resign(node) => {
                if !self.nodes[node].runs() {
                    return Ok(());
                }
                let deed = self.nodes[node].resign(RESIGN_BOUND, self.now);
                self.done(node, deed)
            }
            Fault::Failover(node) => self.request(node, |node, now| node.fail_over(RESIGN_BOUND, now)),
            Fault::StandBack(node) => self.request(node, |node, now| node.stand_back(RESIGN_BOUND, now)),
            // Also one that is still handing over, which then goes on as a backup.
            Fault::StandIn(node) if self.nodes[node].runs() => {
                let deed = self.nodes[node].stand_in(self.now);
                self.done(node, deed)
            }
            Fault::StandIn(_) => Ok(()),
            Fault::Emptied(node) => self.request(node, Node::emptied),
            Fault::Priority(node, priority) => {
                let Ok(priority) = i64::from(priority).try_into() else { return Ok(()) };
                self.surroundings(node, |node| node.settings.priority = priority)
            }
            Fault::BreakLink(a, b) => {
                self.break_link(a, b);
                Ok(())
            }
            Fault::Forget(client) => {
                self.clients[client].entry = None;
                Ok(())
            }
        }
    }

    fn surroundings(&mut self, node: usize, change: impl FnOnce(&mut Node)) -> Result<(), String> {
        change(&mut self.nodes[node]);
        self.oracle.disturbed(node, self.now);
        if !self.nodes[node].runs() {
            return Ok(());
        }
        let deed = self.nodes[node].tell_surroundings(self.now);
        self.done(node, deed)
    }

    fn request(
        &mut self,
        node: usize,
        ask: impl FnOnce(&mut Node, crate::clock::Nanos) -> Deed,
    ) -> Result<(), String> {
        if !self.nodes[node].runs() || self.nodes[node].resigning {
            return Ok(());
        }
        let deed = ask(&mut self.nodes[node], self.now);
        self.done(node, deed)
    }

    pub(crate) fn thaw(&mut self, node: usize) -> Result<(), String> {
        let Some((_, since)) = self.nodes[node].frozen else { return Ok(()) };
        let was_master = self.nodes[node].answering;
        let out = was_master && self.oracle.was_out(&self.nodes, node, self.now - since, self.now);
        self.oracle.disturbed(node, self.now);
        self.armed[node].1 = None;
        let told_first = self.random.chance(50);
        let deed = self.nodes[node].thaw(self.now, told_first);
        if out {
            self.summary.thawed_out += 1;
            if deed.claimed || self.nodes[node].answers() || self.nodes[node].held_until.is_some() {
                return Err(format!(
                    "node {node} was out for {} ms and goes on as if it had not been",
                    (self.now - since) / MS
                ));
            }
        }
        self.summary.relied +=
            u64::from(was_master && !out && self.oracle.relies(&self.nodes, node, self.now));
        self.done(node, deed)
    }
}
