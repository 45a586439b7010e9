//! A planned move: the address changes hands while both nodes live, and no connection is to notice. The old owner says
//! priority 0, serves on until a peer has taken over, and then keeps the address for the connections that it has, silent
//! in ARP; the new owner relays their segments to it. No socket, no clock.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::advert::Advert;
use super::machine::{Heard, Machine, Role};
use super::output::Output;
use super::timers::Timer;
use super::timing;

/// How long an address stays without a relay: what was being answered when the winner announced itself is on its way
/// within this, and more cannot be had, since its acknowledgements go to the winner.
pub const LINGER: Duration = Duration::from_millis(200);
/// The proxy keeps the bound by its own clock, and the last segments of a connection take a moment.
pub const FAREWELL: Duration = Duration::from_millis(500);

/// What a master becomes that has handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The end of this machine.
    Stop,
    /// A backup that leaves the address with whoever took it.
    StandBy,
    /// Out of the election until it is let in again.
    StandBack,
}

/// What a master was asked to become, and for how long it waits for a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepDown {
    pub(super) then: Then,
    pub(super) bound: Duration,
}

impl Machine {
    /// It has said that it gives up, and serves on until somebody has taken over.
    pub fn is_handing_over(&self) -> bool {
        self.role == Role::Resigning
    }

    /// Make before break: priority 0 is said at once, but the addresses are held and answered for until a peer has
    /// taken over or `bound` has passed. From then on `has_resigned`, and the addresses stay for the connections, until
    /// `handle_emptied` or their bound. Ends with `Output::Resigned`.
    pub fn handle_resign(&mut self, bound: Duration, now: Instant) {
        self.wake(now);
        match self.role {
            Role::Master => self.step_down(StepDown { then: Then::Stop, bound }, now),
            Role::Resigning => {
                let before = self.stepping_down.replace(StepDown { then: Then::Stop, bound });
                if before.is_some_and(|step| step.then != Then::Stop) {
                    self.refuse("this node is told to stop");
                }
            }
            Role::Backup | Role::Fault if self.is_lingering() => {
                self.timers.disarm(&[Timer::Down, Timer::Probe]);
                self.role = Role::Stopping;
            }
            Role::Fault | Role::Blocked | Role::Backup => self.stop("it was not master", now),
            Role::Stopping | Role::Stopped => {}
        }
    }

    /// Hand the addresses to a peer and stay up as its backup. What became of it comes as `Output::SteppedDown`; without
    /// a peer that takes over within `bound`, this node stays master. It does not preempt the peer that has taken over,
    /// for as long as that one keeps the addresses.
    pub fn handle_failover(&mut self, bound: Duration, now: Instant) {
        self.wake(now);
        match self.role {
            Role::Master => self.step_down(StepDown { then: Then::StandBy, bound }, now),
            Role::Resigning => self.refuse("it is handing over already"),
            Role::Fault | Role::Blocked | Role::Backup | Role::Stopping | Role::Stopped => {
                self.refuse(&format!("this node is {}, not MASTER: {}", self.role.state(), self.reason().0));
            }
        }
    }

    /// Hand the addresses to a peer, if this node has them, and take none until `handle_stand_in`.
    pub fn handle_stand_back(&mut self, bound: Duration, now: Instant) {
        self.wake(now);
        match self.role {
            Role::Master => self.step_down(StepDown { then: Then::StandBack, bound }, now),
            Role::Resigning => self.refuse("it is handing over already"),
            Role::Fault | Role::Blocked | Role::Backup => {
                self.stand_back(now);
                self.output(Output::SteppedDown(Ok("it was not master".to_owned())));
            }
            Role::Stopping | Role::Stopped => self.refuse("it is stopping"),
        }
    }

    /// Of one that is still handing over it makes a backup, and no stop is taken back.
    pub fn handle_stand_in(&mut self, now: Instant) {
        self.wake(now);
        if let Some(step) = self.stepping_down.as_mut().filter(|step| step.then == Then::StandBack) {
            step.then = Then::StandBy;
        }
        if std::mem::take(&mut self.stands_back) {
            self.reconsider(now);
        }
    }

