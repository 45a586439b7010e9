//! Whether a virtual router's adverts are signed, and with what; no key is here.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Whether adverts carry keepalived's `auth_hmac` trailer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthHmac {
    Off,
    /// For peers that have said over the link that they can, under keys derived from its own.
    Linked,
    Keys(AuthHmacKeys),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthHmacKeys {
    /// At least one, each id once; the first one signs.
    pub keys: Vec<AuthHmacKey>,
    pub anti_replay: AntiReplay,
    /// In seconds, as the trailer counts.
    pub time_window: u32,
    pub mode: AuthMode,
}

/// The key itself is never in a `Config`, which goes to every role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthHmacKey {
    pub id: u8,
    /// Absolute.
    pub file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AntiReplay {
    Time,
    Monotonic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthMode {
    Enforce,
    Permissive,
    ReceiveOnly,
}

impl fmt::Display for AuthMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enforce => "enforce",
            Self::Permissive => "permissive",
            Self::ReceiveOnly => "receive-only",
        })
    }
}
