//! What the kernel of a node lets in: everything while its process advertises, nothing once that is frozen.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use vipgate::link::VrrpState;

use crate::lan::{Lan, Namespace, mac, until};
use crate::node::Node;

/// For a handshake in this machine; a segment that is dropped is sent again after a second.
const HANDSHAKE: Duration = Duration::from_millis(500);
const ATTEMPTS: usize = 20;

fn accepts(from: &Namespace, lan: &Lan) -> bool {
    let address = (lan.vip(), lan.port).into();
    from.enter(|| TcpStream::connect_timeout(&address, HANDSHAKE).is_ok())
}

#[test]
fn a_frozen_node_accepts_nothing_once_its_gate_has_closed() {
    let Some(lan) = Lan::for_test("gate") else { return };
    // Adverts each second: no load makes this node late by its gate's 2.4 s. The lease ends long after the test.
    let peers = format!("peers: [{}, {}]", lan.address(11), lan.address(12));
    let node = Node::start(&lan, 11, &["priority: 200", "advert_interval: 1s", "lease: 60s", &peers]);
    node.becomes(VrrpState::Master);
    assert_eq!(node.report().unwrap().fence.gate, Some(Duration::from_millis(2400)));
    // A client that does not ask again.
    let (vip, mac) = (lan.vip(), mac(11));
    until("the node is reached", || accepts(&lan.bridge, &lan).then_some(()));
    lan.bridge.run(&format!("ip neigh replace {vip} lladdr {mac} dev br0 nud permanent"));
    let peer = lan.attach(12);
    peer.run(&format!("ip neigh replace {vip} lladdr {mac} dev eth0 nud permanent"));
    let knows = || node.namespace.run("nft list ruleset").contains("02:00:00:00:00:0c").then_some(());
    until("it knows its peer's MAC address", knows);

    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(5) {
        assert!(accepts(&lan.bridge, &lan), "a living node lost its gate");
    }

    node.freeze();
    until("the gate closes", || (!accepts(&lan.bridge, &lan)).then_some(()));
    let accepted = (0..ATTEMPTS).filter(|_| accepts(&lan.bridge, &lan)).count();
    assert_eq!(accepted, 0, "of {ATTEMPTS} handshakes");
    assert!(accepts(&peer, &lan), "in a handover the peer brings segments of this node's connections");
    assert!(accepts(&node.namespace, &lan), "the node itself");
    assert_eq!(node.holds(&lan).as_deref(), Some("lo"), "it was the gate, and not the lease");

    node.thaw();
    until("it is elected again", || accepts(&lan.bridge, &lan).then_some(()));
}
