//! What RFC 9568 section 7.1 (and RFC 3768 section 7.1) checks before an advert reaches the state machine. No socket, no
//! clock, no state: the same datagram always gets the same answer.

use std::net::IpAddr;

use pnet_packet::ipv4::Ipv4Packet;

use crate::config::VrrpVersion;
use crate::net::{Centiseconds, Family, Vrid, is_link_local};

use super::advert::{Advert, ChecksumForm, Password};
use super::packet_v3::{TTL, group};
use super::refusal::Refusal;
use super::{packet_v2, packet_v3};

/// A datagram as a raw socket hands it out. That of IPv6 has no header with it, and tells the rest beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// IPv6: the hop limit.
    pub ttl: u8,
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// From the IPv4 header on. A payload shorter than the header says is refused; padding behind it is cut off.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let packet = Ipv4Packet::new(bytes).ok_or(Refusal::IpHeader)?;
        let header = usize::from(packet.get_header_length()) * 4;
        let total = usize::from(packet.get_total_length());
        if packet.get_version() != 4 || header < Ipv4Packet::minimum_packet_size() {
            return Err(Refusal::IpHeader);
        }
        let payload = bytes.get(header..total).ok_or(Refusal::IpHeader)?;
        Ok(Self {
            source: packet.get_source().into(),
            destination: packet.get_destination().into(),
            ttl: packet.get_ttl(),
            payload,
        })
    }

    /// The virtual router that it is about, if it is VRRP of any version.
    pub fn vrid(&self) -> Option<u8> {
        self.payload.get(1).copied()
    }
}

/// Who may be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Senders {
    /// Anybody on the link, through the group.
    Multicast,
    /// These peers only, at our own address.
    Unicast(Vec<IpAddr>),
}

/// What one virtual router expects of an advert.
#[derive(Clone, Debug)]
pub struct Expectation {
    pub version: VrrpVersion,
    pub vrid: Vrid,
    pub interval: Centiseconds,
    pub addresses: Vec<IpAddr>,
    pub password: Option<Password>,
    pub senders: Senders,
    /// The interface's own address, from which this node sends.
    pub own: Option<IpAddr>,
}

/// An advert that passed, and what is worth counting about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub advert: Advert,
    /// Version 3 only: to be learnt, so that the peer is answered in its own form.
    pub checksum: Option<ChecksumForm>,
    /// A remark and no refusal (RFC 9568 section 7.1); in version 2, of an owner's advert only.
    pub other_addresses: bool,
    /// Version 3 only: the peer's interval is not the one configured here.
    pub other_interval: bool,
}

impl Received {
    pub const COUNT_OTHER_ADDRESSES: &'static str = "advert_other_addresses";
    pub const COUNT_OTHER_INTERVAL: &'static str = "advert_other_interval";
}

/// Every check in the order of the RFC, behind those that keep strangers out of the arithmetic.
pub fn check(datagram: &Datagram<'_>, expect: &Expectation) -> Result<Received, Refusal> {
    if Some(datagram.source) == expect.own {
        return Err(Refusal::Own);
    }
    match &expect.senders {
        Senders::Multicast if datagram.destination != group(Family::of(datagram.source)) => {
            return Err(Refusal::Destination);
        }
        Senders::Unicast(_) if datagram.destination.is_multicast() => return Err(Refusal::Destination),
        Senders::Unicast(peers) if !peers.contains(&datagram.source) => return Err(Refusal::Sender),
        Senders::Multicast | Senders::Unicast(_) => {}
    }
    // "MUST verify that the IPv4 TTL/IPv6 Hop Limit is 255": for unicast too, or a routed packet could be a peer's.
    if datagram.ttl != TTL {
        return Err(Refusal::Ttl);
    }
    match expect.version {
        VrrpVersion::V3 => check_v3(datagram, expect),
        VrrpVersion::V2 => check_v2(datagram, expect),
    }
}

