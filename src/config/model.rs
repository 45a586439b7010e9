//! A configuration that cannot be wrong: every value is in range, every name resolves, every default is filled in.
//! Built only by `config::load`; travels between the roles as JSON. No file, no environment.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::net::{Centiseconds, Cidr, InterfaceName, Priority, Vrid};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The name that pages, logs and `status` give to this node.
    pub node: String,
    pub log: Log,
    /// Worker threads of the proxy; `None` is one per usable CPU.
    pub workers: Option<usize>,
    pub vrrp: Vec<VrrpInstance>,
    pub servers: Vec<Server>,
    pub upstreams: Vec<Upstream>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// One virtual router (keepalived's `vrrp_instance`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrrpInstance {
    pub name: String,
    pub version: VrrpVersion,
    pub vrid: Vrid,
    pub priority: Priority,
    /// Version 2 carries whole seconds only; the loader has refused anything else.
    pub advert_interval: Centiseconds,
    pub preempt: bool,
    /// At least one; the first names the instance in `status`.
    pub virtual_addresses: Vec<Cidr>,
    /// The subnet whose interface carries the virtual addresses; `None`: the one that contains the first of them.
    pub subnet: Option<Cidr>,
    /// `None`: found by the subnet, and found again under another name after a re-attach.
    pub interface: Option<InterfaceName>,
    pub transport: Transport,
    /// Version 2 only: authentication type 1 (PASS), 1-8 bytes.
    pub password: Option<String>,
    /// How long the kernel keeps a virtual address that nobody renews: whole seconds, 1-60.
    pub lease: Duration,
}

impl VrrpInstance {
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.virtual_addresses.iter().map(|c| c.address())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VrrpVersion {
    #[serde(rename = "2")]
    V2,
    #[serde(rename = "3")]
    V3,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// 224.0.0.18 (RFC 9568 section 5.1.1.2).
    Multicast,
    /// Every node of the group, this one included; a node skips itself.
    Unicast { peers: Vec<Host> },
}

/// An address, or a name that DNS resolves again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Host {
    Address(IpAddr),
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// A virtual host (nginx's `server`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    pub listen: Vec<SocketAddr>,
    /// Lower-case; empty: answers for every name that no other server on the address has. If all have names, the first
    /// one answers for the others.
    pub server_names: Vec<String>,
    /// Sent with every answer of this server (nginx's `add_header .. always`).
    pub add_headers: Vec<(String, String)>,
    pub routes: Vec<Route>,
}

/// nginx's `location`: an exact match wins, else the longest prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub pattern: PathPattern,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathPattern {
    Prefix(String),
    Exact(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A file beneath `root` (absolute) named by the whole request path (nginx's `root`).
    Files { root: PathBuf, index: String },
    /// Forwarded to one server of the upstream of this name, which exists.
    Proxy { upstream: String },
    /// A fixed answer (nginx's `return`).
    Respond { status: u16, content_type: String, body: String },
}

/// A group of servers (nginx's `upstream`, HAProxy's `backend`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub name: String,
    /// At least one.
    pub servers: Vec<UpstreamServer>,
    /// `None`: always in rotation.
    pub check: Option<Check>,
    /// Further tries after the first (HAProxy's `retries`).
    pub retries: u32,
    /// The last try may go to another server (HAProxy's `option redispatch`).
    pub redispatch: bool,
    pub retry_on: RetryOn,
    pub connect_timeout: Duration,
    /// Until the first byte of the response head, for GET and HEAD only, where the try can be repeated on a new
    /// connection; `None`: `read_timeout` is the only bound.
    pub first_byte_timeout: Option<Duration>,
    /// Between two reads (nginx's `proxy_read_timeout`).
    pub read_timeout: Duration,
    /// Between two writes (nginx's `proxy_send_timeout`).
    pub send_timeout: Duration,
    /// Idle connections kept per worker (nginx's `keepalive`).
    pub keepalive: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamServer {
    pub host: Host,
    pub port: u16,
    /// 1-65535 (nginx's `weight`).
    pub weight: u16,
}

/// Which failures let an idempotent request without a body be tried again (HAProxy's `retry-on`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryOn {
    /// Refused, unreachable, or not connected within `connect_timeout`.
    pub conn_failure: bool,
    /// Closed or reset before the first byte of a response.
    pub empty_response: bool,
    /// `first_byte_timeout` passed.
    pub response_timeout: bool,
}

/// Active health check with HAProxy's counters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub kind: CheckKind,
    pub inter: Duration,
    pub timeout: Duration,
    pub rise: u32,
    pub fall: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckKind {
    /// A connection is made and closed.
    Tcp,
    /// 2xx and 3xx pass.
    Http { method: String, uri: String, host: String },
}
