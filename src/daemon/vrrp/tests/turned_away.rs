//! Who comes while a master is late for a moment waits for that moment, and not for his kernel's second. Who comes to a
//! node that has been replaced gets no word of it.

use std::io::ErrorKind;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::ipv6;
use super::network::{Node, VIP, eventually, run, unicast, with_bridge};
use crate::config::VrrpInstance;
use crate::link::VrrpState;

/// A kernel sends its SYN again after a second.
const IN_TIME: Duration = Duration::from_millis(800);
const LEASE: Duration = Duration::from_secs(60);

/// Once nothing opens the gate any more.
fn shuts(node: &Node, vip: IpAddr) {
    let set = ["nft", "list", "set", family(vip), "vipgate-51-gate", "open"];
    eventually("the gate is shut", || !node.namespace.run(&set).contains("elements"));
}

fn family(vip: IpAddr) -> &'static str {
    if vip.is_ipv4() { "ip" } else { "ip6" }
}

/// How many packets the gate has dropped.
fn turned_away(node: &Node, vip: IpAddr) -> u32 {
    let rules = node.namespace.run(&["nft", "list", "chain", family(vip), "vipgate-51-gate", "input"]);
    let count = rules.split("counter packets ").nth(1).and_then(|rest| rest.split(' ').next());
    count.unwrap().parse().unwrap()
}

/// Freezes it until somebody has come in vain; returns whether he was let in without another SYN of his. If it took so long
/// that the node has given the address up, he was not.
fn is_let_in(node: &mut Node, vip: IpAddr, listener: &TcpListener) -> bool {
    // Whoever has been there knows where the address is.
    eventually("somebody is let in", || TcpStream::connect((vip, 80)).is_ok());
    listener.accept().unwrap();
    let let_in = node.counter("let_in");
    node.freeze();
    shuts(node, vip);
    let before = turned_away(node, vip);
    let began = Instant::now();
    let client = thread::spawn(move || TcpStream::connect((vip, 80)).unwrap());
    eventually("he is turned away", || turned_away(node, vip) > before);
    node.thaw();
    let client = client.join().unwrap();
    let in_time = began.elapsed() < IN_TIME;
    let (_, from) = listener.accept().unwrap();
    let own = client.local_addr().unwrap();
    assert_eq!((from.ip().to_canonical(), from.port()), (own.ip(), own.port()), "it is he himself");
    in_time && node.counter("let_in") == let_in + 1
}

#[test]
fn who_comes_while_a_master_is_late_is_let_in_as_soon_as_it_is_back() {
    ipv6::with_ipv6_bridge("who_comes_while_a_master_is_late_is_let_in_as_soon_as_it_is_back", || {
        let is_let_in = |vip: IpAddr, mut node: Node| {
            node.becomes(VrrpState::Master);
            let listener = node.namespace.enter(|| TcpListener::bind("[::]:80").unwrap());
            eventually("he is let in", || is_let_in(&mut node, vip, &listener));
        };
        let v4 = Node::start(11, VrrpInstance { lease: LEASE, ..unicast(200, &[11, 12]) });
        is_let_in(VIP.parse().unwrap(), v4);
        let v6 =
            ipv6::start(11, VrrpInstance { lease: LEASE, ..ipv6::router(200, ipv6::unicast(&[11, 12])) });
        is_let_in(ipv6::VIP.parse().unwrap(), v6);
    });
}

#[test]
fn a_gate_that_does_not_change_is_left_alone() {
    with_bridge("a_gate_that_does_not_change_is_left_alone", || {
        let mut node = Node::start(11, unicast(200, &[11, 12]));
        node.becomes(VrrpState::Master);
        let handles = |node: &Node| {
            node.namespace.run(&["nft", "-a", "list", "chain", "ip", "vipgate-51-gate", "input"])
        };
        // The bound of the detector is known by then.
        let said = node.counter("advert_sent");
        eventually("some adverts", || node.counter("advert_sent") > said + 5);
        let before = handles(&node);
        assert!(before.contains("log group") && before.contains("# handle"), "{before}");
        // More than two looks at the kernel, at one each second.
        eventually("some more", || node.counter("advert_sent") > said + 18);
        assert_eq!(handles(&node), before);
    });
}

#[test]
fn who_came_to_a_node_that_was_replaced_is_not_let_in_there() {
    with_bridge("who_came_to_a_node_that_was_replaced_is_not_let_in_there", || {
        let with = |priority| VrrpInstance { preempt: false, lease: LEASE, ..unicast(priority, &[11, 12]) };
        let mut a = Node::start(11, with(200));
        a.becomes(VrrpState::Master);
        let mut b = Node::start(12, with(100));
        b.becomes(VrrpState::Backup);
        let listener = a.namespace.enter(|| TcpListener::bind("0.0.0.0:80").unwrap());
        listener.set_nonblocking(true).unwrap();
        a.freeze();
        b.becomes(VrrpState::Master);
        // One whose kernel does not hear of it.
        run(&["ip", "neigh", "replace", VIP, "lladdr", &a.mac(), "dev", "br0", "nud", "permanent"]);
        let vip: IpAddr = VIP.parse().unwrap();
        let before = turned_away(&a, vip);
        eventually("he is turned away", || {
            TcpStream::connect_timeout(&(vip, 80).into(), Duration::from_millis(100)).unwrap_err();
            turned_away(&a, vip) > before
        });
        a.thaw();
        a.becomes(VrrpState::Backup);
        b.kill();
        a.becomes(VrrpState::Master);
        let said = a.counter("advert_sent");
        eventually("some adverts", || a.counter("advert_sent") > said + 3);
        assert_eq!((a.counter("let_in"), a.counter("let_in_error")), (0, 0));
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}
