//! The wire against vectors of others, and who is refused when.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::config::{AntiReplay, AuthHmac, AuthHmacKey, AuthHmacKeys, AuthMode, VrrpVersion};
use crate::net::{Centiseconds, Family, Vrid};
use crate::vrrp::{Advert, ChecksumForm, Refusal, packet_v3};

/// The draft's appendix: key 1 is 00 to 1f, virtual router 51, priority 200, number 0x6800000080000000; from
/// 198.51.100.10 for 192.0.2.100, from fe80::10 for fe80::100.
const DRAFT_V4: &str = "3133c80100644402c0000264 010100006800000080000000 1b84bc4e8e43892dc6d98448f8ee2265";
const DRAFT_V6: &str = "3133c8010064a2e9fe800000000000000000000000000100 010100006800000080000000 \
                        c8c56146ebfd66ee10ec4d8186461b78";
/// Version 2 with the password "1234" from 10.0.0.1, key 7 is 64 times "k"; summed with Python's hmac.
const V2: &str = "213364010101e94aac1480043132333400000000 010700006800000080000000 \
                  fc8a3245ec5a1b55a53846fa73dc5d71";

/// What the vectors' numbers say.
const WALL: Duration = Duration::new(0x6800_0000, 500_000_000);
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 10));
const ADVERT: usize = 12;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn draft_key(id: u8) -> AuthKey {
    AuthKey::parse(id, b"hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1B1C1D1E1F\n").unwrap()
}

fn bound(source: IpAddr) -> Bound {
    Bound { source, version: VrrpVersion::V3, vrid: Vrid::try_from(51).unwrap() }
}

fn configured(mode: AuthMode, anti_replay: AntiReplay) -> AuthHmac {
    let keys = vec![AuthHmacKey { id: 1, file: "/key".into() }];
    AuthHmac::Keys(AuthHmacKeys { keys, anti_replay, time_window: 5, mode })
}

fn with_keys(policy: AuthHmac, first: AuthKey, others: Vec<AuthKey>) -> Authenticator {
    let mut authenticator = Authenticator::new(policy);
    authenticator.set_keys(Some(Arc::new(AuthKeys::new(first, others))));
    authenticator
}

fn enforcing() -> Authenticator {
    with_keys(configured(AuthMode::Enforce, AntiReplay::Time), draft_key(1), vec![])
}

/// Checks bytes off the wire, with or without a trailer.
fn check(
    authenticator: &mut Authenticator,
    bytes: &[u8],
    bound: &Bound,
    now: Instant,
    wall: Duration,
) -> Result<bool, Refusal> {
    let (advert, trailer) = split(bytes, bound.version, bound.source);
    authenticator.check(advert, trailer, bound, now, wall)
}

fn signed(authenticator: &mut Authenticator, bound: &Bound, wall: Duration) -> Vec<u8> {
    let advert = hex(DRAFT_V4)[..ADVERT].to_vec();
    let trailer = authenticator.sign(&advert, bound, wall).unwrap();
    [advert.as_slice(), &trailer].concat()
}

#[test]
fn the_wire_is_that_of_others() {
    let seven = AuthKey::parse(7, &[b'k'; 64]).unwrap();
    let v2 = |source: &str| Bound { version: VrrpVersion::V2, ..bound(source.parse().unwrap()) };
    for (vector, key, bound) in [
        (DRAFT_V4, draft_key(1), bound(SOURCE)),
        (DRAFT_V6, draft_key(1), bound("fe80::10".parse().unwrap())),
        (V2, seven, v2("10.0.0.1")),
    ] {
        let bytes = hex(vector);
        let mut authenticator =
            with_keys(configured(AuthMode::Enforce, AntiReplay::Time), key.clone(), vec![]);
        assert_eq!(check(&mut authenticator, &bytes, &bound, Instant::now(), WALL), Ok(true), "{vector}");
        // And made: the same bytes from the same clock.
        let (advert, trailer) = bytes.split_at(bytes.len() - TRAILER);
        let mut sender = with_keys(configured(AuthMode::Enforce, AntiReplay::Time), key, vec![]);
        assert_eq!(sender.sign(advert, &bound, WALL).unwrap(), trailer, "{vector}");
    }
}

