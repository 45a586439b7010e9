//! From an edited file to a candidate of the plan, and from its outcome to the configuration in force.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::edition::{Edition, Origin};
use super::run::Supervisor;
use super::sockets::Sockets;
use super::start::workers;
use super::status::Refusal;
use super::watch::Sighting;
use super::{loading, preflight};
use crate::daemon::log;
use crate::link::Generation;
use crate::link::loading::FromLoader;
use crate::os::snapshot::Snapshot;
use crate::supervision::Event;

/// One configuration is read at a time; of those that come meanwhile only the last one counts.
#[derive(Debug)]
pub(super) struct Loading {
    results: mpsc::Sender<(Snapshot, FromLoader)>,
    is_busy: bool,
    next: Option<Snapshot>,
}

impl Loading {
    pub(super) fn new(results: mpsc::Sender<(Snapshot, FromLoader)>) -> Self {
        Self { results, is_busy: false, next: None }
    }
}

impl Supervisor {
    pub(super) fn sight(&mut self, sighting: Sighting) {
        match sighting {
            Sighting::Snapshot(snapshot) => {
                let known = std::mem::replace(&mut self.replaced, snapshot.links == 0);
                if !known {
                    self.warn_replaced();
                }
                self.load(snapshot);
            }
            Sighting::Unreadable(path, error) => {
                let problems = format!("{}: cannot be read: {error}", path.display());
                self.refuse(Origin::unreadable(&path), problems);
            }
        }
    }

    fn load(&mut self, snapshot: Snapshot) {
        if self.plan.is_stopping() {
            return;
        }
        if self.loading.is_busy {
            self.loading.next = Some(snapshot);
            return;
        }
        self.loading.is_busy = true;
        let results = self.loading.results.clone();
        tokio::spawn(async move {
            let result = loading::load(&snapshot).await;
            // With the receiver PID 1 itself is gone.
            let _ = results.send((snapshot, result)).await;
        });
    }

    pub(super) fn take_loaded(&mut self, snapshot: &Snapshot, result: FromLoader) {
        self.loading.is_busy = false;
        if let Some(next) = self.loading.next.take() {
            return self.load(next);
        }
        let origin = Origin::of(snapshot);
        let (config, warnings) = match result {
            FromLoader::Accepted { config, warnings } => (config, warnings),
            FromLoader::Refused { problems } => return self.refuse(origin, problems),
        };
        for warning in &warnings {
            warn!("{warning}");
        }
        if config == self.in_force.config && self.pending.is_empty() {
            info!("{} says the same as before", origin.path.display());
            self.refused = None;
            self.in_force.origin = origin;
            self.in_force.warnings = warnings;
            return;
        }
        if let Err(reason) = preflight::missing_capabilities(&config) {
            return self.refuse(origin, reason);
        }
        let sockets = match Sockets::open(&config, self.workers, &self.in_force.sockets) {
            Ok(sockets) => sockets,
            Err(error) => return self.refuse(origin, error.to_string()),
        };
        self.generations += 1;
        let (generation, since) = (Generation(self.generations), Instant::now());
        let edition = Edition { generation, origin, config, sockets, warnings, since };
        let candidate = edition.candidate();
        self.pending.insert(generation, edition);
        self.happen(Event::Candidate(candidate));
    }

    fn refuse(&mut self, origin: Origin, problems: String) {
        warn!("the edit is refused, the configuration in force stays:\n{problems}");
        self.refused = Some(Refusal { at: Instant::now(), origin, problems });
    }

    pub(super) fn conclude(&mut self, generation: Generation, outcome: Result<(), String>) {
        // The first edition is in force from the start.
        let Some(mut edition) = self.pending.remove(&generation) else { return };
        match outcome {
            Ok(()) => {
                edition.since = Instant::now();
                let old = std::mem::replace(&mut self.in_force, edition);
                self.retiring.push(old.sockets);
                // The proxy closes the others, also those that a later configuration has again.
                let kept = &self.in_force.sockets;
                self.given
                    .retain(|given| kept.groups().any(|(_, group)| given.ptr_eq(&Arc::downgrade(group))));
                self.refused = None;
                log::apply(self.in_force.config.log);
                info!("{} is in force (generation {})", self.in_force.origin.path.display(), generation.0);
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
