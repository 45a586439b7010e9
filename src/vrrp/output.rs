//! What goes into a `Machine` beside adverts, and everything that comes out of it. Data only.

use std::net::IpAddr;
use std::time::Duration;

use crate::link::Transition;
use crate::net::MacAddr;

use super::advert::Advert;

/// To be done by the shell at once and in this order, until `poll_output` says `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To every peer, or to the group. Losing one is what the protocol is built for: an error is counted, not retried.
    SendAdvert(Advert),
    /// Add these addresses, or renew them, so that the kernel keeps them for `lease`.
    Hold {
        addresses: Vec<IpAddr>,
        lease: Duration,
    },
    /// Remove these addresses. Those that are not there count as removed.
    Release {
        addresses: Vec<IpAddr>,
    },
    /// SOCK_DESTROY for every socket bound to these addresses. Comes after the ARP side is silent.
    DestroySockets {
        addresses: Vec<IpAddr>,
    },
    /// Read and forget what waits in the advert and ARP sockets: it is older than what is known.
    DiscardReceived,
    /// Answer ARP requests for the virtual addresses, or be silent.
    AnswerArp(bool),
    /// One gratuitous ARP.
    Announce {
        address: IpAddr,
        form: AnnounceForm,
    },
    /// Segments of these addresses that no socket of this node knows go on to `old`, which still serves the connections
    /// that it had. Comes before the announcement that brings them here.
    Relay {
        addresses: Vec<IpAddr>,
        old: IpAddr,
    },
    EndRelay,
    /// `old` was master and serves nothing any more: clients that have a connection with it at these addresses wait for
    /// an answer that never comes, and are to be told. Comes after the announcement, so that theirs comes here.
    TellClients {
        addresses: Vec<IpAddr>,
        old: IpAddr,
    },
    /// One ARP probe (RFC 5227 section 2.1.1): who answers, claims the address.
    Probe {
        address: IpAddr,
    },
    /// Ask this peer over its link whether it lives; an answer is `PeerNews::Alive`.
    Ask {
        peer: IpAddr,
    },
    /// The connections of these addresses are to end within `bound`; `handle_emptied` tells that none is left. `first`:
    /// before the addresses move, since what is open by then is lost. Else a peer has them, and relays what belongs to
    /// this node's connections.
    Drain {
        addresses: Vec<IpAddr>,
        bound: Duration,
        first: bool,
    },
    /// Takes the last `Drain` back: this node keeps the addresses, or has them again.
    Keep,
    /// Nothing is kept any more for the connections of a lost address: the peer need not relay to this node.
    Drained,
    /// What became of `handle_failover` or `handle_stand_back`.
    SteppedDown(Result<String, String>),
    Transition(Transition),
    /// Stands until `ClearWarn` of the same kind, or until another text replaces it.
    Warn {
        kind: WarningKind,
        text: String,
    },
    ClearWarn(WarningKind),
    /// Ends what `handle_resign` began. Nothing comes out of this machine any more.
    Resigned {
        reason: String,
    },
    /// Add one to this counter.
    Count(&'static str),
}

/// Some equipment takes only one of the two, so announcements go out in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnounceForm {
    Request,
    Reply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WarningKind {
    /// Another router advertises while this one is master and keeps it.
    TwoMasters,
    /// Somebody who is no configured peer answers for a virtual address.
    Stranger,
}

/// A time in which this process did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// As long as the clock shows that shows most of it.
    pub length: Duration,
    /// How much of it the clock behind `now` does not show: it stood still while the machine was suspended.
    pub hidden: Duration,
}

/// An ARP frame with one of our virtual addresses as its sender and a foreign MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub address: IpAddr,
    pub mac: MacAddr,
    pub by: Claimant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimant {
    /// The MAC address is that of a router whose adverts are accepted.
    Peer,
    Stranger,
}
