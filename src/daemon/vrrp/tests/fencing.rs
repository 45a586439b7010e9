//! What a node that did not run may do: nothing. What it leaves standing while it does not run: nothing that answers.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::forge;
use super::network::{Namespace, Node, VIP, WITHOUT_NFT, answering, eventually, run, unicast, with_bridge};
use crate::config::{Host, Transport, VrrpInstance};
use crate::link::{ArpFence, Boottime, FenceQuery, FromVrrp, ToVrrp, VrrpState};
use crate::os::clock;

const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 11));
const NEWCOMER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 12));

#[test]
fn a_frozen_master_is_silent_and_thaws_as_a_backup() {
    with_bridge("a_frozen_master_is_silent_and_thaws_as_a_backup", || {
        for (preempt, lease) in [(true, 60), (false, 1)] {
            let lease = Duration::from_secs(lease);
            let with = |priority| VrrpInstance { preempt, lease, ..unicast(priority, &[11, 12]) };
            let mut a = Node::start(11, with(200));
            a.becomes(VrrpState::Master);
            let mut b = Node::start(12, with(100));
            b.becomes(VrrpState::Backup);
            let listener = a.namespace.enter(|| TcpListener::bind("0.0.0.0:80").unwrap());
            let mut client = TcpStream::connect((VIP, 80)).unwrap();
            let (mut served, _) = listener.accept().unwrap();

            a.freeze();
            b.becomes(VrrpState::Master);
            assert_eq!(answering(VIP), [b.mac()], "while it is frozen");
            if lease == Duration::from_secs(1) {
                eventually("the lease ends", || a.holds(VIP).is_none());
            } else {
                assert!(a.holds(VIP).is_some(), "a frozen node cannot let go");
            }

            a.thaw();
            let reason = a.becomes(VrrpState::Backup);
            assert!(reason.contains("did not run for"), "{reason}");
            assert_eq!(served.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
            if lease > Duration::from_secs(1) {
                assert_eq!(
                    client.read(&mut [0]).unwrap_err().kind(),
                    ErrorKind::ConnectionReset,
                    "it is told"
                );
            }
            let (master, backup) = if preempt {
                a.becomes(VrrpState::Master);
                b.becomes(VrrpState::Backup);
                (&a, &b)
            } else {
                // It hears the other one, and leaves it alone.
                let before = a.counter("advert_received");
                eventually("adverts of the other one", || a.counter("advert_received") > before + 10);
                assert_eq!(a.report().instances[0].state, VrrpState::Backup);
                (&b, &a)
            };
            eventually("one holds the address", || {
                master.holds(VIP).is_some() && backup.holds(VIP).is_none()
            });
            assert_eq!(answering(VIP), [master.mac()]);
        }
    });
}

#[test]
fn the_kernel_behind_the_fence_neither_answers_nor_asks_for_the_address() {
    with_bridge("the_kernel_behind_the_fence_neither_answers_nor_asks_for_the_address", || {
        let mut a = Node::start(11, VrrpInstance { lease: Duration::from_secs(60), ..unicast(200, &[11]) });
        a.becomes(VrrpState::Master);
        eventually("the address", || a.holds(VIP).is_some());
        a.freeze();
        assert_eq!(answering(VIP), [] as [&str; 0], "the kernel holds the address and says nothing");
        // What the kernel sends from the address makes it ask for the next hop in its own name.
        let request = a.namespace.enter(|| {
            let socket = std::net::UdpSocket::bind((VIP, 0)).unwrap();
            socket.send_to(b"x", "10.50.0.77:9")
        });
        request.unwrap();
        eventually("the request is counted", || {
            let rules = a.namespace.run(&["nft", "list", "table", "arp", "vipgate-51"]);
            rules.contains("arp saddr ip 10.50.0.99 counter packets")
                && !rules.contains("saddr ip 10.50.0.99 counter packets 0")
        });
        run(&["ip", "neigh", "flush", "dev", "br0"]);
        a.thaw();
    });
}

#[test]
fn a_missing_layer_is_replaced_by_the_next() {
    with_bridge("a_missing_layer_is_replaced_by_the_next", || {
        let mut a = Node::start(11, unicast(200, &[11, 12]));
        a.becomes(VrrpState::Master);
        let report = a.report();
        assert_eq!(report.instances[0].fence.arp, ArpFence::Nftables);
        assert!(report.instances[0].fence.socket_destroy, "{report:?}");
        drop(a);

        let mut a = Node::start_kind(WITHOUT_NFT, 11, unicast(200, &[11, 12]));
        a.becomes(VrrpState::Master);
        let report = a.report();
        assert_eq!(report.instances[0].fence.arp, ArpFence::None);
        assert!(report.warnings.iter().any(|w| w.contains("arp_ignore=1")), "{report:?}");
        assert!(report.warnings.iter().any(|w| w.contains("what is open then is cut")), "{report:?}");
        assert!(!report.instances[0].handover.relays, "{report:?}");
        eventually("the address is on the interface", || a.holds(VIP).as_deref() == Some("eth0"));
        let shown = a.namespace.run(&["ip", "-o", "addr", "show", "to", VIP]);
        assert!(shown.contains("10.50.0.99/24"), "with its prefix: {shown}");
        assert_eq!(answering(VIP), [a.mac()]);
        drop(a);

        let namespace = super::network::Namespace::new();
        namespace.enter(|| {
            std::fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "1").unwrap();
            std::fs::write("/proc/sys/net/ipv4/conf/all/arp_announce", "2").unwrap();
        });
        namespace.plug_in("eth0", [10, 50, 0, 11].into());
        let config = super::network::config(vec![unicast(200, &[11, 12])]);
        let mut a = Node::unconfigured(WITHOUT_NFT, namespace, config);
        a.commit();
        a.becomes(VrrpState::Master);
        assert_eq!(a.report().instances[0].fence.arp, ArpFence::Sysctl);
        eventually("the address is on lo", || a.holds(VIP).as_deref() == Some("lo"));
        assert_eq!(answering(VIP), [a.mac()]);
        a.freeze();
        assert_eq!(answering(VIP), [] as [&str; 0]);
    });
}

