//! What can happen to a supervisor, and what it can do about it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::heartbeat::Sight;
use crate::link::{Generation, PeersAnswer, ProxyHealth};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleName {
    Proxy,
    Vrrp,
    /// Programs of the user's, and messages to the world.
    Runner,
}

impl RoleName {
    pub const ALL: [Self; 3] = [Self::Proxy, Self::Vrrp, Self::Runner];
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Proxy => "proxy",
            Self::Vrrp => "vrrp",
            Self::Runner => "runner",
        })
    }
}

/// A configuration that is valid and whose listening sockets are open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub generation: Generation,
    /// It has at least one virtual router.
    pub vrrp: bool,
    /// There is something to run, or somebody to tell.
    pub runner: bool,
    pub listen: Vec<SocketAddr>,
    /// How long connections live on once this node is told to stop.
    pub drain_timeout: Duration,
    /// Of the text, by which an edit is known again when it is tried again.
    pub digest: [u8; 32],
    /// Whoever sent it wants it applied now.
    pub is_urgent: bool,
}

/// One process that plays a role: the number of its start tells it from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Player {
    pub role: RoleName,
    pub incarnation: u64,
}

impl fmt::Display for Player {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.role, self.incarnation)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The text has changed: if it can be used, it comes as a candidate. The peers are asked before they can have it.
    Edit,
    Candidate(Candidate),
    /// SIGHUP: what waits for the peers is applied.
    Hurry,
    Said(Player, Saying),
    /// Its link has ended or carried what cannot be understood, or does not take what is sent.
    LinkLost(Player, String),
    /// It has been reaped, or could not be started.
    Ended(Player, String),
    /// What its threads do, of which this event loop needs some for a beat.
    Seen(Player, usize, Sight),
    /// SIGTERM or SIGINT.
    Stop,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saying {
    Prepared(Generation),
    Refused(Generation, String),
    /// The proxy accepts from every listener of this generation; the others work by it.
    InForce(Generation),
    /// How often each of its event loops has turned.
    Beat(Vec<u64>),
    /// It cannot hand connections over, and ends those of its addresses first, within so long.
    EndsConnections(Duration),
    Resigned,
    Drained,
    /// The answer to the question of that number.
    Peers(u64, PeersAnswer),
}

/// Why a configuration is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It is the configuration, or there is no use for it any more.
    ForGood(String),
    /// It is what happened meanwhile: the same configuration may be taken another time.
    ForNow(String),
    /// It is what became of the peers that took it first.
    Held(String),
}

/// In the order in which they are to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Spawn(Player),
    Kill(Player, String),
    /// It is silent: look at what this event loop of it does.
    Look(Player, usize),
    Prepare(RoleName, Generation),
    Commit(RoleName, Generation),
    Abort(RoleName, Generation),
    /// Of the vrrp role: who answers on one of these ports? The number comes back with the answer.
    AskPeers(u64, Vec<SocketAddr>),
    /// This generation could be applied, and is once these peers have had time to take it and answer.
    Wait(Generation, Vec<IpAddr>),
    /// For the vrrp role.
    Tell(ProxyHealth),
    Resign(Duration),
    Drain(RoleName, Duration),
    /// Close the links: whoever still runs leaves in good order.
    Dismiss,
    /// This generation is in force in every role that runs; or it is not, and why.
    Outcome(Generation, Result<(), Rejection>),
    /// Nobody accepts any more from a socket that this generation does not have.
    Release(Generation),
    Exit,
}
