//! Where addresses are on the link: who asks for the virtual ones and who claims them, by which MAC addresses the peers are
//! known there, and whether anybody is there to take over.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::instance::{Instance, PACKETS_PER_TURN};
use super::shell::Shell;
use super::wire::Readiness;
use crate::config::Transport;
use crate::link::ArpFence;
use crate::net::{Family, MacAddr};
use crate::os::packet;
use crate::vrrp::neighbour::{self, Meaning, virtual_mac};
use crate::vrrp::receive::Datagram;
use crate::vrrp::{Claim, Claimant, Refusal, packet_v3};

/// So many looks in a row, one a second, is longer than the kernel needs to hear from a peer that is there.
const ABSENT_AFTER: u32 = 3;
/// A flood of claims is no flood of questions to the kernel.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(10);
/// Nor is one of questions, of which so many are looked at in this time.
const CORRECTIONS: u32 = 16;

#[derive(Debug, Default)]
pub(super) struct Neighbourhood {
    macs: BTreeMap<IpAddr, MacAddr>,
    /// For how many seconds each peer has not been there.
    absent: BTreeMap<IpAddr, u32>,
    looked: Option<Instant>,
    /// How often the kernel's knowledge of those who ask has been looked at, and since when.
    corrections: u32,
    corrected: Option<Instant>,
}

impl Instance {
    /// ARP or neighbour discovery about the addresses.
    pub(super) fn receive_frames(&mut self, shell: &mut Shell, readiness: Readiness) {
        let mut buffer = [0; packet::BUFFER];
        for _ in 0..PACKETS_PER_TURN {
            let Some(wire) = &self.wire else { return };
            let own_mac = wire.place.mac;
            let Some(bytes) = wire.next_frame(&mut buffer, readiness) else { return };
            let addresses = &self.machine.settings().addresses;
            match bytes.map(|bytes| neighbour::read(self.config.family(), bytes, own_mac, addresses)) {
                Ok(Ok(meaning)) => self.receive_meaning(meaning, own_mac, shell),
                Ok(Err(refusal)) => self.count(Refusal::counter(refusal)),
                Err(_) => self.count("receive_error"),
            }
        }
    }

    fn receive_meaning(&mut self, meaning: Meaning, own_mac: MacAddr, shell: &mut Shell) {
        let now = self.wake(shell);
        match meaning {
            Meaning::Own | Meaning::Nothing => {}
            Meaning::Request { address, asker_mac, asker } => {
                // Without a fence the kernel answers by itself.
                let is_ours = self.machine.answers(now);
                self.settle(shell);
                if is_ours
                    && self.answering
                    && self.arp_fence != ArpFence::None
                    && let Some(reply) = neighbour::reply(own_mac, address, asker_mac, asker)
                {
                    self.send_frame(&reply);
                    self.count("arp_answered");
                    // The kernel does not see the question; its next segment to who asks may go to where that was before.
                    if let Some(index) = self.wire.as_ref().map(|wire| wire.place.index)
                        && self.neighbourhood.may_correct(now)
                    {
                        shell.kernel.correct(index, asker, asker_mac);
                    }
                }
            }
            Meaning::Claim { address, mac } => {
                let by = if self.is_peers(mac, shell) { Claimant::Peer } else { Claimant::Stranger };
                self.machine.handle_claim(Claim { address, mac, by }, now);
                self.settle(shell);
            }
        }
    }

    /// Whether this is the MAC address of a router whose adverts are accepted.
    pub(super) fn is_peers(&mut self, mac: MacAddr, shell: &mut Shell) -> bool {
        if mac == virtual_mac(self.config.family(), self.config.vrid) || self.neighbourhood.knows(mac) {
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

    /// No configured peer answers who asks where it is. Who is in a multicast group, nobody knows.
    pub(super) fn is_alone(&self) -> bool {
        match self.config.transport {
            Transport::Multicast => false,
            Transport::Unicast { .. } => {
                self.peers.iter().all(|peer| self.neighbourhood.mac(*peer).is_none())
            }
        }
    }

    /// From nobody who is known. Adverts have not been routed (RFC 9568 section 5.1.1.3). Who has it sent says nothing that
    /// counts, other than that it is time to ask again who the peers are.
    pub(super) fn hear_unknown(&mut self, refusal: Refusal, datagram: &Datagram<'_>, shell: &mut Shell) {
        let is_ours = datagram.vrid() == Some(self.config.vrid.get());
        if refusal == Refusal::Sender && is_ours && datagram.ttl == packet_v3::TTL {
            shell.hears_stranger = true;
            let now = self.wake(shell);
            self.machine.handle_unknown_advert(now);
            self.settle(shell);
        }
    }

    /// How neighbours are asked for.
    pub(super) fn asked_by(&self) -> &'static str {
        match self.config.family() {
            Family::V4 => "ARP",
            Family::V6 => "neighbour discovery",
        }
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
            Err(format!("peers that do not answer {}: {}{all}", self.asked_by(), names.join(", ")))
        };
        shell.warnings.set(&self.config.name, "absent peers", result, now);
    }
}

