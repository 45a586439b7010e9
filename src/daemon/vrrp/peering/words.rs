//! What this node says of itself over the link, and what it keeps of a peer's words.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::super::instance::Instance;
use super::node::{Peer, Peering};
use crate::link::VrrpState;
use crate::net::{Family, Priority};
use crate::peer::{Router, Standing, State};

/// States whose answers are awaited: one a second, and a few more when much changes.
const STATES_UNANSWERED: usize = 16;
const FAULT: &str = "fault";

impl Peering {
    /// For that virtual router, by its own word, while its link answers.
    pub(in super::super) fn is_in_fault(
        &self,
        at: IpAddr,
        (family, vrid): (Family, u8),
        now: Instant,
    ) -> bool {
        let is_it = |router: &Router| (router.vrid, router.ipv6) == (vrid, family == Family::V6);
        let says_so = |peer: &Peer| {
            let answers = peer.pair.standing(now) == Standing::Linked { answers: true };
            let mut routers = peer.state.iter().flat_map(|state| &state.routers);
            answers && routers.any(|router| is_it(router) && router.state == FAULT)
        };
        self.peers.iter().any(|((_, peer), known)| *peer == at && says_so(known))
    }
}

/// This node's own word, without its number, and what is said to each peer for itself.
pub(super) fn state(instances: &[Instance], about: &About) -> State {
    State {
        id: 0,
        node: about.node.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        digest: about.digest.clone(),
        late_ns: nanos(about.late),
        quota_ns: nanos(about.quota),
        adverts_void: 0,
        routers: instances.iter().filter(|instance| !instance.leaving).map(router).collect(),
    }
}

fn router(instance: &Instance) -> Router {
    let state = instance.machine.state();
    let (reason, _) = instance.machine.reason();
    Router {
        vrid: instance.config.vrid.get(),
        ipv6: instance.config.family() == Family::V6,
        state: match state {
            VrrpState::Fault => FAULT,
            VrrpState::Backup => "backup",
            VrrpState::Master => "master",
        }
        .to_owned(),
        priority: Priority::get(instance.machine.settings().priority),
        ineligible: (state == VrrpState::Fault).then(|| reason.to_owned()),
        reads_hmac: instance.authenticator.reads_for_peers(),
        signs_hmac: false,
    }
}

/// The virtual routers of a family that this node is master of.
pub(super) fn masters(instances: &[Instance], family: Family) -> Vec<u8> {
    let is_one = |i: &&Instance| i.is_master() && i.config.family() == family;
    let masters = instances.iter().filter(is_one);
    masters.map(|instance| instance.config.vrid.get()).collect()
}

/// What a `State` holds beside the virtual routers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    pub(super) node: String,
    pub(super) digest: String,
    pub(super) late: Duration,
    pub(super) quota: Duration,
}

/// When which state was sent, until it is answered.
#[derive(Debug, Default)]
pub(super) struct Sent {
    next: u64,
    at: Vec<(u64, Instant)>,
}

impl Sent {
    pub(super) fn number(&mut self, now: Instant) -> u64 {
        self.next += 1;
        if self.at.len() == STATES_UNANSWERED {
            self.at.remove(0);
        }
        self.at.push((self.next, now));
        self.next
    }

    /// An answer speaks for those before it as well.
    pub(super) fn answered(&mut self, id: u64) -> Option<Instant> {
        let at = self.at.iter().find(|(number, _)| *number == id)?.1;
        self.at.retain(|(number, _)| *number > id);
        Some(at)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
