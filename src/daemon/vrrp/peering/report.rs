//! What `status` shows of the links.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::node::{Peer, Peering};
use crate::link::{LinkReport, PeerLinkState, PeerReport, PeerRouterReport};
use crate::peer::{Failure, Standing, State};

impl Peering {
    pub(in super::super) fn report(&self, now: Instant) -> LinkReport {
        let off = match (&self.settings, self.source.keys()) {
            (None, _) => Some("there is no virtual router".to_owned()),
            (Some(_), Err(why)) => Some(why.to_owned()),
            (Some(_), Ok(_)) => None,
        };
        LinkReport {
            port: self.settings.as_ref().filter(|_| off.is_none()).map(|settings| settings.port),
            off,
            late: self.about.late,
            measured: self.lateness.measured(),
            contended: self.lateness.is_contended(),
            quota: self.about.quota,
            peers: self.peers.iter().map(|((_, address), peer)| one(*address, peer, now)).collect(),
            counters: self.counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }
}

fn one(address: IpAddr, peer: &Peer, now: Instant) -> PeerReport {
    let (link, reason) = match peer.pair.standing(now) {
        Standing::Connecting => (PeerLinkState::Connecting, "it is being dialled".to_owned()),
        Standing::Linked { answers: true } => (PeerLinkState::Up, "it answers".to_owned()),
        Standing::Linked { answers: false } => {
            (PeerLinkState::Frozen, "its process does not answer, and the link is open".to_owned())
        }
        Standing::Unlinked(failure @ Failure::Silent) => (PeerLinkState::Frozen, failure.to_string()),
        Standing::Unlinked(failure) => (PeerLinkState::Down, failure.to_string()),
    };
    let State { node, version, late_ns, routers, .. } = peer.state.clone().unwrap_or_default();
    PeerReport {
        address,
        link,
        reason,
        node,
        version,
        other_config: peer.drifts_since.is_some(),
        late: Duration::from_nanos(late_ns),
        clients: peer.clients.len() as u64,
        routers: routers
            .into_iter()
            .map(|router| PeerRouterReport {
                vrid: router.vrid,
                ipv6: router.ipv6,
                state: router.state,
                priority: router.priority,
                ineligible: router.ineligible,
            })
            .collect(),
    }
}
