//! A configuration is taken by all roles or by none: asked, then told.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::role::{Phase, SETTLE_BOUND};
use super::{Action, Candidate, Plan, Rejection, RoleName};
use crate::link::Generation;

/// How long the roles may examine a configuration.
pub const PREPARE_BOUND: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Reload {
    pub(super) candidate: Candidate,
    pub(super) step: Step,
    /// The end of the step.
    pub(super) until: Instant,
    /// Everybody who was asked: a role that was dead starts by whatever is in force then.
    voters: Vec<RoleName>,
}

#[derive(Debug)]
pub(super) enum Step {
    /// Whose answer is awaited.
    Voting(Vec<RoleName>),
    /// All have agreed; who was there before the edit is not known yet.
    Asking,
    /// These peers take it first.
    Waiting(Vec<IpAddr>),
    /// Have they survived it?
    AskingAgain { question: u64, witnesses: Vec<IpAddr> },
}

impl Reload {
    pub(super) fn generation(&self) -> Generation {
        self.candidate.generation
    }

    pub(super) fn deadline(&self) -> (Instant, &'static str) {
        let reason = match self.step {
            Step::Voting(_) => "a configuration is examined",
            Step::Asking | Step::AskingAgain { .. } => "the peers are asked",
            Step::Waiting(_) => "the peers take a configuration first",
        };
        (self.until, reason)
    }

    /// Peers that must answer again.
    pub(super) fn witnesses(&self) -> &[IpAddr] {
        match &self.step {
            Step::Voting(_) | Step::Asking => &[],
            Step::Waiting(witnesses) | Step::AskingAgain { witnesses, .. } => witnesses,
        }
    }

    /// All of it is at stake: a node that is not whole has nothing to lose, and nobody to ask.
    pub(super) fn is_whole(&self) -> bool {
        [RoleName::Proxy, RoleName::Vrrp].iter().all(|role| self.voters.contains(role))
    }
}

impl Plan {
    pub(super) fn take_candidate(&mut self, candidate: Candidate) {
        if self.is_stopping() {
            return self.refuse(candidate.generation, stopping());
        }
        let newer = || Rejection::ForGood("a newer edit came before it could be applied".into());
        if self.reload.as_ref().is_some_and(|reload| !matches!(reload.step, Step::Voting(_))) {
            self.abort(newer());
            self.peers.suspect_instead(candidate.digest);
        }
        if let Some(older) = self.queued.replace(candidate) {
            self.refuse(older.generation, newer());
        }
    }

    pub(super) fn begin_reload(&mut self, now: Instant) {
        if self.reload.is_some() || !RoleName::ALL.iter().all(|r| self.role(*r).is_settled()) {
            return;
        }
        let Some(candidate) = self.queued.take() else { return };
        let voters: Vec<_> = RoleName::ALL.into_iter().filter(|r| self.role(*r).serves()).collect();
        for role in &voters {
            self.push(Action::Prepare(*role, candidate.generation));
        }
        let step = Step::Voting(voters.clone());
        self.reload = Some(Reload { candidate, step, until: now + PREPARE_BOUND, voters });
        self.count(now);
    }

    pub(super) fn voted(
        &mut self,
        name: RoleName,
        generation: Generation,
        vote: Result<(), String>,
        now: Instant,
    ) {
        let Some(reload) = self.reload.as_mut().filter(|r| r.candidate.generation == generation) else {
            return;
        };
        let Step::Voting(asked) = &mut reload.step else { return };
        match vote {
            Ok(()) => {
                asked.retain(|asked| *asked != name);
                self.count(now);
            }
            Err(reason) => self.abort(Rejection::ForGood(format!("the {name} role refused it: {reason}"))),
        }
    }

    pub(super) fn expire_reload(&mut self, now: Instant) {
        let Some(reload) = self.reload.as_ref().filter(|r| r.until <= now) else { return };
        match &reload.step {
            Step::Voting(asked) => {
                let silent: Vec<_> = asked.iter().map(RoleName::to_string).collect();
                let reason = format!("no answer within {PREPARE_BOUND:?} from {}", silent.join(" and "));
                self.abort(Rejection::ForNow(reason));
            }
            Step::Asking | Step::Waiting(_) | Step::AskingAgain { .. } => self.expire_turn(now),
        }
    }

    pub(super) fn abandon_reload(&mut self, name: RoleName, why: &str) {
        if self.reload.as_ref().is_some_and(|r| r.voters.contains(&name)) {
            let reason = format!("the {name} role ended while the configuration was examined: {why}");
            self.abort(Rejection::ForNow(reason));
        }
    }

    pub(super) fn abort(&mut self, reason: Rejection) {
        let Some(reload) = self.reload.take() else { return };
        self.peers.remember(&reload);
        let Reload { candidate, voters, .. } = reload;
        for role in voters {
            if self.role(role).listens() {
                self.push(Action::Abort(role, candidate.generation));
            }
        }
        self.refuse(candidate.generation, reason);
    }

    fn count(&mut self, now: Instant) {
        if matches!(&self.reload, Some(Reload { step: Step::Voting(asked), .. }) if asked.is_empty()) {
            self.take_turn(now);
        }
    }

    /// All have agreed, and nobody is waited for.
    pub(super) fn commit(&mut self, now: Instant) {
        let Some(Reload { candidate, voters, .. }) = self.reload.take() else { return };
        let generation = candidate.generation;
        for role in &voters {
            if let Phase::Serving { newer, .. } = &mut self.role_mut(*role).phase {
                *newer = Some((generation, now + SETTLE_BOUND));
            }
            self.push(Action::Commit(*role, generation));
        }
        self.in_force = Some(candidate);
        self.peers.forgive();
        self.push(Action::Outcome(generation, Ok(())));
        for role in RoleName::ALL {
            let is_idle = match self.role(role).phase {
                Phase::Absent => self.is_wanted(role),
                // It may have been the old configuration that it died of.
                Phase::Waiting { .. } => true,
                Phase::Preparing { .. }
                | Phase::Committing { .. }
                | Phase::Serving { .. }
                | Phase::Ending { .. }
                | Phase::Stopped => false,
            };
            if is_idle {
                self.role_mut(role).backoff.reset();
                self.start(role, now);
            }
        }
    }

    fn refuse(&mut self, generation: Generation, reason: Rejection) {
        self.push(Action::Outcome(generation, Err(reason)));
    }
}

pub(super) fn stopping() -> Rejection {
    Rejection::ForGood("vipgate is stopping".into())
}
