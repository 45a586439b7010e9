//! Who holds the address: at the start, after a death, after a farewell, after the interface was exchanged.

use std::time::Duration;

use super::instance;
use super::network::{Node, VIP, answering, config, eventually, run, server, unicast, with_bridge};
use crate::config::{VrrpInstance, VrrpVersion};
use crate::link::{FromVrrp, ProxyHealth, ToVrrp, VrrpState, Wish};
use crate::net::{Centiseconds, Priority};

#[test]
fn the_better_router_holds_the_address_and_nobody_else_answers_for_it() {
    with_bridge("the_better_router_holds_the_address_and_nobody_else_answers_for_it", || {
        let multicast = |priority| VrrpInstance {
            priority: Priority::try_from(priority).unwrap(),
            ..instance(&format!("{VIP}/24"))
        };
        let v2 = |priority| VrrpInstance {
            version: VrrpVersion::V2,
            password: Some("secret".to_owned()),
            advert_interval: Centiseconds::try_from(100).unwrap(),
            ..unicast(priority, &[11, 12])
        };
        for (what, better, worse) in [
            ("unicast", unicast(200, &[11, 12]), unicast(100, &[11, 12])),
            ("multicast", multicast(200), multicast(100)),
            ("version 2", v2(200), v2(100)),
        ] {
            let (mut a, mut b) = (Node::start(11, better), Node::start(12, worse));
            a.becomes(VrrpState::Master);
            b.becomes(VrrpState::Backup);
            eventually(what, || (a.holds(VIP), b.holds(VIP)) == (Some("lo".to_owned()), None));
            assert_eq!(answering(VIP), [a.mac()], "{what}");
            let refused = std::net::TcpStream::connect((VIP, 80)).unwrap_err().kind();
            assert_eq!(refused, std::io::ErrorKind::ConnectionRefused, "{what}: its kernel answers");
            let master = b.report().instances[0].master;
            assert_eq!(master, Some(("10.50.0.11".parse().unwrap(), 200)), "{what}");
            let refused: Vec<_> = a
                .report()
                .instances
                .remove(0)
                .counters
                .into_iter()
                .filter(|(n, _)| n.starts_with("drop"))
                .collect();
            assert_eq!(refused, [], "{what}");
        }
    });
}

#[test]
fn a_dead_master_is_replaced_and_comes_back_by_itself() {
    with_bridge("a_dead_master_is_replaced_and_comes_back_by_itself", || {
        let (mut a, mut b) =
            (Node::start(11, unicast(200, &[11, 12])), Node::start(12, unicast(100, &[11, 12])));
        a.becomes(VrrpState::Master);
        b.becomes(VrrpState::Backup);
        a.kill();
        assert!(b.becomes(VrrpState::Master).contains("10.50.0.11 is silent"));
        assert_eq!(answering(VIP), [b.mac()]);

        let mut a = a.restart();
        eventually("what the dead one left is gone", || a.holds(VIP).is_none() || b.holds(VIP).is_none());
        assert!(a.becomes(VrrpState::Master).contains("lower priority"));
        b.becomes(VrrpState::Backup);
        eventually("it holds the address", || a.holds(VIP).as_deref() == Some("lo"));
        eventually("the other one does not", || b.holds(VIP).is_none());
        assert_eq!(answering(VIP), [a.mac()]);
    });
}

#[test]
fn the_state_of_a_dead_predecessor_is_removed_before_the_first_advert() {
    with_bridge("the_state_of_a_dead_predecessor_is_removed_before_the_first_advert", || {
        let owner = || VrrpInstance { lease: Duration::from_secs(60), ..unicast(200, &[11, 12]) };
        let mut a = Node::start(11, owner());
        a.becomes(VrrpState::Master);
        eventually("the address", || a.holds(VIP).is_some());
        let config = a.config.clone();
        a.kill();
        let mut b = Node::start(12, unicast(250, &[11, 12]));
        b.becomes(VrrpState::Master);
        assert!(a.holds(VIP).is_some(), "its lease is long");
        a.config = config;
        let mut a = a.restart();
        assert_eq!(a.holds(VIP), None, "removed when the configuration is in force");
        a.becomes(VrrpState::Backup);
    });
}

