//! What anybody on the link can send: adverts of both versions and families with and without a trailer, ARP frames, those
//! of neighbour discovery, and packets that the gate turns away, out of any bytes.
#![no_main]

/// As much of it as the codecs know.
mod config {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum VrrpVersion {
        V2,
        V3,
    }
}
#[allow(dead_code, unreachable_pub, reason = "what this target does not use, the daemon does")]
#[path = "../../src/net.rs"]
mod net;
#[allow(dead_code, unreachable_pub, reason = "what this target does not use, the daemon does")]
#[path = "../../src/vrrp"]
mod vrrp {
    pub mod advert;
    pub mod arp;
    pub mod ndp;
    pub mod neighbour;
    pub mod packet_v2;
    pub mod packet_v3;
    pub mod receive;
    pub mod refusal;
    pub mod turned_away;
    pub mod auth_hmac {
        pub mod key;
        pub mod sequence;
        pub mod trailer;
    }
    pub mod output {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum AnnounceForm {
            Request,
            Reply,
        }
    }
}

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use config::VrrpVersion;
use net::{Centiseconds, Family, MacAddr, Vrid};
use vrrp::advert::{ChecksumForm, Password};
use vrrp::auth_hmac::trailer::{TRAILER, split};
use vrrp::receive::{Datagram, Expectation, Received, Senders, check};
use vrrp::turned_away::Syn;
use vrrp::{arp, ndp, packet_v2, packet_v3};

const VRID: u8 = 51;
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const OWN_4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const PEER_4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));
const OWN_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2));
const PEER_6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3));
const CHECKSUM: std::ops::Range<usize> = 6..8;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else { return };
    let (version, own, peer) = match mode & 3 {
        0 => (VrrpVersion::V2, OWN_4, PEER_4),
        1 => (VrrpVersion::V3, OWN_4, PEER_4),
        _ => (VrrpVersion::V3, OWN_6, PEER_6),
    };
    match mode >> 2 & 3 {
        0 => advert(data, version, own, peer, None),
        1 => advert(&summed(data, version, own, peer), version, own, peer, None),
        2 => datagram(data),
        _ => {
            neighbours(data);
            turned_away(data);
        }
    }
    if mode & 128 != 0 {
        advert(&summed(data, version, own, peer), version, own, peer, Password::try_new("secret"));
    }
});

fn expectation(version: VrrpVersion, own: IpAddr, peer: IpAddr, password: Option<Password>) -> Expectation {
    Expectation {
        version,
        vrid: Vrid::try_from(i64::from(VRID)).expect("in range"),
        interval: Centiseconds::try_from(100).expect("in range"),
        addresses: vec![peer],
        password,
        senders: Senders::Unicast(vec![peer]),
        own: Some(own),
    }
}

/// What passes is said again to the same meaning.
fn advert(payload: &[u8], version: VrrpVersion, own: IpAddr, peer: IpAddr, password: Option<Password>) {
    let (before, trailer) = split(payload, version, peer);
    assert_eq!(before.len() + trailer.map_or(0, |_| TRAILER), payload.len());
    let expect = expectation(version, own, peer, password.clone());
    let datagram = |payload| Datagram { source: peer, destination: own, ttl: packet_v3::TTL, payload };
    let Ok(Received { advert, checksum, .. }) = check(&datagram(payload), &expect) else { return };
    assert_eq!(advert.vrid.get(), VRID);
    let again = match version {
        VrrpVersion::V2 => packet_v2::emit(&advert, password.as_ref()),
        VrrpVersion::V3 => packet_v3::emit(&advert, checksum.expect("a form"), peer, own),
    };
    let heard = check(&datagram(&again), &expect).expect("what this node says");
    assert_eq!(heard.advert, advert);
}

/// What is let in is one that would be let in as it is, and came as it is but for its checksum.
fn turned_away(data: &[u8]) {
    let addresses = [OWN_4, OWN_6];
    let Some(syn) = Syn::read(data, &addresses) else { return };
    assert!(addresses.contains(&syn.to));
    assert_eq!(Syn::read(&syn.packet, &addresses).as_ref(), Some(&syn));
    assert!(data.iter().zip(&syn.packet).filter(|(came, made)| came != made).count() <= 2);
    assert_eq!(data.len(), syn.packet.len());
}

/// With the checksum that its sender would have given it, so that what stands behind it is reached.
fn summed(data: &[u8], version: VrrpVersion, own: IpAddr, peer: IpAddr) -> Vec<u8> {
    let mut bytes = data.to_vec();
    if bytes.len() < CHECKSUM.end {
        return bytes;
    }
    bytes[CHECKSUM].fill(0);
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut sum = 0u32;
    let mut add = |bytes: &[u8]| {
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |byte| u32::from(*byte));
        }
    };
    add(&bytes);
    if version == VrrpVersion::V3 {
        add(&octets(peer));
        add(&octets(own));
        add(&[0, packet_v3::IP_PROTOCOL]);
        add(&(bytes.len() as u16).to_be_bytes());
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    bytes[CHECKSUM].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    bytes
}

/// From the IPv4 header on.
fn datagram(data: &[u8]) {
    let Ok(datagram) = Datagram::parse(data) else { return };
    assert!(datagram.payload.len() + 20 <= data.len());
    let _ = datagram.vrid();
    for version in [VrrpVersion::V2, VrrpVersion::V3] {
        if check(&datagram, &expectation(version, OWN_4, PEER_4, None)).is_ok() {
            assert_eq!((datagram.source, datagram.ttl), (PEER_4, packet_v3::TTL));
        }
    }
    for family in [Family::V4, Family::V6] {
        if let Ok(view) = packet_v3::View::parse(datagram.payload, family) {
            let form = view.checksum_form(datagram.source, datagram.destination);
            assert!(family == Family::V4 || form != Some(ChecksumForm::Plain) || datagram.source.is_ipv4());
            let _ = view.addresses().count();
        }
    }
}

/// A frame that passes is said again in the same way, and whatever it means concerns an address of ours.
fn neighbours(data: &[u8]) {
    let ours = [OWN_4, OWN_6];
    if let Ok(frame) = arp::Frame::parse(data) {
        assert_eq!(arp::Frame::parse(&frame.emit()), Ok(frame));
        concerns(&frame.meaning(MAC, &ours), &ours);
    }
    if let Ok(frame) = ndp::Frame::parse(data) {
        concerns(&frame.meaning(MAC, &ours), &ours);
    }
}

fn concerns(meaning: &vrrp::neighbour::Meaning, ours: &[IpAddr]) {
    use vrrp::neighbour::Meaning;
    match meaning {
        Meaning::Own | Meaning::Nothing => (),
        Meaning::Request { address, .. } | Meaning::Claim { address, .. } => assert!(ours.contains(address)),
    }
}
