//! One virtual router: what it is, what it is told, what it wants done. The arms of the election are in `election`, what
//! happens after silence in `fence`, ARP conflicts in `defence`, the schedule of announcements in `announce`.
//!
//! No socket, no clock, no random source. The shell calls one `handle_*`, drains `poll_output` to `None`, arms
//! `poll_timeout`, and waits. When it wakes, it first tells of a gap in its clocks (`handle_gap`), then reads what has
//! arrived, and only then serves timers: an advert that is there must count. Timers that fire early or late are harmless.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::link::{Transition, VrrpState};
use crate::net::MacAddr;

use super::advert::Advert;
use super::announce::Announcements;
use super::defence::Defence;
use super::detector::Detector;
use super::handover::{StepDown, Then};
use super::output::{Output, WarningKind};
use super::pace::Former;
use super::settings::Settings;
use super::timers::{Timer, Timers};

/// How often an address that nobody is known to hold is probed.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(1);
/// A stranger that has not answered for this long (three probes) is gone.
pub(super) const STRANGER_GONE: Duration = Duration::from_secs(3);

/// The states of RFC 9568 section 6.3 and those of an orderly start and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Initialize: no interface, or not eligible.
    Fault,
    /// Initialize: would stand, but a stranger answers for an address and no master is heard.
    Blocked,
    Backup,
    /// Active.
    Master,
    /// Master that has said priority 0 and serves on until a peer has taken over.
    Resigning,
    /// A peer has taken over; answers in flight may still leave.
    Stopping,
    /// Nothing comes out any more.
    Stopped,
}

impl Role {
    pub(super) const fn state(self) -> VrrpState {
        match self {
            Self::Fault | Self::Blocked | Self::Stopped => VrrpState::Fault,
            Self::Backup | Self::Stopping => VrrpState::Backup,
            Self::Master | Self::Resigning => VrrpState::Master,
        }
    }
}

/// The last advert that came from a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) from: IpAddr,
    /// 0: it has given up.
    pub(super) priority: u8,
}

#[derive(Debug)]
pub struct Machine {
    pub(super) settings: Settings,
    /// What counts once a step that is under way has ended.
    pub(super) next_settings: Option<Settings>,
    pub(super) role: Role,
    reason: String,
    since: Instant,
    pub(super) primary: Option<IpAddr>,
    eligible: Result<(), String>,
    pub(super) heard: Option<Heard>,
    /// It becomes master only with the others of its sync group.
    pub(super) grouped: bool,
    /// Why it would be master by now, if it were not for the others.
    pub(super) ready: Option<String>,
    /// A master with a lower priority is heard, without another one in between.
    pub(super) lesser_since: Option<Instant>,
    /// RFC 9568's Active_Adver_Interval: the master's, or ours until one is heard.
    pub(super) master_interval: Duration,
    /// What the kernel was last told to hold.
    pub(super) held: Vec<IpAddr>,
    pub(super) held_since: Option<Instant>,
    /// Of the last renewal.
    pub(super) held_at: Option<Instant>,
    /// Of the settings before, as long as a backup may go by them.
    pub(super) former: Option<Former>,
    /// Of the last advert of this mastership.
    pub(super) advertised_at: Option<Instant>,
    /// Time since then that the clock behind `now` has not shown.
    pub(super) hidden: Duration,
    pub(super) announcements: Announcements,
    pub(super) defence: Defence,
    pub(super) detector: Detector,
    /// Segments of the old owner's connections are being handed to it.
    pub(super) relays_to: Option<IpAddr>,
    /// This kernel can do that.
    pub(super) relays: bool,
    pub(super) stepping_down: Option<StepDown>,
    /// The address was handed to whoever has it, who is not preempted.
    pub(super) yielded: bool,
    /// The addresses are a peer's, and kept for the connections that this node has.
    pub(super) lingering: bool,
    /// Told to stay out of the election.
    pub(super) stands_back: bool,
    pub(super) stranger: Option<(IpAddr, MacAddr)>,
    /// The down timer was late once and has been given that time back.
    pub(super) excused: bool,
    warned: BTreeMap<WarningKind, String>,
    pub(super) timers: Timers,
    outputs: VecDeque<Output>,
}

