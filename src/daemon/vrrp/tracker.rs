//! What the virtual routers of this node track, and what is known of it. One thing is looked at once, however many
//! virtual routers track it, each with a weight of its own.

use std::collections::{HashMap, HashSet};
use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::info;

use super::check;
use super::commands::Commands;
use super::place::Survey;
use crate::config::{Track, TrackCheck, TrackCheckKind, Tracked, VrrpInstance};
use crate::health::Trial;
use crate::link::TrackReport;
use crate::net::{InterfaceName, Priority};
use crate::vrrp::track::{Effect, Outcome, effect, effective};

/// A check that took so much longer than it may was not slow: this process did not run, and its result says nothing.
const OWN_LATENESS: Duration = Duration::from_millis(100);

/// A command that has to be killed is no more after so long; a runner that dies says nothing of it.
const COMMANDS_END: Duration = Duration::from_secs(5);

/// What a watcher has found, by its number.
pub(super) type Sighting = (u64, Seen);

#[derive(Debug)]
pub(super) enum Seen {
    /// Words for a person, either way.
    Checked(Result<String, String>),
    /// `Err`: why there is no number, which counts as 0.
    Read(Result<i64, String>),
}

/// What tracking makes of a virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) priority: Priority,
    /// `Err`: it must not be master, and the reason is what a person reads.
    pub(super) fault: Result<(), String>,
    /// A file that has no number.
    pub(super) problem: Result<(), String>,
}

pub(super) struct Tracker {
    watched: HashMap<Tracked, Watched>,
    /// `None`: the proxy has not said it yet.
    upstreams_down: Option<HashSet<String>>,
    seen: mpsc::Sender<Sighting>,
    pub(super) commands: Commands,
    number: u64,
}