#[test]
fn a_farewell_is_heard_at_once_and_leaves_nothing_behind() {
    with_bridge("a_farewell_is_heard_at_once_and_leaves_nothing_behind", || {
        // Silence would take 120 s to be noticed.
        let slow = |priority| VrrpInstance {
            advert_interval: Centiseconds::try_from(4000).unwrap(),
            preempt: false,
            ..unicast(priority, &[11, 12])
        };
        let quick = VrrpInstance { advert_interval: Centiseconds::try_from(20).unwrap(), ..slow(255) };
        let mut a = Node::start(11, quick);
        a.becomes(VrrpState::Master);
        let mut b = Node::start(12, slow(254));
        b.becomes(VrrpState::Backup);
        eventually("the master is heard", || b.counter("advert_received") > 0);
        let differs = "10.50.0.11 advertises another interval than this node's";
        eventually("it is said", || b.report().warnings.iter().any(|warning| warning.contains(differs)));
        let namespace = a.orphan();
        assert!(b.becomes(VrrpState::Master).contains("has released it"));
        assert_eq!(namespace.run(&["ip", "addr", "show", "to", VIP]), "");
        assert_eq!(namespace.run(&["nft", "list", "ruleset"]), "");
    });
}

#[test]
fn a_resigning_master_serves_until_a_peer_has_taken_over() {
    with_bridge("a_resigning_master_serves_until_a_peer_has_taken_over", || {
        let (mut a, mut b) =
            (Node::start(11, unicast(200, &[11, 12])), Node::start(12, unicast(100, &[11, 12])));
        a.becomes(VrrpState::Master);
        b.becomes(VrrpState::Backup);
        eventually("the master is heard", || b.counter("advert_received") > 0);
        a.tell(&ToVrrp::Resign { bound: Duration::from_secs(20) });
        b.becomes(VrrpState::Master);
        let resigned = a.expect("resigned", |m| matches!(m, FromVrrp::Resigned { .. }));
        let FromVrrp::Resigned { reason } = resigned else { unreachable!() };
        assert!(reason.contains("10.50.0.12 has taken over"), "{reason}");
        assert_eq!(a.holds(VIP).as_deref(), Some("lo"), "for the connections that it has");
        assert_eq!(answering(VIP), [b.mac()]);
        let namespace = a.orphan();
        assert_eq!(namespace.run(&["ip", "addr", "show", "to", VIP]), "");
    });
}

#[test]
fn an_address_that_moved_is_kept_until_the_proxy_has_no_connection_of_it() {
    with_bridge("an_address_that_moved_is_kept_until_the_proxy_has_no_connection_of_it", || {
        let mut worse = Node::start(11, unicast(100, &[11, 12]));
        worse.becomes(VrrpState::Master);
        let mut better = Node::start(12, unicast(200, &[11, 12]));
        better.becomes(VrrpState::Master);
        let asked = worse.expect("a question", |m| matches!(m, FromVrrp::Leave { .. }));
        let FromVrrp::Leave { number, addresses, before, .. } = asked else { unreachable!() };
        assert_eq!((addresses, before), (vec![VIP.parse().unwrap()], false));
        worse.becomes(VrrpState::Backup);
        eventually("it relays", || {
            better.namespace.run(&["nft", "list", "ruleset"]).contains("dup to 10.50.0.11")
        });
        let (old, new) = (worse.report().instances.remove(0), better.report().instances.remove(0));
        assert!(old.handover.lingers && !new.handover.lingers, "{old:?} {new:?}");
        assert_eq!(new.handover.relays_to, Some("10.50.0.11".parse().unwrap()));
        assert_eq!(worse.holds(VIP).as_deref(), Some("lo"), "longer than its lease");
        assert_eq!(answering(VIP), [better.mac()]);
        worse.tell(&ToVrrp::Left { number: number + 1 });
        assert!(worse.report().instances[0].handover.lingers, "that was another question");
        worse.tell(&ToVrrp::Left { number });
        eventually("it lets go", || worse.holds(VIP).is_none());
        assert_eq!(worse.counter("drained"), 1);

        // Who has the address again has its connections again.
        better.kill();
        worse.becomes(VrrpState::Master);
        let mut better = better.restart();
        better.becomes(VrrpState::Master);
        worse.becomes(VrrpState::Backup);
        better.kill();
        worse.expect("it may keep them", |m| matches!(m, FromVrrp::Keep { .. }));
    });
}

