//! Random and mutated packets against the codecs of VRRP, ARP and neighbour discovery: they never panic, what they let pass is emitted again
//! to the same meaning, and what was damaged is refused for the reason that the damage is.
//!
//! `FUZZ_ITERATIONS=1000000 cargo test --release --test fuzz_vrrp` for longer; `SEED=n` repeats one case.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a watchdog needs a thread, settings come from the environment, and a panic is a failure"
)]

#[path = "fuzz/cases.rs"]
mod cases;
#[path = "fuzz/neighbours.rs"]
mod neighbours;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cases::{Random, each};
use vipgate::config::{AntiReplay, AuthHmac, AuthHmacKeys, AuthMode, VrrpVersion};
use vipgate::net::{Centiseconds, Family, Vrid};
use vipgate::vrrp::arp::Frame;
use vipgate::vrrp::ndp;
use vipgate::vrrp::receive::{Datagram, Expectation, Received, Senders, check};
use vipgate::vrrp::{
    Advert, AuthKey, AuthKeys, Authenticator, Bound, ChecksumForm, Password, Refusal, TRAILER, packet_v2,
    packet_v3, split,
};

const ITERATIONS: u64 = 20_000;

/// Version and type, router, priority, count, two bytes of interval or authentication, checksum.
const CHECKSUM: std::ops::Range<usize> = 6..8;
const IP_HEADER: usize = 20;

/// An advert on its way, and one who waits for exactly this.
struct Journey {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    form: ChecksumForm,
    advert: Advert,
    payload: Vec<u8>,
    expect: Expectation,
}

impl Journey {
    fn draw(random: &mut Random) -> Self {
        let version = if random.chance(50) { VrrpVersion::V3 } else { VrrpVersion::V2 };
        // Version 2 knows IPv4 only.
        let family = if version == VrrpVersion::V3 && random.chance(50) { Family::V6 } else { Family::V4 };
        let [own, source] = [1, 2].map(|last| match family {
            Family::V4 => IpAddr::from([10, random.draw() as u8, random.draw() as u8, last]),
            Family::V6 => IpAddr::from([0xfe80, 0, 0, 0, 0, random.draw() as u16, 0, u16::from(last)]),
        });
        let unicast = random.chance(50);
        let centiseconds = match version {
            VrrpVersion::V3 => random.between(1, 4095),
            VrrpVersion::V2 => random.between(1, 40) * 100,
        };
        let count = if random.chance(5) { random.between(1, 255) } else { random.between(1, 4) };
        let advert = Advert {
            version,
            vrid: Vrid::try_from(random.between(1, 255) as i64).unwrap(),
            priority: random.draw() as u8,
            interval: Centiseconds::try_from(centiseconds as u16).unwrap(),
            addresses: (0..count).map(|_| address(random, family)).collect(),
        };
        let password = (version == VrrpVersion::V2 && random.chance(50))
            .then(|| Password::try_new(random.pick(&["a", "1234", "secret12"])).unwrap());
        let mut journey = Self {
            source,
            destination: if unicast { own } else { packet_v3::group(family) },
            ttl: packet_v3::TTL,
            form: match family {
                Family::V4 => random.pick(&[ChecksumForm::PseudoHeader, ChecksumForm::Plain]),
                Family::V6 => ChecksumForm::PseudoHeader,
            },
            expect: Expectation {
                version,
                vrid: advert.vrid,
                interval: advert.interval,
                addresses: advert.addresses.iter().rev().copied().collect(),
                password,
                senders: if unicast { Senders::Unicast(vec![own, source]) } else { Senders::Multicast },
                own: Some(own),
            },
            advert,
            payload: vec![],
        };
        journey.payload = journey.emit(&journey.advert, journey.form);
        journey
    }

    fn emit(&self, advert: &Advert, form: ChecksumForm) -> Vec<u8> {
        match advert.version {
            VrrpVersion::V2 => packet_v2::emit(advert, self.expect.password.as_ref()),
            VrrpVersion::V3 => packet_v3::emit(advert, form, self.source, self.destination),
        }
    }

