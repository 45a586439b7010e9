//! A master whose processes stop, as `docker pause` stops them: it is silent from then on, and after the thaw until it
//! is elected.

use std::time::{Duration, Instant};

use vipgate::link::{ArpFence, VrrpState};

use crate::capture::{Capture, Frame, Mark};
use crate::lan::{Lan, until};
use crate::node::Node;

/// Of the schedule: at once, 10, 50, 100, 500 and 1000 ms later, in each form.
const ANNOUNCEMENTS: usize = 6;
const INTERVAL: Duration = Duration::from_millis(20);
const LEASE: Duration = Duration::from_secs(2);
/// The kernel counts in whole seconds, and it is asked by a program that has to be started.
const KERNEL_IS_LATE: Duration = Duration::from_secs(2);

struct Pair<'l> {
    lan: &'l Lan,
    capture: &'l Capture<'l>,
    better: Node,
    worse: Node,
}

impl<'l> Pair<'l> {
    /// The better one is master.
    fn start(lan: &'l Lan, capture: &'l Capture<'l>, preempt: &str) -> Self {
        let peers = format!("peers: [{}, {}]", lan.address(11), lan.address(12));
        let lease = format!("lease: {}s", LEASE.as_secs());
        let better = Node::start(lan, 11, &["priority: 200", &peers, &lease, preempt]);
        better.becomes(VrrpState::Master);
        let worse = Node::start(lan, 12, &["priority: 100", &peers, &lease, preempt]);
        worse.becomes(VrrpState::Backup);
        assert_ne!(better.report().unwrap().fence.arp, ArpFence::None);
        Self { lan, capture, better, worse }
    }

    fn answers(&self, node: &Node, mark: Mark, count: usize) {
        let (mac, vip) = (node.mac(), self.lan.vip());
        let what = format!("{mac} answers for {vip}");
        self.capture.wait(&what, mark, count, |frame| frame.from == mac && frame.answers(vip));
    }

    /// What says that the better one has the address.
    fn claims(&self, frames: Vec<Frame>) -> Vec<Frame> {
        let (mac, vip) = (self.better.mac(), self.lan.vip());
        let claims = |f: &Frame| f.from == mac && (f.claims(vip) || f.priority().is_some_and(|p| p > 0));
        frames.into_iter().filter(claims).collect()
    }

    /// Freezes the better one until the other has taken over, announced itself, and answered often.
    fn freeze(&self) -> Mark {
        let mark = self.capture.mark();
        self.answers(&self.better, mark, 3);
        // Until its kernel knows the other's MAC address, adverts queue there, and leave after a freeze.
        self.adverts(&self.better, 200, mark, 3);
        assert_eq!(self.better.holds(self.lan).as_deref(), Some("lo"));
        self.better.freeze();
        let (frozen, since) = (self.capture.mark(), Instant::now());
        until("the lease ends", || self.better.holds(self.lan).is_none().then_some(()));
        assert!(since.elapsed() <= LEASE + KERNEL_IS_LATE, "held for {:?}", since.elapsed());
        self.answers(&self.worse, frozen, 20);
        self.adverts(&self.worse, 100, frozen, 20);
        self.announced(frozen);
        let heard = self.capture.since(frozen);
        let heard: Vec<_> = heard.into_iter().filter(|frame| frame.from == self.better.mac()).collect();
        // Not only no claim: nothing at all.
        assert!(heard.is_empty(), "a frozen node speaks: {heard:?}");
        frozen
    }

    fn adverts(&self, node: &Node, priority: u8, mark: Mark, count: usize) {
        let mac = node.mac();
        let is = |frame: &Frame| frame.from == mac && frame.priority() == Some(priority);
        self.capture.wait(&format!("adverts of {mac}"), mark, count, is);
    }

    /// Both forms of gratuitous ARP, at every step of the schedule.
    fn announced(&self, mark: Mark) {
        let (mac, vip) = (self.worse.mac(), self.lan.vip());
        let request = format!("Request who-has {vip} (ff:ff:ff:ff:ff:ff) tell {vip}, length 28");
        let reply = format!("Reply {vip} is-at {mac}, length 28");
        let count = |frames: &[Frame], form: &str| {
            let is = |f: &&Frame| f.from == mac && f.is_broadcast() && f.text.ends_with(form);
            frames.iter().filter(is).count()
        };
        self.capture.announced(mark, &mac);
        let frames = self.capture.since(mark);
        let (requests, replies) = (count(&frames, &request), count(&frames, &reply));
        println!("announced by {requests} requests and {replies} replies");
        // A late timer takes all the steps that are due at once.
        assert!((3..=ANNOUNCEMENTS).contains(&requests) && requests == replies, "{requests} and {replies}");
    }
}

#[test]
fn a_frozen_master_is_silent_and_waits_after_the_thaw_until_it_is_elected() {
    let Some(lan) = Lan::for_test("freeze") else { return };
    let capture = Capture::start(&lan);
    let pair = Pair::start(&lan, &capture, "preempt: true");
    let _asking = lan.ask(Duration::from_millis(10));
    pair.freeze();

    let thawed = capture.mark();
    pair.better.thaw();
    // Measured from before the thaw and up to the wire: lateness only makes it longer.
    pair.answers(&pair.better, thawed, 3);
    let claims = pair.claims(capture.since(thawed));
    let silence = claims[0].at - thawed.at;
    assert!(silence >= 3.0 * INTERVAL.as_secs_f64(), "elected {silence} s after the thaw: {:?}", claims[0]);
    assert_eq!(claims[0].priority(), Some(200), "an election is won before an address is claimed");
    pair.worse.becomes(VrrpState::Backup);
    assert_eq!(
        (pair.better.holds(&lan).as_deref(), pair.worse.report().unwrap().state),
        (Some("lo"), VrrpState::Backup)
    );
    until("the loser lets go", || pair.worse.holds(&lan).is_none().then_some(()));
}

#[test]
fn without_preemption_a_thawed_master_stays_backup() {
    let Some(lan) = Lan::for_test("freeze without preemption") else { return };
    let capture = Capture::start(&lan);
    let pair = Pair::start(&lan, &capture, "preempt: false");
    let _asking = lan.ask(Duration::from_millis(10));
    let frozen = pair.freeze();

    pair.better.thaw();
    let thawed = capture.mark();
    pair.better.becomes(VrrpState::Backup);
    // Longer than any election takes.
    pair.adverts(&pair.worse, 100, thawed, 40);
    pair.answers(&pair.worse, thawed, 40);
    assert_eq!(pair.better.report().unwrap().state, VrrpState::Backup);
    assert_eq!(pair.better.holds(&lan), None);
    let claims = pair.claims(capture.since(frozen));
    assert!(claims.is_empty(), "{claims:?}");
}
