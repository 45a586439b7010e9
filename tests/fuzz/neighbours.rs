//! Random and damaged frames about where an address is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vipgate::net::MacAddr;
use vipgate::vrrp::arp::{FRAME, Frame, Operation};
use vipgate::vrrp::ndp::{self, Flags, Kind};
use vipgate::vrrp::neighbour::{self, Meaning};
use vipgate::vrrp::{AnnounceForm, Refusal};

use crate::cases::{Random, each};
use crate::{ITERATIONS, ipv6, mutate};

fn mac(random: &mut Random) -> MacAddr {
    MacAddr(std::array::from_fn(|_| random.draw() as u8))
}

/// Addresses repeat, so that something is meant.
fn frame(random: &mut Random, macs: &[MacAddr], addresses: &[Ipv4Addr]) -> Frame {
    let form = random.pick(&[AnnounceForm::Request, AnnounceForm::Reply]);
    let (own, other) = (random.pick(macs), random.pick(macs));
    let (address, asker) = (random.pick(addresses), random.pick(addresses));
    match random.below(4) {
        0 => Frame::announcement(own, address, form),
        1 => Frame::probe(own, address),
        2 => Frame::reply(own, address, other, asker),
        _ => Frame {
            destination: random.pick(macs),
            operation: random.pick(&[Operation::Request, Operation::Reply]),
            sender_mac: own,
            sender: asker,
            target_mac: other,
            target: address,
        },
    }
}

#[test]
fn every_frame_means_what_it_says_and_a_damaged_one_what_is_left_of_it() {
    each(ITERATIONS, |random| {
        let macs = [mac(random), mac(random), MacAddr::BROADCAST];
        let addresses: Vec<_> = (0..4).map(|n| Ipv4Addr::new(10, 0, random.draw() as u8, n)).collect();
        let sent = frame(random, &macs, &addresses);
        let mut bytes = sent.emit();
        assert_eq!(bytes.len(), FRAME);
        bytes.resize(FRAME + random.below(20), random.draw() as u8);
        assert_eq!(Frame::parse(&bytes), Ok(sent));

        let own = macs[0];
        let ours: Vec<IpAddr> = addresses[..2].iter().map(|address| IpAddr::V4(*address)).collect();
        match sent.meaning(own, &ours) {
            Meaning::Own => assert_eq!(sent.sender_mac, own),
            Meaning::Claim { address, mac } => {
                assert!(ours.contains(&address));
                assert_eq!((IpAddr::V4(sent.sender), sent.sender_mac), (address, mac));
            }
            Meaning::Request { address, asker_mac, asker } => {
                assert_eq!(sent.operation, Operation::Request);
                // Its answer claims the address, to the one who asked and to nobody else.
                let answer = neighbour::reply(own, address, asker_mac, asker).unwrap();
                let answer = Frame::parse(&answer).unwrap();
                assert_eq!(answer.destination, sent.sender_mac);
                assert_eq!(answer.meaning(asker_mac, &ours), Meaning::Claim { address, mac: own });
            }
            Meaning::Nothing => assert!(!ours.contains(&IpAddr::V4(sent.sender))),
        }

        let at = random.below(FRAME);
        bytes[at] ^= 1 << random.below(8);
        match (at, Frame::parse(&bytes)) {
            (12..20, outcome) => assert_eq!(outcome, Err(Refusal::NotArp), "byte {at}"),
            (20..22, outcome) => assert_eq!(outcome, Err(Refusal::ArpOperation), "byte {at}"),
            // The Ethernet header's source is the body's sender in what means anything.
            (6..12, outcome) => assert_eq!(outcome, Ok(sent)),
            (_, outcome) => {
                let left = outcome.unwrap();
                assert_ne!(left, sent, "byte {at}");
                assert_eq!(Frame::parse(&left.emit()), Ok(left));
            }
        }
        bytes.truncate(random.below(FRAME));
        assert!(matches!(Frame::parse(&bytes), Err(Refusal::ArpLength | Refusal::NotArp)));
    });
}

/// One that a node may send: addresses repeat, so that something is meant.
fn discovery(random: &mut Random, macs: &[MacAddr], addresses: &[Ipv6Addr]) -> ndp::Frame {
    let (own, other) = (random.pick(macs), random.pick(macs));
    let (address, asker) = (random.pick(addresses), random.pick(addresses));
    match random.below(4) {
        0 => ndp::Frame::announcement(own, address),
        1 => ndp::Frame::probe(own, address),
        2 => ndp::Frame::reply(own, address, other, asker),
        _ => ndp::Frame {
            destination_mac: other,
            source_mac: own,
            source: asker,
            destination: ndp::solicited_node(address),
            target: address,
            link_address: random.chance(50).then_some(own),
            kind: random.pick(&[
                Kind::Solicitation,
                Kind::Advertisement(Flags { router: false, solicited: false, overrides: true }),
            ]),
        },
    }
}

#[test]
fn every_discovery_means_what_it_says_and_no_damage_goes_unseen() {
    each(ITERATIONS, |random| {
        let macs = [mac(random), mac(random)];
        let addresses: Vec<Ipv6Addr> =
            (0..4).map(|_| Ipv6Addr::from_bits(ipv6(random).to_bits() >> 3)).collect();
        let sent = discovery(random, &macs, &addresses);
        let emitted = sent.emit();
        let mut bytes = emitted.clone();
        bytes.resize(emitted.len() + random.below(20), random.draw() as u8);
        assert_eq!(ndp::Frame::parse(&bytes), Ok(sent));

        let own = macs[0];
        let ours: Vec<IpAddr> = addresses[..2].iter().map(|address| IpAddr::V6(*address)).collect();
        let is_ours = |address: Ipv6Addr| ours.contains(&IpAddr::V6(address));
        match sent.meaning(own, &ours) {
            Meaning::Own => assert_eq!(sent.source_mac, own),
            Meaning::Claim { address, mac } => {
                assert!(ours.contains(&address) && mac != own);
                assert!([sent.target, sent.source].map(IpAddr::V6).contains(&address));
            }
            Meaning::Request { address, asker_mac, asker } => {
                assert_eq!((sent.kind, IpAddr::V6(sent.target)), (Kind::Solicitation, address));
                let answer = neighbour::reply(own, address, asker_mac, asker).unwrap();
                let answer = ndp::Frame::parse(&answer).unwrap();
                assert_eq!(answer.meaning(asker_mac, &ours), Meaning::Claim { address, mac: own });
            }
            Meaning::Nothing => match sent.kind {
                Kind::Solicitation => assert!(!is_ours(sent.source) && !is_ours(sent.target)),
                Kind::Advertisement(_) => assert!(!is_ours(sent.target) || sent.link_address == Some(own)),
            },
        }

        // Only the Ethernet header, and what of the IPv6 header means nothing here, is in no sum.
        let at = random.between(20, emitted.len() as u64 - 1) as usize;
        let mut bytes = emitted.clone();
        bytes[at] ^= 1 << random.below(8);
        assert!(ndp::Frame::parse(&bytes).is_err(), "byte {at}");
        let mut bytes = emitted.clone();
        mutate(random, &mut bytes);
        if let Ok(frame) = ndp::Frame::parse(&bytes) {
            assert_eq!(ndp::Frame::parse(&frame.emit()), Ok(frame));
        }
        assert!(ndp::Frame::parse(&emitted[..random.below(emitted.len())]).is_err());
    });
}
