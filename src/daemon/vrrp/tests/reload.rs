//! Another configuration while the role runs: all or nothing, and in place.

use super::instance;
use super::network::{Node, VIP, answering, eventually, unicast, with_bridge};
use crate::config::{Host, Transport, VrrpInstance};
use crate::link::{FromVrrp, Generation, ToVrrp, VrrpState, Wish};
use crate::net::Vrid;

#[test]
fn a_master_stays_master_while_its_configuration_changes() {
    with_bridge("a_master_stays_master_while_its_configuration_changes", || {
        let second = "10.50.0.98";
        let (mut a, mut b) =
            (Node::start(11, unicast(200, &[11, 12])), Node::start(12, unicast(100, &[11, 12])));
        a.becomes(VrrpState::Master);
        b.becomes(VrrpState::Backup);
        eventually("the address", || a.holds(VIP).is_some());
        for node in [&mut b, &mut a] {
            node.config.vrrp[0].virtual_addresses.push(format!("{second}/24").parse().unwrap());
            node.commit();
        }
        eventually("the second address", || a.holds(second).as_deref() == Some("lo"));
        assert_eq!((answering(VIP), answering(second)), (vec![a.mac()], vec![a.mac()]));
        for node in [&mut b, &mut a] {
            node.config.vrrp[0].virtual_addresses.remove(0);
            node.config.vrrp[0].name = "VI_renamed".to_owned();
            node.commit();
        }
        eventually("the first address is gone", || a.holds(VIP).is_none());
        assert_eq!(a.holds(second).as_deref(), Some("lo"));
        let fence = a.namespace.run(&["nft", "list", "ruleset"]);
        assert!(fence.contains(second) && !fence.contains(VIP), "{fence}");
        let report = a.report().instances.remove(0);
        assert_eq!((report.name.as_str(), report.state), ("VI_renamed", VrrpState::Master));
        let never_moved = |node: &Node| node.log().matches("to=").count();
        assert_eq!((never_moved(&a), never_moved(&b)), (2, 1), "{}\n{}", a.log(), b.log());

        for node in [&mut a, &mut b] {
            node.config.vrrp[0].vrid = Vrid::try_from(52).unwrap();
            node.commit();
        }
        a.becomes(VrrpState::Master);
        let fence = a.namespace.run(&["nft", "list", "ruleset"]);
        assert!(fence.contains("vipgate-52") && !fence.contains("vipgate-51"), "{fence}");
    });
}

#[test]
fn an_edit_in_the_middle_of_a_handover_spoils_nothing() {
    with_bridge("an_edit_in_the_middle_of_a_handover_spoils_nothing", || {
        let second = "10.50.0.98";
        // Nobody takes over, and in a group nobody knows that before: a handover lasts for a second.
        let mut a = Node::start(11, instance(&format!("{VIP}/24")));
        a.becomes(VrrpState::Master);
        let ask = |question| ToVrrp::StepDown { question, wish: Wish::Failover { instance: None } };
        let outcome = |a: &mut Node, question| {
            let answer = a.expect("the outcome", |m| matches!(m, FromVrrp::SteppedDown { .. }));
            let FromVrrp::SteppedDown { question: answered, outcome } = answer else { unreachable!() };
            assert_eq!(answered, question);
            outcome
        };
        a.tell(&ask(1));
        a.config.vrrp[0].virtual_addresses = vec![format!("{second}/24").parse().unwrap()];
        a.commit();
        let fence = a.namespace.run(&["nft", "list", "ruleset"]);
        assert!(fence.contains(second) && fence.contains(VIP), "it still has the other one: {fence}");
        assert!(a.holds(VIP).is_some());
        outcome(&mut a, 1).unwrap_err();
        eventually("it has the new one", || (a.holds(VIP), a.holds(second)) == (None, Some("lo".to_owned())));

        a.tell(&ask(2));
        a.config.vrrp[0].vrid = Vrid::try_from(52).unwrap();
        a.commit();
        let why = outcome(&mut a, 2).unwrap_err();
        assert!(why.contains("another virtual router"), "{why}");
        a.becomes(VrrpState::Master);
        let fence = a.namespace.run(&["nft", "list", "ruleset"]);
        assert!(fence.contains("vipgate-52") && !fence.contains("vipgate-51"), "{fence}");
        assert_eq!(answering(second), [a.mac()]);
    });
}

#[test]
fn virtual_routers_come_and_go() {
    with_bridge("virtual_routers_come_and_go", || {
        let mut a = Node::start(11, unicast(200, &[11, 12]));
        a.becomes(VrrpState::Master);
        let other = VrrpInstance {
            name: "VI_2".to_owned(),
            vrid: Vrid::try_from(52).unwrap(),
            virtual_addresses: vec!["10.50.0.98/24".parse().unwrap()],
            ..unicast(200, &[11, 12])
        };
        a.config.vrrp.push(other);
        a.commit();
        eventually("both addresses", || a.holds(VIP).is_some() && a.holds("10.50.0.98").is_some());
        a.config.vrrp.remove(0);
        a.commit();
        eventually("the first one is gone", || a.holds(VIP).is_none());
        eventually("with its fence", || !a.namespace.run(&["nft", "list", "ruleset"]).contains("vipgate-51"));
        assert_eq!(answering("10.50.0.98"), [a.mac()]);
        assert_eq!(a.report().instances.len(), 1);
    });
}

