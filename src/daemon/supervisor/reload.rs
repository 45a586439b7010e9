//! From an edited file to a candidate of the plan, and from its outcome to the configuration in force.

use std::io;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::edition::{Edition, Origin};
use super::run::Supervisor;
use super::sockets::Sockets;
use super::start::workers;
use super::status::Refusal;
use super::watch::{Found, Sighting};
use super::{loading, preflight};
use crate::config::can_follow;
use crate::daemon::log;
use crate::link::control::HappeningKind;
use crate::link::loading::FromLoader;
use crate::link::{Generation, ToVrrp};
use crate::os::snapshot::Snapshot;
use crate::supervision::{Event, Rejection};

/// Seldom enough to cost nothing, and soon enough for whoever has freed the port and waits.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A text, whether it is urgent, and what was found in it, or why it could not be examined.
pub(super) type Loaded = (Snapshot, bool, Result<FromLoader, String>);

/// One configuration is read at a time; of those that come meanwhile only the last one counts.
#[derive(Debug)]
pub(super) struct Loading {
    results: mpsc::Sender<Loaded>,
    is_busy: bool,
    next: Option<(Snapshot, bool)>,
}

impl Loading {
    pub(super) fn new(results: mpsc::Sender<Loaded>) -> Self {
        Self { results, is_busy: false, next: None }
    }
}

impl Supervisor {
    pub(super) fn sight(&mut self, sighting: Sighting) {
        let is_urgent = sighting.is_urgent;
        match sighting.found {
            Found::Snapshot(snapshot) => {
                let known = std::mem::replace(&mut self.replaced, snapshot.links == 0);
                if !known {
                    self.warn_replaced();
                }
                if !is_urgent && snapshot.digest != self.in_force.origin.digest {
                    self.happen(Event::Edit);
                }
                self.load(snapshot, is_urgent);
            }
            Found::Unreadable(_, error)
                if error.kind() == io::ErrorKind::NotFound && self.in_force.origin.is_built_in() =>
            {
                self.refused = None;
            }
            Found::Unreadable(path, error) => {
                let problems = format!("{}: cannot be read: {error}", path.display());
                // As soon as it can be read, that is something new.
                self.refuse(Origin::unreadable(&path), Rejection::ForGood(problems));
            }
        }
    }

    fn load(&mut self, snapshot: Snapshot, is_urgent: bool) {
        if self.plan.is_stopping() {
            return;
        }
        if self.loading.is_busy {
            let was_urgent = self.loading.next.as_ref().is_some_and(|(_, was_urgent)| *was_urgent);
            self.loading.next = Some((snapshot, is_urgent || was_urgent));
            return;
        }
        self.loading.is_busy = true;
        let results = self.loading.results.clone();
        tokio::spawn(async move {
            let result = loading::load(&snapshot).await;
            // With the receiver PID 1 itself is gone.
            let _ = results.send((snapshot, is_urgent, result)).await;
        });
    }

    pub(super) fn take_loaded(&mut self, (snapshot, is_urgent, result): Loaded) {
        self.loading.is_busy = false;
        if let Some((next, next_is_urgent)) = self.loading.next.take() {
            return self.load(next, is_urgent || next_is_urgent);
        }
        let origin = Origin::of(&snapshot);
        let (config, warnings) = match result {
            Ok(FromLoader::Accepted { config, warnings }) => (config, warnings),
            Ok(FromLoader::Refused { problems }) => {
                return self.refuse(origin, Rejection::ForGood(problems));
            }
            Err(problems) => return self.refuse(origin, Rejection::ForNow(problems)),
        };
        if !self.refused.as_ref().is_some_and(|refusal| refusal.is_told && refusal.origin == origin) {
            for warning in &warnings {
                warn!("{warning}");
            }
        }
        if config == self.in_force.config && self.pending.is_empty() {
            info!("{} says the same as before", origin.path.display());
            self.refused = None;
            self.in_force.origin = origin;
            self.in_force.warnings = warnings;
            let digest = self.in_force.origin.hexadecimal();
            if let Some(event) = self.tell_vrrp(ToVrrp::Origin { digest }) {
                self.happen(event);
            }
            return;
        }
        if let Err(reason) = preflight::missing_capabilities(&config) {
            return self.refuse(origin, Rejection::ForGood(reason));
        }
        let sockets = match Sockets::open(&config, self.workers, &self.in_force.sockets) {
            Ok(sockets) => sockets,
            Err(error) => return self.refuse(origin, Rejection::ForNow(error.to_string())),
        };
        let is_urgent = is_urgent || !can_follow(&self.in_force.config.vrrp, &config.vrrp);
        self.generations += 1;
        let (generation, since) = (Generation(self.generations), Instant::now());
        let edition = Edition { generation, origin, config, sockets, warnings, is_urgent, since };
        let candidate = edition.candidate();
        self.pending.insert(generation, edition);
        self.happen(Event::Candidate(candidate));
    }

