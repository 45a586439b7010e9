//! One configuration with all that belongs to it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::sockets::Sockets;
use crate::config::{Config, built_in};
use crate::link::Generation;
use crate::os::snapshot::Snapshot;
use crate::supervision::Candidate;

#[derive(Clone, Debug)]
pub(super) struct Edition {
    pub(super) generation: Generation,
    pub(super) origin: Origin,
    pub(super) config: Box<Config>,
    pub(super) sockets: Sockets,
    pub(super) warnings: Vec<String>,
    /// It waits for nobody.
    pub(super) is_urgent: bool,
    /// When it came into force, or into being.
    pub(super) since: Instant,
}

impl Edition {
    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            generation: self.generation,
            vrrp: !self.config.vrrp.is_empty(),
            runner: self.config.needs_runner(),
            listen: self.sockets.addresses(),
            drain_timeout: self.config.drain_timeout,
            digest: self.origin.digest,
            is_urgent: self.is_urgent,
        }
    }
}

pub(super) fn is_built_in(path: &Path) -> bool {
    path == Path::new(built_in::NAME)
}

/// The text that a configuration, or a refusal, came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) path: PathBuf,
    pub(super) digest: [u8; 32],
}

impl Origin {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self { path: snapshot.path.clone(), digest: snapshot.digest }
    }

    pub(super) fn is_built_in(&self) -> bool {
        is_built_in(&self.path)
    }

    /// A file that cannot be read has no text.
    pub(super) fn unreadable(path: &Path) -> Self {
        Self { path: path.to_owned(), digest: [0; 32] }
    }

    pub(super) fn hexadecimal(&self) -> String {
        self.digest.iter().map(|b| format!("{b:02x}")).collect()
    }
}
