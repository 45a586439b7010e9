//! What PID 1 and the runner say to each other: programs of the user's to be run, and what a node has to tell the world
//! about itself. No socket.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::{Generation, Transition, VrrpState};
use crate::config::Config;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToRunner {
    Prepare {
        generation: Generation,
        config: Box<Config>,
    },
    Commit {
        generation: Generation,
    },
    Abort {
        generation: Generation,
    },
    /// A virtual router is in another state: whoever wants to know is told.
    Notice(Notice),
    Run(Run),
    /// Tell everybody of the stop, finish what is under way without trying anything again, then say `Drained`.
    Drain {
        bound: Duration,
    },
    /// Ask for a fresh `Report`.
    Report,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromRunner {
    Prepared {
        generation: Generation,
    },
    Committed {
        generation: Generation,
    },
    /// The event loop turns; every 50 ms.
    Beat {
        turns: u64,
    },
    Ended(Ended),
    /// Somebody could not be told of something, and is not told any more.
    Failed {
        what: String,
    },
    Report(RunnerReport),
    /// `cut`: what was not finished in time.
    Drained {
        cut: usize,
    },
}

/// One program, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Comes back with its `Ended`.
    pub id: u64,
    /// The program and its arguments; no shell is asked.
    pub argv: Vec<String>,
    /// Added to the environment that vipgate has.
    pub env: Vec<(String, String)>,
    /// SIGTERM for its process group after so long, SIGKILL two seconds later.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub id: u64,
    pub end: CommandEnd,
    /// The last line that it wrote, shortened.
    pub output: String,
}

/// What became of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandEnd {
    Exited {
        code: i32,
    },
    Killed {
        signal: String,
    },
    /// It was killed, because it did not end by itself.
    TimedOut {
        after: Duration,
    },
    NotStarted {
        reason: String,
    },
}

impl CommandEnd {
    pub fn is_success(&self) -> bool {
        *self == Self::Exited { code: 0 }
    }
}

impl fmt::Display for CommandEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exited with code {code}"),
            Self::Killed { signal } => write!(f, "was killed by {signal}"),
            Self::TimedOut { after } => write!(f, "was killed: it took longer than {after:?}"),
            Self::NotStarted { reason } => write!(f, "could not be started: {reason}"),
        }
    }
}

/// A state that a virtual router has entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub instance: String,
    pub state: Announced,
    pub priority: u8,
    pub reason: String,
}

impl Notice {
    /// `None`: nobody is told twice.
    pub fn of(transition: &Transition) -> Option<Self> {
        if transition.from == transition.to && !transition.is_end {
            return None;
        }
        let state = match (transition.is_end, transition.to) {
            (true, _) => Announced::Stop,
            (false, VrrpState::Master) => Announced::Master,
            (false, VrrpState::Backup) => Announced::Backup,
            (false, VrrpState::Fault) => Announced::Fault,
        };
        let Transition { instance, priority, reason, .. } = transition.clone();
        Some(Self { instance, state, priority, reason })
    }
}

/// What keepalived calls the states in which it notifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Announced {
    Master,
    Backup,
    Fault,
    /// vipgate stops, or an edit has removed the virtual router.
    Stop,
}

impl fmt::Display for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Master => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stop => "STOP",
        })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunnerReport {
    /// What has not been told yet, for whatever reason.
    pub waiting: usize,
    pub counters: Vec<(String, u64)>,
    /// Programs that are not there.
    pub warnings: Vec<String>,
}