#[test]
fn over_ipv6_the_checksum_covers_the_trailer() {
    let bytes = hex(DRAFT_V6);
    let [source, destination] = ["fe80::10", "fe80::20"].map(|text| text.parse().unwrap());
    let (advert, trailer) = split(&bytes, VrrpVersion::V3, source);
    let is_sound = |advert: &[u8]| {
        let view = packet_v3::View::parse(advert, Family::V6).unwrap();
        view.checksum_form(source, destination).is_some()
    };
    let alone = uncover(advert, &trailer.unwrap());
    assert_eq!((is_sound(advert), is_sound(&alone)), (false, true));
    let (_, trailer) = bytes.split_last_chunk().unwrap();
    assert_eq!(cover(&alone, trailer), advert);
    let mut changed = advert.to_vec();
    changed[2] ^= 1;
    assert!(!is_sound(&uncover(&changed, &split(&bytes, VrrpVersion::V3, source).1.unwrap())));
}

#[test]
fn what_is_not_signed_is_refused_for_what_it_is() {
    // One bit at each place of the appendix's IPv4 image.
    for (what, at, expect) in [
        ("priority", 2, Err(Refusal::AuthExtInvalidHmac)),
        ("interval", 5, Err(Refusal::AuthExtInvalidHmac)),
        ("checksum, which the kernel may write", 6, Ok(true)),
        ("checksum", 7, Ok(true)),
        ("address", 11, Err(Refusal::AuthExtInvalidHmac)),
        ("type", 12, Err(Refusal::AuthExtMalformed)),
        ("key", 13, Err(Refusal::AuthExtUnknownKey)),
        ("reserved", 14, Err(Refusal::AuthExtMalformed)),
        ("reserved", 15, Err(Refusal::AuthExtMalformed)),
        ("seconds", 16, Err(Refusal::AuthExtStale)),
        ("a second", 19, Err(Refusal::AuthExtInvalidHmac)),
        ("fraction", 20, Err(Refusal::AuthExtInvalidHmac)),
        ("counter", 23, Err(Refusal::AuthExtInvalidHmac)),
        ("HMAC", 24, Err(Refusal::AuthExtInvalidHmac)),
        ("HMAC", 39, Err(Refusal::AuthExtInvalidHmac)),
    ] {
        let mut bytes = hex(DRAFT_V4);
        bytes[at] ^= 1;
        let got = check(&mut enforcing(), &bytes, &bound(SOURCE), Instant::now(), WALL);
        assert_eq!(got, expect, "{what} at {at}");
    }
    let other = |change: fn(&mut Bound)| {
        let mut bound = bound(SOURCE);
        change(&mut bound);
        let (bytes, now) = (hex(DRAFT_V4), Instant::now());
        let (advert, trailer) = split(&bytes, VrrpVersion::V3, SOURCE);
        enforcing().check(advert, trailer, &bound, now, WALL)
    };
    let wrong = Err(Refusal::AuthExtInvalidHmac);
    assert_eq!(other(|bound| bound.source = IpAddr::from([198, 51, 100, 11])), wrong);
    assert_eq!(other(|bound| bound.vrid = Vrid::try_from(52).unwrap()), wrong);
    assert_eq!(other(|bound| bound.version = VrrpVersion::V2), wrong);
    assert_eq!(other(|bound| bound.source = "c633:640a::".parse().unwrap()), wrong, "the family counts");
}