    /// Whether segments without a socket can be handed back to their owner on this kernel. Nodes of one group are taken
    /// to be alike: a master that could not relay has no peer that can, and ends its connections before it lets go.
    pub fn handle_relays(&mut self, relays: bool) {
        self.relays = relays;
    }

    /// No connection of the addresses is left in this node's proxy.
    pub fn handle_emptied(&mut self, now: Instant) {
        self.wake(now);
        if self.timers.deadline(Timer::Empty).is_some() {
            self.timers.disarm(&[Timer::Empty]);
            self.resign(now);
        } else if self.is_lingering() {
            self.linger_is_over(now);
        }
    }

    /// A peer says that it serves no connection of these addresses any more: there is nothing to relay to it.
    pub fn handle_drained(&mut self, peer: IpAddr, now: Instant) {
        self.wake(now);
        if self.relays_to == Some(peer) {
            self.end_relay();
        }
    }

    /// Everything of `handle_resign` is done but the connections.
    pub fn has_resigned(&self) -> bool {
        matches!(self.role, Role::Stopping | Role::Stopped)
    }

    /// The addresses belong to a peer, and are kept for the connections that this node has.
    pub fn is_lingering(&self) -> bool {
        self.lingering
    }

    /// Where segments of connections go that this node does not know.
    pub fn relays_to(&self) -> Option<IpAddr> {
        self.relays_to
    }

    pub(super) fn refuse(&mut self, why: &str) {
        self.output(Output::SteppedDown(Err(why.to_owned())));
    }

    fn step_down(&mut self, step: StepDown, now: Instant) {
        self.stepping_down = Some(step);
        self.stop_announcing();
        if self.relays {
            return self.resign(now);
        }
        self.role = Role::Resigning;
        let bound = self.settings.drain_timeout;
        self.timers.arm(Timer::Empty, now + bound);
        let addresses = self.settings.addresses.clone();
        self.output(Output::Drain { addresses, bound, first: true });
    }

    pub(super) fn release_mastership(&mut self, now: Instant) {
        if self.primary.is_some() {
            self.advertise(Advert::RELEASE, now);
        }
    }

    /// Says priority 0 and waits for a peer.
    pub(super) fn resign(&mut self, now: Instant) {
        let longest = timing::handover_bound(self.settings.version, self.own_interval());
        // A peer takes one of a group only with the others, whose adverts may be rarer.
        let longest = if self.grouped { Duration::MAX } else { longest };
        let Some(step) = &mut self.stepping_down else { return };
        step.bound = step.bound.min(longest);
        let until = now + step.bound;
        self.role = Role::Resigning;
        self.advertise(Advert::RELEASE, now);
        self.timers.arm(Timer::Resign, until);
    }

    /// Priority 0 has been said, and whoever takes over may.
    pub(super) fn is_releasing(&self) -> bool {
        self.role == Role::Resigning && self.timers.deadline(Timer::Empty).is_none()
    }

    /// The priority that a node says which is about to hand over: its own, as long as it ends its connections first.
    pub(super) fn parting_priority(&self) -> u8 {
        if self.is_releasing() { Advert::RELEASE } else { self.settings.priority.get() }
    }

    /// Resigning, and a peer has shown that it is master.
    pub(super) fn hand_over(&mut self, reason: String, now: Instant) {
        let then = self.stepping_down.take().map_or(Then::Stop, |step| step.then);
        self.output(Output::AnswerArp(false));
        self.timers.clear();
        self.forget_conflicts();
        self.linger(now);
        match then {
            Then::Stop => return self.transition(Role::Stopping, reason, now),
            Then::StandBy => {
                self.yielded = true;
                self.arm_down(now + self.down_interval(now));
                self.transition(Role::Backup, reason.clone(), now);
            }
            Then::StandBack => self.stand_back(now),
        }
        self.output(Output::SteppedDown(Ok(reason)));
        self.step_is_over(now);
    }