impl Machine {
    /// Begins in `Fault`, "starting", until `handle_interface` and `handle_eligible` have both said yes.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            master_interval: settings.advert_interval.duration(),
            settings,
            next_settings: None,
            role: Role::Fault,
            reason: STARTING.to_owned(),
            since: now,
            primary: None,
            eligible: Err(STARTING.to_owned()),
            heard: None,
            lesser_since: None,
            grouped: false,
            ready: None,
            held: Vec::new(),
            held_since: None,
            held_at: None,
            former: None,
            advertised_at: None,
            hidden: Duration::ZERO,
            announcements: Announcements::default(),
            defence: Defence::default(),
            detector: Detector::default(),
            relays_to: None,
            relays: true,
            stepping_down: None,
            yielded: false,
            lingering: false,
            stands_back: false,
            stranger: None,
            excused: false,
            warned: BTreeMap::new(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn state(&self) -> VrrpState {
        self.role.state()
    }

    /// Why it is in this state, and since when.
    pub fn reason(&self) -> (&str, Instant) {
        (&self.reason, self.since)
    }

    /// Address and priority of the master that was heard last, unless it has given up.
    pub fn heard_master(&self) -> Option<(IpAddr, u8)> {
        self.heard.filter(|heard| heard.priority != Advert::RELEASE).map(|heard| (heard.from, heard.priority))
    }

    /// Since when this node is master without a break; `None`: it is not.
    pub fn master_since(&self) -> Option<Instant> {
        match self.role {
            Role::Master | Role::Resigning => self.held_since,
            Role::Fault | Role::Blocked | Role::Backup | Role::Stopping | Role::Stopped => None,
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.timers.next()
    }

    /// `primary`: the own address on the interface that carries the virtual addresses; `None`: there is none. An
    /// interface that was exchanged for another is first lost, then found, even if its address is the same.
    pub fn handle_interface(&mut self, primary: Option<IpAddr>, now: Instant) {
        self.wake(now);
        let before = std::mem::replace(&mut self.primary, primary);
        match (before, primary) {
            (None, None) => self.fail(NO_INTERFACE.to_owned(), now),
            (Some(_), None) => self.fail("the interface of the virtual addresses is gone".to_owned(), now),
            (None, Some(_)) => self.reconsider(now),
            (Some(before), Some(after)) if before != after && self.role == Role::Master => {
                self.take_addresses(now);
            }
            (Some(_), Some(_)) => {}
        }
    }

    /// `Err`: this node must not be master, and the reason is what a person reads.
    pub fn handle_eligible(&mut self, eligible: Result<(), String>, now: Instant) {
        self.wake(now);
        self.eligible = eligible;
        match self.eligible.clone() {
            Ok(()) => self.reconsider(now),
            Err(reason) => self.fail(reason, now),
        }
    }

    /// Takes effect in place: a master stays master, and says at once what has changed. Only another virtual router id
    /// or version is another virtual router, which is left and entered anew. Whoever is handing over does that first.
    pub fn reconfigure(&mut self, settings: Settings, now: Instant) {
        self.wake(now);
        if self.role == Role::Resigning {
            self.next_settings = Some(settings);
            return;
        }
        if settings == self.settings {
            return;
        }
        if (settings.vrid, settings.version) != (self.settings.vrid, self.settings.version) {
            self.leave_for_another_router(settings, now);
            return;
        }
        let (whole, pace) = (self.down_interval(now), self.own_interval());
        let before = std::mem::replace(&mut self.settings, settings);
        match self.role {
            Role::Master => {
                self.keep_pace(pace);
                if before.addresses == self.settings.addresses {
                    self.hold(now);
                    self.advertise(self.settings.priority.get(), now);
                } else {
                    self.take_addresses(now);
                }
            }
            Role::Backup if self.settings.is_owner() && !self.yielded => {
                self.become_master("it is configured to own the addresses".to_owned(), now);
            }
            Role::Backup => {
                if self.heard.is_none() {
                    self.master_interval = self.settings.advert_interval.duration();
                }
                self.adjust_down_timer(&before, whole, now);
            }
            Role::Fault | Role::Blocked | Role::Resigning | Role::Stopping | Role::Stopped => {}
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.wake(now);
        while let Some((timer, due)) = self.timers.pop_due(now) {
            match timer {
                Timer::Down => self.master_is_down(now),
                Timer::Advert => self.advert_is_due(due, now),
                Timer::Hold => self.hold(now),
                Timer::Announce => self.announce_next(now),
                Timer::Defend => self.defend(now),
                Timer::Quiet => self.conflict_is_over(now),
                Timer::Release => self.linger_is_over(now),
                Timer::Relay => self.end_relay(),
                Timer::Empty => self.resign(now),
                Timer::Resign => self.resign_bound_is_over(now),
                Timer::Probe => self.probe(now),
                Timer::Stranger => self.stranger_is_gone(now),
            }
        }
    }

    pub(super) fn reconsider(&mut self, now: Instant) {
        if self.role != Role::Fault {
            return;
        }
        if self.stands_back && self.primary.is_some() && self.eligible.is_ok() {
            return self.stand_back(now);
        }
        match (self.primary, self.eligible.clone()) {
            (Some(_), Ok(())) => self.stand(now),
            (None, _) => self.fail(NO_INTERFACE.to_owned(), now),
            (Some(_), Err(reason)) => self.fail(reason, now),
        }
    }

    /// Everything is dropped at once, from whatever state. RFC 9568 section 6.4.3, "Shutdown": priority 0 is said first,
    /// behind the silence of ARP, so that a peer takes over within its skew time.
    fn fail(&mut self, reason: String, now: Instant) {
        match self.role {
            Role::Master | Role::Resigning => {
                self.output(Output::AnswerArp(false));
                self.release_mastership(now);
                self.drop_addresses();
            }
            Role::Backup | Role::Stopping | Role::Fault => self.drop_addresses(),
            Role::Blocked => {}
            Role::Stopped => return,
        }
        if self.stepping_down.is_some_and(|step| step.then != Then::Stop) {
            self.stepping_down = None;
            self.role = Role::Master;
            self.refuse(&reason);
        }
        if matches!(self.role, Role::Resigning | Role::Stopping) {
            return self.stop(&reason, now);
        }
        self.timers.clear();
        self.forget_conflicts();
        if self.role != Role::Fault || self.reason != reason {
            self.transition(Role::Fault, reason, now);
        }
        self.step_is_over(now);
    }

    fn leave_for_another_router(&mut self, settings: Settings, now: Instant) {
        match self.role {
            Role::Master => {
                self.output(Output::AnswerArp(false));
                self.release_mastership(now);
                self.drop_addresses();
            }
            Role::Backup | Role::Fault => self.drop_addresses(),
            Role::Blocked => {}
            Role::Resigning | Role::Stopping | Role::Stopped => return,
        }
        self.settings = settings;
        self.timers.clear();
        self.forget_conflicts();
        if self.role != Role::Fault {
            self.transition(Role::Fault, "configured as another virtual router".to_owned(), now);
        }
        self.reconsider(now);
    }

    /// RFC 9568 section 6.4.2: the transition of a backup (or of an owner that starts) to Active. It is told last, since
    /// telling takes time.
    pub(super) fn become_master(&mut self, reason: String, now: Instant) {
        if std::mem::take(&mut self.lingering) {
            self.output(Output::Keep);
        }
        self.timers.clear();
        self.former = None;
        self.yielded = false;
        self.held_since = None;
        let transition = self.enter(Role::Master, reason, now);
        self.begin_relay(now);
        self.take_addresses(now);
        self.tell_clients(now);
        self.output(Output::Transition(transition));
    }

    /// Hold, answer, advertise, announce: in this order nobody is told of an address that is not answered for.
    fn take_addresses(&mut self, now: Instant) {
        self.hold(now);
        self.output(Output::AnswerArp(true));
        self.advertise(self.settings.priority.get(), now);
        self.start_announcing(now);
    }

    pub(super) fn advertise(&mut self, priority: u8, now: Instant) {
        self.output(Output::SendAdvert(self.settings.advert(priority)));
        self.count("advert_sent");
        self.advertised_at = Some(now);
        self.hidden = Duration::ZERO;
        self.note_pace();
        self.timers.arm(Timer::Advert, now + self.own_interval());
    }

    fn advert_is_due(&mut self, due: Instant, now: Instant) {
        match self.role {
            Role::Master => {
                self.advertise(self.settings.priority.get(), now);
                self.renew_early(now);
            }
            // A lost priority 0 would cost the peer its whole down interval. Its skew time is shorter than an interval,
            // so that a second one never delays what the first has begun.
            Role::Resigning => self.advertise(self.parting_priority(), now),
            Role::Fault | Role::Blocked | Role::Backup | Role::Stopping | Role::Stopped => return,
        }
        // The rhythm is kept when a timer is a little late, and begun anew when it was missed.
        let next = due + self.own_interval();
        if next > now {
            self.timers.arm(Timer::Advert, next);
        }
    }

    pub(super) fn stop(&mut self, reason: &str, now: Instant) {
        self.timers.clear();
        self.forget_conflicts();
        self.transition(Role::Stopped, format!("resigned: {reason}"), now);
        self.output(Output::Resigned { reason: reason.to_owned() });
    }

    pub(super) fn transition(&mut self, to: Role, reason: String, now: Instant) {
        let transition = self.enter(to, reason, now);
        self.output(Output::Transition(transition));
    }

    fn enter(&mut self, to: Role, reason: String, now: Instant) -> Transition {
        let from = std::mem::replace(&mut self.role, to).state();
        self.reason.clone_from(&reason);
        self.since = now;
        self.detector.stop_asking();
        self.ready = None;
        if !matches!(to, Role::Master | Role::Resigning) {
            self.end_relay();
            self.advertised_at = None;
            self.lesser_since = None;
        }
        Transition {
            instance: self.settings.name.clone(),
            from,
            to: to.state(),
            reason,
            priority: self.settings.priority.get(),
            is_end: to == Role::Stopped,
        }
    }

    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn count(&mut self, counter: &'static str) {
        self.output(Output::Count(counter));
    }

    pub(super) fn warn(&mut self, kind: WarningKind, text: String) {
        if self.warned.get(&kind) != Some(&text) {
            self.warned.insert(kind, text.clone());
            self.output(Output::Warn { kind, text });
        }
    }

    pub(super) fn clear_warning(&mut self, kind: WarningKind) {
        if self.warned.remove(&kind).is_some() {
            self.output(Output::ClearWarn(kind));
        }
    }
}

const STARTING: &str = "starting";
const NO_INTERFACE: &str = "no interface for the virtual addresses";