#[test]
fn a_trailer_is_28_bytes_behind_a_whole_advert() {
    let bytes = hex(DRAFT_V4);
    let has_trailer = |bytes: &[u8]| split(bytes, VrrpVersion::V3, SOURCE).1.is_some();
    assert!(has_trailer(&bytes));
    for length in 0..bytes.len() {
        assert!(!has_trailer(&bytes[..length]), "{length}");
        assert_eq!(split(&bytes[..length], VrrpVersion::V3, SOURCE).0, &bytes[..length], "left as it is");
    }
    assert!(!has_trailer(&[bytes.as_slice(), &[0]].concat()));
    assert!(split(&bytes, VrrpVersion::V2, SOURCE).1.is_none(), "version 2 has 8 bytes more");
    assert!(split(&bytes, VrrpVersion::V3, "::1".parse().unwrap()).1.is_none(), "IPv6 has longer addresses");
}

#[test]
fn modes_are_those_of_keepalived() {
    let now = Instant::now();
    let group = IpAddr::from([224, 0, 0, 18]);
    let missing = Err(Refusal::AuthExtMissing);
    for (mode, form, without) in [
        (AuthMode::Enforce, Form::Signed, missing),
        (AuthMode::Permissive, Form::Signed, Ok(false)),
        (AuthMode::ReceiveOnly, Form::Plain, Ok(false)),
    ] {
        let mut authenticator = with_keys(configured(mode, AntiReplay::Time), draft_key(1), vec![]);
        assert_eq!((authenticator.form(group, now), authenticator.form(SOURCE, now)), (form, form), "{mode}");
        let bytes = hex(DRAFT_V4);
        assert_eq!(check(&mut authenticator, &bytes[..ADVERT], &bound(SOURCE), now, WALL), without, "{mode}");
        assert_eq!(check(&mut authenticator, &bytes, &bound(SOURCE), now, WALL), Ok(true), "{mode}");
        let mut forged = bytes;
        forged[2] ^= 1;
        let refused = check(&mut authenticator, &forged, &bound(SOURCE), now, WALL);
        assert_eq!(refused, Err(Refusal::AuthExtInvalidHmac), "{mode}: one that is there has to be right");
    }
    let mut keyless = Authenticator::new(configured(AuthMode::Enforce, AntiReplay::Time));
    assert_eq!(keyless.form(SOURCE, now), Form::Plain);
    assert_eq!(check(&mut keyless, &hex(DRAFT_V4)[..ADVERT], &bound(SOURCE), now, WALL), missing);
    let mut off = Authenticator::new(AuthHmac::Off);
    assert_eq!(check(&mut off, &hex(DRAFT_V4)[..ADVERT], &bound(SOURCE), now, WALL), Ok(false));
}

#[test]
fn nothing_is_taken_twice_and_nothing_from_before() {
    let now = Instant::now();
    for anti_replay in [AntiReplay::Time, AntiReplay::Monotonic] {
        let policy = configured(AuthMode::Enforce, anti_replay);
        let mut sender = with_keys(policy.clone(), draft_key(1), vec![]);
        let mut receiver = with_keys(policy, draft_key(1), vec![]);
        let first = signed(&mut sender, &bound(SOURCE), WALL);
        let second = signed(&mut sender, &bound(SOURCE), WALL);
        let third = signed(&mut sender, &bound(SOURCE), WALL + Duration::from_millis(20));
        let mut take = |bytes: &[u8]| check(&mut receiver, bytes, &bound(SOURCE), now, WALL);
        assert_eq!(take(&first), Ok(true), "{anti_replay:?}");
        assert_eq!(take(&first), Err(Refusal::AuthExtReplay), "{anti_replay:?}");
        assert_eq!(take(&third), Ok(true), "{anti_replay:?}");
        assert_eq!(take(&second), Err(Refusal::AuthExtReplay), "{anti_replay:?}: overtaken");
        // What a forger has made moves no number.
        let mut forged = signed(&mut sender, &bound(SOURCE), WALL + Duration::from_secs(4));
        forged[30] ^= 1;
        assert_eq!(take(&forged), Err(Refusal::AuthExtInvalidHmac), "{anti_replay:?}");
        let fourth = signed(
            &mut with_keys(configured(AuthMode::Enforce, anti_replay), draft_key(1), vec![]),
            &bound(SOURCE),
            WALL + Duration::from_secs(1),
        );
        assert_eq!(take(&fourth), Ok(true), "{anti_replay:?}");
        let other = bound(IpAddr::from([198, 51, 100, 99]));
        let from_another = signed(&mut sender, &other, WALL);
        assert_eq!(
            check(&mut receiver, &from_another, &other, now, WALL),
            Ok(true),
            "a number for each sender"
        );
    }
}

