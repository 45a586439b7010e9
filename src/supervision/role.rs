//! One role's life: start, service, death, pause, start.

use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::heartbeat::Heart;
use super::{Player, RoleName};
use crate::link::Generation;
use crate::link::control::RoleState;

/// From its start, or from a commit, until it works by the configuration. Longer means that it never will.
pub const SETTLE_BOUND: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: RoleName,
    pub(super) incarnation: u64,
    pub(super) phase: Phase,
    pub(super) since: Instant,
    pub(super) heart: Heart,
    pub(super) backoff: Backoff,
    pub(super) last_end: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Never started.
    Absent,
    /// Started, and asked whether it can work by this configuration.
    Preparing { generation: Generation, until: Instant },
    /// Told to.
    Committing { generation: Generation, until: Instant },
    /// It works; `newer` has been committed and is not yet in force.
    Serving { served_since: Instant, newer: Option<(Generation, Instant)> },
    /// SIGKILL is on its way.
    Ending { why: String, served: Duration },
    /// Dead; to be started at this moment.
    Waiting { until: Instant },
    /// Dead; not to be started again.
    Stopped,
}

/// A role as `status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub state: RoleState,
    pub since: Instant,
    pub incarnation: u64,
    pub last_end: Option<String>,
}

impl Role {
    pub(super) fn new(name: RoleName, now: Instant) -> Self {
        Self {
            name,
            incarnation: 0,
            phase: Phase::Absent,
            since: now,
            heart: Heart::default(),
            backoff: Backoff::default(),
            last_end: None,
        }
    }

    pub(super) fn player(&self) -> Player {
        Player { role: self.name, incarnation: self.incarnation }
    }

    pub(super) fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
    }

    /// A process runs that listens to what it is told.
    pub(super) fn listens(&self) -> bool {
        match self.phase {
            Phase::Preparing { .. } | Phase::Committing { .. } | Phase::Serving { .. } => true,
            Phase::Absent | Phase::Ending { .. } | Phase::Waiting { .. } | Phase::Stopped => false,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.listens() || matches!(self.phase, Phase::Ending { .. })
    }

    pub(super) fn serves(&self) -> bool {
        matches!(self.phase, Phase::Serving { .. })
    }

    /// Nothing that was begun is unfinished.
    pub(super) fn is_settled(&self) -> bool {
        match self.phase {
            Phase::Absent | Phase::Waiting { .. } | Phase::Stopped | Phase::Serving { newer: None, .. } => {
                true
            }
            Phase::Preparing { .. }
            | Phase::Committing { .. }
            | Phase::Serving { newer: Some(_), .. }
            | Phase::Ending { .. } => false,
        }
    }

    pub(super) fn served(&self, now: Instant) -> Duration {
        match &self.phase {
            Phase::Serving { served_since, .. } => now.saturating_duration_since(*served_since),
            Phase::Ending { served, .. } => *served,
            Phase::Absent
            | Phase::Preparing { .. }
            | Phase::Committing { .. }
            | Phase::Waiting { .. }
            | Phase::Stopped => Duration::ZERO,
        }
    }

    /// The moment at which this phase has lasted too long, or ends by itself.
    pub(super) fn deadline(&self) -> Option<(Instant, &'static str)> {
        match self.phase {
            Phase::Preparing { until, .. } | Phase::Committing { until, .. } => {
                Some((until, "a role starts"))
            }
            Phase::Serving { newer: Some((_, until)), .. } => Some((until, "a role takes a configuration")),
            Phase::Waiting { until } => Some((until, "a role waits for its restart")),
            Phase::Absent | Phase::Serving { newer: None, .. } | Phase::Ending { .. } | Phase::Stopped => {
                None
            }
        }
    }

    pub(super) fn view(&self) -> View {
        let state = match self.phase {
            Phase::Absent | Phase::Preparing { .. } | Phase::Committing { .. } => RoleState::Starting,
            Phase::Serving { .. } => RoleState::Serving,
            Phase::Ending { .. } => RoleState::Ending,
            Phase::Waiting { .. } => RoleState::Restarting,
            Phase::Stopped => RoleState::Stopped,
        };
        let Self { incarnation, since, ref last_end, .. } = *self;
        View { state, since, incarnation, last_end: last_end.clone() }
    }
}