#[test]
fn an_id_goes_from_one_virtual_router_to_another() {
    with_bridge("an_id_goes_from_one_virtual_router_to_another", || {
        let second = "10.50.0.98";
        let vrid = |vrid| Vrid::try_from(vrid).unwrap();
        let one = unicast(200, &[11, 12]);
        let other = VrrpInstance {
            name: "VI_2".to_owned(),
            vrid: vrid(52),
            virtual_addresses: vec![format!("{second}/24").parse().unwrap()],
            ..one.clone()
        };
        let mut a = Node::start(11, one);
        a.config.vrrp.push(other);
        a.commit();
        let both = |a: &mut Node| {
            eventually("both", || a.report().instances.iter().all(|i| i.state == VrrpState::Master));
            for address in [VIP, second] {
                eventually("it answers", || answering(address) == [a.mac()]);
            }
        };
        let fence = |a: &Node, vrid| a.namespace.run(&["nft", "list", "table", "arp", vrid]);
        both(&mut a);

        let [one, other] = [51, 52].map(vrid);
        (a.config.vrrp[0].vrid, a.config.vrrp[1].vrid) = (other, one);
        a.commit();
        both(&mut a);
        let (fence_51, fence_52) = (fence(&a, "vipgate-51"), fence(&a, "vipgate-52"));
        assert!(fence_51.contains(second) && !fence_51.contains(VIP), "{fence_51}");
        assert!(fence_52.contains(VIP) && !fence_52.contains(second), "{fence_52}");

        a.config.vrrp.remove(1);
        a.config.vrrp[0].vrid = one;
        a.commit();
        assert_eq!(a.holds(second), None, "it is not kept without a fence");
        eventually("it is master", || a.report().instances[0].state == VrrpState::Master);
        eventually("it answers for what it has, and for nothing else", || {
            answering(VIP) == [a.mac()] && answering(second).is_empty()
        });
        assert!(fence(&a, "vipgate-51").contains(VIP));
        let log = a.log();
        assert!(!log.contains("somebody has removed"), "{log}");
    });
}

#[test]
fn what_cannot_work_is_refused_and_what_is_aborted_is_forgotten() {
    with_bridge("what_cannot_work_is_refused_and_what_is_aborted_is_forgotten", || {
        let mut a = Node::start(11, unicast(200, &[11, 12]));
        let twice = {
            let mut config = a.config.clone();
            config.vrrp.push(VrrpInstance { name: "VI_2".to_owned(), ..config.vrrp[0].clone() });
            Box::new(config)
        };
        a.tell(&ToVrrp::Prepare { generation: Generation(7), config: twice });
        let refused = a.expect("refused", |m| matches!(m, FromVrrp::Refused { .. }));
        let FromVrrp::Refused { generation, reason } = refused else { unreachable!() };
        assert_eq!(generation, Generation(7));
        assert!(reason.contains("same vrid 51"), "{reason}");

        let mut without = a.config.clone();
        without.vrrp.clear();
        a.tell(&ToVrrp::Prepare { generation: Generation(8), config: Box::new(without) });
        a.expect("prepared", |m| *m == FromVrrp::Prepared { generation: Generation(8) });
        a.tell(&ToVrrp::Abort { generation: Generation(8) });
        a.tell(&ToVrrp::Commit { generation: Generation(8) });
        assert_eq!(a.report().instances.len(), 1);
    });
}

#[test]
fn peers_may_be_names_and_one_of_them_oneself() {
    with_bridge("peers_may_be_names_and_one_of_them_oneself", || {
        let named = |name: &str| {
            let peers = vec![
                Host::Address("10.50.0.11".parse().unwrap()),
                Host::Address("10.50.0.12".parse().unwrap()),
                Host::Name(name.to_owned()),
            ];
            VrrpInstance { transport: Transport::Unicast { peers }, ..unicast(200, &[]) }
        };
        let mut a = Node::start(11, named("localhost"));
        a.becomes(VrrpState::Master);
        let resolved = "localhost (127.0.0.1)";
        eventually("the name resolves", || a.report().instances[0].peers.contains(&resolved.to_owned()));
        let log = a.log();
        assert!(log.contains("peers: [10.50.0.12]") && !log.contains("127.0.0.1]"), "{log}");

        a.config.vrrp = vec![named("no-such-name.invalid")];
        a.commit();
        eventually("it is said", || a.report().warnings.iter().any(|w| w.contains("no-such-name.invalid")));
        assert_eq!(a.report().instances[0].state, VrrpState::Master, "that stops nobody");
    });
}
