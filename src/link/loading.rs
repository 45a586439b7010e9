//! What PID 1 and the process that reads a configuration for it say to each other. No parser runs in PID 1.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::Config;

/// One file, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToLoader {
    /// How problems name it, and where relative paths in it start.
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromLoader {
    Accepted {
        config: Box<Config>,
        /// Each ready to be read.
        warnings: Vec<String>,
    },
    /// Every problem, ready to be read.
    Refused { problems: String },
}