    /// The payload as its sender would have summed it.
    fn sum_again(&mut self) {
        // The padding of the one and the longer length of the other sum to the same.
        let pseudo_header = [
            octets(self.source).as_slice(),
            &octets(self.destination),
            &[0, packet_v3::IP_PROTOCOL],
            &(self.payload.len() as u16).to_be_bytes(),
        ]
        .concat();
        self.payload[CHECKSUM].fill(0);
        let with_header = match (self.advert.version, self.form) {
            (VrrpVersion::V3, ChecksumForm::PseudoHeader) => pseudo_header.as_slice(),
            (VrrpVersion::V3, ChecksumForm::Plain) | (VrrpVersion::V2, _) => &[],
        };
        let sum = rfc_1071([with_header, &self.payload].concat().as_slice());
        self.payload[CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    }

    /// As a raw socket hands it out: with IP options sometimes, and behind it what the link has padded.
    fn packet(&self, random: &mut Random) -> Vec<u8> {
        // IPv6 is handed out without its header.
        if Family::of(self.source) == Family::V6 {
            return self.payload.clone();
        }
        let options = if random.chance(20) { 4 * random.below(11) } else { 0 };
        let total = IP_HEADER + options + self.payload.len();
        let mut bytes = vec![0; IP_HEADER + options];
        bytes[0] = 0x40 | ((IP_HEADER + options) / 4) as u8;
        bytes[2..4].copy_from_slice(&(total as u16).to_be_bytes());
        bytes[8] = self.ttl;
        bytes[9] = packet_v3::IP_PROTOCOL;
        bytes[12..16].copy_from_slice(&octets(self.source));
        bytes[16..20].copy_from_slice(&octets(self.destination));
        bytes.extend_from_slice(&self.payload);
        bytes.resize(total + random.below(20), 0xa5);
        bytes
    }

    fn arrives(&self, random: &mut Random) -> Result<Received, Refusal> {
        let packet = self.packet(random);
        self.read(&packet).and_then(|datagram| check(&datagram, &self.expect))
    }

    fn read<'a>(&self, packet: &'a [u8]) -> Result<Datagram<'a>, Refusal> {
        match Family::of(self.source) {
            Family::V4 => Datagram::parse(packet),
            Family::V6 => Ok(Datagram {
                source: self.source,
                destination: self.destination,
                ttl: self.ttl,
                payload: packet,
            }),
        }
    }

    /// What was accepted says the same when it is said again.
    fn says_the_same_again(&self, received: &Received) {
        let payload = self.emit(&received.advert, received.checksum.unwrap_or_default());
        let again =
            Datagram { source: self.source, destination: self.destination, ttl: self.ttl, payload: &payload };
        assert_eq!(check(&again, &self.expect).as_ref(), Ok(received));
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address(random: &mut Random, family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from(random.draw() as u32).into(),
        Family::V6 => ipv6(random).into(),
    }
}

fn ipv6(random: &mut Random) -> Ipv6Addr {
    Ipv6Addr::from_bits(u128::from(random.draw()) << 64 | u128::from(random.draw()))
}

fn receive(packet: &[u8], expect: &Expectation) -> Result<Received, Refusal> {
    Datagram::parse(packet).and_then(|datagram| check(&datagram, expect))
}

