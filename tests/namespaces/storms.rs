//! More ARP than a network should have: the nodes add little to it.

use std::time::Duration;

use vipgate::link::VrrpState;

use crate::capture::{Capture, Frame};
use crate::lan::{Lan, mac, until};
use crate::node::Node;

/// Broadcast frames of one node in any second.
const BOUND: usize = 20;

/// The most broadcast frames from one MAC address in any second.
fn peak(frames: &[Frame], mac: &str) -> usize {
    let times: Vec<_> = frames.iter().filter(|f| f.from == mac && f.is_broadcast()).map(|f| f.at).collect();
    let until = |end: usize| times[..=end].iter().filter(|at| times[end] - **at < 1.0).count();
    (0..times.len()).map(until).max().unwrap_or_default()
}

#[test]
fn neither_a_flood_of_questions_nor_a_claim_makes_a_storm() {
    let Some(lan) = Lan::for_test("floods") else { return };
    let capture = Capture::start(&lan);
    let begin = capture.mark();
    let peers = format!("peers: [{}, {}]", lan.address(11), lan.address(12));
    let master = Node::start(&lan, 11, &["priority: 200", &peers]);
    master.becomes(VrrpState::Master);
    let backup = Node::start(&lan, 12, &["priority: 100", &peers]);
    backup.becomes(VrrpState::Backup);
    let stranger = lan.attach(13);
    let nodes = [master.mac(), backup.mac()];
    let adverts = |what: &str, mark, count| {
        capture.wait(what, mark, count, |f| f.from == nodes[0] && f.priority() == Some(200));
    };

    capture.announced(begin, &nodes[0]);
    let start = capture.mark();
    let flood = lan.ask(Duration::from_micros(200));
    adverts("adverts in a flood of questions", start, 30);
    capture.wait("answers", start, 100, |f| f.from == nodes[0] && f.answers(lan.vip()));
    drop(flood);
    let frames = capture.since(start);
    let peaks = nodes.each_ref().map(|node| peak(&frames, node));
    let claims: Vec<_> = frames.iter().filter(|f| f.is_broadcast() && f.claims(lan.vip())).collect();
    assert!(claims.is_empty() && peaks.iter().all(|peak| *peak <= BOUND), "{peaks:?} {claims:?}");

    let start = capture.mark();
    let flood = lan.claim(&stranger, 13, Duration::from_millis(1));
    adverts("adverts in a flood of claims", start, 50);
    capture.wait("a defence", start, 2, |f| f.from == nodes[0] && f.is_broadcast() && f.claims(lan.vip()));
    drop(flood);
    let peaks = nodes.each_ref().map(|node| peak(&capture.since(start), node));
    println!("broadcasts a second under claims: {peaks:?}");
    assert!(peaks[0] <= BOUND && peaks[1] == 0, "{peaks:?}");
    assert_eq!(master.report().unwrap().state, VrrpState::Master);
    assert_eq!(backup.report().unwrap().state, VrrpState::Backup);
}

/// As many masters as nodes: two that know of each other and could not hear each other, and two that are strangers.
#[test]
fn two_nodes_that_both_claim_the_address_make_no_storm() {
    let Some(lan) = Lan::for_test("two claims") else { return };
    let peers = format!("peers: [{}, {}]", lan.address(11), lan.address(12));
    for (what, vrid, peers, masters) in [
        ("a split that heals", lan.vrid, Some(peers.as_str()), 1),
        ("two virtual routers with one address", lan.vrid % 255 + 1, None, 2),
    ] {
        let capture = Capture::start(&lan);
        let lines = |priority| [Some(priority), peers].into_iter().flatten().collect::<Vec<&str>>();
        let first = Node::start(&lan, 11, &lines("priority: 200"));
        first.becomes(VrrpState::Master);
        let namespace = lan.attach(12);
        lan.bridge.run("ip link set port12 nomaster");
        let second = Node::start_in(&lan, namespace, 12, vrid, &lines("priority: 100"));
        second.becomes(VrrpState::Master);
        let healed = capture.mark();
        lan.bridge.run("ip link set port12 master br0");
        // Each must have heard the other.
        let _asking = lan.ask(Duration::from_millis(20));
        let is_master = |node: &Node| node.report().is_some_and(|r| r.state == VrrpState::Master);
        until("as many masters as there should be", || {
            let frames = capture.since(healed);
            let over = frames.last().is_some_and(|f| f.at - healed.at > 4.0);
            let count = usize::from(is_master(&first)) + usize::from(is_master(&second));
            (over && count == masters).then_some(())
        });
        let frames = capture.since(healed);
        let peaks = [11, 12].map(|last| peak(&frames, &mac(last)));
        println!("{what}: broadcasts a second: {peaks:?}");
        assert!(peaks.iter().all(|peak| *peak <= BOUND), "{what}: {peaks:?}");
        assert!(peaks[0] > 0, "{what}: nobody has noticed");
        assert!(is_master(&first), "{what}");
    }
}