#[test]
fn what_somebody_else_removes_is_put_in_place_again() {
    with_bridge("what_somebody_else_removes_is_put_in_place_again", || {
        let mut a = Node::start(11, unicast(200, &[11, 12]));
        a.becomes(VrrpState::Master);
        eventually("the address", || a.holds(VIP).is_some());
        a.namespace.run(&["ip", "addr", "del", &format!("{VIP}/32"), "dev", "lo"]);
        eventually("the address is there again", || a.holds(VIP).is_some());
        assert_eq!(a.counter("address_lost"), 1);
        a.namespace.run(&["nft", "flush", "ruleset"]);
        eventually("the fence is there again", || {
            a.namespace.run(&["nft", "list", "ruleset"]).contains("vipgate-51")
        });
        assert_eq!(a.counter("fence_lost"), 1);
        // What others put there for good is left alone, and said.
        a.namespace.run(&["ip", "addr", "add", &format!("{VIP}/24"), "dev", "eth0"]);
        eventually("it is said", || a.report().warnings.iter().any(|w| w.contains("for good")));
    });
}

#[test]
fn a_proxy_that_was_out_is_told_whether_the_address_was_held_meanwhile() {
    with_bridge("a_proxy_that_was_out_is_told_whether_the_address_was_held_meanwhile", || {
        let mut a = Node::start(11, unicast(200, &[11, 12]));
        let before = Boottime(clock::boottime_ns());
        a.becomes(VrrpState::Master);
        let ask = |node: &mut Node, nonce, since| {
            node.tell(&ToVrrp::FenceQuery(FenceQuery { nonce, since }));
            let verdict =
                node.expect("a verdict", |m| matches!(m, FromVrrp::FenceVerdict(v) if v.nonce == nonce));
            let FromVrrp::FenceVerdict(verdict) = verdict else { unreachable!() };
            verdict.held
        };
        assert!(!ask(&mut a, 1, before), "taken since then");
        let held = Boottime(clock::boottime_ns());
        assert!(ask(&mut a, 2, held));
        assert!(ask(&mut a, 3, held));
        // Both were frozen, and the question is the first thing that the thawed process reads.
        a.freeze();
        a.tell(&ToVrrp::FenceQuery(FenceQuery { nonce: 4, since: held }));
        eventually("the lease ends", || a.holds(VIP).is_none());
        a.thaw();
        let verdict = a.expect("a verdict", |m| matches!(m, FromVrrp::FenceVerdict(v) if v.nonce == 4));
        assert!(matches!(verdict, FromVrrp::FenceVerdict(v) if !v.held), "it lost the address");
    });
}

/// Nobody can have taken over, unless he has come up meanwhile, and then from an address that nobody knows.
#[test]
fn who_is_alone_since_nobody_has_the_peers_name_looks_before_it_goes_on() {
    with_bridge("who_is_alone_since_nobody_has_the_peers_name_looks_before_it_goes_on", || {
        // One that no name server is asked about.
        let peers = vec![Host::Name("nobody\0".to_owned())];
        let transport = Transport::Unicast { peers };
        let lone = VrrpInstance { transport, lease: Duration::from_secs(60), ..unicast(200, &[]) };
        let mut node = Node::start(11, lone);
        node.becomes(VrrpState::Master);
        let newcomer = Namespace::new();
        newcomer.plug_in("eth0", NEWCOMER);
        let unknown = |node: &mut Node| node.report().instances[0].peers[0].contains("no such name");
        eventually("nobody has the name", || unknown(&mut node));
        // By then it has been looked at who is there.
        let before = node.counter("advert_sent");
        eventually("two seconds", || node.counter("advert_sent") > before + 10);

        // Longer than three intervals, and shorter than what the lone are given, if the machine is not too busy for that.
        let mut stall = |comes: bool| {
            let (before, since) = (node.counter("fenced"), Instant::now());
            node.freeze();
            if comes {
                forge::send(&newcomer, 255, NODE, &forge::advert(NEWCOMER, NODE));
            }
            while since.elapsed() < Duration::from_secs(1) {
                std::thread::yield_now();
            }
            node.thaw();
            // The first answer may come before what has arrived is read.
            node.report();
            let fenced = node.counter("fenced") > before;
            let in_time = since.elapsed() < Duration::from_millis(1_700);
            eventually("it is master", || node.report().instances[0].state == VrrpState::Master);
            (fenced, in_time)
        };
        eventually("it goes on", || match stall(false) {
            (fenced, true) => {
                assert!(!fenced);
                true
            }
            (_, false) => false,
        });
        assert!(stall(true).0, "somebody has come");
    });
}