#[test]
fn the_window_is_open_to_both_sides_and_wraps() {
    let now = Instant::now();
    let wrap = Duration::from_secs(1 << 32);
    for (clock, wall, expect) in [
        (WALL, WALL + Duration::from_secs(5), Ok(true)),
        (WALL, WALL + Duration::from_secs(6), Err(Refusal::AuthExtStale)),
        (WALL + Duration::from_secs(5), WALL, Ok(true)),
        (WALL + Duration::from_secs(6), WALL, Err(Refusal::AuthExtStale)),
        (wrap - Duration::from_secs(1), wrap + Duration::from_secs(1), Ok(true)),
        (wrap + Duration::from_secs(1), wrap - Duration::from_secs(1), Ok(true)),
    ] {
        let bytes = signed(&mut enforcing(), &bound(SOURCE), clock);
        assert_eq!(check(&mut enforcing(), &bytes, &bound(SOURCE), now, wall), expect, "{clock:?} {wall:?}");
    }
    let mut monotonic = with_keys(configured(AuthMode::Enforce, AntiReplay::Monotonic), draft_key(1), vec![]);
    let bytes = signed(&mut enforcing(), &bound(SOURCE), WALL);
    assert_eq!(check(&mut monotonic, &bytes, &bound(SOURCE), now, wrap / 2), Ok(true), "whatever the clock");
    // Over the wrap the numbers go on.
    let mut sender = enforcing();
    let mut receiver = enforcing();
    for clock in [wrap - Duration::from_millis(1), wrap, wrap + Duration::from_millis(1)] {
        let bytes = signed(&mut sender, &bound(SOURCE), clock);
        assert_eq!(check(&mut receiver, &bytes, &bound(SOURCE), now, clock), Ok(true), "{clock:?}");
    }
}

#[test]
fn a_clock_that_is_put_right_strands_nobody() {
    let now = Instant::now();
    let (fast, right) = (WALL + Duration::from_secs(3_600), WALL);
    let mut sender = enforcing();
    let mut receiver = enforcing();
    let bytes = signed(&mut sender, &bound(SOURCE), fast);
    assert_eq!(check(&mut receiver, &bytes, &bound(SOURCE), now, fast), Ok(true));
    let bytes = signed(&mut sender, &bound(SOURCE), right);
    assert_eq!(check(&mut receiver, &bytes, &bound(SOURCE), now, right), Ok(true));
    assert_eq!(check(&mut receiver, &bytes, &bound(SOURCE), now, right), Err(Refusal::AuthExtReplay));
    // Where the clocks do not matter, later is later.
    let monotonic = || with_keys(configured(AuthMode::Enforce, AntiReplay::Monotonic), draft_key(1), vec![]);
    let (mut sender, mut receiver) = (monotonic(), monotonic());
    for clock in [fast, right] {
        let bytes = signed(&mut sender, &bound(SOURCE), clock);
        assert_eq!(check(&mut receiver, &bytes, &bound(SOURCE), now, clock), Ok(true), "{clock:?}");
    }
    let restarted = signed(&mut monotonic(), &bound(SOURCE), right);
    assert_eq!(check(&mut receiver, &restarted, &bound(SOURCE), now, right), Err(Refusal::AuthExtReplay));
}

