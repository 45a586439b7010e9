//! Who of the peers is on the link: by which MAC addresses they are known there, and whether anybody is there to take
//! over.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::instance::Instance;
use super::shell::Shell;
use crate::config::Transport;
use crate::net::MacAddr;

/// So many looks in a row, one a second, is longer than the kernel needs to hear from a peer that is there.
const ABSENT_AFTER: u32 = 3;
/// A flood of claims is no flood of questions to the kernel.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(super) struct Neighbourhood {
    macs: BTreeMap<Ipv4Addr, MacAddr>,
    /// For how many seconds each peer has not been there.
    absent: BTreeMap<Ipv4Addr, u32>,
    looked: Option<Instant>,
}

impl Instance {
    /// Whether this is the MAC address of a router whose adverts are accepted.
    pub(super) fn is_peers(&mut self, mac: MacAddr, shell: &mut Shell) -> bool {
        // RFC 9568 section 7.3: the virtual router's own MAC address, which a peer may use.
        if mac == MacAddr([0, 0, 0x5e, 0, 1, self.config.vrid.get()]) || self.neighbourhood.knows(mac) {
            return true;
        }
        self.look_for_peers(shell, Instant::now());
        self.neighbourhood.knows(mac)
    }

    /// The kernel knows the MAC addresses of those it talks to; of the others it is asked to find out.
    pub(super) fn look_for_peers(&mut self, shell: &mut Shell, now: Instant) {
        let Some(index) = self.wire.as_ref().map(|wire| wire.place.index) else { return };
        if self.neighbourhood.looked.is_some_and(|at| now < at + LOOK_AT_MOST_EVERY) {
            return;
        }
        self.neighbourhood.looked = Some(now);
        let Ok(neighbours) = shell.kernel.neighbours() else { return };
        let peers = match &self.config.transport {
            Transport::Multicast => self.heard.iter().copied().collect(),
            Transport::Unicast { .. } => self.peers.clone(),
        };
        self.neighbourhood.macs.clear();
        for peer in peers {
            match neighbours.iter().find(|n| n.index == index && n.address == peer) {
                Some(neighbour) => drop(self.neighbourhood.macs.insert(peer, neighbour.mac)),
                // Answered, if at all, before the next look.
                None => drop(shell.kernel.look_up(index, peer)),
            }
        }
    }

    /// Some configured peer answers ARP.
    pub(super) fn has_neighbour(&self) -> bool {
        self.peers.iter().any(|peer| self.neighbourhood.mac(*peer).is_some())
    }

    /// Once a second. A pair of which one node is gone works, and is no pair.
    pub(super) fn say_who_is_absent(&mut self, shell: &mut Shell, now: Instant) {
        let peers = match (&self.config.transport, &self.wire) {
            (Transport::Unicast { .. }, Some(_)) => self.peers.as_slice(),
            (Transport::Multicast, _) | (_, None) => &[],
        };
        let gone = self.neighbourhood.absent(peers);
        self.machine.handle_absent(&gone, now);
        let result = if gone.is_empty() {
            Ok(())
        } else {
            let all = if gone.len() == peers.len() { "; nobody takes over if this node fails" } else { "" };
            let names: Vec<String> = gone.iter().map(ToString::to_string).collect();
            Err(format!("peers that do not answer ARP: {}{all}", names.join(", ")))
        };
        shell.warnings.set(&self.config.name, "absent peers", result, now);
    }
}

impl Neighbourhood {
    pub(super) fn mac(&self, peer: Ipv4Addr) -> Option<MacAddr> {
        self.macs.get(&peer).copied()
    }

    /// Of every peer that the kernel has talked to.
    pub(super) fn macs(&self) -> Vec<MacAddr> {
        self.macs.values().copied().collect()
    }

    fn knows(&self, mac: MacAddr) -> bool {
        self.macs.values().any(|known| *known == mac)
    }

    /// Those that have been missing for long enough; one look further for each.
    fn absent(&mut self, peers: &[Ipv4Addr]) -> Vec<Ipv4Addr> {
        let missing = peers.iter().filter(|peer| !self.macs.contains_key(peer));
        let before = std::mem::take(&mut self.absent);
        self.absent = missing.map(|p| (*p, before.get(p).map_or(1, |n| n.saturating_add(1)))).collect();
        self.absent.iter().filter(|(_, looks)| **looks >= ABSENT_AFTER).map(|(peer, _)| *peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_absent_after_several_looks_and_present_after_one() {
        let (a, b) = (Ipv4Addr::new(10, 9, 0, 2), Ipv4Addr::new(10, 9, 0, 3));
        let mut seen = Neighbourhood::default();
        let mut check = |known: &[Ipv4Addr], peers: &[Ipv4Addr], expect: &[Ipv4Addr]| {
            seen.macs = known.iter().map(|peer| (*peer, MacAddr::ZERO)).collect();
            assert_eq!(seen.absent(peers), expect, "{peers:?} of which {known:?} are there");
        };
        check(&[b], &[a, b], &[]);
        check(&[b], &[a, b], &[]);
        check(&[b], &[a, b], &[a]);
        check(&[], &[a, b], &[a]);
        check(&[a, b], &[a, b], &[]);
        check(&[b], &[a, b], &[]);
        check(&[], &[], &[]);
    }
}
