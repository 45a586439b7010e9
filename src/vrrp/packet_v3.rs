//! VRRPv3 on the wire (RFC 9568 section 5.2): a checked view of bytes, and an advert that can always be emitted.
//! No socket, no policy: whether an advert is for us is `receive`'s business.
//!
//! ```text
//!  0                   1                   2                   3
//! |Version| Type  | Virtual Rtr ID|   Priority    |IPvX Addr Count|
//! |Reserve| Max Advertise Interval|          Checksum             |
//! |          IPv4 addresses, 4 bytes each, or IPv6 ones, 16        |
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::util;

use super::advert::{Advert, ChecksumForm};
use super::refusal::Refusal;
use crate::net::Family;

/// IP protocol number (RFC 9568 section 5.1.1.4).
pub const IP_PROTOCOL: u8 = 112;
/// Where adverts go unless peers are listed (RFC 9568 section 5.1.1.2).
pub const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
/// FF02::12 (RFC 9568 section 5.1.2.2).
pub const GROUP_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));
/// Both sent and demanded, as IPv6's hop limit too (RFC 9568 sections 5.1.1.3 and 5.1.2.3).
pub const TTL: u8 = 255;

pub const fn group(family: Family) -> IpAddr {
    match family {
        Family::V4 => GROUP,
        Family::V6 => GROUP_V6,
    }
}

const VERSION: u8 = 3;
const TYPE_ADVERTISEMENT: u8 = 1;
const HEADER: usize = 8;
/// The checksum is the fourth 16-bit word.
const CHECKSUM_WORD: usize = 3;
/// The upper four bits of the interval's word are reserved, sent as zero and ignored.
const INTERVAL_MASK: u16 = 0x0fff;

/// Bytes that are a complete VRRPv3 ADVERTISEMENT; the checksum is still to be asked for, since it needs addresses.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    bytes: &'a [u8],
    header: [u8; HEADER],
    addresses: &'a [u8],
    family: Family,
}

impl<'a> View<'a> {
    /// Section 7.1: "MUST verify that the VRRP version is 3", the type, that the packet "contains the complete VRRP
    /// packet". Bytes beyond what the count says are refused as well. `family`: that of the IP packet that it came in.
    pub fn parse(bytes: &'a [u8], family: Family) -> Result<Self, Refusal> {
        let (header, addresses) = bytes.split_first_chunk::<HEADER>().ok_or(Refusal::Length)?;
        let [version_type, _, _, count, ..] = *header;
        if version_type >> 4 != VERSION {
            return Err(Refusal::Version);
        }
        if version_type & 0x0f != TYPE_ADVERTISEMENT {
            return Err(Refusal::Type);
        }
        if addresses.len() != usize::from(count) * usize::from(family.bits() / 8) {
            return Err(Refusal::Length);
        }
        Ok(Self { bytes, header: *header, addresses, family })
    }

    pub fn vrid(&self) -> u8 {
        self.header[1]
    }

    pub fn priority(&self) -> u8 {
        self.header[2]
    }

    /// Max Advertise Interval in centiseconds, 0-4095.
    pub fn interval(&self) -> u16 {
        u16::from_be_bytes([self.header[4], self.header[5]]) & INTERVAL_MASK
    }

    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + 'a {
        let (four, sixteen) = match self.family {
            Family::V4 => (self.addresses.as_chunks::<4>().0, &[][..]),
            Family::V6 => (&[][..], self.addresses.as_chunks::<16>().0),
        };
        four.iter()
            .map(|octets| IpAddr::from(*octets))
            .chain(sixteen.iter().map(|octets| IpAddr::from(*octets)))
    }

    /// Which of the two sums in use the checksum is; `None`: neither.
    pub fn checksum_form(&self, source: IpAddr, destination: IpAddr) -> Option<ChecksumForm> {
        let received = u16::from_be_bytes([self.header[6], self.header[7]]);
        [ChecksumForm::PseudoHeader, ChecksumForm::Plain]
            .into_iter()
            .find(|form| checksum(self.bytes, *form, source, destination) == received)
    }
}