    fn refuse(&mut self, origin: Origin, rejection: Rejection) {
        let is_held = matches!(rejection, Rejection::Held(_));
        let (problems, is_for_now) = match rejection {
            Rejection::ForGood(problems) => (problems, false),
            Rejection::ForNow(problems) | Rejection::Held(problems) => (problems, true),
        };
        let now = Instant::now();
        let known = self.refused.take().filter(|r| r.is_told && r.origin == origin && r.problems == problems);
        if known.is_none() {
            let again = if is_for_now { "; it will be tried again" } else { "" };
            let what = if is_held { "held back" } else { "refused" };
            warn!("the edit is {what}, the configuration in force stays{again}:\n{problems}");
            self.record(HappeningKind::Config, &format!("an edit is {what}: {problems}"));
        }
        let at = known.map_or(now, |refusal| refusal.at);
        let again = is_for_now.then_some(now + TRY_AGAIN_AFTER);
        self.refused = Some(Refusal { at, origin, problems, is_for_now, is_held, again, is_told: true });
    }

    /// When the last edit is tried again, unless another one is on its way.
    pub(super) fn next_try(&self) -> Option<Instant> {
        let is_idle = !self.loading.is_busy && self.pending.is_empty() && !self.plan.is_stopping();
        self.refused.as_ref().filter(|_| is_idle)?.again
    }

    /// Whether that is the moment; then the file has to be read, whatever is in it.
    pub(super) fn begin_try(&mut self) -> bool {
        let is_due = self.next_try().is_some_and(|at| at <= Instant::now());
        if let Some(refusal) = self.refused.as_mut().filter(|_| is_due) {
            refusal.again = None;
        }
        is_due
    }

    /// Somebody wants to know: the same problem is said again. And what waits for the peers is applied.
    pub(super) fn hang_up(&mut self) {
        self.happen(Event::Hurry);
        if let Some(refusal) = &mut self.refused {
            refusal.is_told = false;
        }
    }

    pub(super) fn conclude(&mut self, generation: Generation, outcome: Result<(), Rejection>) {
        // The first edition is in force from the start.
        let Some(mut edition) = self.pending.remove(&generation) else { return };
        match outcome {
            Ok(()) => {
                // While this one waited for the peers, a newer one can have been refused: that stays true.
                self.refused = self.refused.take().filter(|refusal| refusal.at > edition.since);
                edition.since = Instant::now();
                let old = std::mem::replace(&mut self.in_force, edition);
                self.retiring.push(old.sockets);
                // The proxy closes the others, also those that a later configuration has again.
                let kept = &self.in_force.sockets;
                self.given.retain(|given| kept.has(given));
                log::apply(self.in_force.config.log);
                let what = format!(
                    "{} is in force (generation {})",
                    self.in_force.origin.path.display(),
                    generation.0
                );
                info!("{what}");
                self.record(HappeningKind::Config, &what);
                if workers(&self.in_force.config) != self.workers {
                    warn!("{}", self.workers_warning());
                }
            }
            Err(reason) => {
                drop(edition.sockets);
                self.given.retain(|given| given.strong_count() > 0);
                self.refuse(edition.origin, reason);
            }
        }
    }
}
