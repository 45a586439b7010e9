//! Everything before the first role runs: here, and only here, PID 1 may give up.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::edition::{Edition, Origin};
use super::loading;
use super::preflight;
use super::run::Process1;
use super::sockets::Sockets;
use crate::config::{Config, built_in};
use crate::daemon::event_loop::{self, BLOCKING_THREADS};
use crate::daemon::log;
use crate::link::Generation;
use crate::link::loading::FromLoader;
use crate::os::snapshot::{self, Snapshot};
use crate::os::{cpu, process, signals};

/// More worker threads than CPUs that one container is ever given.
const MAX_WORKERS: usize = 64;

#[derive(Clone, Debug)]
pub struct Settings {
    /// A configuration file, or the directory that holds `vipgate.yaml`.
    pub config: PathBuf,
    /// What to work by as long as there is no such file.
    pub built_in: Option<String>,
    /// Of the control socket's name.
    pub control_suffix: String,
}

/// Runs until it is told to stop.
pub fn run(settings: Settings) -> Result<(), GiveUp> {
    // Before anything else: a signal that comes early waits for its handler.
    signals::hold_back().map_err(GiveUp::Bug)?;
    let prepared = process::forbid_new_privileges().and_then(|()| {
        process::hide_memory()?;
        if !process::is_init() {
            process::adopt_orphans()?;
        }
        process::raise_descriptor_limit()?;
        event_loop::build(BLOCKING_THREADS)
    });
    let runtime = prepared.map_err(GiveUp::Bug)?;
    let _log = log::start("pid1");
    event_loop::play(&runtime, supervise(settings))
}

async fn supervise(settings: Settings) -> Result<(), GiveUp> {
    let mut calls = Calls::listen().map_err(GiveUp::Bug)?;
    signals::let_through().map_err(GiveUp::Bug)?;
    let snapshot = match (snapshot::read(&settings.config), &settings.built_in) {
        (Err(error), Some(text)) if error.kind() == io::ErrorKind::NotFound => {
            Snapshot::of(built_in::NAME.into(), text.clone().into_bytes())
        }
        (read, _) => read.map_err(|error| GiveUp::Config(unreadable(&settings.config, &error)))?,
    };
    let loaded = tokio::select! {
        loaded = loading::load(&snapshot) => loaded,
        () = calls.stop() => return Ok(()),
    };
    let (workers, first) = first_edition(&snapshot, loaded)?;
    Process1::new(&settings, workers, &snapshot, first).run(calls).await;
    Ok(())
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!(
        "cannot read {}: {error}; mount the directory with your vipgate.yaml at /etc/vipgate, or name another with \
         --config or VIPGATE_CONFIG. Or start without any: VIPGATE_UPSTREAM=app:80 in the environment forwards all \
         requests to app",
        snapshot::file_of(path).display()
    )
}

fn first_edition(
    snapshot: &Snapshot,
    loaded: Result<FromLoader, String>,
) -> Result<(usize, Edition), GiveUp> {
    let (config, warnings) = match loaded {
        Ok(FromLoader::Accepted { config, warnings }) => (config, warnings),
        Ok(FromLoader::Refused { problems }) | Err(problems) => return Err(GiveUp::Config(problems)),
    };
    preflight::missing_capabilities(&config).map_err(GiveUp::Permission)?;
    let workers = workers(&config);
    let sockets = Sockets::open(&config, workers, &Sockets::default()).map_err(|error| {
        let is_permission = error.is_permission();
        let text = error.to_string();
        if is_permission { GiveUp::Permission(text) } else { GiveUp::Config(text) }
    })?;
    let (generation, origin, since) = (Generation(1), Origin::of(snapshot), Instant::now());
    let is_urgent = false;
    Ok((workers, Edition { generation, origin, config, sockets, warnings, is_urgent, since }))
}

pub(super) fn workers(config: &Config) -> usize {
    config.workers.unwrap_or_else(cpu::usable).clamp(1, MAX_WORKERS)
}

/// The signals that PID 1 answers.
pub(super) struct Calls {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    child: Signal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Stop,
    Reload,
    Reap,
}

impl Calls {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            child: signal(SignalKind::child())?,
        })
    }

    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Call {
        tokio::select! {
            _ = self.terminate.recv() => Call::Stop,
            _ = self.interrupt.recv() => Call::Stop,
            _ = self.hang_up.recv() => Call::Reload,
            _ = self.child.recv() => Call::Reap,
        }
    }

    /// Before there is anything to read again, and nobody to reap but the reader of the configuration.
    async fn stop(&mut self) {
        while self.next().await != Call::Stop {}
    }
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum GiveUp {
    /// The configuration is invalid, or cannot be worked by here.
    #[error("{0}")]
    Config(String),
    /// A capability is missing.
    #[error("{0}")]
    Permission(String),
    #[error("cannot start: {0}")]
    Bug(io::Error),
}
