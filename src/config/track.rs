//! What the standing of a virtual router depends on, beside its own proxy and its interface: part of the `Config`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::net::InterfaceName;

/// keepalived's `track_interface`, `track_file` and `track_script`, and what there is beside them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Track {
    pub what: Tracked,
    /// 0: a failure is a fault. Above: added to the priority as long as all is well. Below: taken away while it is not.
    /// A file's number is multiplied by it.
    pub weight: i16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tracked {
    /// It is there, up, and has a carrier.
    Interface(InterfaceName),
    /// Its first line is a number.
    File {
        path: PathBuf,
        interval: Duration,
    },
    /// One of its servers is up. The upstream exists.
    Upstream(String),
    Check(TrackCheck),
}

/// keepalived's `vrrp_script`, with its counters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TrackCheck {
    pub kind: TrackCheckKind,
    pub interval: Duration,
    pub timeout: Duration,
    pub rise: u32,
    pub fall: u32,
    /// It has failed until it has passed `rise` times.
    pub init_fail: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackCheckKind {
    /// A connection is made and closed.
    Tcp(SocketAddr),
    /// A request is sent, and 2xx and 3xx pass.
    Http { address: SocketAddr, uri: String, host: String },
    /// A program is run, and exit code 0 passes.
    Command(Vec<String>),
}