struct Watched {
    number: u64,
    trial: Option<Trial>,
    read: Option<Result<i64, String>>,
    words: String,
    watcher: AbortHandle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Tracker {
    pub(super) fn new(seen: mpsc::Sender<Sighting>, commands: Commands) -> Self {
        Self { watched: HashMap::new(), upstreams_down: None, seen, commands, number: 0 }
    }

    /// What is tracked already keeps what is known of it, and so does a check that only comes at other times.
    pub(super) fn want(&mut self, instances: &[VrrpInstance]) {
        let wanted: HashSet<_> =
            instances.iter().flat_map(|instance| &instance.track).map(|track| &track.what).collect();
        let gone: Vec<_> = self.watched.extract_if(|what, _| !wanted.contains(what)).collect();
        for Track { what, .. } in instances.iter().flat_map(|instance| &instance.track) {
            if self.watched.contains_key(what) {
                continue;
            }
            let (number, seen) = (self.number, self.seen.clone());
            let (mut read, mut words) = (None, "was not looked at yet".to_owned());
            let (trial, watcher) = match what {
                Tracked::Interface(_) | Tracked::Upstream(_) => continue,
                Tracked::File { path, interval } => {
                    let is_same =
                        |gone: &Tracked| matches!(gone, Tracked::File { path: of, .. } if of == path);
                    if let Some((_, last)) = gone.iter().find(|(gone, _)| is_same(gone)) {
                        (read, words) = (last.read.clone(), last.words.clone());
                    }
                    (None, tokio::spawn(keep_reading(number, path.clone(), *interval, seen)))
                }
                Tracked::Check(check) => {
                    let mut trial = Trial::new(check.rise, check.fall, check.init_fail);
                    if let Some((was_up, last)) = gone.iter().find_map(|gone| last_of(gone, &check.kind)) {
                        trial = Trial::new(check.rise, check.fall, false);
                        trial.record(was_up);
                        words = last;
                    }
                    let watcher = match &check.kind {
                        TrackCheckKind::Tcp(address) => {
                            let address = *address;
                            let ask = move || check::connect(address);
                            tokio::spawn(keep_checking(number, check.clone(), ask, seen))
                        }
                        TrackCheckKind::Http { address, uri, host } => {
                            let (address, uri, host) = (*address, uri.clone(), host.clone());
                            let ask = move || check::get(address, uri.clone(), host.clone());
                            tokio::spawn(keep_checking(number, check.clone(), ask, seen))
                        }
                        TrackCheckKind::Command(argv) => {
                            let (commands, argv, longest) =
                                (self.commands.clone(), argv.clone(), check.timeout);
                            let ask = move || commands.clone().run(argv.clone(), longest);
                            let patient = TrackCheck { timeout: longest + COMMANDS_END, ..check.clone() };
                            tokio::spawn(keep_checking(number, patient, ask, seen))
                        }
                    };
                    (Some(trial), watcher)
                }
            };
            self.number += 1;
            let watcher = watcher.abort_handle();
            self.watched.insert(what.clone(), Watched { number, trial, read, words, watcher });
        }
    }

    pub(super) fn handle_sighting(&mut self, (number, seen): Sighting) {
        let Some((what, watched)) = self.watched.iter_mut().find(|(_, watched)| watched.number == number)
        else {
            return;
        };
        match seen {
            Seen::Checked(result) => {
                let Some(trial) = &mut watched.trial else { return };
                let before = trial.is_up();
                trial.record(result.is_ok());
                watched.words = result.unwrap_or_else(|why| why);
                match trial.is_up() {
                    after if after == before => {}
                    Some(true) => info!("{} is well: {}", name(what), watched.words),
                    Some(false) | None => info!("{} has failed: {}", name(what), watched.words),
                }
            }
            Seen::Read(number) => {
                watched.words = match &number {
                    Ok(number) => format!("{number}"),
                    Err(why) => format!("{why}, which counts as 0"),
                };
                if watched.read.as_ref() != Some(&number) {
                    info!("{}: {}", name(what), watched.words);
                }
                watched.read = Some(number);
            }
        }
    }

    /// The upstreams of which no server is up.
    pub(super) fn handle_upstreams(&mut self, down: Vec<String>) {
        self.upstreams_down = Some(down.into_iter().collect());
    }

    pub(super) fn standing(&self, instance: &VrrpInstance, survey: &Survey, is_master: bool) -> Standing {
        let mut standing = Standing { priority: instance.priority, fault: Ok(()), problem: Ok(()) };
        let mut effects = vec![];
        for track in &instance.track {
            let (outcome, words) = self.outcome(&track.what, survey);
            let effect = effect(track.weight, &outcome, is_master);
            if effect == Effect::Fault && standing.fault.is_ok() {
                standing.fault = Err(format!("{}: {words}", name(&track.what)));
            }
            if let Some(Some(Err(why))) = self.watched.get(&track.what).map(|watched| &watched.read) {
                standing.problem = Err(format!("{}: {why}; it counts as 0", name(&track.what)));
            }
            effects.push(effect);
        }
        standing.priority = effective(instance.priority, effects);
        standing
    }

    pub(super) fn report(
        &self,
        instance: &VrrpInstance,
        survey: &Survey,
        is_master: bool,
    ) -> Vec<TrackReport> {
        let owner = instance.priority == Priority::OWNER;
        let one = |track: &Track| {
            let (outcome, words) = self.outcome(&track.what, survey);
            let (priority, fault) = match effect(track.weight, &outcome, is_master) {
                Effect::Priority(change) => (if owner { 0 } else { change }, false),
                Effect::Fault => (0, true),
            };
            let ok = match outcome {
                Outcome::Unknown => None,
                Outcome::Well => Some(true),
                Outcome::Failed(_) => Some(false),
                Outcome::Number(_) => Some(!fault),
            };
            TrackReport { name: name(&track.what), ok, reason: words, weight: track.weight, priority, fault }
        };
        instance.track.iter().map(one).collect()
    }

    fn outcome(&self, what: &Tracked, survey: &Survey) -> (Outcome, String) {
        let judged = |result: Result<String, String>| match result {
            Ok(words) => (Outcome::Well, words),
            Err(words) => (Outcome::Failed(words.clone()), words),
        };
        match what {
            Tracked::Interface(name) => judged(interface(name, survey)),
            Tracked::Upstream(name) => match &self.upstreams_down {
                None => (Outcome::Unknown, "the proxy has not said it yet".to_owned()),
                Some(down) if down.contains(name) => judged(Err("none of its servers is up".to_owned())),
                Some(_) => judged(Ok("a server is up".to_owned())),
            },
            Tracked::File { .. } | Tracked::Check(_) => {
                let Some(watched) = self.watched.get(what) else {
                    return (Outcome::Unknown, String::new());
                };
                let outcome = match (&watched.read, watched.trial.and_then(|trial| trial.is_up())) {
                    (Some(number), _) => Outcome::Number(*number.as_ref().unwrap_or(&0)),
                    (None, Some(true)) => Outcome::Well,
                    (None, Some(false)) => Outcome::Failed(watched.words.clone()),
                    (None, None) => Outcome::Unknown,
                };
                (outcome, watched.words.clone())
            }
        }
    }
}

/// As it is written in the file, near enough.
fn name(what: &Tracked) -> String {
    match what {
        Tracked::Interface(name) => format!("interface {name}"),
        Tracked::File { path, .. } => format!("file {}", path.display()),
        Tracked::Upstream(name) => format!("upstream {name}"),
        Tracked::Check(TrackCheck { kind: TrackCheckKind::Tcp(address), .. }) => format!("tcp {address}"),
        Tracked::Check(TrackCheck { kind: TrackCheckKind::Http { address, uri, .. }, .. }) => {
            format!("http {address}{uri}")
        }
        Tracked::Check(TrackCheck { kind: TrackCheckKind::Command(argv), .. }) => {
            format!("command {}", argv.first().map_or("", String::as_str))
        }
    }
}

fn interface(name: &InterfaceName, survey: &Survey) -> Result<String, String> {
    match survey.links.iter().find(|link| link.name == *name) {
        None => Err("there is none".to_owned()),
        Some(link) if !link.up => Err("is down".to_owned()),
        Some(link) if !link.running => Err("has no carrier".to_owned()),
        Some(_) => Ok("is up".to_owned()),
    }
}

/// Whether that was well, and its words, if it was a check that asks the same.
fn last_of((what, watched): &(Tracked, Watched), kind: &TrackCheckKind) -> Option<(bool, String)> {
    let Tracked::Check(check) = what else { return None };
    let was_up = watched.trial.as_ref()?.is_up()?;
    (check.kind == *kind).then(|| (was_up, watched.words.clone()))
}

async fn keep_checking<F>(number: u64, check: TrackCheck, ask: impl Fn() -> F, seen: mpsc::Sender<Sighting>)
where
    F: Future<Output = io::Result<String>>,
{
    loop {
        let begun = Instant::now();
        let result = timeout(check.timeout, ask()).await;
        let result = match result {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {:?}", check.timeout)),
        };
        let in_time = begun.elapsed() <= check.timeout + OWN_LATENESS;
        if in_time && seen.send((number, Seen::Checked(result))).await.is_err() {
            return;
        }
        sleep_until(begun + check.interval).await;
    }
}

async fn keep_reading(
    number: u64,
    path: std::path::PathBuf,
    interval: Duration,
    seen: mpsc::Sender<Sighting>,
) {
    loop {
        let begun = Instant::now();
        let file = path.clone();
        // A file system may keep one waiting.
        let Ok(read) = tokio::task::spawn_blocking(move || check::number(&file)).await else { return };
        if seen.send((number, Seen::Read(read))).await.is_err() {
            return;
        }
        sleep_until(begun + interval).await;
    }
}