fn check_v3(datagram: &Datagram<'_>, expect: &Expectation) -> Result<Received, Refusal> {
    let view = packet_v3::View::parse(datagram.payload, Family::of(datagram.source))?;
    let form = view.checksum_form(datagram.source, datagram.destination).ok_or(Refusal::Checksum)?;
    if view.vrid() != expect.vrid.get() {
        return Err(Refusal::Vrid);
    }
    let interval = Centiseconds::try_from(view.interval()).map_err(|_| Refusal::IntervalZero)?;
    let addresses: Vec<_> = view.addresses().collect();
    if addresses.is_empty() {
        return Err(Refusal::NoAddress);
    }
    // Erratum 8300 wants it discarded. keepalived sends its list as it is configured, and both would be master.
    let misplaced = addresses.first().is_some_and(|first| first.is_ipv6() && !is_link_local(*first));
    Ok(Received {
        checksum: Some(form),
        // Section 7.1 wants both logged and drops for neither: both routers would be master then.
        other_addresses: misplaced || !same_addresses(&addresses, &expect.addresses),
        other_interval: interval != expect.interval,
        advert: Advert {
            version: VrrpVersion::V3,
            vrid: expect.vrid,
            priority: view.priority(),
            interval,
            addresses,
        },
    })
}

fn check_v2(datagram: &Datagram<'_>, expect: &Expectation) -> Result<Received, Refusal> {
    let view = packet_v2::View::parse(datagram.payload)?;
    if view.vrid() != expect.vrid.get() {
        return Err(Refusal::Vrid);
    }
    view.authenticate(expect.password.as_ref())?;
    let addresses: Vec<_> = view.addresses().collect();
    if addresses.is_empty() {
        return Err(Refusal::NoAddress);
    }
    // "If the packet was not generated by the address owner .. the receiver MUST drop the packet".
    let other_addresses = !same_addresses(&addresses, &expect.addresses);
    if other_addresses && view.priority() != crate::net::Priority::OWNER.get() {
        return Err(Refusal::AddressList);
    }
    // "MUST verify that the Adver Interval in the packet is the same as the locally configured".
    if view.interval_seconds() == 0 {
        return Err(Refusal::IntervalZero);
    }
    if u16::from(view.interval_seconds()) * 100 != expect.interval.get() {
        return Err(Refusal::IntervalMismatch);
    }
    Ok(Received {
        checksum: None,
        other_addresses,
        other_interval: false,
        advert: Advert {
            version: VrrpVersion::V2,
            vrid: expect.vrid,
            priority: view.priority(),
            interval: expect.interval,
            addresses,
        },
    })
}