#[test]
fn without_a_relay_the_connections_end_first() {
    with_bridge("without_a_relay_the_connections_end_first", || {
        let mut a = Node::start_kind(super::network::WITHOUT_NFT, 11, unicast(200, &[11, 12]));
        a.becomes(VrrpState::Master);
        let mut b = Node::start_kind(super::network::WITHOUT_NFT, 12, unicast(100, &[11, 12]));
        b.becomes(VrrpState::Backup);
        a.tell(&ToVrrp::Resign { bound: Duration::from_secs(20) });
        let asked = a.expect("a question", |m| matches!(m, FromVrrp::Leave { .. }));
        let FromVrrp::Leave { number, before, .. } = asked else { unreachable!() };
        assert!(before);
        let heard = b.counter("advert_received");
        eventually("it is master meanwhile", || b.counter("advert_received") > heard + 5);
        assert_eq!(
            (a.report().instances[0].state, b.counter("advert_received_release")),
            (VrrpState::Master, 0)
        );
        a.tell(&ToVrrp::Left { number });
        b.becomes(VrrpState::Master);
        a.expect("resigned", |m| matches!(m, FromVrrp::Resigned { .. }));
        eventually("it lets go", || a.holds(VIP).is_none());
    });
}

#[test]
fn the_interface_may_come_back_under_another_name() {
    with_bridge("the_interface_may_come_back_under_another_name", || {
        let (mut a, mut b) =
            (Node::start(11, unicast(200, &[11, 12])), Node::start(12, unicast(100, &[11, 12])));
        a.becomes(VrrpState::Master);
        b.becomes(VrrpState::Backup);
        run(&["ip", "link", "del", "port11"]);
        assert!(a.becomes(VrrpState::Fault).contains("interface"));
        b.becomes(VrrpState::Master);
        eventually("no address without an interface", || a.holds(VIP).is_none());
        let report = a.report();
        assert_eq!(report.instances[0].interface, None);
        assert!(
            report.warnings[0].contains("no interface has an address in a subnet that contains"),
            "{report:?}"
        );
        for name in ["eth1", "eth0"] {
            a.namespace.plug_in(name, [10, 50, 0, 11].into());
            a.becomes(VrrpState::Master);
            eventually("it holds the address", || a.holds(VIP).as_deref() == Some("lo"));
            b.becomes(VrrpState::Backup);
            let report = a.report();
            assert_eq!(report.instances[0].interface.as_ref().map(|n| n.as_str()), Some(name));
            eventually("nothing to warn of", || a.report().warnings.is_empty());
            run(&["ip", "link", "del", "port11"]);
            b.becomes(VrrpState::Master);
        }
    });
}