    /// What it was told meanwhile counts from now on.
    pub(super) fn step_is_over(&mut self, now: Instant) {
        if let Some(settings) = self.next_settings.take() {
            self.reconfigure(settings, now);
        }
    }

    pub(super) fn resign_bound_is_over(&mut self, now: Instant) {
        let Some(step) = self.stepping_down.take_if(|_| self.role == Role::Resigning) else { return };
        match step.then {
            // Nobody takes the address from here on, but those who have a connection are served to the end.
            Then::Stop => {
                self.output(Output::AnswerArp(false));
                self.timers.clear();
                self.linger(now);
                self.transition(Role::Stopping, "no peer has taken over".to_owned(), now);
            }
            Then::StandBy | Then::StandBack => {
                self.role = Role::Master;
                self.output(Output::Keep);
                self.advertise(self.settings.priority.get(), now);
                self.refuse(&format!(
                    "no peer has taken over within {:?}; this node stays master",
                    step.bound
                ));
                self.step_is_over(now);
            }
        }
    }

    /// Out of the election, whatever it was; the connections that it has go on.
    pub(super) fn stand_back(&mut self, now: Instant) {
        self.stands_back = true;
        self.timers.disarm(&[Timer::Down, Timer::Probe, Timer::Stranger]);
        self.stranger = None;
        if self.role != Role::Fault || self.reason().0 != STANDS_BACK {
            self.transition(Role::Fault, STANDS_BACK.to_owned(), now);
        }
    }

    /// Keeps the addresses, without an answer to ARP, for the connections that this node has.
    pub(super) fn linger(&mut self, now: Instant) {
        let (bound, rest) = match self.relays {
            true => (self.settings.drain_timeout, FAREWELL),
            false => (LINGER / 2, LINGER / 2),
        };
        self.timers.arm(Timer::Release, now + bound + rest);
        self.lingering = true;
        self.renew_at(self.held_at.unwrap_or(now));
        let addresses = self.held().to_vec();
        self.output(Output::Drain { addresses, bound, first: false });
    }

    pub(super) fn linger_is_over(&mut self, now: Instant) {
        self.drop_addresses();
        if self.role == Role::Stopping {
            let reason = self.reason().0.to_owned();
            self.stop(&reason, now);
        }
    }

    /// A master that gave up in good order, or has just been outranked, goes on serving the connections that it has;
    /// their segments arrive here from the announcement on. One that fell silent serves nothing.
    pub(super) fn begin_relay(&mut self, now: Instant) {
        let Some((from, true)) = self.predecessor(now) else { return };
        if self.relays {
            self.relays_to = Some(from);
            self.output(Output::Relay { addresses: self.settings.addresses.clone(), old: from });
            self.timers.arm(Timer::Relay, now + self.settings.drain_timeout + FAREWELL);
        }
    }

    /// Whom this node replaces, and whether that one goes on serving the connections that it has.
    fn predecessor(&self, now: Instant) -> Option<(IpAddr, bool)> {
        let Heard { from, priority } = self.heard?;
        let lives_on = priority == Advert::RELEASE || self.preempts(priority, now);
        Some((from, lives_on && !self.detector.is_gone(from)))
    }

    /// After a move that nobody has planned: nobody else tells those clients that they wait in vain.
    pub(super) fn tell_clients(&mut self, now: Instant) {
        if let Some((old, false)) = self.predecessor(now) {
            self.output(Output::TellClients { addresses: self.settings.addresses.clone(), old });
        }
    }

    pub(super) fn end_relay(&mut self) {
        if self.relays_to.take().is_some() {
            self.timers.disarm(&[Timer::Relay]);
            self.output(Output::EndRelay);
        }
    }
}

pub(super) const STANDS_BACK: &str = "drained: takes no address until `vipgate drain --undo`";