/// Their order means nothing.
fn same_addresses(a: &[IpAddr], b: &[IpAddr]) -> bool {
    let sorted = |list: &[IpAddr]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list.dedup();
        list
    };
    sorted(a) == sorted(b)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::packet_v3::{GROUP, GROUP_V6};
    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1));
    const OWN_OCTETS: [u8; 4] = [10, 99, 0, 2];
    const OWN: IpAddr = IpAddr::V4(Ipv4Addr::from_octets(OWN_OCTETS));

    // Sent by keepalived 2.2.7 (vrid 51, priority 100, addresses 10.99.0.9 and .10, one second), taken with tcpdump.
    const KEEPALIVED_V2_PASS: &str = "45c0002c00010000ff70d02a0a630001e0000012 \
         2133640201 01f7710a6300090a63000a 7365637265743132";
    const KEEPALIVED_V2: &str = "45c0002c00010000ff70d02a0a630001e0000012 \
         213364020001 65f00a6300090a63000a 0000000000000000";
    const KEEPALIVED_V2_RELEASE: &str = "45c0002c00030000ff70d0280a630001e0000012 \
         213300020001 c9f00a6300090a63000a 0000000000000000";
    const KEEPALIVED_V3: &str = "45c0002400010000ff70d0320a630001e0000012 313364020064 6a960a6300090a63000a";
    const KEEPALIVED_V3_RELEASE: &str =
        "45c0002400030000ff70d0300a630001e0000012 313300020064 ce960a6300090a63000a";

    /// Unicast from .1 to .2, every 100 ms: the pseudo-header has the real destination.
    const KEEPALIVED_V3_UNICAST: &str =
        "45c0002400010000ff70a5e00a6300010a630002 31336402000a 409e0a6300090a63000a";

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn expectation(version: VrrpVersion) -> Expectation {
        Expectation {
            version,
            vrid: Vrid::try_from(51).unwrap(),
            interval: Centiseconds::try_from(100).unwrap(),
            addresses: vec![
                IpAddr::V4(Ipv4Addr::new(10, 99, 0, 10)),
                IpAddr::V4(Ipv4Addr::new(10, 99, 0, 9)),
            ],
            password: None,
            senders: Senders::Multicast,
            own: Some(OWN),
        }
    }

    fn v2_pass() -> Expectation {
        Expectation { password: Password::try_new("secret12"), ..expectation(VrrpVersion::V2) }
    }

    /// Priority of the advert, or why there is none.
    fn verdict(bytes: &[u8], expect: &Expectation) -> Result<u8, Refusal> {
        Datagram::parse(bytes)
            .and_then(|datagram| check(&datagram, expect))
            .map(|received| received.advert.priority)
    }

    #[test]
    fn keepalived_is_understood() {
        let (v2, v3) = (expectation(VrrpVersion::V2), expectation(VrrpVersion::V3));
        let unicast = Expectation {
            interval: Centiseconds::try_from(10).unwrap(),
            senders: Senders::Unicast(vec![PEER]),
            ..v3.clone()
        };
        for (bytes, expect, priority) in [
            (KEEPALIVED_V2_PASS, v2_pass(), 100),
            (KEEPALIVED_V2, v2.clone(), 100),
            (KEEPALIVED_V2_RELEASE, v2, 0),
            (KEEPALIVED_V3, v3.clone(), 100),
            (KEEPALIVED_V3_RELEASE, v3, 0),
            (KEEPALIVED_V3_UNICAST, unicast, 100),
        ] {
            let bytes = hex(bytes);
            let datagram = Datagram::parse(&bytes).unwrap();
            let received = check(&datagram, &expect).unwrap();
            assert_eq!(received.advert.priority, priority);
            assert!(!received.other_addresses && !received.other_interval);
            // And spoken: what we make of the same meaning are the same bytes.
            let again = match expect.version {
                VrrpVersion::V2 => packet_v2::emit(&received.advert, expect.password.as_ref()),
                VrrpVersion::V3 => {
                    packet_v3::emit(&received.advert, received.checksum.unwrap(), PEER, datagram.destination)
                }
            };
            assert_eq!(again, bytes[20..], "{priority} {:?}", expect.version);
        }
    }

    /// keepalived 2.2.7 (vrid 51, priority 150, fe80::99 and 2001:db8::99, every 200 ms), taken with tcpdump behind the
    /// IPv6 header: to the group, its release, and to a peer.
    #[test]
    fn keepalived_is_understood_over_ipv6() {
        let list = "fe800000000000000000000000000099 20010db8000000000000000000000099";
        let addresses: Vec<IpAddr> = ["2001:db8::99", "fe80::99"].map(|a| a.parse().unwrap()).to_vec();
        for (head, source, destination, priority) in [
            ("31339602 0014 0e0a", "fe80::ff:fe00:12", "ff02::12", 150),
            ("31330002 0014 a40a", "fe80::ff:fe00:12", "ff02::12", 0),
            ("31339602 0014 af1c", "2001:db8::12", "2001:db8::11", 150),
        ] {
            let payload = hex(&format!("{head} {list}"));
            let [source, destination]: [IpAddr; 2] = [source, destination].map(|a| a.parse().unwrap());
            let expect = Expectation {
                interval: Centiseconds::try_from(20).unwrap(),
                addresses: addresses.clone(),
                senders: match destination.is_multicast() {
                    true => Senders::Multicast,
                    false => Senders::Unicast(vec![source]),
                },
                own: None,
                ..expectation(VrrpVersion::V3)
            };
            let datagram = Datagram { source, destination, ttl: TTL, payload: &payload };
            let received = check(&datagram, &expect).unwrap();
            assert_eq!(received.advert.priority, priority);
            assert!(!received.other_addresses && !received.other_interval);
            let again = packet_v3::emit(&received.advert, ChecksumForm::Plain, source, destination);
            assert_eq!(again, payload, "and spoken");
            for (case, changed, refusal) in [
                ("hop limit", Datagram { ttl: 64, ..datagram }, Refusal::Ttl),
                ("source", Datagram { source: "fe80::1".parse().unwrap(), ..datagram }, Refusal::Checksum),
                ("length", Datagram { payload: &payload[..24], ..datagram }, Refusal::Length),
            ] {
                let sender = Senders::Unicast(vec![changed.source]);
                let senders = if destination.is_multicast() { Senders::Multicast } else { sender };
                let expect = Expectation { senders, ..expect.clone() };
                assert_eq!(check(&changed, &expect), Err(refusal), "{case}");
            }
        }
    }

    #[test]
    fn what_the_rfc_forbids_is_dropped_under_its_reason() {
        type Change = fn(&mut Vec<u8>, &mut Expectation);
        let table: [(&str, Change, Refusal); 17] = [
            ("TTL 254", |b, _| b[8] = 254, Refusal::Ttl),
            ("TTL 1", |b, _| b[8] = 1, Refusal::Ttl),
            (
                "TTL 64 from a listed peer",
                |b, e| {
                    b[8] = 64;
                    b[16..20].copy_from_slice(&OWN_OCTETS);
                    e.senders = Senders::Unicast(vec![PEER]);
                },
                Refusal::Ttl,
            ),
            ("our own", |_, e| e.own = Some(PEER), Refusal::Own),
            ("to the group", |_, e| e.senders = Senders::Unicast(vec![PEER]), Refusal::Destination),
            ("to an address", |b, _| b[16..20].copy_from_slice(&OWN_OCTETS), Refusal::Destination),
            (
                "from nobody we know",
                |b, e| {
                    b[16..20].copy_from_slice(&OWN_OCTETS);
                    e.senders = Senders::Unicast(vec![OWN]);
                },
                Refusal::Sender,
            ),
            ("version 2 here", |_, e| e.version = VrrpVersion::V2, Refusal::Version),
            ("type 2", |b, _| b[20] = 0x32, Refusal::Type),
            ("priority changed", |b, _| b[22] = 101, Refusal::Checksum),
            ("another vrid", |_, e| e.vrid = Vrid::try_from(52).unwrap(), Refusal::Vrid),
            ("IP length cuts it", |b, _| b[3] -= 4, Refusal::Length),
            ("IP length exceeds it", |b, _| b[3] += 1, Refusal::IpHeader),
            ("IP header length 4", |b, _| b[0] = 0x44, Refusal::IpHeader),
            ("IP version 6", |b, _| b[0] = 0x65, Refusal::IpHeader),
            ("IP header only", |b, _| b.truncate(19), Refusal::IpHeader),
            ("nothing", |b, _| b.clear(), Refusal::IpHeader),
        ];
        for (case, change, expect) in table {
            let (mut bytes, mut expectation) = (hex(KEEPALIVED_V3), expectation(VrrpVersion::V3));
            change(&mut bytes, &mut expectation);
            assert_eq!(verdict(&bytes, &expectation), Err(expect), "{case}");
        }
    }

    /// A datagram with this advert, from the peer to the group.
    fn datagram(payload: &[u8]) -> Datagram<'_> {
        Datagram { source: PEER, destination: GROUP, ttl: TTL, payload }
    }

    fn advert(version: VrrpVersion, priority: u8, centiseconds: u16, addresses: &[IpAddr]) -> Advert {
        Advert {
            version,
            vrid: Vrid::try_from(51).unwrap(),
            priority,
            interval: Centiseconds::try_from(centiseconds).unwrap(),
            addresses: addresses.to_vec(),
        }
    }

    #[test]
    fn version_3_remarks_what_version_2_refuses() {
        let ours = expectation(VrrpVersion::V3).addresses;
        let other = [IpAddr::V4(Ipv4Addr::new(10, 99, 0, 77))];
        let v3 = |priority, interval, addresses: &[IpAddr]| {
            let bytes = packet_v3::emit(
                &advert(VrrpVersion::V3, priority, interval, addresses),
                ChecksumForm::Plain,
                PEER,
                GROUP,
            );
            check(&datagram(&bytes), &expectation(VrrpVersion::V3))
                .map(|r| (r.other_addresses, r.other_interval))
        };
        assert_eq!(v3(100, 100, &ours), Ok((false, false)));
        assert_eq!(v3(100, 10, &ours), Ok((false, true)));
        assert_eq!(v3(100, 100, &other), Ok((true, false)));
        assert_eq!(v3(100, 100, &[]), Err(Refusal::NoAddress));

        let v2 = |priority, interval, addresses: &[IpAddr]| {
            let bytes = packet_v2::emit(&advert(VrrpVersion::V2, priority, interval, addresses), None);
            check(&datagram(&bytes), &expectation(VrrpVersion::V2)).map(|r| r.other_addresses)
        };
        assert_eq!(v2(100, 100, &ours), Ok(false));
        assert_eq!(v2(100, 200, &ours), Err(Refusal::IntervalMismatch));
        assert_eq!(v2(100, 100, &other), Err(Refusal::AddressList));
        assert_eq!(v2(0, 100, &other), Err(Refusal::AddressList));
        assert_eq!(v2(255, 100, &other), Ok(true), "the owner's counts");
        assert_eq!(v2(100, 100, &[]), Err(Refusal::NoAddress));
    }

    #[test]
    fn a_list_of_ipv6_that_does_not_begin_with_a_link_local_address_is_remarked() {
        let [source, local, global] = ["fe80::1", "fe80::99", "2001:db8::99"].map(|a| a.parse().unwrap());
        let expect = Expectation { addresses: vec![local, global], ..expectation(VrrpVersion::V3) };
        for (list, remarked) in [(&[local, global][..], false), (&[global, local], true), (&[global], true)] {
            let sent = advert(VrrpVersion::V3, 100, 100, list);
            let bytes = packet_v3::emit(&sent, ChecksumForm::Plain, source, GROUP_V6);
            let datagram = Datagram { source, destination: GROUP_V6, ..datagram(&bytes) };
            let received = check(&datagram, &expect).unwrap();
            assert_eq!((received.advert, received.other_addresses), (sent, remarked), "{list:?}");
        }
    }

    #[test]
    fn both_checksum_forms_are_taken_and_told_apart() {
        for form in [ChecksumForm::Plain, ChecksumForm::PseudoHeader] {
            for destination in [GROUP, OWN] {
                let ours = expectation(VrrpVersion::V3).addresses;
                let bytes =
                    packet_v3::emit(&advert(VrrpVersion::V3, 100, 100, &ours), form, PEER, destination);
                let senders =
                    if destination == GROUP { Senders::Multicast } else { Senders::Unicast(vec![PEER]) };
                let expect = Expectation { senders, ..expectation(VrrpVersion::V3) };
                let datagram = Datagram { destination, ..datagram(&bytes) };
                assert_eq!(check(&datagram, &expect).unwrap().checksum, Some(form));
            }
        }
    }

    #[test]
    fn one_flipped_bit_never_passes() {
        let (good, expect) = (hex(KEEPALIVED_V3), expectation(VrrpVersion::V3));
        for bit in 20 * 8..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(verdict(&bytes, &expect).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn an_interval_of_zero_is_refused() {
        // Version 3: the interval's word zeroed, 0x64 added back to the plain checksum, so that only the interval is wrong.
        let ours = expectation(VrrpVersion::V3).addresses;
        for version in [VrrpVersion::V2, VrrpVersion::V3] {
            let mut bytes = match version {
                VrrpVersion::V2 => packet_v2::emit(&advert(version, 100, 100, &ours), None),
                VrrpVersion::V3 => {
                    packet_v3::emit(&advert(version, 100, 100, &ours), ChecksumForm::Plain, PEER, GROUP)
                }
            };
            let interval = bytes[5];
            bytes[5] = 0;
            let sum = u16::from_be_bytes([bytes[6], bytes[7]]) + u16::from(interval);
            bytes[6..8].copy_from_slice(&sum.to_be_bytes());
            assert_eq!(
                check(&datagram(&bytes), &expectation(version)),
                Err(Refusal::IntervalZero),
                "{version:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            for expect in [expectation(VrrpVersion::V2), expectation(VrrpVersion::V3), v2_pass()] {
                let _ = verdict(&bytes, &expect);
                let _ = check(&datagram(&bytes), &expect);
            }
        }
    }
}
