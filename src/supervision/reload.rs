//! A configuration is taken by all roles or by none: asked, then told.

use std::time::{Duration, Instant};

use super::role::{Phase, SETTLE_BOUND};
use super::{Action, Candidate, Plan, Rejection, RoleName};
use crate::link::Generation;

/// How long the roles may examine a configuration.
pub const PREPARE_BOUND: Duration = Duration::from_secs(5);

const ROLES: [RoleName; 2] = [RoleName::Proxy, RoleName::Vrrp];

#[derive(Debug)]
pub(super) struct Reload {
    candidate: Candidate,
    pub(super) until: Instant,
    /// Whose answer is awaited.
    asked: Vec<RoleName>,
    /// Everybody who was asked: a role that was dead starts by whatever is in force then.
    voters: Vec<RoleName>,
}

impl Plan {
    pub(super) fn take_candidate(&mut self, candidate: Candidate) {
        if self.is_stopping() {
            return self.refuse(candidate.generation, stopping());
        }
        if let Some(older) = self.queued.replace(candidate) {
            let reason = "a newer edit came before it could be applied".into();
            self.refuse(older.generation, Rejection::ForGood(reason));
        }
    }

    pub(super) fn begin_reload(&mut self, now: Instant) {
        if self.reload.is_some() || !ROLES.iter().all(|r| self.role(*r).is_settled()) {
            return;
        }
        let Some(candidate) = self.queued.take() else { return };
        let voters: Vec<_> = ROLES.into_iter().filter(|r| self.role(*r).serves()).collect();
        for role in &voters {
            self.push(Action::Prepare(*role, candidate.generation));
        }
        self.reload = Some(Reload { candidate, until: now + PREPARE_BOUND, asked: voters.clone(), voters });
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
        match vote {
            Ok(()) => {
                reload.asked.retain(|asked| *asked != name);
                self.count(now);
            }
            Err(reason) => self.abort(Rejection::ForGood(format!("the {name} role refused it: {reason}"))),
        }
    }

    pub(super) fn expire_reload(&mut self, now: Instant) {
        if let Some(reload) = self.reload.as_ref().filter(|r| r.until <= now) {
            let silent: Vec<_> = reload.asked.iter().map(RoleName::to_string).collect();
            let reason = format!("no answer within {PREPARE_BOUND:?} from {}", silent.join(" and "));
            self.abort(Rejection::ForNow(reason));
        }
    }

    pub(super) fn abandon_reload(&mut self, name: RoleName, why: &str) {
        if self.reload.as_ref().is_some_and(|r| r.voters.contains(&name)) {
            let reason = format!("the {name} role ended while the configuration was examined: {why}");
            self.abort(Rejection::ForNow(reason));
        }
    }

    pub(super) fn abort(&mut self, reason: Rejection) {
        let Some(Reload { candidate, voters, .. }) = self.reload.take() else { return };
        for role in voters {
            if self.role(role).listens() {
                self.push(Action::Abort(role, candidate.generation));
            }
        }
        self.refuse(candidate.generation, reason);
    }

    fn count(&mut self, now: Instant) {
        let Some(reload) = self.reload.take_if(|r| r.asked.is_empty()) else { return };
        let Reload { candidate, voters, .. } = reload;
        let generation = candidate.generation;
        for role in &voters {
            if let Phase::Serving { newer, .. } = &mut self.role_mut(*role).phase {
                *newer = Some((generation, now + SETTLE_BOUND));
            }
            self.push(Action::Commit(*role, generation));
        }
        self.in_force = Some(candidate);
        self.push(Action::Outcome(generation, Ok(())));
        for role in ROLES {
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