impl Neighbourhood {
    pub(super) fn mac(&self, peer: IpAddr) -> Option<MacAddr> {
        self.macs.get(&peer).copied()
    }

    /// Of every peer that the kernel has talked to.
    pub(super) fn macs(&self) -> Vec<MacAddr> {
        self.macs.values().copied().collect()
    }

    fn may_correct(&mut self, now: Instant) -> bool {
        if self.corrected.is_none_or(|at| now >= at + LOOK_AT_MOST_EVERY) {
            (self.corrected, self.corrections) = (Some(now), 0);
        }
        self.corrections += 1;
        self.corrections <= CORRECTIONS
    }

    fn knows(&self, mac: MacAddr) -> bool {
        self.macs.values().any(|known| *known == mac)
    }

    /// Those that have been missing for long enough; one look further for each.
    fn absent(&mut self, peers: &[IpAddr]) -> Vec<IpAddr> {
        let missing = peers.iter().filter(|peer| !self.macs.contains_key(peer));
        let before = std::mem::take(&mut self.absent);
        self.absent = missing.map(|p| (*p, before.get(p).map_or(1, |n| n.saturating_add(1)))).collect();
        self.absent.iter().filter(|(_, looks)| **looks >= ABSENT_AFTER).map(|(peer, _)| *peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::sync::mpsc;

    use super::super::kernel::Kernel;
    use super::super::tests::instance;
    use super::*;
    use crate::os::netns;

    #[test]
    fn an_unknown_sender_for_this_router_has_peers_asked_for_and_moves_nothing() {
        netns::with("an_unknown_sender_for_this_router_has_peers_asked_for_and_moves_nothing", || {
            let (outbox, _kept) = mpsc::channel(64);
            let mut shell = Shell::new(Kernel::open().unwrap(), outbox);
            let now = Instant::now();
            let mut router = Instance::start(instance("10.9.0.99/24"), &mut shell, now);
            let state = router.machine.state();
            let table = [
                (Refusal::Sender, 255, 51, true),
                (Refusal::Sender, 254, 51, false),
                (Refusal::Sender, 255, 52, false),
                (Refusal::Checksum, 255, 51, false),
            ];
            for (refusal, ttl, vrid, expect) in table {
                let (source, destination) = ([10, 9, 0, 3].into(), [10, 9, 0, 1].into());
                let datagram = Datagram { source, destination, ttl, payload: &[0x31, vrid] };
                router.hear_unknown(refusal, &datagram, &mut shell);
                let told = std::mem::take(&mut shell.hears_stranger);
                assert_eq!((told, router.machine.state()), (expect, state), "{refusal:?} {ttl} {vrid}");
            }
        });
    }

    #[test]
    fn of_a_flood_of_questions_some_are_looked_at() {
        let start = Instant::now();
        let mut seen = Neighbourhood::default();
        for (ms, expect) in [(0, 16), (9, 0), (10, 16), (19, 0), (1000, 16)] {
            let now = start + Duration::from_millis(ms);
            assert_eq!((0..100).filter(|_| seen.may_correct(now)).count(), expect, "after {ms} ms");
        }
    }

    #[test]
    fn a_peer_is_absent_after_several_looks_and_present_after_one() {
        let (a, b) = (IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2)), IpAddr::V4(Ipv4Addr::new(10, 9, 0, 3)));
        let mut seen = Neighbourhood::default();
        let mut check = |known: &[IpAddr], peers: &[IpAddr], expect: &[IpAddr]| {
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
