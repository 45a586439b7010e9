//! Frames of keepalived and of the kernel, what they mean, and what is none.

use proptest::prelude::*;

use super::*;

const OWN: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x12]);
const VIP: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99);
const ASKER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);

/// keepalived 2.2.7 has become master of 2001:db8::99, taken with tcpdump.
const KEEPALIVED: &str = "333300000001 020000000012 86dd 60000000 0020 3aff 20010db8000000000000000000000099 \
     ff020000000000000000000000000001 8800f7e9 20000000 20010db8000000000000000000000099 0201020000000012";

/// Linux 6.18 looks for a duplicate of its address, with a nonce (RFC 7527).
const LINUX_PROBE: &str = "3333ffd00570 6a0b7445a53b 86dd 60000000 0020 3aff 00000000000000000000000000000000 \
     ff0200000000000000000001ffd00570 87007ecd 00000000 fe80000000000000607121fffed00570 0e01a3d408cbb5bf";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// The frame with these bytes put in from `at` on, and a checksum that fits.
fn changed(frame: &str, at: usize, to: &[u8]) -> Vec<u8> {
    let mut bytes = hex(frame);
    bytes[at..at + to.len()].copy_from_slice(to);
    let icmp = bytes.split_off(ETHERNET + IP);
    let sum = checksum(&icmp, address(&bytes, ETHERNET + 8), address(&bytes, ETHERNET + 24));
    bytes.extend(icmp);
    bytes[56..58].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn keepalived_announces_as_we_do_without_being_a_router() {
    let frame = Frame::parse(&hex(KEEPALIVED)).unwrap();
    let flags = Flags { router: false, solicited: false, overrides: true };
    assert_eq!(frame, Frame { kind: Kind::Advertisement(flags), ..Frame::announcement(OTHER, VIP) });
    assert_eq!(frame.emit(), hex(KEEPALIVED));
    assert_eq!(frame.meaning(OWN, &[VIP.into()]), Meaning::Claim { address: VIP.into(), mac: OTHER });
    let ours = Frame::announcement(OTHER, VIP).emit();
    assert_eq!(ours, changed(KEEPALIVED, 58, &[0xa0]), "R and O");
}

#[test]
fn the_kernel_probes_as_we_do() {
    let frame = Frame::parse(&hex(LINUX_PROBE)).unwrap();
    let target = "fe80::6071:21ff:fed0:570".parse().unwrap();
    assert_eq!(frame, Frame::probe(MacAddr([0x6a, 0x0b, 0x74, 0x45, 0xa5, 0x3b]), target));
}

#[test]
fn a_frame_means_what_its_source_and_target_say() {
    let ask = Frame {
        destination_mac: multicast_mac(solicited_node(VIP)),
        source_mac: OTHER,
        source: ASKER,
        destination: solicited_node(VIP),
        target: VIP,
        link_address: Some(OTHER),
        kind: Kind::Solicitation,
    };
    let asked =
        |asker: Ipv6Addr| Meaning::Request { address: VIP.into(), asker_mac: OTHER, asker: asker.into() };
    let claim = Meaning::Claim { address: VIP.into(), mac: OTHER };
    let kept = Flags { router: false, solicited: true, overrides: false };
    let table = [
        ("who has", ask, asked(ASKER)),
        ("who has, without its address", Frame { link_address: None, ..ask }, asked(ASKER)),
        ("unicast refresh", Frame { destination_mac: OWN, destination: VIP, ..ask }, asked(ASKER)),
        ("probe", Frame::probe(OTHER, VIP), asked(Ipv6Addr::UNSPECIFIED)),
        ("who has another", Frame { target: ASKER, ..ask }, Meaning::Nothing),
        ("one who thinks it has it", Frame { source: VIP, target: ASKER, ..ask }, claim),
        ("its answer", Frame::reply(OTHER, VIP, OWN, ASKER), claim),
        ("its answer to a probe", Frame::reply(OTHER, VIP, OWN, Ipv6Addr::UNSPECIFIED), claim),
        ("its announcement", Frame::announcement(OTHER, VIP), claim),
        (
            "a gentle answer",
            Frame { kind: Kind::Advertisement(kept), ..Frame::reply(OTHER, VIP, OWN, ASKER) },
            claim,
        ),
        ("another's answer", Frame::reply(OTHER, ASKER, OWN, VIP), Meaning::Nothing),
        (
            "what somebody says of us",
            Frame { link_address: Some(OWN), ..Frame::announcement(OTHER, VIP) },
            Meaning::Nothing,
        ),
        ("our own announcement", Frame::announcement(OWN, VIP), Meaning::Own),
        ("our own probe", Frame::probe(OWN, VIP), Meaning::Own),
    ];
    for (case, frame, expect) in table {
        let read = Frame::parse(&frame.emit()).unwrap();
        assert_eq!(read, frame, "{case}");
        assert_eq!(read.meaning(OWN, &[VIP.into()]), expect, "{case}");
    }
}

/// RFC 4861 section 7.2.4, with the router flag of RFC 9568 section 6.4.3.
#[test]
fn who_asks_without_an_address_is_answered_so_that_all_hear_it() {
    let everybody = MacAddr([0x33, 0x33, 0, 0, 0, 1]);
    for (asker, to_mac, to, solicited) in
        [(ASKER, OTHER, ASKER, true), (Ipv6Addr::UNSPECIFIED, everybody, ALL_NODES, false)]
    {
        let told = Frame::reply(OWN, VIP, OTHER, asker);
        let flags = Flags { router: true, solicited, overrides: true };
        let is = (told.destination_mac, told.destination, told.kind);
        assert_eq!(is, (to_mac, to, Kind::Advertisement(flags)), "{asker}");
    }
}

#[test]
fn what_is_not_valid_is_refused_for_what_it_is() {
    let cut = |length: usize| hex(KEEPALIVED)[..length].to_vec();
    let raw = |at: usize, to: u8| {
        let mut bytes = hex(KEEPALIVED);
        bytes[at] = to;
        bytes
    };
    let everybody = ALL_NODES.octets();
    let table = [
        ("empty", vec![], Refusal::NdpLength),
        ("Ethernet header only", cut(14), Refusal::NdpLength),
        ("no ICMPv6", cut(54), Refusal::NdpLength),
        ("a byte less", cut(85), Refusal::NdpLength),
        ("the payload shorter than an advertisement", raw(19, 23), Refusal::NdpLength),
        ("IPv4", raw(12, 8), Refusal::NotNdp),
        ("IP version 4", raw(14, 0x45), Refusal::NotNdp),
        ("UDP", raw(20, 17), Refusal::NotNdp),
        ("an echo", raw(54, 128), Refusal::NotNdp),
        ("through a router", raw(21, 254), Refusal::NdpHopLimit),
        ("another sum", raw(57, 0), Refusal::NdpChecksum),
        ("another source", raw(37, 0x98), Refusal::NdpChecksum),
        ("a code", changed(KEEPALIVED, 55, &[1]), Refusal::NdpInvalid),
        ("solicited by all", changed(KEEPALIVED, 58, &[0x60]), Refusal::NdpInvalid),
        ("about a group", changed(KEEPALIVED, 62, &everybody), Refusal::NdpInvalid),
        ("an option of no length", changed(KEEPALIVED, 79, &[0]), Refusal::NdpInvalid),
        ("an option longer than the rest", changed(KEEPALIVED, 79, &[2]), Refusal::NdpLength),
        ("a probe of everybody", changed(LINUX_PROBE, 38, &everybody), Refusal::NdpInvalid),
        ("a probe that says who asks", changed(LINUX_PROBE, 78, &[1]), Refusal::NdpInvalid),
    ];
    for (case, bytes, expect) in table {
        assert_eq!(Frame::parse(&bytes).err(), Some(expect), "{case}");
    }
    let padded = [hex(KEEPALIVED), vec![0; 18]].concat();
    assert!(Frame::parse(&padded).is_ok(), "padding is ignored");
}

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

fn ip() -> impl Strategy<Value = Ipv6Addr> {
    any::<[u8; 16]>().prop_map(Ipv6Addr::from)
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        if let Ok(frame) = Frame::parse(&bytes) {
            prop_assert_eq!(Frame::parse(&frame.emit()), Ok(frame));
        }
    }

    #[test]
    fn what_is_changed_is_read_without_harm(
        at in 54..86_usize, to in proptest::collection::vec(any::<u8>(), 1..8), probe: bool,
    ) {
        let to = &to[..to.len().min(86 - at)];
        let bytes = changed(if probe { LINUX_PROBE } else { KEEPALIVED }, at, to);
        if let Ok(frame) = Frame::parse(&bytes) {
            prop_assert_eq!(Frame::parse(&frame.emit()), Ok(frame));
        }
    }

    #[test]
    fn what_is_emitted_is_read_back(
        destination_mac in mac(), source_mac in mac(), source in ip(), destination in ip(), target in ip(),
        link_address in proptest::option::of(mac()), flags in proptest::option::of(any::<[bool; 3]>()),
    ) {
        let kind = flags.map_or(Kind::Solicitation, |[router, solicited, overrides]| {
            Kind::Advertisement(Flags { router, solicited, overrides })
        });
        let frame = Frame { destination_mac, source_mac, source, destination, target, link_address, kind };
        prop_assume!(frame.is_valid());
        prop_assert_eq!(Frame::parse(&frame.emit()), Ok(frame));
    }
}
