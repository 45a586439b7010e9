//! A configuration that cannot be wrong: every value is in range, every name resolves, every default is filled in.
//! Built only by `config::load`; travels between the roles as JSON. No file, no environment.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::auth_hmac::AuthHmac;
use super::track::{Track, TrackCheckKind, Tracked};
use crate::gateway::Template;
use crate::net::{Centiseconds, Cidr, Family, InterfaceName, Priority, Vrid, is_link_local};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The name that pages, logs and `status` give to this node.
    pub node: String,
    pub log: Log,
    pub access_log: AccessLog,
    /// `None`: there is no admin endpoint.
    pub admin: Option<Admin>,
    /// Worker threads of the proxy; `None` is one per usable CPU.
    pub workers: Option<usize>,
    /// How long connections live on after the address has moved, or the node was told to stop.
    pub drain_timeout: Duration,
    pub webhooks: Vec<Webhook>,
    pub email: Option<Email>,
    pub resolver: Resolver,
    pub link: PeerLink,
    pub vrrp: Vec<VrrpInstance>,
    pub sync_groups: Vec<SyncGroup>,
    pub servers: Vec<Server>,
    pub upstreams: Vec<Upstream>,
}

impl Config {
    /// There is something to run, or somebody to tell.
    pub fn needs_runner(&self) -> bool {
        let is_command = |track: &Track| match &track.what {
            Tracked::Check(check) => matches!(check.kind, TrackCheckKind::Command(_)),
            Tracked::Interface(_) | Tracked::File { .. } | Tracked::Upstream(_) => false,
        };
        !self.webhooks.is_empty()
            || self.email.is_some()
            || self
                .vrrp
                .iter()
                .any(|instance| !instance.hooks.is_empty() || instance.track.iter().any(is_command))
    }

    /// Without what only the runner has a use for, and nobody else is to give away.
    #[must_use]
    pub fn without_secrets(self) -> Self {
        Self { webhooks: vec![], email: None, ..self }
    }
}

/// Where each change of state is posted to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    pub tls: bool,
    /// Without brackets.
    pub host: String,
    pub port: u16,
    /// Path and query.
    pub target: Secret,
    pub headers: Vec<(String, Secret)>,
    /// For one try.
    pub timeout: Duration,
    /// In all.
    pub tries: u32,
    /// Absolute; `None`: Mozilla's.
    pub ca_file: Option<PathBuf>,
}

/// Where mails go, by whom, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Email {
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    /// At least one.
    pub to: Vec<String>,
    pub from: String,
    /// `None`: the node's name.
    pub helo_name: Option<String>,
    /// For one try.
    pub timeout: Duration,
    /// User and password; never without TLS.
    pub credentials: Option<(String, Secret)>,
    /// Absolute; `None`: Mozilla's.
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    None,
    StartTls,
    Tls,
}

/// What no log gets to see.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

/// What is written for each request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    Off,
    Json,
    Text(Template),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admin {
    pub listen: SocketAddr,
}

/// How names of upstream servers are resolved (nginx's `resolver`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// Empty: those of /etc/resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// Takes the place of an answer's own time to live.
    pub valid: Option<Duration>,
    pub timeout: Duration,
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

/// The link to the peers of the virtual routers; off without a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerLink {
    pub port: u16,
    /// Absolute. The key itself is never in a `Config`, which goes to every role.
    pub key_file: Option<PathBuf>,
    /// Whoever has the key may order a drill.
    pub drill: bool,
}

/// Virtual routers that are master together or not at all (keepalived's `vrrp_sync_group`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncGroup {
    pub name: String,
    /// At least two, none of them in another group, none an owner of its addresses.
    pub members: Vec<String>,
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
    /// Of a master with a lower priority, from when it is first heard.
    pub preempt_delay: Duration,
    /// At least one; the first names the instance in `status`.
    pub virtual_addresses: Vec<Cidr>,
    /// The subnet whose interface carries the virtual addresses; `None`: the one that contains the first of them.
    pub subnet: Option<Cidr>,
    /// `None`: found by the subnet, and found again under another name after a re-attach.
    pub interface: Option<InterfaceName>,
    pub transport: Transport,
    /// Version 2 only: authentication type 1 (PASS), 1-8 bytes.
    pub password: Option<String>,
    pub auth_hmac: AuthHmac,
    pub track: Vec<Track>,
    /// How long the kernel keeps a virtual address that nobody renews: whole seconds, 1-60.
    pub lease: Duration,
    pub hooks: Hooks,
    /// Its changes of state are mailed.
    pub smtp_alert: bool,
}