#[test]
fn only_a_node_whose_proxy_answers_stands_for_election() {
    with_bridge("only_a_node_whose_proxy_answers_stands_for_election", || {
        let namespace = super::network::Namespace::new();
        namespace.plug_in("eth0", [10, 50, 0, 11].into());
        let mut config = config(vec![unicast(100, &[11, 12])]);
        config.servers.push(server());
        let mut node = Node::unconfigured("", namespace, config);
        node.commit();
        let serving = |incarnation| {
            let listen = vec!["0.0.0.0:80".parse().unwrap()];
            ToVrrp::Proxy(ProxyHealth::Serving { incarnation, listen })
        };
        node.tell(&serving(1));
        let no_answer =
            |m: &FromVrrp| matches!(m, FromVrrp::Transition(t) if t.reason.contains("front door"));
        node.expect("no answer", no_answer);

        let door = node.namespace.enter(|| std::net::TcpListener::bind("0.0.0.0:80").unwrap());
        std::thread::spawn(move || {
            use std::io::{Read, Write};
            while let Ok((mut stream, peer)) = door.accept() {
                let asked_at_own_address = stream.local_addr().unwrap().ip().to_string() == "10.50.0.11"
                    && stream.read(&mut [0; 512]).is_ok();
                let answer: &[u8] =
                    if asked_at_own_address { b"HTTP/1.1 404 Not Found\r\n\r\n" } else { b"no" };
                drop(stream.write_all(answer));
                let _ = peer;
            }
        });
        node.becomes(VrrpState::Backup);
        node.becomes(VrrpState::Master);
        node.tell(&ToVrrp::Proxy(ProxyHealth::Restarting));
        node.tell(&serving(2));
        node.tell(&ToVrrp::Proxy(ProxyHealth::Restarting));
        node.tell(&ToVrrp::Proxy(ProxyHealth::Pausing));
        // What it says twice, it has thought about.
        drop(node.report());
        assert_eq!(node.report().instances[0].state, VrrpState::Master, "there is nobody else");
        let mut peer = Node::start(12, unicast(50, &[11, 12]));
        assert!(node.becomes(VrrpState::Fault).contains("again and again"));
        peer.becomes(VrrpState::Master);
        node.tell(&serving(3));
        node.becomes(VrrpState::Master);
        node.tell(&ToVrrp::Proxy(ProxyHealth::Down { reason: "it crashed".to_owned() }));
        assert_eq!(node.becomes(VrrpState::Fault), "it crashed");
        eventually("the address is given up", || node.holds(VIP).is_none());
        node.tell(&serving(4));
        node.becomes(VrrpState::Master);
    });
}

#[test]
fn a_node_without_a_peer_says_that_nobody_takes_over() {
    with_bridge("a_node_without_a_peer_says_that_nobody_takes_over", || {
        let mut alone = Node::start(11, unicast(200, &[11, 12]));
        alone.becomes(VrrpState::Master);
        let says = |node: &mut Node| node.report().warnings.iter().any(|w| w.contains("nobody takes over"));
        eventually("it is said", || says(&mut alone));
        let _peer = Node::start(12, unicast(100, &[11, 12]));
        eventually("it is taken back", || !says(&mut alone));
    });
}

#[test]
fn wishes_that_cross_are_each_answered_for_themselves() {
    with_bridge("wishes_that_cross_are_each_answered_for_themselves", || {
        // Nobody takes over, and in a group nobody knows that before: the first is open for a second.
        let mut node = Node::start(11, instance(&format!("{VIP}/24")));
        node.becomes(VrrpState::Master);
        let ask = |question, wish| ToVrrp::StepDown { question, wish };
        let crossing = [(1, Wish::StandBack), (2, Wish::StandBack), (3, Wish::Failover { instance: None })];
        crossing.into_iter().for_each(|(question, wish)| node.tell(&ask(question, wish)));
        for question in [2, 3] {
            assert!(answer(&mut node, question).unwrap_err().contains("is under way"), "{question}");
        }
        assert!(answer(&mut node, 1).unwrap_err().contains("no peer has taken over"));

        node.tell(&ask(4, Wish::StandBack));
        node.tell(&ask(5, Wish::StandIn));
        assert_eq!(answer(&mut node, 5), Ok("this node stands for election again".to_owned()));
        assert!(answer(&mut node, 4).unwrap_err().contains("--undo` came meanwhile"));
        assert_eq!(node.report().instances[0].state, VrrpState::Master);
    });
}

/// To this question, which is the next that is answered.
fn answer(node: &mut Node, expect: u64) -> Result<String, String> {
    match node.expect("an answer", |m| matches!(m, FromVrrp::SteppedDown { .. })) {
        FromVrrp::SteppedDown { question, outcome } if question == expect => outcome,
        other => panic!("not the answer to {expect}: {other:?}"),
    }
}
