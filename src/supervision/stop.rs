//! The order of a stop: addresses handed over, connections ended and whoever waits for news told, roles gone. Each step
//! has a bound. The vrrp role keeps the addresses for the connections until it is dismissed.

use std::time::{Duration, Instant};

use super::reload::stopping;
use super::role::Phase;
use super::{Action, Plan, RoleName};

/// Make before break: the peer has to announce the addresses before this node lets go of them. It takes milliseconds, or
/// the peer's skew time, which is long where the adverts are rare.
pub const RESIGN_BOUND: Duration = Duration::from_secs(3);
/// For what the user wants to be told or run; Docker's own patience is 10 s for the whole stop.
pub const TELL_BOUND: Duration = Duration::from_secs(5);
/// All the time that is left for connections which have had theirs before the addresses moved.
const REST_BOUND: Duration = Duration::from_secs(1);
/// A role keeps the bound by its own clock; its answer takes a moment.
const ANSWER: Duration = Duration::from_millis(200);
/// From the end of its link to the end of a role.
const LEAVE_BOUND: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(super) struct Stop {
    step: Step,
    until: Instant,
    /// Who has been told to drain, and has not said so.
    draining: Vec<RoleName>,
    /// Connections are ended before the addresses move.
    ends_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Resigning,
    Draining,
    Leaving,
    /// SIGKILL is on its way to whoever is left.
    Killing,
    Done,
}

impl Stop {
    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        let reason = match self.step {
            Step::Resigning => "the addresses are handed over",
            Step::Draining => "requests are answered, and the stop is told",
            Step::Leaving => "the roles leave",
            Step::Killing => "the roles are killed",
            Step::Done => return None,
        };
        Some((self.until, reason))
    }
}

impl Plan {
    pub(super) fn stop(&mut self, now: Instant) {
        if let Some(Stop { step, .. }) = &self.stop {
            return match step {
                Step::Resigning | Step::Draining | Step::Leaving => self.kill_all(now),
                Step::Killing | Step::Done => (),
            };
        }
        self.step(Step::Resigning, now + RESIGN_BOUND + ANSWER);
        self.abort(stopping());
        if let Some(queued) = self.queued.take() {
            self.push(Action::Outcome(queued.generation, Err(stopping())));
        }
        for role in RoleName::ALL {
            if !self.role(role).is_running() {
                self.role_mut(role).enter(Phase::Stopped, now);
            }
        }
        if self.vrrp.listens() {
            self.push(Action::Resign(RESIGN_BOUND));
        } else {
            self.drain(now);
        }
    }

    pub(super) fn wait_for_connections(&mut self, bound: Duration, now: Instant) {
        if let Some(stop) = self.stop.as_mut().filter(|s| s.step == Step::Resigning) {
            stop.ends_first = true;
            stop.until = now + bound + RESIGN_BOUND + ANSWER;
        }
    }

    pub(super) fn resigned(&mut self, name: RoleName, now: Instant) {
        if name == RoleName::Vrrp && self.is_at(Step::Resigning) {
            self.drain(now);
        }
    }

    pub(super) fn drained(&mut self, name: RoleName, now: Instant) {
        if !self.is_at(Step::Draining) {
            return;
        }
        let Some(stop) = &mut self.stop else { return };
        stop.draining.retain(|role| *role != name);
        if stop.draining.is_empty() {
            self.dismiss(now);
        }
    }

    /// A role that has died keeps nobody waiting.
    pub(super) fn left(&mut self, name: RoleName, now: Instant) {
        self.resigned(name, now);
        self.drained(name, now);
    }

    pub(super) fn expire_stop(&mut self, now: Instant) {
        let Some(stop) = self.stop.as_ref().filter(|s| s.until <= now) else { return };
        match stop.step {
            Step::Resigning => self.drain(now),
            Step::Draining => self.dismiss(now),
            Step::Leaving => self.kill_all(now),
            Step::Killing => self.exit(),
            Step::Done => (),
        }
    }

    /// The last role has gone.
    pub(super) fn finish_stop(&mut self) {
        if self.stop.is_some() && !self.is_anybody_running() {
            self.exit();
        }
    }

    fn drain(&mut self, now: Instant) {
        let draining: Vec<_> = [RoleName::Proxy, RoleName::Runner]
            .into_iter()
            .filter(|role| self.role(*role).listens())
            .collect();
        if draining.is_empty() {
            return self.dismiss(now);
        }
        let mut longest = Duration::ZERO;
        for role in &draining {
            let bound = match role {
                RoleName::Runner => TELL_BOUND,
                RoleName::Proxy | RoleName::Vrrp => {
                    let bound = self.in_force.as_ref().map(|c| c.drain_timeout).unwrap_or_default();
                    if self.ends_first() { bound.min(REST_BOUND) } else { bound }
                }
            };
            longest = longest.max(bound);
            self.push(Action::Drain(*role, bound));
        }
        self.step(Step::Draining, now + longest + ANSWER);
        if let Some(stop) = &mut self.stop {
            stop.draining = draining;
        }
    }

    fn dismiss(&mut self, now: Instant) {
        self.step(Step::Leaving, now + LEAVE_BOUND);
        self.push(Action::Dismiss);
    }

    fn kill_all(&mut self, now: Instant) {
        self.step(Step::Killing, now + LEAVE_BOUND);
        for role in RoleName::ALL {
            if self.role(role).listens() {
                self.kill(role, "does not leave in time", now);
            }
        }
    }

    fn exit(&mut self) {
        if !self.is_at(Step::Done)
            && let Some(stop) = &mut self.stop
        {
            stop.step = Step::Done;
            self.push(Action::Exit);
        }
    }

    fn step(&mut self, step: Step, until: Instant) {
        let ends_first = self.ends_first();
        self.stop = Some(Stop { step, until, ends_first, draining: vec![] });
    }

    fn ends_first(&self) -> bool {
        self.stop.as_ref().is_some_and(|s| s.ends_first)
    }

    fn is_at(&self, step: Step) -> bool {
        self.stop.as_ref().is_some_and(|s| s.step == step)
    }
}