/// Programs that are started when a virtual router changes its state (keepalived's `notify_*`), each with its arguments:
/// an absolute path, or a name that is looked for in PATH.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    pub master: Option<Vec<String>>,
    pub backup: Option<Vec<String>>,
    pub fault: Option<Vec<String>>,
    pub stop: Option<Vec<String>>,
    /// For each of them.
    pub every: Option<Vec<String>>,
    pub timeout: Duration,
}

impl Hooks {
    pub fn is_empty(&self) -> bool {
        let Self { master, backup, fault, stop, every, timeout: _ } = self;
        [master, backup, fault, stop, every].iter().all(|argv| argv.is_none())
    }
}

impl VrrpInstance {
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.virtual_addresses.iter().map(|c| c.address())
    }

    /// Its peers are found at link-local addresses: those of a group are, and those that are listed so.
    pub fn speaks_link_local(&self) -> bool {
        let at_link_local = |host: &Host| matches!(host, Host::Address(address) if is_link_local(*address));
        match &self.transport {
            Transport::Multicast => self.family() == Family::V6,
            Transport::Unicast { peers } => peers.iter().all(at_link_local),
        }
    }

    /// Of every one of its addresses.
    pub fn family(&self) -> Family {
        self.virtual_addresses.first().map_or(Family::V4, |c| Family::of(c.address()))
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
    pub add_headers: Vec<(String, Template)>,
    pub error_pages: Vec<ErrorPage>,
    pub client: ClientLimits,
    pub routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorPage {
    pub statuses: Vec<u16>,
    /// Absolute.
    pub file: PathBuf,
}

/// What a server grants its clients, by nginx's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientLimits {
    pub client_header_timeout: Duration,
    /// Zero: a connection carries one request.
    pub keepalive_timeout: Duration,
    pub keepalive_requests: u32,
    pub client_body_timeout: Duration,
    pub send_timeout: Duration,
    /// In bytes; `None`: no limit.
    pub client_max_body_size: Option<u64>,
}

/// nginx's `location`: an exact match wins, else the longest prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub pattern: PathPattern,
    pub action: Action,
    /// After those of the server.
    pub add_headers: Vec<(String, Template)>,
    /// In bytes; `None`: no limit. The server's where the route says nothing.
    pub client_max_body_size: Option<u64>,
    /// Requests are in the access log.
    pub access_log: bool,
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
    Files {
        root: PathBuf,
        index: String,
    },
    Proxy(Forwarding),
    /// A fixed answer (nginx's `return`).
    Respond {
        status: u16,
        content_type: String,
        body: String,
    },
}

/// To one server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarding {
    /// The name of an upstream, which exists.
    pub upstream: String,
    /// Takes the place of the route's path (nginx's `proxy_pass` with a URI).
    pub uri: Option<String>,
    /// Request fields to set; an empty value removes.
    pub set_headers: Vec<(String, Template)>,
    /// Response fields to drop.
    pub hide_headers: Vec<String>,
    /// RFC 7239.
    pub forwarded: bool,
    /// RFC 9110 section 7.6.3.
    pub via: bool,
}

/// Who is next (nginx's names).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    RoundRobin,
    LeastConn,
    Random,
    IpHash,
}

/// A group of servers (nginx's `upstream`, HAProxy's `backend`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub name: String,
    pub balance: Balance,
    /// At least one.
    pub servers: Vec<UpstreamServer>,
    pub next_upstream: NextUpstream,
    /// `None`: always in rotation.
    pub check: Option<Check>,
    /// Further tries at the same server (HAProxy's `retries`).
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
    pub keepalive_requests: u32,
    pub keepalive_timeout: Duration,
}

/// Which failures let a request be tried at another server (nginx's `proxy_next_upstream`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextUpstream {
    /// No connection, or it ended before a response had begun.
    pub error: bool,
    pub timeout: bool,
    /// Empty or malformed.
    pub invalid_header: bool,
    /// Statuses of responses that count as failures.
    pub statuses: Vec<u16>,
    /// Also requests that may have an effect each time.
    pub non_idempotent: bool,
    /// Servers tried at most; 0: all.
    pub tries: u32,
    /// No further server after so long.
    pub timeout_after: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamServer {
    pub host: Host,
    pub port: u16,
    /// 1-65535 (nginx's `weight`).
    pub weight: u16,
    pub backup: bool,
    pub down: bool,
    /// Requests of one worker at once; 0: no limit.
    pub max_conns: u32,
    /// 0: never passed over.
    pub max_fails: u32,
    pub fail_timeout: Duration,
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