#[test]
fn at_no_step_of_a_rotation_is_an_advert_refused() {
    let other = || AuthKey::try_new(2, &[2; 32]).unwrap();
    let steps: [(AuthKey, Vec<AuthKey>); 4] = [
        (draft_key(1), vec![]),
        (draft_key(1), vec![other()]),
        (other(), vec![draft_key(1)]),
        (other(), vec![]),
    ];
    // Each node takes each step before or after the other one.
    for pair in steps.windows(2) {
        for (ours, theirs) in [(0, 1), (1, 0), (1, 1)] {
            let make = |step: usize| {
                let (first, others) = pair[step].clone();
                with_keys(configured(AuthMode::Enforce, AntiReplay::Time), first, others)
            };
            let bytes = signed(&mut make(ours), &bound(SOURCE), WALL);
            let got = check(&mut make(theirs), &bytes, &bound(SOURCE), Instant::now(), WALL);
            assert_eq!(got, Ok(true), "{ours} {theirs}");
        }
    }
}

#[test]
fn keys_are_read_as_keepalived_reads_them() {
    let digits = "00".repeat(32);
    for (text, expect) in [
        (format!("hex:{digits}\n"), Ok(())),
        (format!(" hex:{}", "aF".repeat(64)), Ok(())),
        ("a".repeat(32), Ok(())),
        (format!("{}\r\n", "a".repeat(64)), Ok(())),
        (String::new(), Err(AuthKeyFault::Length(0))),
        ("a".repeat(31), Err(AuthKeyFault::Length(31))),
        ("a".repeat(65), Err(AuthKeyFault::Length(65))),
        (format!("hex:{}", "00".repeat(31)), Err(AuthKeyFault::Length(31))),
        (format!("hex:{digits}0"), Err(AuthKeyFault::Digits)),
        (format!("hex:{digits}zz"), Err(AuthKeyFault::Digits)),
        (format!("hex:{digits}é"), Err(AuthKeyFault::Digits)),
    ] {
        assert_eq!(AuthKey::parse(1, text.as_bytes()).map(drop), expect, "{text}");
    }
    let secret = AuthKey::parse(1, "secret".repeat(6).as_bytes()).unwrap();
    let shown = format!("{:?} {:?}", secret, AuthKeys::new(secret.clone(), [secret.clone()]));
    assert!(!shown.contains("secret"), "{shown}");
}

/// Two nodes that have nothing configured but a link.
fn linked() -> Authenticator {
    with_keys(AuthHmac::Linked, draft_key(9), vec![])
}

