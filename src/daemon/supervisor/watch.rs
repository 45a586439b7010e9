//! Looks at the configuration file: when something hints that it has changed, and each second whether or not.
//!
//! inotify is a hint only: it says nothing about a file that is mounted by itself, nor on Docker Desktop. Reading the
//! text is the truth.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::os::snapshot::{self, Snapshot};

const POLL: Duration = Duration::from_secs(1);
/// A file that is being written in place is read when it has stood still for so long.
const SETTLE: Duration = Duration::from_millis(50);
/// And after so many times whatever is there.
const MAX_SETTLE: u32 = 10;

/// What the file holds that it did not hold when it was looked at last.
#[derive(Debug)]
pub(super) struct Sighting {
    pub(super) found: Found,
    /// Somebody has asked for it to be applied now.
    pub(super) is_urgent: bool,
}

#[derive(Debug)]
pub(super) enum Found {
    Snapshot(Snapshot),
    Unreadable(PathBuf, io::Error),
}

/// Why the file is to be read though nothing hints at a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// What was refused for a passing reason is tried again.
    Again,
    /// SIGHUP.
    Now,
}

impl Sighting {
    /// What is there, whether or not it has been seen before.
    pub(super) fn of(path: &Path, demand: Demand) -> Self {
        Self::new(path, snapshot::read(path), demand == Demand::Now)
    }

    fn new(path: &Path, read: io::Result<Snapshot>, is_urgent: bool) -> Self {
        let found = match read {
            Ok(snapshot) => Found::Snapshot(snapshot),
            Err(error) => Found::Unreadable(snapshot::file_of(path), error),
        };
        Self { found, is_urgent }
    }
}

/// The thread ends with the receiver of the sightings.
#[derive(Debug)]
pub(super) struct Watch {
    nudge: SyncSender<()>,
    demanded: Arc<AtomicBool>,
    urgent: Arc<AtomicBool>,
}

impl Watch {
    /// Reports to `sightings` all that differs from `seen`; `None`: there was no file.
    pub(super) fn start(
        path: PathBuf,
        seen: Option<&Snapshot>,
        sightings: mpsc::Sender<Sighting>,
    ) -> io::Result<Self> {
        // One nudge that waits says as much as a hundred.
        let (nudge, nudges) = sync_channel(1);
        let demanded = Arc::new(AtomicBool::new(false));
        let urgent = Arc::new(AtomicBool::new(false));
        let watch =
            Self { nudge: nudge.clone(), demanded: Arc::clone(&demanded), urgent: Arc::clone(&urgent) };
        let seen = seen.map_or(Seen::Error(io::ErrorKind::NotFound), |seen| Seen::of(&Ok(seen.clone())));
        let mut look = Look { path, seen, demanded, urgent };
        std::thread::Builder::new().name("config-watch".into()).spawn(move || {
            let _watcher = hint_at(&snapshot::file_of(&look.path), nudge);
            while !sightings.is_closed() {
                match nudges.recv_timeout(POLL) {
                    // Many things may happen beside the file.
                    Ok(()) => std::thread::sleep(SETTLE),
                    Err(RecvTimeoutError::Timeout) => (),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                let sighting = look.again();
                if sighting.is_some_and(|sighting| sightings.blocking_send(sighting).is_err()) {
                    return;
                }
            }
        })?;
        Ok(watch)
    }

    /// Have the file reported even if it is as it was.
    pub(super) fn demand(&self, demand: Demand) {
        if demand == Demand::Now {
            self.urgent.store(true, Ordering::Release);
        }
        self.demanded.store(true, Ordering::Release);
        // Full: the thread is about to look anyway.
        let _ = self.nudge.try_send(());
    }
}

struct Look {
    path: PathBuf,
    seen: Seen,
    demanded: Arc<AtomicBool>,
    urgent: Arc<AtomicBool>,
}

impl Look {
    fn again(&mut self) -> Option<Sighting> {
        let demanded = self.demanded.swap(false, Ordering::Acquire);
        let mut read = snapshot::read(&self.path);
        if demanded || Seen::of(&read) != self.seen {
            read = settled(&self.path, read);
        }
        let found = Seen::of(&read);
        if found == self.seen && !demanded {
            return None;
        }
        self.seen = found;
        let is_urgent = self.urgent.swap(false, Ordering::Acquire);
        Some(Sighting::new(&self.path, read, is_urgent))
    }
}

/// Nothing that stays the same is reported twice.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text { digest: [u8; 32], replaced: bool },
    Error(io::ErrorKind),
}

impl Seen {
    fn of(read: &io::Result<Snapshot>) -> Self {
        match read {
            Ok(snapshot) => Self::Text { digest: snapshot.digest, replaced: snapshot.links == 0 },
            Err(error) => Self::Error(error.kind()),
        }
    }
}

fn settled(path: &Path, mut last: io::Result<Snapshot>) -> io::Result<Snapshot> {
    for _ in 0..MAX_SETTLE {
        std::thread::sleep(SETTLE);
        let next = snapshot::read(path);
        let same = Seen::of(&next) == Seen::of(&last);
        last = next;
        if same {
            break;
        }
    }
    last
}

/// The directory, not the file: an editor puts another file in its place, Kubernetes turns a symbolic link.
fn hint_at(file: &Path, nudge: SyncSender<()>) -> Option<notify::RecommendedWatcher> {
    let hint = move |event: notify::Result<notify::Event>| {
        let is_change = event.is_ok_and(|event| match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            // This thread's own reading.
            EventKind::Access(_) => false,
            EventKind::Any
            | EventKind::Create(_)
            | EventKind::Modify(_)
            | EventKind::Remove(_)
            | EventKind::Other => true,
        });
        if is_change {
            let _ = nudge.try_send(());
        }
    };
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let watcher = notify::recommended_watcher(hint).and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watcher.inspect_err(|e| tracing::info!("edits are noticed within a second: no inotify ({e})")).ok()
}