/// The Internet checksum, written down a second time.
fn rfc_1071(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[test]
fn every_advert_arrives_as_it_was_meant() {
    each(ITERATIONS, |random| {
        let mut journey = Journey::draw(random);
        let received = journey.arrives(random).unwrap();
        assert_eq!(received.advert, journey.advert);
        // A list of IPv6 has to begin with a link-local address.
        let misplaced = matches!(journey.advert.addresses[0], IpAddr::V6(ip) if !ip.is_unicast_link_local());
        assert_eq!((received.other_addresses, received.other_interval), (misplaced, false));
        match journey.advert.version {
            VrrpVersion::V2 => assert_eq!(received.checksum, None),
            // A pseudo-header that sums to nothing would make both forms the same.
            VrrpVersion::V3 => assert_eq!(received.checksum, Some(journey.form)),
        }
        journey.says_the_same_again(&received);
        let emitted = journey.payload.clone();
        journey.sum_again();
        assert_eq!(journey.payload, emitted, "summed by the letter of RFC 1071");
    });
}

/// One thing that the RFC has a receiver check is made wrong, and everything else is right.
fn damage(random: &mut Random, journey: &mut Journey) -> Refusal {
    let v2 = journey.advert.version == VrrpVersion::V2;
    loop {
        let refusal = match random.below(15) {
            0 => {
                journey.ttl = journey.ttl.wrapping_add(random.between(1, 255) as u8);
                Refusal::Ttl
            }
            1 => {
                journey.expect.own = Some(journey.source);
                Refusal::Own
            }
            2 => match &mut journey.expect.senders {
                Senders::Unicast(peers) => {
                    peers.retain(|peer| *peer != journey.source);
                    Refusal::Sender
                }
                Senders::Multicast => {
                    let last = random.between(19, 255) as u8;
                    journey.destination = match Family::of(journey.source) {
                        Family::V4 => [224, 0, 0, last].into(),
                        Family::V6 => [0xff02, 0, 0, 0, 0, 0, 0, u16::from(last)].into(),
                    };
                    Refusal::Destination
                }
            },
            3 => {
                journey.expect.senders = match journey.expect.senders {
                    Senders::Unicast(_) => Senders::Multicast,
                    Senders::Multicast => Senders::Unicast(vec![journey.source]),
                };
                Refusal::Destination
            }
            4 => {
                journey.payload[0] = journey.payload[0].wrapping_add(random.between(1, 15) as u8 * 0x10);
                journey.sum_again();
                Refusal::Version
            }
            5 => {
                let kind = (journey.payload[0] & 0x0f).wrapping_add(random.between(1, 15) as u8) & 0x0f;
                journey.payload[0] = journey.payload[0] & 0xf0 | kind;
                journey.sum_again();
                Refusal::Type
            }
            6 => {
                journey.payload[3] = journey.payload[3].wrapping_add(random.between(1, 255) as u8);
                journey.sum_again();
                Refusal::Length
            }
            7 => {
                journey.payload.truncate(random.below(journey.payload.len()));
                Refusal::Length
            }
            8 => {
                journey.payload.extend(vec![0; random.between(1, 8) as usize]);
                journey.sum_again();
                Refusal::Length
            }
            9 => {
                let other = i64::from(journey.advert.vrid.get()) % 255 + 1;
                journey.expect.vrid = Vrid::try_from(other).unwrap();
                Refusal::Vrid
            }
            10 => {
                journey.payload.truncate(8 + if v2 { 8 } else { 0 });
                journey.payload[3] = 0;
                journey.sum_again();
                if v2 && journey.expect.password.is_some() {
                    // The password went with the tail.
                    journey.payload = journey
                        .emit(&Advert { addresses: vec![], ..journey.advert.clone() }, ChecksumForm::Plain);
                }
                Refusal::NoAddress
            }
            11 => {
                // The upper half of version 3's first byte is reserved.
                let interval = if v2 { [journey.payload[4], 0] } else { [0xf0 & random.draw() as u8, 0] };
                journey.payload[4..6].copy_from_slice(&interval);
                journey.sum_again();
                Refusal::IntervalZero
            }
            12 if v2 => {
                journey.payload[5] = journey.payload[5] % 255 + 1;
                journey.sum_again();
                Refusal::IntervalMismatch
            }
            13 if v2 && journey.advert.priority != 255 => {
                journey.expect.addresses.push([1, 2, 3, 4].into());
                Refusal::AddressList
            }
            14 if v2 => {
                let (password, refusal) = match &journey.expect.password {
                    Some(_) if random.chance(50) => (Password::try_new("another"), Refusal::Password),
                    Some(_) => (None, Refusal::AuthType),
                    None => (Password::try_new("one"), Refusal::AuthType),
                };
                journey.expect.password = password;
                refusal
            }
            _ => continue,
        };
        return refusal;
    }
}

#[test]
fn damage_is_refused_for_what_it_is() {
    each(ITERATIONS, |random| {
        let mut journey = Journey::draw(random);
        let refusal = damage(random, &mut journey);
        assert_eq!(journey.arrives(random), Err(refusal), "{journey:02x?}", journey = journey.payload);
    });
}

#[test]
fn a_signed_advert_arrives_once_and_a_damaged_one_never() {
    let policy = AuthHmac::Keys(AuthHmacKeys {
        keys: vec![],
        anti_replay: AntiReplay::Time,
        time_window: 5,
        mode: AuthMode::Enforce,
    });
    let now = Instant::now();
    each(ITERATIONS, move |random| {
        let journey = Journey::draw(random);
        let key: Vec<u8> = (0..random.between(32, 64)).map(|_| random.draw() as u8).collect();
        let id = random.between(1, 255) as u8;
        let wall = Duration::from_millis(random.draw() >> 24);
        let node = || {
            let mut node = Authenticator::new(policy.clone());
            node.set_keys(Some(Arc::new(AuthKeys::new(AuthKey::try_new(id, &key).unwrap(), []))));
            node
        };
        let (version, vrid) = (journey.advert.version, journey.advert.vrid);
        let bound = Bound { source: journey.source, version, vrid };
        let mut bytes = journey.payload.clone();
        bytes.extend(node().sign(&journey.payload, &bound, wall).unwrap());
        let take = |node: &mut Authenticator, bytes: &[u8]| {
            let (advert, trailer) = split(bytes, version, journey.source);
            node.check(advert, trailer, &bound, now, wall)
        };
        let mut receiver = node();
        assert_eq!(take(&mut receiver, &bytes), Ok(true));
        assert_eq!(take(&mut receiver, &bytes), Err(Refusal::AuthExtReplay));
        for _ in 0..4 {
            let mut damaged = bytes.clone();
            if random.chance(80) {
                let at = random.below(damaged.len());
                damaged[at] ^= 1 << random.below(8);
                let expect = CHECKSUM.contains(&at);
                assert_eq!(take(&mut node(), &damaged).is_ok(), expect, "byte {at} of {}", damaged.len());
            } else {
                damaged.truncate(random.below(damaged.len()));
                assert_eq!(take(&mut node(), &damaged), Err(Refusal::AuthExtMissing));
            }
        }
        // A trailer behind nothing of worth is none.
        let noise: Vec<u8> = (0..random.below(TRAILER * 2)).map(|_| random.draw() as u8).collect();
        assert!(take(&mut node(), &noise).is_err());
    });
}

#[test]
fn a_flipped_bit_does_not_arrive() {
    each(ITERATIONS, |random| {
        let mut journey = Journey::draw(random);
        let at = random.below(journey.payload.len());
        journey.payload[at] ^= 1 << random.below(8);
        let expect = match at {
            0 if journey.payload[0] & 0x0f == 1 => Refusal::Version,
            0 => Refusal::Type,
            3 => Refusal::Length,
            _ => Refusal::Checksum,
        };
        match journey.arrives(random) {
            Err(refusal) => assert_eq!(refusal, expect, "byte {at}"),
            // One bit can be all that is between the two sums in use.
            Ok(received) => {
                assert_ne!(received.checksum, Some(journey.form), "byte {at}");
                assert_eq!((expect, received.advert.version), (Refusal::Checksum, VrrpVersion::V3));
            }
        }
    });
}

/// A few bytes changed, dropped, doubled or cut.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..random.between(1, 5) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(8)).min(bytes.len());
        match random.below(5) {
            0 => bytes[at..end].fill_with(|| random.draw() as u8),
            1 => bytes[at..end].fill(random.pick(&[0, 1, 0x7f, 0xff])),
            2 => bytes.drain(at..end).for_each(drop),
            3 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again).for_each(drop);
            }
            _ => bytes.truncate(end.max(8)),
        }
    }
}

