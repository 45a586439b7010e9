//! The link between two nodes: what it tells, and what strangers, other keys and a frozen peer make of it.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::sys::socket::{MsgFlags, recv};

use super::instance;
use super::network::{
    Namespace, Node, VIP, answering, config, eventually, goes_last, run, unicast, with_bridge,
};
use crate::config::{Config, VrrpInstance};
use crate::link::{LinkReport, PeerLinkState, ToVrrp, VrrpState};
use crate::net::{InterfaceName, Priority, Vrid};
use crate::os::netlink::Route;
use crate::os::packet;
use crate::peer::{Ends, HELLO, Keys, Message, Secret, greet};

const PORT: u16 = 9112;
const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 11));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 12));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 13));

/// A key file, gone when dropped.
pub(super) struct KeyFile(pub(super) PathBuf);

impl KeyFile {
    pub(super) fn new(name: &str, letters: &str) -> Self {
        let file = Self(std::env::temp_dir().join(format!("vipgate-link-{name}-{}", std::process::id())));
        file.write(letters);
        file
    }

    /// One key for each letter.
    pub(super) fn write(&self, letters: &str) {
        let keys: Vec<String> = letters.chars().map(|letter| letter.to_string().repeat(64)).collect();
        let other = self.0.with_extension("new");
        fs::write(&other, keys.join("\n")).unwrap();
        fs::rename(other, &self.0).unwrap();
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

fn keys(letter: &str) -> Keys {
    Keys::parse(letter.repeat(64).as_bytes()).unwrap()
}

fn start(last: u8, instance: VrrpInstance, key: &Path) -> Node {
    start_with(last, config(vec![instance]), key)
}

pub(super) fn start_with(last: u8, mut config: Config, key: &Path) -> Node {
    let namespace = Namespace::new();
    namespace.plug_in("eth0", IpAddr::V4(Ipv4Addr::new(10, 50, 0, last)));
    config.link.key_file = Some(key.to_owned());
    let mut node = Node::unconfigured("", namespace, config);
    node.commit();
    node
}

/// Master and backup, with their link up.
fn pair(key: &KeyFile) -> (Node, Node) {
    linked(start(11, unicast(200, &[11, 12]), &key.0), start(12, unicast(100, &[11, 12]), &key.0))
}

pub(super) fn linked(mut a: Node, mut b: Node) -> (Node, Node) {
    a.becomes(VrrpState::Master);
    b.becomes(VrrpState::Backup);
    for node in [&mut a, &mut b] {
        eventually("the link", || state(node) == Some(PeerLinkState::Up) && count(node, "link_up") > 0);
    }
    eventually("the master is heard", || b.counter("advert_received") > 0);
    (a, b)
}

pub(super) fn report(node: &mut Node) -> LinkReport {
    node.report().link
}

fn state(node: &mut Node) -> Option<PeerLinkState> {
    report(node).peers.first().map(|peer| peer.link)
}

pub(super) fn count(node: &mut Node, counter: &str) -> u64 {
    report(node).counters.iter().find(|(name, _)| name == counter).map_or(0, |(_, count)| *count)
}

fn transitions(node: &Node) -> usize {
    node.log().matches("to=").count()
}

#[test]
fn the_death_of_a_master_is_known_from_the_link() {
    with_bridge("the_death_of_a_master_is_known_from_the_link", || {
        let key = KeyFile::new("death", "k");
        for (what, takes_network) in [("the process", false), ("the container", true)] {
            let (a, mut b) = pair(&key);
            if takes_network {
                // Of a network that goes with its processes the last word is the end of the connection.
                let rule = "table ip gone { chain c { type filter hook input priority 0; \
                            tcp dport 9112 tcp flags & (syn|ack) == syn drop; }; }";
                a.namespace.run(&["nft", rule]);
            }
            a.kill();
            let reason = b.becomes(VrrpState::Master);
            assert!(reason.contains("the link to 10.50.0.11 has broken off"), "{what}: {reason}");
            assert_eq!(count(&mut b, "link_gone"), 1, "{what}");
            assert_eq!(answering(VIP), [b.mac()], "{what}");
        }
    });
}

#[test]
fn a_node_that_dies_and_comes_back_is_linked_again() {
    with_bridge("a_node_that_dies_and_comes_back_is_linked_again", || {
        let key = KeyFile::new("back", "k");
        let (a, mut b) = pair(&key);
        a.kill();
        b.becomes(VrrpState::Master);
        let mut a = a.restart();
        a.becomes(VrrpState::Master);
        b.becomes(VrrpState::Backup);
        for node in [&mut a, &mut b] {
            eventually("the link", || state(node) == Some(PeerLinkState::Up));
        }
        // One in the end, whoever has dialled.
        let established = || a.namespace.run(&["ss", "-Htn", "state", "established"]).lines().count();
        eventually("one connection", || established() == 1);
    });
}

#[test]
fn a_goodbye_is_no_death() {
    with_bridge("a_goodbye_is_no_death", || {
        let key = KeyFile::new("goodbye", "k");
        let (a, mut b) = pair(&key);
        drop(a.orphan());
        let reason = b.becomes(VrrpState::Master);
        assert!(reason.contains("has released it"), "{reason}");
        eventually("the link is down", || state(&mut b) == Some(PeerLinkState::Down));
        assert_eq!((count(&mut b, "link_lost"), count(&mut b, "link_gone")), (0, 0));
    });
}

#[test]
fn a_frozen_peer_is_shown_as_frozen_and_not_as_gone() {
    with_bridge("a_frozen_peer_is_shown_as_frozen_and_not_as_gone", || {
        let key = KeyFile::new("frozen", "k");
        let (mut a, mut b) = pair(&key);
        let says = |b: &mut Node| report(b).peers[0].routers.first().map(|router| router.state.clone());
        eventually("it says that it is master", || says(&mut b).as_deref() == Some("master"));
        a.freeze();
        let reason = b.becomes(VrrpState::Master);
        assert!(reason.contains("10.50.0.11 is silent") && reason.contains("does not answer"), "{reason}");
        eventually("it is shown", || state(&mut b) == Some(PeerLinkState::Frozen));
        let shown = report(&mut b).peers.remove(0);
        assert_eq!((shown.node.as_str(), shown.routers[0].state.as_str()), ("test", "master"));
        // The connection is lost as well, and the kernel of the frozen node takes another one.
        let lost = count(&mut b, "link_lost");
        b.namespace.run(&["ss", "-K", "dst", "10.50.0.11"]);
        eventually("it is dialled in vain", || count(&mut b, "link_lost") > lost);
        eventually("still frozen", || state(&mut b) == Some(PeerLinkState::Frozen));
        assert_eq!(count(&mut b, "link_gone"), 0);
        a.thaw();
        a.becomes(VrrpState::Master);
        eventually("it is back", || state(&mut b) == Some(PeerLinkState::Up));
    });
}

/// The reset that would follow this segment of the link, if it is one.
fn reset_after(frame: &[u8]) -> Option<Vec<u8>> {
    let (ethernet, ip, tcp) = (frame.get(..14)?, frame.get(14..34)?, frame.get(34..54)?);
    let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
    if ethernet[12..] != [8, 0] || ip[0] != 0x45 || ip[9] != 6 || (port(0) != PORT && port(2) != PORT) {
        return None;
    }
    let length = u32::from(u16::from_be_bytes([ip[2], ip[3]])) - 20 - u32::from(tcp[12] >> 4) * 4;
    let next = u32::from_be_bytes(tcp[4..8].try_into().ok()?).wrapping_add(length);
    let mut ip = ip.to_vec();
    ip[2..4].copy_from_slice(&40_u16.to_be_bytes());
    ip[10..12].fill(0);
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut reset = tcp.to_vec();
    reset[4..8].copy_from_slice(&next.to_be_bytes());
    reset[12..14].copy_from_slice(&[0x50, 0x14]);
    reset[16..18].fill(0);
    let sum = checksum(&[&ip[12..20], &[0, 6, 0, 20], &reset].concat());
    reset[16..18].copy_from_slice(&sum.to_be_bytes());
    Some([ethernet, &ip, &reset].concat())
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[test]
fn a_reset_by_a_stranger_moves_nothing() {
    with_bridge("a_reset_by_a_stranger_moves_nothing", || {
        let key = KeyFile::new("reset", "k");
        let (mut a, mut b) = pair(&key);
        let before = [transitions(&a), transitions(&b)];
        // The third party on the bridge sees what the two say, and speaks in the name of either.
        run(&["ip", "link", "set", "br0", "promisc", "on"]);
        let bridge = Route::open().unwrap().links().unwrap().into_iter().find(|l| l.name.as_str() == "br0");
        let tap = packet::tap(bridge.unwrap().index).unwrap();
        for round in 1..=5 {
            let mut buffer = [0; 2048];
            eventually("the link is reset", || {
                let length = recv(tap.as_raw_fd(), &mut buffer, MsgFlags::empty()).unwrap_or_default();
                if let Some(reset) = reset_after(&buffer[..length]) {
                    tap.send(&reset).unwrap();
                }
                count(&mut a, "link_lost") + count(&mut b, "link_lost") >= round
            });
            for node in [&mut a, &mut b] {
                eventually("the link is back", || state(node) == Some(PeerLinkState::Up));
            }
        }
        assert_eq!((count(&mut a, "link_gone"), count(&mut b, "link_gone")), (0, 0));
        assert_eq!([transitions(&a), transitions(&b)], before, "{}", b.log());
        assert_eq!(answering(VIP), [a.mac()]);
    });
}

#[test]
fn who_has_no_key_is_refused_and_counted() {
    with_bridge("who_has_no_key_is_refused_and_counted", || {
        let key = KeyFile::new("refused", "k");
        let mut node = start(11, unicast(100, &[11, 12]), &key.0);
        node.becomes(VrrpState::Master);
        eventually("it listens", || report(&mut node).port == Some(PORT));
        let (peer, stranger) = (Namespace::new(), Namespace::new());
        peer.plug_in("eth0", B);
        stranger.plug_in("eth0", STRANGER);
        let connect = |namespace: &Namespace| namespace.enter(|| TcpStream::connect((A, PORT)).unwrap());
        eventually("a listener", || peer.enter(|| TcpStream::connect((A, PORT)).is_ok()));

        let ends = Ends { dialler: B, listener: A };
        let (sound, other) = (keys("k"), keys("o"));
        let secret = |n| Secret { keys: &sound, node: [9; 16], nonce: [n; 32] };
        let (question, _) = greet(&secret(1), ends).unwrap();
        let (forged, _) = greet(&Secret { keys: &other, ..secret(2) }, ends).unwrap();
        let (elsewhere, _) = greet(&secret(3), Ends { listener: STRANGER, ..ends }).unwrap();
        // A whole connection, whose bytes are repeated on another one.
        let (asked, opening) = greet(&secret(4), ends).unwrap();
        let mut linked = connect(&peer);
        linked.write_all(&asked).unwrap();
        let mut answer = [0; HELLO];
        linked.read_exact(&mut answer).unwrap();
        let mut session = opening.finish(&secret(4), &answer).unwrap().session;
        let (kind, payload) = Message::Ask { id: 1 }.emit();
        let frame = session.sealer.seal(kind, &payload).unwrap();
        linked.write_all(&frame).unwrap();
        eventually("the peer is linked", || count(&mut node, "link_up") == 1);

        for (counter, from, bytes) in [
            ("link_drop_sender", &stranger, question.to_vec()),
            ("link_drop_greeting", &peer, vec![b'x'; HELLO]),
            ("link_drop_key", &peer, forged.to_vec()),
            ("link_drop_key", &peer, elsewhere.to_vec()),
            ("link_drop_truncated", &peer, question[..50].to_vec()),
            ("link_drop_length", &peer, [&question[..], &[0xff; 200]].concat()),
            ("link_drop_forged", &peer, [&question[..], &frame].concat()),
            ("link_drop_forged", &peer, [&asked[..], &frame].concat()),
            ("link_drop_late", &peer, vec![]),
        ] {
            let before = count(&mut node, counter);
            let mut stream = connect(from);
            drop(stream.write_all(&bytes));
            if counter == "link_drop_truncated" {
                stream.shutdown(std::net::Shutdown::Write).unwrap();
            }
            eventually(counter, || count(&mut node, counter) > before);
            // It hangs up, without a word or after its greeting.
            let mut said = vec![];
            drop(stream.read_to_end(&mut said));
            assert!(said.is_empty() || said.len() == HELLO, "{counter}");
        }
        let moved = (count(&mut node, "link_up"), count(&mut node, "link_lost"));
        assert_eq!(moved, (1, 0), "they moved nothing");

        // Whoever has the key is held to the order as well.
        linked.write_all(&frame).unwrap();
        eventually("replayed", || count(&mut node, "link_drop_replayed") == 1);
        let report = node.report();
        assert_eq!(report.instances[0].state, VrrpState::Master);
        assert_eq!(answering(VIP), [node.mac()]);
    });
}

#[test]
fn with_another_key_everything_works_at_the_speed_of_timers() {
    with_bridge("with_another_key_everything_works_at_the_speed_of_timers", || {
        let (one, other) = (KeyFile::new("one", "k"), KeyFile::new("other", "o"));
        let mut a = start(11, unicast(200, &[11, 12]), &one.0);
        let mut b = start(12, unicast(100, &[11, 12]), &other.0);
        a.becomes(VrrpState::Master);
        b.becomes(VrrpState::Backup);
        eventually("it is said", || count(&mut a, "link_drop_key") + count(&mut b, "link_drop_key") > 0);
        eventually("it is shown", || state(&mut b) == Some(PeerLinkState::Down));
        let shown = report(&mut b).peers.remove(0).reason;
        assert!(shown.contains("key"), "{shown}");
        assert_eq!(count(&mut b, "link_up"), 0);
        a.kill();
        let reason = b.becomes(VrrpState::Master);
        assert!(reason.contains("10.50.0.11 is silent"), "{reason}");
    });
}

#[test]
fn keys_are_changed_while_the_link_is_up() {
    with_bridge("keys_are_changed_while_the_link_is_up", || {
        let (one, other) = (KeyFile::new("change-a", "k"), KeyFile::new("change-b", "k"));
        let (mut a, mut b) =
            linked(start(11, unicast(200, &[11, 12]), &one.0), start(12, unicast(100, &[11, 12]), &other.0));
        let before = [transitions(&a), transitions(&b)];
        // Node by node: accepted by both, then signed with by both, then alone.
        let changed =
            |node: &Node| node.log().matches("the keys of the link to the peers have changed").count();
        for (round, letters) in ["kn", "nk", "n"].iter().enumerate() {
            for (file, node) in [(&one, &a), (&other, &b)] {
                file.write(letters);
                eventually("it is read", || changed(node) == round + 1);
            }
        }
        for node in [&mut a, &mut b] {
            eventually("a link under the new key", || count(node, "link_up") > 1);
            eventually("it is up", || state(node) == Some(PeerLinkState::Up));
            assert_eq!((count(node, "link_drop_key"), count(node, "link_gone")), (0, 0));
        }
        assert_eq!([transitions(&a), transitions(&b)], before);

        // What cannot be used changes nothing.
        fs::write(&one.0, "short").unwrap();
        eventually("it is said", || a.report().warnings.iter().any(|w| w.contains("key 1 has 5 bytes")));
        assert_eq!(state(&mut a), Some(PeerLinkState::Up));
        fs::remove_file(&one.0).unwrap();
        eventually("it is off", || report(&mut a).off.is_some_and(|off| off.contains("there is no")));
        eventually("and nobody is linked", || state(&mut b) == Some(PeerLinkState::Down));
        one.write("n");
        eventually("it is on", || state(&mut a) == Some(PeerLinkState::Up));
        assert_eq!([transitions(&a), transitions(&b)], before, "{}", b.log());
    });
}

#[test]
fn without_a_key_the_link_is_off_and_says_so() {
    with_bridge("without_a_key_the_link_is_off_and_says_so", || {
        let mut node = Node::start(11, unicast(100, &[11, 12]));
        node.becomes(VrrpState::Master);
        let LinkReport { port, off, peers, .. } = report(&mut node);
        assert_eq!((port, peers), (None, vec![]));
        assert_eq!(off.unwrap(), "it has no key: neither link.key_file nor VIPGATE_LINK_KEY is set");
        assert_eq!(node.namespace.run(&["ss", "-Hltn"]), "", "nothing listens");
    });
}

#[test]
fn another_configuration_is_shown_on_both_nodes_and_obeyed_by_none() {
    with_bridge("another_configuration_is_shown_on_both_nodes_and_obeyed_by_none", || {
        let key = KeyFile::new("drift", "k");
        let (mut a, mut b) = pair(&key);
        let tell = |node: &Node, digest: &str| node.tell(&ToVrrp::Origin { digest: digest.to_owned() });
        let differs = |node: &mut Node| report(node).peers[0].other_config;
        tell(&a, "1");
        tell(&b, "2");
        for node in [&mut a, &mut b] {
            eventually("it is shown", || differs(node));
        }
        for node in [&mut a, &mut b] {
            eventually("it is warned of", || {
                node.report().warnings.iter().any(|w| w.contains("another configuration than this node's"))
            });
        }
        tell(&b, "1");
        for node in [&mut a, &mut b] {
            eventually("it is over", || !differs(node) && node.report().warnings.is_empty());
        }
        tell(&b, "3");
        eventually("it is shown again", || differs(&mut a));
        let _network = b.orphan();
        eventually("of one that has left nothing is known", || !differs(&mut a));
    });
}

#[test]
fn those_of_a_group_are_linked_once_they_are_heard() {
    with_bridge("those_of_a_group_are_linked_once_they_are_heard", || {
        let key = KeyFile::new("group", "k");
        let multicast = |priority| VrrpInstance {
            priority: Priority::try_from(priority).unwrap(),
            ..instance(&format!("{VIP}/24"))
        };
        let (a, mut b) = linked(start(11, multicast(200), &key.0), start(12, multicast(100), &key.0));
        a.kill();
        let reason = b.becomes(VrrpState::Master);
        assert!(reason.contains("the link to 10.50.0.11 has broken off"), "{reason}");
    });
}

pub(super) fn second(priority: u8) -> VrrpInstance {
    VrrpInstance {
        name: "VI_2".to_owned(),
        vrid: Vrid::try_from(52).unwrap(),
        virtual_addresses: vec!["10.50.0.98/24".parse().unwrap()],
        ..unicast(priority, &[11, 12])
    }
}

#[test]
fn a_virtual_router_that_is_younger_than_the_link_asks_over_it() {
    with_bridge("a_virtual_router_that_is_younger_than_the_link_asks_over_it", || {
        let key = KeyFile::new("younger", "k");
        let (mut a, mut b) = pair(&key);
        let play = |node: &mut Node, priority| {
            node.config.vrrp.push(second(priority));
            node.commit();
        };
        play(&mut a, 200);
        eventually("it is master", || a.report().instances[1].state == VrrpState::Master);
        play(&mut b, 100);
        eventually("it has a master", || b.report().instances[1].master == Some((A, 200)));
        eventually("it is told of", || report(&mut b).peers[0].routers.len() == 2);
        a.freeze();
        for _ in 0..2 {
            let reason = b.becomes(VrrpState::Master);
            assert!(reason.contains("does not answer"), "{reason}");
        }
        a.thaw();
    });
}

/// Of two that hold one address each, one is in fault for the other's, which decides as long as that is not known.
#[test]
fn a_fault_that_a_peer_tells_of_counts_at_an_edit() {
    with_bridge("a_fault_that_a_peer_tells_of_counts_at_an_edit", || {
        let key = KeyFile::new("fault", "k");
        let nowhere = InterfaceName::try_from("eth9".to_owned()).unwrap();
        let faulty = VrrpInstance { interface: Some(nowhere), ..unicast(100, &[11, 12]) };
        let mut b = start_with(11, config(vec![faulty, second(200)]), &key.0);
        b.becomes(VrrpState::Master);
        let mut a = start_with(12, config(vec![unicast(200, &[11, 12]), second(100)]), &key.0);
        a.becomes(VrrpState::Master);
        eventually("one of the two goes last", || (goes_last(&mut a), goes_last(&mut b)) == (false, true));
        assert_eq!(a.report().instances.remove(0).state, VrrpState::Master);
    });
}