/// `destination` is the address in the IP header, also for a unicast peer, as keepalived has it since 1.3.7.
pub fn emit(advert: &Advert, form: ChecksumForm, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let family = Family::of(source);
    let of_family = |address: &&IpAddr| Family::of(**address) == family;
    let addresses = || advert.addresses.iter().filter(of_family).take(Advert::MAX_ADDRESSES);
    let count = addresses().fold(0_u8, |n, _| n.saturating_add(1));
    let [interval_high, interval_low] = advert.interval.get().to_be_bytes();
    let head = [VERSION << 4 | TYPE_ADVERTISEMENT, advert.vrid.get(), advert.priority, count];
    let tail: Vec<u8> = addresses().flat_map(|address| octets(*address)).collect();
    let message = |sum: [u8; 2]| {
        [head.as_slice(), &[interval_high, interval_low], sum.as_slice(), tail.as_slice()].concat()
    };
    let sum = checksum(&message([0, 0]), form, source, destination);
    message(sum.to_be_bytes())
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Over IPv6 there is one form: with the pseudo-header (RFC 9568 section 5.2.8).
fn checksum(bytes: &[u8], form: ChecksumForm, source: IpAddr, destination: IpAddr) -> u16 {
    let protocol = IpNextHeaderProtocol(IP_PROTOCOL);
    match (source, destination, form) {
        (IpAddr::V4(source), IpAddr::V4(destination), ChecksumForm::PseudoHeader) => {
            util::ipv4_checksum(bytes, CHECKSUM_WORD, &[], &source, &destination, protocol)
        }
        (IpAddr::V6(source), IpAddr::V6(destination), _) => {
            util::ipv6_checksum(bytes, CHECKSUM_WORD, &[], &source, &destination, protocol)
        }
        _ => util::checksum(bytes, CHECKSUM_WORD),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::VrrpVersion;
    use crate::net::{Centiseconds, Vrid};

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 20, 128, 2));
    const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 20, 128, 4));

    fn advert(priority: u8, centiseconds: u16, addresses: Vec<IpAddr>) -> Advert {
        Advert {
            version: VrrpVersion::V3,
            vrid: Vrid::try_from(51).unwrap(),
            priority,
            interval: Centiseconds::try_from(centiseconds).unwrap(),
            addresses,
        }
    }

    #[test]
    fn bytes_are_those_of_the_rfc() {
        // By hand: words 3133 6401 0064 ac14 8004 sum to 1 c1b0, folded c1b1, complement 3e4e;
        // pseudo-header ac14 8002 e000 0012 0070 000c adds up to 2 0c a4 more: 3 ce54, folded ce57, complement 31a8.
        let table = [(ChecksumForm::Plain, [0x3e, 0x4e]), (ChecksumForm::PseudoHeader, [0x31, 0xa8])];
        for (form, [high, low]) in table {
            let expect = [0x31, 51, 100, 1, 0x00, 0x64, high, low, 172, 20, 128, 4];
            let got = emit(&advert(100, 100, vec![VIP]), form, SOURCE, GROUP);
            assert_eq!(got, expect, "{form:?}");
            assert_eq!(View::parse(&got, Family::V4).unwrap().checksum_form(SOURCE, GROUP), Some(form));
        }
    }

    #[test]
    fn what_is_not_a_whole_advertisement_is_refused() {
        let good = emit(&advert(100, 100, vec![VIP]), ChecksumForm::Plain, SOURCE, GROUP);
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        let table = [
            ("empty", Vec::new(), Refusal::Length),
            ("header cut", good[..7].to_vec(), Refusal::Length),
            ("address cut", good[..11].to_vec(), Refusal::Length),
            ("a byte more", [good.as_slice(), &[0]].concat(), Refusal::Length),
            ("count says two", changed(3, 2), Refusal::Length),
            ("version 2", changed(0, 0x21), Refusal::Version),
            ("version 4", changed(0, 0x41), Refusal::Version),
            ("type 2", changed(0, 0x32), Refusal::Type),
        ];
        for (case, bytes, expect) in table {
            assert_eq!(View::parse(&bytes, Family::V4).err(), Some(expect), "{case}");
        }
        assert_eq!(View::parse(&changed(2, 101), Family::V4).unwrap().checksum_form(SOURCE, GROUP), None);
    }

    #[test]
    fn reserved_bits_are_ignored() {
        let mut bytes = emit(&advert(100, 0xabc, vec![VIP]), ChecksumForm::Plain, SOURCE, GROUP);
        bytes[4] |= 0xf0;
        assert_eq!(View::parse(&bytes, Family::V4).unwrap().interval(), 0xabc);
    }

    #[test]
    fn more_addresses_than_the_count_can_say_are_left_out() {
        let bytes = emit(&advert(100, 100, vec![VIP; 300]), ChecksumForm::Plain, SOURCE, GROUP);
        assert_eq!(View::parse(&bytes, Family::V4).unwrap().addresses().count(), 255);
    }

    #[test]
    fn over_ipv6_the_addresses_are_longer_and_the_sum_has_one_form() {
        let [source, vip] = ["fe80::1", "fe80::200:5eff:fe00:233"].map(|text| text.parse().unwrap());
        let bytes = emit(&advert(100, 100, vec![vip]), ChecksumForm::Plain, source, GROUP_V6);
        let mut expect = vec![0x31, 51, 100, 1, 0x00, 0x64, bytes[6], bytes[7], 0xfe, 0x80, 0, 0, 0, 0, 0, 0];
        expect.extend([0x02, 0, 0x5e, 0xff, 0xfe, 0, 0x02, 0x33]);
        assert_eq!(bytes, expect);
        let view = View::parse(&bytes, Family::V6).unwrap();
        assert_eq!(view.addresses().collect::<Vec<_>>(), [vip]);
        assert_eq!(view.checksum_form(source, GROUP_V6), Some(ChecksumForm::PseudoHeader));
        assert_eq!(view.checksum_form(vip, GROUP_V6), None, "the sender is summed as well");
        assert_eq!(View::parse(&bytes, Family::V4).err(), Some(Refusal::Length));
        assert_eq!(View::parse(&bytes[..23], Family::V6).err(), Some(Refusal::Length));
        // RFC 1071 by hand: all words of the pseudo-header and of the message, the checksum among them.
        let octets = |address| match address {
            IpAddr::V6(address) => address.octets(),
            IpAddr::V4(_) => unreachable!(),
        };
        let whole = [&octets(source)[..], &octets(GROUP_V6), &[0, 0, 0, 24, 0, 0, 0, IP_PROTOCOL], &bytes];
        let words = whole.concat();
        let sum: u32 = words.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        assert_eq!((sum >> 16) + (sum & 0xffff), 0xffff);
    }

    fn address(family: Family) -> BoxedStrategy<IpAddr> {
        match family {
            Family::V4 => any::<[u8; 4]>().prop_map(IpAddr::from).boxed(),
            Family::V6 => any::<[u8; 16]>().prop_map(IpAddr::from).boxed(),
        }
    }

    /// Two ends and a list, all of one family.
    fn journey() -> impl Strategy<Value = (IpAddr, IpAddr, Vec<IpAddr>)> {
        prop_oneof![Just(Family::V4), Just(Family::V6)].prop_flat_map(|family| {
            (address(family), address(family), proptest::collection::vec(address(family), 0..=255))
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(
            bytes in proptest::collection::vec(any::<u8>(), 0..64), (source, destination, _) in journey(),
        ) {
            let family = Family::of(source);
            if let Ok(view) = View::parse(&bytes, family) {
                let _ = view.checksum_form(source, destination);
                prop_assert_eq!(view.addresses().count() * usize::from(family.bits() / 8) + HEADER, bytes.len());
            }
        }

        #[test]
        fn what_is_emitted_is_read_back(
            vrid in 1..=255_i64, priority: u8, interval in 1..=4095_u16, (source, destination, addresses) in journey(),
        ) {
            let sent = Advert { vrid: Vrid::try_from(vrid).unwrap(), ..advert(priority, interval, addresses) };
            for form in [ChecksumForm::PseudoHeader, ChecksumForm::Plain] {
                let bytes = emit(&sent, form, source, destination);
                let view = View::parse(&bytes, Family::of(source)).unwrap();
                prop_assert_eq!(i64::from(view.vrid()), vrid);
                prop_assert_eq!((view.priority(), view.interval()), (priority, interval));
                prop_assert_eq!(view.addresses().collect::<Vec<_>>(), sent.addresses.clone());
                prop_assert!(view.checksum_form(source, destination).is_some());
            }
        }
    }
}
