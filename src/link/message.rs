//! What PID 1 and the roles proxy and vrrp say to each other. No socket: see `link::frame` for the form on the wire.
//!
//! A configuration arrives in two phases: `Prepare` until both roles answered `Prepared`, then `Commit` for both;
//! if either answers `Refused`, `Abort` for both, and the one in force stays.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::control::Status;
use super::runner::{Ended, Run};
use crate::config::Config;
use crate::net::InterfaceName;

/// Counts the configurations that PID 1 has handed out since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Generation(pub u64);

/// CLOCK_BOOTTIME in nanoseconds: the one clock that all roles share and that a suspended machine cannot hide from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Boottime(pub u64);

/// "Have I been out since then?": sent by a proxy that notices a gap in its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceQuery {
    pub nonce: u64,
    /// The last moment at which the proxy knows that it ran.
    pub since: Boottime,
}

/// `held`: the vrrp role has looked at its own clocks after the question came, and has held every virtual address
/// that it holds without a break since `since`. Otherwise requests that waited must be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceVerdict {
    pub nonce: u64,
    pub held: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToProxy {
    /// Carries one file descriptor: a listening socket of `address` for worker number `worker`. Precedes the
    /// `Prepare` that needs it.
    Listener {
        address: SocketAddr,
        worker: usize,
    },
    /// Carries one file descriptor: the listening socket of the admin endpoint. Precedes the `Prepare` that needs it.
    AdminListener {
        address: SocketAddr,
    },
    Prepare {
        generation: Generation,
        workers: usize,
        config: Box<Config>,
    },
    Commit {
        generation: Generation,
    },
    Abort {
        generation: Generation,
    },
    FenceVerdict(FenceVerdict),
    /// The answer to the `StatusQuery` of that number.
    Status {
        query: u64,
        status: Box<Status>,
    },
    /// End the connections of these addresses within `bound`, then say `Left`. `before`: the addresses move as soon as
    /// none is left. Else a peer has them, and relays what belongs to these connections.
    Leave {
        number: u64,
        addresses: Vec<IpAddr>,
        bound: Duration,
        before: bool,
    },
    /// The addresses of that `Leave` are this node's for longer: cut nothing, and say nothing.
    Keep {
        number: u64,
    },
    /// Answer what is in flight with `Connection: close`, accept nothing more, then say `Drained`.
    Drain {
        bound: Duration,
    },
    /// Ask for a fresh `Report`.
    Report,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromProxy {
    Prepared {
        generation: Generation,
    },
    Refused {
        generation: Generation,
        reason: String,
    },
    /// Every listener of this generation is being accepted from.
    Serving {
        generation: Generation,
    },
    /// How often each worker's event loop has turned since it started; every 50 ms.
    Beat {
        turns: Vec<u64>,
    },
    FenceQuery(FenceQuery),
    /// Of the upstreams that virtual routers track, those of which no server is up; said when it changes.
    Upstreams {
        down: Vec<String>,
    },
    /// The admin endpoint is asked about the whole node. A newer one takes the place of one that is not answered yet.
    StatusQuery {
        query: u64,
    },
    Report(ProxyReport),
    /// No connection of that `Leave` is open any more; so many had to be cut.
    Left {
        number: u64,
        cut: u64,
    },
    Drained {
        cut: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToVrrp {
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
    /// Hexadecimal SHA-256 of the text of the configuration in force: peers compare it with their own.
    Origin {
        digest: String,
    },
    Proxy(ProxyHealth),
    FenceQuery(FenceQuery),
    /// Of the upstreams that virtual routers track, those of which no server is up. The latest word counts.
    Upstreams {
        down: Vec<String>,
    },
    /// Which peers answer at their front door? One of these ports is enough.
    AskPeers {
        question: u64,
        listen: Vec<SocketAddr>,
    },
    /// Hand every virtual address over, then say `Resigned`. They stay for the connections that there are until the end
    /// of the link.
    Resign {
        bound: Duration,
    },
    /// Answered by `SteppedDown` with the same number.
    StepDown {
        question: u64,
        wish: Wish,
    },
    /// What became of the `Run` of that number.
    Ended(Ended),
    /// No connection of that `Leave` is open any more.
    Left {
        number: u64,
    },
    /// What becomes of the order of that number: it was carried out, or will be; or why not.
    Outcome {
        number: u64,
        outcome: Result<String, String>,
    },
    Report,
}

/// What somebody with the key of the link orders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordered {
    /// As `Wish::Failover`.
    HandOver { instance: String },
    /// Let no role run for so long.
    Freeze { length: Duration },
}

/// What a person asks of the virtual routers of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// The master that has this name, or each that is one, hands its addresses to a peer and leaves them there.
    Failover { instance: Option<String> },
    /// Hand all addresses over, and stay out of the election.
    StandBack,
    /// Take part in it again.
    StandIn,
}

/// The proxy as PID 1 knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ProxyHealth {
    /// It beats and serves on these addresses; `incarnation` counts its starts. The vrrp role asks its front door
    /// once per incarnation before it stands for election.
    Serving {
        incarnation: u64,
        listen: Vec<SocketAddr>,
    },
    /// It is being restarted; within the grace nothing moves, because its sockets are still open.
    Restarting,
    /// It dies again and again, and its next start waits a while: a peer may as well have the addresses. Its sockets are
    /// still open, for a node that is alone.
    Pausing,
    Down {
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromVrrp {
    Prepared {
        generation: Generation,
    },
    Refused {
        generation: Generation,
        reason: String,
    },
    Committed {
        generation: Generation,
    },
    /// The event loop turns; every 50 ms.
    Beat {
        turns: u64,
    },
    FenceVerdict(FenceVerdict),
    /// The answer to the `AskPeers` of that number.
    Peers {
        question: u64,
        answer: PeersAnswer,
    },
    Transition(Transition),
    /// This process did not run, or the machine was suspended.
    Gap {
        what: String,
    },
    /// For the runner: this role may start nothing itself.
    Run(Run),
    /// `Ok`: it was done, and how; `Err`: everything is as it was, and why.
    SteppedDown {
        question: u64,
        outcome: Result<String, String>,
    },
    /// For the proxy: see `ToProxy::Leave`.
    Leave {
        number: u64,
        addresses: Vec<IpAddr>,
        bound: Duration,
        before: bool,
    },
    /// For the proxy: see `ToProxy::Keep`.
    Keep {
        number: u64,
    },
    /// Over the link to the peers. Answered by `Outcome` with the same number.
    Ordered {
        number: u64,
        from: IpAddr,
        what: Ordered,
    },
    Report(VrrpReport),
    Resigned {
        reason: String,
    },
}

/// Who would serve if this node did not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersAnswer {
    /// This node holds a virtual address that a peer could take over, so that it takes an edit after the peer.
    pub goes_last: bool,
    /// Unicast peers whose proxy has answered.
    pub answered: Vec<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VrrpState {
    /// Not standing for election: `reason` of the last transition says why.
    Fault,
    Backup,
    Master,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    pub instance: String,
    pub from: VrrpState,
    pub to: VrrpState,
    pub reason: String,
    /// That this node has in the state `to`.
    pub priority: u8,
    /// Nothing comes from this virtual router any more.
    pub is_end: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VrrpReport {
    pub instances: Vec<InstanceReport>,
    pub link: LinkReport,
    /// Said again every 10 s while it lasts: no interface, a stranger with the VIP, no fence layer ..
    pub warnings: Vec<String>,
}

/// The link to the peers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinkReport {
    /// The port at which it listens; `None`: it is off.
    pub port: Option<u16>,
    /// Why it is off.
    pub off: Option<String>,
    /// This node's own worst lateness of the last seconds, or what has to be expected, which it tells its peers.
    pub late: Duration,
    /// The worst that it has measured in these seconds.
    pub measured: Duration,
    /// Its processors are wanted by others all the time.
    pub contended: bool,
    /// The CFS period of a quota on its processor time, zero: none.
    pub quota: Duration,
    pub peers: Vec<PeerReport>,
    pub counters: Vec<(String, u64)>,
}

/// A peer, by its own words and by how it behaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerReport {
    pub address: IpAddr,
    pub link: PeerLinkState,
    /// Ready to be read.
    pub reason: String,
    /// What follows is as old as the last word of it, and empty if there was none.
    pub node: String,
    pub version: String,
    /// It works by another text than this node.
    pub other_config: bool,
    /// Its worst lateness of the last seconds.
    pub late: Duration,
    /// Open connections of clients that it has told this node of.
    pub clients: u64,
    pub routers: Vec<PeerRouterReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerLinkState {
    Connecting,
    Up,
    /// Its kernel is there, and its process does not answer.
    Frozen,
    Down,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRouterReport {
    pub vrid: u8,
    pub ipv6: bool,
    pub state: String,
    pub priority: u8,
    pub ineligible: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceReport {
    pub name: String,
    pub vrid: u8,
    pub state: VrrpState,
    pub reason: String,
    pub since: Boottime,
    /// What it stands with.
    pub priority: u8,
    pub configured_priority: u8,
    /// What makes the difference.
    pub tracks: Vec<TrackReport>,
    pub virtual_addresses: Vec<IpAddr>,
    pub interface: Option<InterfaceName>,
    /// Address and priority of the master that was heard last.
    pub master: Option<(IpAddr, u8)>,
    pub peers: Vec<String>,
    pub fence: FenceReport,
    pub handover: HandoverReport,
    /// Whose adverts are signed, ready to be read.
    pub auth_hmac: String,
    /// Name and count, for `status` and metrics: adverts sent and received, drops by reason, announcements ..
    pub counters: Vec<(String, u64)>,
}

/// One thing that a virtual router tracks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackReport {
    /// As it is configured: "http 127.0.0.1:80/".
    pub name: String,
    /// `None`: not known yet.
    pub ok: Option<bool>,
    pub reason: String,
    pub weight: i16,
    /// What it adds to the priority at the moment.
    pub priority: i64,
    /// It keeps the node from standing for election.
    pub fault: bool,
}

/// What becomes of connections when an address moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandoverReport {
    /// This kernel can hand segments of another node's connections to it. Else connections are ended before an address
    /// moves.
    pub relays: bool,
    /// The node that had the address before and still serves the connections that it has.
    pub relays_to: Option<IpAddr>,
    /// The address is a peer's, and this node still serves the connections that it has.
    pub lingers: bool,
}

/// Which layers keep a frozen node silent (DESIGN section "Only a living process answers for the VIP").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceReport {
    pub arp: ArpFence,
    pub lease: Duration,
    /// For so long after an advert the kernel lets packets for the addresses in; `None`: there is no gate.
    pub gate: Option<Duration>,
    /// SOCK_DESTROY works on this kernel.
    pub socket_destroy: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArpFence {
    /// The kernel is kept silent by an nftables table; this process answers.
    Nftables,
    /// The kernel is kept silent by arp_ignore=1 and arp_announce=2; this process answers.
    Sysctl,
    /// IPv6, whose kernel answers for an address on the interface that was asked only: it is silent about those on `lo`,
    /// and not about a link-local one, which is nowhere else of use.
    Loopback,
    /// The kernel answers: a frozen node goes on claiming the address until the lease ends.
    None,
}

/// What the proxy calls the thread of this worker, by which PID 1 finds it.
pub fn worker_thread(worker: usize) -> String {
    format!("worker-{worker}")
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProxyReport {
    pub workers: usize,
    pub connections: u64,
    pub requests: u64,
    pub upstreams: Vec<UpstreamReport>,
    pub counters: Vec<(String, u64)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamReport {
    pub name: String,
    pub servers: Vec<UpstreamServerReport>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamServerReport {
    pub address: String,
    pub up: bool,
    pub reason: String,
}
