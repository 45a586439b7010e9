//! `(state, event) -> actions` for all roles. No process, no signal, no clock, no socket.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::heartbeat::{Heart, OwnTime, Sight, Silent};
use super::peers::Peers;
use super::reload::Reload;
use super::role::{Phase, Role, SETTLE_BOUND, View};
use super::stop::Stop;
use super::{Action, Candidate, Event, Player, RoleName, Saying};
use crate::link::{Generation, ProxyHealth};

/// How long the virtual addresses stay with a node whose proxy has died: its sockets are open, clients wait in the
/// backlog, and a restart takes milliseconds.
pub const GRACE: Duration = Duration::from_secs(1);
/// The same after a hang. Whoever waits in its queue is served by the next one, which usually takes half of this; where the
/// address moves, he is reset.
const HANG_GRACE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Plan {
    pub(super) proxy: Role,
    pub(super) vrrp: Role,
    pub(super) runner: Role,
    pub(super) in_force: Option<Candidate>,
    pub(super) queued: Option<Candidate>,
    pub(super) reload: Option<Reload>,
    pub(super) peers: Peers,
    pub(super) stop: Option<Stop>,
    /// What the vrrp role knows, or will be told when it starts.
    health: ProxyHealth,
    /// The end of the grace.
    grace: Option<Instant>,
    own_time: OwnTime,
    outputs: VecDeque<Action>,
}

impl Plan {
    pub fn new(now: Instant) -> Self {
        Self {
            proxy: Role::new(RoleName::Proxy, now),
            vrrp: Role::new(RoleName::Vrrp, now),
            runner: Role::new(RoleName::Runner, now),
            in_force: None,
            queued: None,
            reload: None,
            peers: Peers::default(),
            stop: None,
            health: ProxyHealth::Down { reason: "the proxy has not served yet".into() },
            grace: None,
            own_time: OwnTime::default(),
            outputs: VecDeque::new(),
        }
    }