#[test]
fn without_configured_keys_it_hangs_on_what_a_peer_has_shown() {
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let bytes = signed(&mut linked(), &bound(SOURCE), WALL);
    let plain = &bytes[..ADVERT];
    let missing = Err(Refusal::AuthExtMissing);
    let mut node = linked();
    let take = |node: &mut Authenticator, now| check(node, plain, &bound(SOURCE), now, WALL);
    assert_eq!((node.form(SOURCE, start), take(&mut node, start)), (Form::Plain, Ok(false)));

    node.peer_shows(SOURCE, start, false);
    assert_eq!((node.form(SOURCE, start), take(&mut node, start)), (Form::Signed, Ok(false)), "it reads");
    node.peer_shows(SOURCE, start, true);
    assert_eq!((node.form(SOURCE, at(2)), take(&mut node, at(2))), (Form::Signed, missing), "it signs");
    let stranger = IpAddr::from([198, 51, 100, 11]);
    assert_eq!(node.form(stranger, at(2)), Form::Plain, "another one has shown nothing");
    assert_eq!((node.form(SOURCE, at(3)), take(&mut node, at(3))), (Form::Both, Ok(false)), "it is silent");
    assert_eq!(node.form(SOURCE, at(29)), Form::Both);
    assert_eq!(node.form(SOURCE, at(30)), Form::Plain);
    assert_eq!(check(&mut node, &bytes, &bound(SOURCE), at(99), WALL), Ok(true), "read is what comes");

    type Change = fn(&mut Authenticator);
    type Expect = (Form, Result<bool, Refusal>);
    let changes: [(&str, Change, Expect); 7] = [
        // A stranger can end a connection: neither side stops demanding before the other one sends both.
        ("its link ends", |node| node.peer_is_unlinked(SOURCE), (Form::Both, missing)),
        ("it ends the link itself", |node| node.peer_is_excused(SOURCE), (Form::Signed, Ok(false))),
        ("it says goodbye", |node| node.peer_shows_nothing(SOURCE), (Form::Plain, Ok(false))),
        ("this node was out", Authenticator::handle_gap, (Form::Signed, Ok(false))),
        (
            "the link has other keys",
            |node| {
                node.set_keys(Some(Arc::new(AuthKeys::new(draft_key(8), []))));
            },
            (Form::Signed, Ok(false)),
        ),
        ("the link has no key", |node| node.set_keys(None), (Form::Plain, Ok(false))),
        ("it is switched off", |node| node.configure(AuthHmac::Off), (Form::Plain, Ok(false))),
    ];
    for (what, change, expect) in changes {
        let mut node = linked();
        node.peer_shows(SOURCE, start, true);
        change(&mut node);
        assert_eq!((node.form(SOURCE, at(1)), take(&mut node, at(1))), expect, "{what}");
    }
}

/// What is signed for a peer that nothing is demanded of protects that peer, and not yet this node.
#[test]
fn what_is_signed_and_what_is_demanded_is_told_apart() {
    let start = Instant::now();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let other = IpAddr::from([198, 51, 100, 11]);
    let mut node = linked();
    let nobody = "off: no peer has shown that it reads it";
    assert_eq!(node.describe(start), nobody);
    node.peer_shows(SOURCE, start, false);
    assert_eq!(node.describe(start), "signed for 198.51.100.10, not yet demanded");
    node.peer_shows(SOURCE, start, true);
    assert_eq!(node.describe(start), "with 198.51.100.10");
    node.peer_shows(other, at(1), false);
    assert_eq!(node.describe(at(2)), "with 198.51.100.10; signed for 198.51.100.11, not yet demanded");
    node.peer_shows(other, at(1), true);
    assert_eq!(node.describe(at(2)), "with 198.51.100.10, 198.51.100.11");
    node.handle_gap();
    assert_eq!(node.describe(at(2)), "signed for 198.51.100.10, 198.51.100.11, not yet demanded");
    assert_eq!(node.describe(at(4)), nobody);
}

#[test]
fn the_link_says_from_when_on_adverts_count() {
    let now = Instant::now();
    let mut sender = linked();
    let captured = signed(&mut sender, &bound(SOURCE), WALL);
    let later = signed(&mut sender, &bound(SOURCE), WALL + Duration::from_secs(2));
    // A receiver that has just started knows no number, but for its peer's word.
    let mut receiver = linked();
    receiver.void(SOURCE, Sequence::at(WALL + Duration::from_secs(1)));
    let mut take = |bytes: &[u8]| check(&mut receiver, bytes, &bound(SOURCE), now, WALL);
    assert_eq!(take(&captured), Err(Refusal::AuthExtReplay));
    assert_eq!(take(&later), Ok(true));
    receiver.void(SOURCE, Sequence::at(WALL));
    let got = check(&mut receiver, &later, &bound(SOURCE), now, WALL);
    assert_eq!(got, Err(Refusal::AuthExtReplay), "an older word takes nothing back");
    // Another process, whose clock was put back.
    let restarted = signed(&mut linked(), &bound(SOURCE), WALL);
    assert_eq!(check(&mut receiver, &restarted, &bound(SOURCE), now, WALL), Err(Refusal::AuthExtReplay));
    receiver.forget_number(SOURCE);
    assert_eq!(check(&mut receiver, &restarted, &bound(SOURCE), now, WALL), Ok(true));
}