#[test]
fn whatever_is_accepted_says_the_same_again() {
    each(ITERATIONS, |random| {
        let mut journey = Journey::draw(random);
        mutate(random, &mut journey.payload);
        // So that the checks behind the checksum have something to do.
        if journey.payload.len() >= 8 {
            journey.sum_again();
        }
        if let Ok(received) = journey.arrives(random) {
            journey.says_the_same_again(&received);
            assert_eq!(received.advert.vrid, journey.expect.vrid);
        }
        let mut packet = journey.packet(random);
        mutate(random, &mut packet);
        if let Ok(datagram) = journey.read(&packet) {
            let header = if journey.source.is_ipv4() { IP_HEADER } else { 0 };
            assert!(datagram.payload.len() + header <= packet.len());
            if let Ok(received) = check(&datagram, &journey.expect) {
                assert_eq!((datagram.ttl, received.advert.vrid), (packet_v3::TTL, journey.expect.vrid));
            }
        }
    });
}

#[test]
fn bytes_without_any_sense_are_survived() {
    each(ITERATIONS, |random| {
        let journey = Journey::draw(random);
        let bytes: Vec<u8> = (0..random.below(120)).map(|_| random.draw() as u8).collect();
        // Whether one of them happens to be an advert is nobody's business here.
        let _ = receive(&bytes, &journey.expect);
        let _ = packet_v2::View::parse(&bytes).map(|view| view.addresses().count());
        for family in [Family::V4, Family::V6] {
            let _ = packet_v3::View::parse(&bytes, family).map(|view| view.addresses().count());
        }
        if let Ok(frame) = Frame::parse(&bytes) {
            assert_eq!(Frame::parse(&frame.emit()), Ok(frame));
        }
        let _ = ndp::Frame::parse(&bytes);
    });
}