    pub fn handle_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Edit => self.ask_before(now),
            Event::Candidate(candidate) => self.take_candidate(candidate),
            Event::Hurry => self.hurry(now),
            Event::Said(player, saying) if self.is_playing(player) => self.said(player.role, saying, now),
            Event::LinkLost(player, why) if self.is_playing(player) => {
                if self.role(player.role).listens() {
                    self.kill(player.role, &why, now);
                }
            }
            Event::Ended(player, how) if self.is_playing(player) => self.ended(player.role, &how, now),
            Event::Seen(player, worker, sight) if self.is_playing(player) => {
                self.judge(player.role, worker, sight, now);
            }
            // The last words of a process that has been replaced.
            Event::Said(..) | Event::LinkLost(..) | Event::Ended(..) | Event::Seen(..) => (),
            Event::Stop => self.stop(now),
        }
        self.proceed(now);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(own) = self.own_time.tick(now) {
            for role in RoleName::ALL {
                self.count_silence(role, own);
            }
        }
        for role in RoleName::ALL {
            self.expire(role, now);
        }
        if self.grace.is_some_and(|until| until <= now) {
            self.give_up_grace();
        }
        self.expire_reload(now);
        self.expire_stop(now);
        self.proceed(now);
    }

    pub fn poll_output(&mut self) -> Option<Action> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let tick = self.own_time.next_tick().filter(|_| self.is_anybody_running());
        let due = |role: &Role| role.deadline().filter(|_| self.may_start() || role.is_running());
        [
            tick.map(|at| (at, "heartbeats are counted")),
            due(&self.proxy),
            due(&self.vrrp),
            due(&self.runner),
            self.grace.map(|at| (at, "the grace of the proxy ends")),
            self.reload.as_ref().map(Reload::deadline),
            self.stop.as_ref().and_then(Stop::deadline),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
    }

    pub fn view(&self, role: RoleName) -> View {
        self.role(role).view()
    }

    /// The configuration calls for it, or once did: it runs until PID 1 ends.
    pub fn is_wanted(&self, role: RoleName) -> bool {
        match role {
            RoleName::Proxy => true,
            RoleName::Vrrp => {
                self.in_force.as_ref().is_some_and(|c| c.vrrp) || !matches!(self.vrrp.phase, Phase::Absent)
            }
            RoleName::Runner => {
                self.in_force.as_ref().is_some_and(|c| c.runner)
                    || !matches!(self.runner.phase, Phase::Absent)
            }
        }
    }

    pub fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// What could be applied, and waits for the peers.
    pub fn waiting(&self) -> Option<Generation> {
        self.reload.as_ref().filter(|reload| !reload.witnesses().is_empty()).map(Reload::generation)
    }

    fn said(&mut self, name: RoleName, saying: Saying, now: Instant) {
        let stopping = self.is_stopping();
        let role = self.role_mut(name);
        match (role.phase.clone(), saying) {
            (_, Saying::Beat(turns)) => role.heart.beat(&turns),
            // A role that begins its work during a stop would take back what the others have just handed over.
            (Phase::Preparing { generation, .. }, Saying::Prepared(g)) if g == generation && !stopping => {
                role.enter(Phase::Committing { generation, until: now + SETTLE_BOUND }, now);
                self.push(Action::Commit(name, generation));
            }
            (Phase::Preparing { generation, .. }, Saying::Refused(g, reason)) if g == generation => {
                self.kill(name, &format!("refused the configuration in force: {reason}"), now);
            }
            (Phase::Committing { generation, .. }, Saying::InForce(g)) if g == generation => {
                role.enter(Phase::Serving { served_since: now, newer: None }, now);
                role.heart.expect();
                self.serves(name, generation);
            }
            (Phase::Serving { newer: Some((generation, _)), served_since }, Saying::InForce(g))
                if g == generation =>
            {
                role.phase = Phase::Serving { served_since, newer: None };
                self.serves(name, generation);
            }
            (Phase::Serving { .. }, Saying::Prepared(g)) => self.voted(name, g, Ok(()), now),
            (Phase::Serving { .. }, Saying::Refused(g, reason)) => self.voted(name, g, Err(reason), now),
            (_, Saying::EndsConnections(bound)) => self.wait_for_connections(bound, now),
            (_, Saying::Resigned) => self.resigned(name, now),
            (_, Saying::Drained) => self.drained(name, now),
            (_, Saying::Peers(question, answer)) => self.heard_of_peers(question, answer, now),
            // Out of turn: an answer to what has been given up meanwhile.
            (_, Saying::Prepared(_) | Saying::Refused(..) | Saying::InForce(_)) => (),
        }
    }

    fn serves(&mut self, name: RoleName, generation: Generation) {
        if name != RoleName::Proxy {
            return;
        }
        self.grace = None;
        let incarnation = self.proxy.incarnation;
        let listen = self.in_force.as_ref().map(|c| c.listen.clone()).unwrap_or_default();
        self.tell(ProxyHealth::Serving { incarnation, listen });
        self.push(Action::Release(generation));
    }

    fn count_silence(&mut self, name: RoleName, own: Duration) {
        let role = self.role_mut(name);
        if !role.listens() {
            return;
        }
        let player = role.player();
        let Some(silent) = role.heart.tick(own) else { return };
        if self.stop.is_none() {
            self.push(Action::Look(player, silent.worker));
        }
    }

    fn judge(&mut self, name: RoleName, worker: usize, sight: Sight, now: Instant) {
        let role = self.role_mut(name);
        if !role.listens() {
            return;
        }
        let Some((Silent { worker, silent }, seen)) = role.heart.judge(worker, sight) else { return };
        let why = format!("hangs: event loop {worker} has not turned for {silent:?} ({seen})");
        self.kill(name, &why, now);
        if name == RoleName::Proxy {
            // Clients have waited for long enough already.
            self.grace = self.grace.map(|until| until.min(now + HANG_GRACE));
        }
    }

    fn expire(&mut self, name: RoleName, now: Instant) {
        if self.role(name).deadline().is_none_or(|(until, _)| until > now) {
            return;
        }
        match &self.role(name).phase {
            Phase::Waiting { .. } => {
                if self.may_start() {
                    self.start(name, now);
                }
            }
            Phase::Preparing { .. } | Phase::Committing { .. } | Phase::Serving { .. } => {
                self.kill(name, &format!("does not settle within {SETTLE_BOUND:?}"), now);
            }
            Phase::Absent | Phase::Ending { .. } | Phase::Stopped => (),
        }
    }

    /// A role that starts in the middle of a reload would start by the old configuration and be left out of the vote.
    fn may_start(&self) -> bool {
        self.reload.is_none() && self.stop.is_none()
    }

    pub(super) fn start(&mut self, name: RoleName, now: Instant) {
        let Some(generation) = self.in_force.as_ref().map(|c| c.generation) else { return };
        let role = self.role_mut(name);
        role.incarnation += 1;
        role.heart = Heart::default();
        role.enter(Phase::Preparing { generation, until: now + SETTLE_BOUND }, now);
        let player = role.player();
        if self.own_time.next_tick().is_none() {
            self.own_time.tick(now);
        }
        self.push(Action::Spawn(player));
        if name == RoleName::Vrrp {
            self.push(Action::Tell(self.health.clone()));
        }
        self.push(Action::Prepare(name, generation));
    }

    /// Ends a process that is of no use; what follows its death is `ended`'s.
    pub(super) fn kill(&mut self, name: RoleName, why: &str, now: Instant) {
        let role = self.role_mut(name);
        let player = role.player();
        let served = role.served(now);
        role.enter(Phase::Ending { why: why.to_owned(), served }, now);
        self.lost(name, why, now);
        self.push(Action::Kill(player, why.to_owned()));
    }

    fn ended(&mut self, name: RoleName, how: &str, now: Instant) {
        let role = self.role_mut(name);
        if !role.is_running() {
            return;
        }
        let served = role.served(now);
        let how = match &role.phase {
            Phase::Ending { why, .. } => format!("{why}; it {how}"),
            Phase::Absent
            | Phase::Preparing { .. }
            | Phase::Committing { .. }
            | Phase::Serving { .. }
            | Phase::Waiting { .. }
            | Phase::Stopped => how.to_owned(),
        };
        role.last_end = Some(how.clone());
        if self.stop.is_some() {
            self.role_mut(name).enter(Phase::Stopped, now);
            self.lost(name, &how, now);
            return;
        }
        let role = self.role_mut(name);
        let pause = role.backoff.pause(served);
        role.enter(Phase::Waiting { until: now + pause }, now);
        self.lost(name, &how, now);
        if name == RoleName::Proxy && self.grace.is_some() {
            if pause >= GRACE {
                self.give_up_grace();
            } else if !pause.is_zero() {
                self.tell(ProxyHealth::Pausing);
            }
        }
        if pause.is_zero() && self.may_start() {
            self.start(name, now);
        }
    }

    /// `name` cannot be counted on from here: whoever waits for it must know.
    fn lost(&mut self, name: RoleName, why: &str, now: Instant) {
        if name == RoleName::Proxy && matches!(self.health, ProxyHealth::Serving { .. }) {
            self.grace = Some(now + GRACE);
            self.tell(ProxyHealth::Restarting);
        }
        self.abandon_reload(name, why);
        self.left(name, now);
    }

    fn give_up_grace(&mut self) {
        self.grace = None;
        let how = match &self.proxy.phase {
            Phase::Ending { why, .. } => format!("{why}; it has not ended yet"),
            _ => self.proxy.last_end.clone().unwrap_or_default(),
        };
        self.tell(ProxyHealth::Down { reason: format!("the proxy does not serve again in time ({how})") });
    }

    fn tell(&mut self, health: ProxyHealth) {
        if self.health == health {
            return;
        }
        self.health = health.clone();
        if self.vrrp.listens() {
            self.push(Action::Tell(health));
        }
    }

    pub(super) fn role(&self, name: RoleName) -> &Role {
        match name {
            RoleName::Proxy => &self.proxy,
            RoleName::Vrrp => &self.vrrp,
            RoleName::Runner => &self.runner,
        }
    }

    pub(super) fn role_mut(&mut self, name: RoleName) -> &mut Role {
        match name {
            RoleName::Proxy => &mut self.proxy,
            RoleName::Vrrp => &mut self.vrrp,
            RoleName::Runner => &mut self.runner,
        }
    }

    pub(super) fn is_anybody_running(&self) -> bool {
        RoleName::ALL.iter().any(|role| self.role(*role).is_running())
    }

    pub(super) fn push(&mut self, action: Action) {
        self.outputs.push_back(action);
    }

    fn is_playing(&self, player: Player) -> bool {
        let role = self.role(player.role);
        role.is_running() && role.incarnation == player.incarnation
    }

    /// What waits for its turn.
    fn proceed(&mut self, now: Instant) {
        self.begin_reload(now);
        self.finish_stop();
    }
}