#[test]
fn senders_do_not_fill_the_memory_and_the_oldest_goes_first() {
    let now = Instant::now();
    let mut receiver = enforcing();
    let source = |n: u32| IpAddr::from(Ipv4Addr::from_bits(n));
    let mut taken = Vec::new();
    for n in 0..100 {
        let bytes = signed(&mut enforcing(), &bound(source(n)), WALL + Duration::from_millis(n.into()));
        assert_eq!(check(&mut receiver, &bytes, &bound(source(n)), now, WALL), Ok(true));
        taken.push(bytes);
    }
    let again = check(&mut receiver, &taken[99], &bound(source(99)), now, WALL);
    assert_eq!(again, Err(Refusal::AuthExtReplay));
    let forgotten = check(&mut receiver, &taken[0], &bound(source(0)), now, WALL);
    assert_eq!(forgotten, Ok(true), "time alone keeps that one out");
}

proptest! {
    #[test]
    fn what_is_covered_is_uncovered(
        addresses in 1..5_usize, bytes in proptest::collection::vec(any::<u8>(), 100), sequence: u64,
    ) {
        let [source, destination] = ["fe80::10", "fe80::20"].map(|text| text.parse().unwrap());
        let advert = Advert {
            version: VrrpVersion::V3,
            vrid: Vrid::try_from(51).unwrap(),
            priority: bytes[99],
            interval: Centiseconds::try_from(100).unwrap(),
            addresses: bytes.as_chunks::<16>().0.iter().take(addresses).map(|a| IpAddr::from(*a)).collect(),
        };
        let advert = packet_v3::emit(&advert, ChecksumForm::PseudoHeader, source, destination);
        let mut trailer = [0; TRAILER];
        trailer[4..12].copy_from_slice(&sequence.to_be_bytes());
        trailer[12..].copy_from_slice(&bytes[..16]);
        let covered = [cover(&advert, &trailer).as_slice(), &trailer].concat();
        let (again, trailer) = split(&covered, VrrpVersion::V3, source);
        prop_assert_eq!(uncover(again, &trailer.unwrap()), advert);
    }

    #[test]
    fn any_bytes_are_judged_without_harm(
        bytes in proptest::collection::vec(any::<u8>(), 0..120), count in 0..4_u8, wall: u64, v2: bool, v6: bool,
    ) {
        let mut bytes = bytes;
        if let Some(at) = bytes.get_mut(3) { *at = count; }
        let version = if v2 { VrrpVersion::V2 } else { VrrpVersion::V3 };
        let source = if v6 { "fe80::1".parse().unwrap() } else { SOURCE };
        let bound = Bound { version, ..bound(source) };
        for policy in [configured(AuthMode::Enforce, AntiReplay::Time), AuthHmac::Linked, AuthHmac::Off] {
            let mut node = with_keys(policy, draft_key(1), vec![]);
            let got = check(&mut node, &bytes, &bound, Instant::now(), Duration::from_secs(wall));
            prop_assert_ne!(got, Ok(true));
        }
    }

    #[test]
    fn whatever_the_clock_does_numbers_grow(clocks in proptest::collection::vec(0..100_u64, 1..50)) {
        let mut sender = linked();
        let mut receiver = linked();
        for clock in clocks {
            let wall = WALL + Duration::from_millis(clock);
            // What it says over its link goes by the same clock.
            if clock % 3 == 0 {
                receiver.void(SOURCE, sender.void_before(wall));
            }
            let bytes = signed(&mut sender, &bound(SOURCE), wall);
            prop_assert_eq!(check(&mut receiver, &bytes, &bound(SOURCE), Instant::now(), WALL), Ok(true));
        }
    }
}
