//! Signed adverts: who sends them to whom, who demands them, and what a forger, an older vipgate and keepalived make of it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::forge;
use super::keepalived::{self, Keepalived};
use super::link::{KeyFile, linked, start_with};
use super::network::{Node, VIP, answering, config, eventually, unicast, with_bridge};
use crate::config::{AntiReplay, AuthHmac, AuthHmacKey, AuthHmacKeys, AuthMode, Transport, VrrpInstance};
use crate::link::VrrpState;
use crate::vrrp::TRAILER;

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 11));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 12));

/// A file with a key of `auth_hmac`.
struct AdvertKey(PathBuf);

impl AdvertKey {
    fn new(name: &str, letter: &str) -> Self {
        let file = std::env::temp_dir().join(format!("vipgate-auth-{name}-{}", std::process::id()));
        fs::write(&file, letter.repeat(32)).unwrap();
        Self(file)
    }
}

impl Drop for AdvertKey {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

/// The first one signs.
fn with_keys(instance: VrrpInstance, mode: AuthMode, keys: &[(u8, &AdvertKey)]) -> VrrpInstance {
    let keys = keys.iter().map(|(id, key)| AuthHmacKey { id: *id, file: key.0.clone() }).collect();
    let policy = AuthHmacKeys { keys, anti_replay: AntiReplay::Time, time_window: 5, mode };
    VrrpInstance { auth_hmac: AuthHmac::Keys(policy), ..instance }
}

fn drops(node: &mut Node) -> Vec<(String, u64)> {
    let counters = node.report().instances.remove(0).counters;
    counters.into_iter().filter(|(name, _)| name.starts_with("drop_")).collect()
}

fn advances(node: &mut Node, counter: &str) {
    let before = node.counter(counter);
    eventually(counter, || node.counter(counter) > before + 5);
}

#[test]
fn two_with_a_link_sign_their_adverts_and_take_no_others() {
    with_bridge("two_with_a_link_sign_their_adverts_and_take_no_others", || {
        let key = KeyFile::new("auth", "k");
        let start = |last, priority| start_with(last, config(vec![unicast(priority, &[11, 12])]), &key.0);
        let (mut a, mut b) = linked(start(11, 200), start(12, 100));
        advances(&mut b, "advert_authentic");
        for node in [&mut a, &mut b] {
            eventually("it is shown", || node.report().instances[0].auth_hmac.starts_with("with 10.50.0.1"));
            assert_eq!(drops(node), []);
        }
        for counter in ["link_sent", "link_received"] {
            assert!(super::link::count(&mut a, counter) > 2, "{counter}");
        }
        // A backup's silence does not make room for a forger either.
        for (behind, counter) in [
            (&[][..], "drop_auth_ext_missing"),
            (&[0; TRAILER], "drop_auth_ext_malformed"),
            (&[1; 27], "drop_length"),
        ] {
            let before = a.counter(counter);
            // From the peer's own address, as somebody beside it could.
            forge::send(&b.namespace, 255, A, &[forge::advert(B, A).as_slice(), behind].concat());
            eventually(counter, || a.counter(counter) == before + 1);
        }
        eventually("a warning", || {
            a.report().warnings.iter().any(|w| w.contains("adverts from 10.50.0.12 are dropped"))
        });
        assert_eq!(a.report().instances[0].state, VrrpState::Master);

        // A link that breaks and comes back, a freeze, a death: nothing is refused for its signature.
        let reset = "table ip broken { chain c { type filter hook input priority 0; tcp dport 9112 reject with tcp reset; \
                     tcp sport 9112 reject with tcp reset; }; }";
        a.namespace.run(&["nft", reset]);
        eventually("it is lost", || super::link::count(&mut b, "link_lost") > 0);
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(5) {
            advances(&mut b, "advert_received");
        }
        assert_eq!(b.report().instances[0].auth_hmac, "off: no peer has shown that it reads it");
        assert_eq!(b.report().instances[0].state, VrrpState::Backup);
        a.namespace.run(&["nft", "delete", "table", "ip", "broken"]);
        eventually("it is back", || b.report().instances[0].auth_hmac == "with 10.50.0.11");
        assert_eq!(b.log().matches("to=Master").count(), 0, "{}", b.log());
        a.kill();
        b.becomes(VrrpState::Master);
        let mut a = a.restart();
        a.becomes(VrrpState::Master);
        b.becomes(VrrpState::Backup);
        advances(&mut b, "advert_authentic");
        assert_eq!(answering(VIP), [a.mac()]);
        let wrong =
            |(name, _): &(String, u64)| name.starts_with("drop_auth") && name != "drop_auth_ext_missing";
        assert_eq!(drops(&mut b).into_iter().filter(wrong).collect::<Vec<_>>(), []);
    });
}

#[test]
fn another_key_of_the_link_makes_no_second_master() {
    with_bridge("another_key_of_the_link_makes_no_second_master", || {
        let keys = [KeyFile::new("auth-a", "k"), KeyFile::new("auth-b", "k")];
        let start = |last, priority, key: &KeyFile| {
            start_with(last, config(vec![unicast(priority, &[11, 12])]), &key.0)
        };
        let (mut a, mut b) = linked(start(11, 200, &keys[0]), start(12, 100, &keys[1]));
        let signed = "with 10.50.0.11";
        // In the order of the manual, then at once, on one node after the other.
        for letters in ["kn", "nk", "n", "x"] {
            for key in &keys {
                eventually("signed", || b.report().instances[0].auth_hmac == signed || letters == "x");
                key.write(letters);
                let since = Instant::now();
                while since.elapsed() < Duration::from_secs(if letters == "x" { 5 } else { 2 }) {
                    advances(&mut b, "advert_received");
                }
            }
        }
        eventually("signed", || b.report().instances[0].auth_hmac == signed);
        advances(&mut b, "advert_authentic");
        assert_eq!(b.log().matches("to=Master").count(), 0, "{}", b.log());
        assert_eq!(a.report().instances[0].state, VrrpState::Master);
    });
}

#[test]
fn beside_one_that_knows_nothing_of_it_adverts_are_plain() {
    with_bridge("beside_one_that_knows_nothing_of_it_adverts_are_plain", || {
        // What says nothing of it over the link is what an older version says.
        let key = KeyFile::new("older", "k");
        let older = |priority| VrrpInstance { auth_hmac: AuthHmac::Off, ..unicast(priority, &[11, 12]) };
        let start = |last, instance| start_with(last, config(vec![instance]), &key.0);
        let (mut a, mut b) = linked(start(11, unicast(200, &[11, 12])), start(12, older(100)));
        advances(&mut b, "advert_received");
        assert_eq!(a.report().instances[0].auth_hmac, "off: no peer has shown that it reads it");
        b.config.vrrp = vec![unicast(100, &[11, 12])];
        b.commit();
        advances(&mut b, "advert_authentic");
        // And back, as after a rollback.
        b.config.vrrp = vec![older(100)];
        b.commit();
        eventually("plain again", || {
            a.report().instances[0].auth_hmac == "off: no peer has shown that it reads it"
        });
        advances(&mut b, "advert_received");
        assert_eq!(b.log().matches("to=Master").count(), 0, "{}", b.log());
        for node in [&mut a, &mut b] {
            let wrong = |(name, _): &(String, u64)| name.starts_with("drop_auth");
            assert_eq!(drops(node).into_iter().filter(wrong).collect::<Vec<_>>(), []);
        }
    });
}

#[test]
fn configured_keys_are_rolled_out_and_rotated_without_a_refusal() {
    with_bridge("configured_keys_are_rolled_out_and_rotated_without_a_refusal", || {
        let (one, two) = (AdvertKey::new("one", "1"), AdvertKey::new("two", "2"));
        for multicast in [false, true] {
            let plain = |priority| {
                let instance = unicast(priority, &[11, 12]);
                let transport = if multicast { Transport::Multicast } else { instance.transport.clone() };
                VrrpInstance { transport, auth_hmac: AuthHmac::Off, ..instance }
            };
            let (mut a, mut b) = (Node::start(11, plain(200)), Node::start(12, plain(100)));
            a.becomes(VrrpState::Master);
            b.becomes(VrrpState::Backup);
            let steps: [(AuthMode, &[(u8, &AdvertKey)]); 6] = [
                (AuthMode::ReceiveOnly, &[(1, &one)]),
                (AuthMode::Permissive, &[(1, &one)]),
                (AuthMode::Enforce, &[(1, &one)]),
                (AuthMode::Enforce, &[(1, &one), (2, &two)]),
                (AuthMode::Enforce, &[(2, &two), (1, &one)]),
                (AuthMode::Enforce, &[(2, &two)]),
            ];
            for (step, (mode, keys)) in steps.into_iter().enumerate() {
                for (node, priority) in [(&mut b, 100), (&mut a, 200)] {
                    node.config.vrrp = vec![with_keys(plain(priority), mode, keys)];
                    node.commit();
                    // Keys are read beside the event loop.
                    let shown = format!("{mode}, key {}", keys[0].0);
                    eventually("keys", || node.report().instances[0].auth_hmac == shown);
                }
                let counter = if step == 0 { "advert_received" } else { "advert_authentic" };
                advances(&mut b, counter);
            }
            assert_eq!((drops(&mut a), drops(&mut b)), (vec![], vec![]), "{multicast}");
        }
    });
}

#[test]
fn keepalived_before_2_4_reads_what_it_is_sent_by_default() {
    if keepalived::is_missing() {
        return;
    }
    with_bridge("keepalived_before_2_4_reads_what_it_is_sent_by_default", || {
        let key = KeyFile::new("beside", "k");
        let lines = "version 3\n advert_int 0.2\n unicast_src_ip 10.50.0.12\n unicast_peer { 10.50.0.11 }\n";
        let keepalived = Keepalived::start("auth hmac", lines);
        let mut a = start_with(11, config(vec![unicast(200, &[11, 12])]), &key.0);
        a.becomes(VrrpState::Master);
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(3) {
            advances(&mut a, "advert_sent");
            assert!(!keepalived.holds_the_address());
        }
        assert_eq!(drops(&mut a), []);
        // Why the default is what it is: with a trailer it would be master as well.
        let own = AdvertKey::new("keepalived", "1");
        a.config.vrrp = vec![with_keys(unicast(200, &[11, 12]), AuthMode::Permissive, &[(1, &own)])];
        a.commit();
        eventually("it takes no advert", || keepalived.holds_the_address());
        assert!(keepalived.log().contains("packet"), "{}", keepalived.log());
    });
}
