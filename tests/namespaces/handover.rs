//! Planned moves: the address is with a peer before the old node lets go of it, and no connection notices.

use std::time::{Duration, Instant};

use vipgate::link::{HandoverReport, VrrpState};

use crate::capture::Capture;
use crate::lan::{Lan, until};
use crate::node::Node;
use crate::probe::{Probe, nothing_was_lost};

/// A busy machine must not make a node miss its own takeover bound: that costs requests, and is another test's.
const SLOW: &str = "advert_interval: 300ms";

#[test]
fn a_node_that_is_told_to_go_hands_over() {
    let Some(lan) = Lan::for_test("handover") else { return };
    let capture = Capture::start(&lan);
    let peers = format!("peers: [{}, {}]", lan.address(11), lan.address(12));
    let mut old = Node::start(&lan, 11, &["priority: 200", &peers]);
    old.becomes(VrrpState::Master);
    let new = Node::start(&lan, 12, &["priority: 100", &peers]);
    new.becomes(VrrpState::Backup);
    let _asking = lan.ask(Duration::from_millis(5));
    let told = capture.mark();
    old.terminate();
    assert_eq!(old.exits().code(), Some(0), "{}", old.log());
    let gone = capture.mark();
    let vip = lan.vip();
    capture.wait("the new one answers", gone, 20, |f| f.from == new.mac() && f.answers(vip));

    let frames = capture.since(told);
    let advert = |mac: &str, is: &dyn Fn(u8) -> bool| {
        frames.iter().position(|f| f.from == mac && f.priority().is_some_and(is))
    };
    let released = advert(&old.mac(), &|priority| priority == 0).expect("an advert of priority 0");
    let taken = advert(&new.mac(), &|priority| priority == 100).expect("the peer's advert");
    assert!(released < taken, "{:?} before {:?}", frames[taken], frames[released]);
    let resumed =
        frames[released..].iter().find(|f| f.from == old.mac() && f.priority().is_some_and(|p| p > 0));
    assert!(resumed.is_none(), "{resumed:?}");

    // Somebody has answered all the time, and the old one has not since it was gone.
    let answers: Vec<_> = frames.iter().filter(|f| f.answers(vip)).collect();
    let last = answers.iter().rposition(|f| f.from == old.mac()).unwrap_or_default();
    let first = answers.iter().position(|f| f.from == new.mac()).unwrap_or_default();
    println!("answers: {last} by the old one, then {} by the new one", answers.len() - first);
    let stray: Vec<_> = capture.since(gone).into_iter().filter(|f| f.from == old.mac()).collect();
    assert!(stray.is_empty(), "{stray:?}");
    assert_eq!((old.holds(&lan), new.holds(&lan).as_deref()), (None, Some("lo")));
}

#[test]
fn a_stop_and_a_better_node_that_comes_back_cost_no_request() {
    let Some(lan) = Lan::for_test("no_request") else { return };
    let peers = format!("peers: [{}, {}]", lan.address(11), lan.address(12));
    let mut better = Node::start(&lan, 11, &["priority: 200", SLOW, &peers]);
    better.becomes(VrrpState::Master);
    let other = Node::start(&lan, 12, &["priority: 100", SLOW, &peers]);
    other.becomes(VrrpState::Backup);
    let probe = Probe::start(&lan);
    probe.answered_by("node11", 50);
    let told = Instant::now();
    better.terminate();
    assert_eq!(better.exits().code(), Some(0), "{}", better.log());
    println!("stopped within {:?}", told.elapsed());
    probe.answered_by("node12", 100);
    nothing_was_lost("stop", &probe.stop());

    drop(better);
    let probe = Probe::start(&lan);
    probe.answered_by("node12", 20);
    let better = Node::start(&lan, 11, &["priority: 200", SLOW, &peers]);
    probe.answered_by("node11", 100);
    nothing_was_lost("preemption", &probe.stop());
    until("nothing of the other one's is left", || {
        let empty =
            other.report()?.handover == HandoverReport { relays: true, relays_to: None, lingers: false };
        (empty && other.holds(&lan).is_none()).then_some(())
    });
    assert_eq!(better.holds(&lan).as_deref(), Some("lo"));
}

#[test]
fn a_failover_and_a_drain_cost_no_request_and_stay_as_they_are() {
    let Some(lan) = Lan::for_test("on_request") else { return };
    let peers = format!("peers: [{}, {}]", lan.address(11), lan.address(12));
    let better = Node::start(&lan, 11, &["priority: 200", SLOW, &peers]);
    better.becomes(VrrpState::Master);
    let (code, said) = better.ask(&["failover"]);
    assert!(code == Some(75) && said.contains("nobody would take over"), "{code:?} {said}");
    let other = Node::start(&lan, 12, &["priority: 100", SLOW, &peers]);
    other.becomes(VrrpState::Backup);
    let (code, said) = other.ask(&["failover"]);
    assert!(code == Some(75) && said.contains("this node is not master: web is BACKUP"), "{code:?} {said}");
    let (code, said) = better.ask(&["failover", "mail"]);
    assert!(code == Some(75) && said.contains("no virtual router mail here, but web"), "{code:?} {said}");

    let probe = Probe::start(&lan);
    probe.answered_by("node11", 20);
    until("the peer answers ARP", || (better.ask(&["failover"]).0 == Some(0)).then_some(()));
    other.becomes(VrrpState::Master);
    // Ten times as long as it would take to preempt.
    probe.answered_by("node12", 400);
    better.becomes(VrrpState::Backup);
    nothing_was_lost("failover", &probe.stop());

    let probe = Probe::start(&lan);
    probe.answered_by("node12", 20);
    let (code, said) = other.ask(&["failover", "web"]);
    assert!(code == Some(0) && said.contains("has taken over"), "{code:?} {said}");
    probe.answered_by("node11", 100);
    nothing_was_lost("failover back", &probe.stop());

    let probe = Probe::start(&lan);
    probe.answered_by("node11", 20);
    assert_eq!(better.ask(&["drain"]).0, Some(0));
    probe.answered_by("node12", 200);
    let report = better.report().unwrap();
    assert!(report.state == VrrpState::Fault && report.reason.contains("drain --undo"), "{report:?}");
    assert_eq!(other.ask(&["drain"]).0, Some(75), "nobody is left to take over");
    other.becomes(VrrpState::Master);
    assert_eq!(better.ask(&["drain", "--undo"]).0, Some(0));
    probe.answered_by("node11", 100);
    nothing_was_lost("drain, and back", &probe.stop());
}
