//! Several virtual routers on each node: each master of one, or all of them together.

use std::path::PathBuf;
use std::time::Duration;

use super::network::{Node, VIP, answering, eventually, unicast, with_bridge};
use crate::config::{SyncGroup, Track, Tracked, VrrpInstance};
use crate::link::{FromVrrp, ToVrrp, VrrpState, Wish};
use crate::net::Vrid;

const OTHER: &str = "10.50.0.98";
const THIRD: &str = "10.50.0.97";

/// Two virtual routers: one address, and two.
fn two(first: u8, second: u8) -> Vec<VrrpInstance> {
    let other = VrrpInstance {
        name: "VI_2".to_owned(),
        vrid: Vrid::try_from(52).unwrap(),
        virtual_addresses: [OTHER, THIRD].map(|a| format!("{a}/24").parse().unwrap()).to_vec(),
        ..unicast(second, &[11, 12])
    };
    vec![unicast(first, &[11, 12]), other]
}

fn start(last: u8, routers: Vec<VrrpInstance>, groups: &[SyncGroup]) -> Node {
    let mut node = Node::start(last, unicast(1, &[11, 12]));
    node.config.vrrp = routers;
    node.config.sync_groups = groups.to_vec();
    node.commit();
    node
}

fn states(node: &mut Node) -> Vec<VrrpState> {
    node.report().instances.iter().map(|instance| instance.state).collect()
}

/// Asked for one of the two, as soon as a peer is known.
fn hands_over_one(node: &mut Node) {
    let wish = Wish::Failover { instance: Some("VI_1".to_owned()) };
    eventually("the peer takes over", || {
        node.tell(&ToVrrp::StepDown { question: 1, wish: wish.clone() });
        let answer = node.expect("an answer", |m| matches!(m, FromVrrp::SteppedDown { .. }));
        matches!(answer, FromVrrp::SteppedDown { outcome: Ok(_), .. })
    });
}

#[test]
fn each_node_may_be_master_of_one() {
    with_bridge("each_node_may_be_master_of_one", || {
        use VrrpState::{Backup, Master};
        let (mut a, mut b) = (start(11, two(200, 100), &[]), start(12, two(100, 200), &[]));
        eventually("each has one", || {
            states(&mut a) == [Master, Backup] && states(&mut b) == [Backup, Master]
        });
        for (address, node) in [(VIP, &a), (OTHER, &b), (THIRD, &b)] {
            assert_eq!(answering(address), [node.mac()], "{address}");
        }
        a.kill();
        eventually("the other has both", || states(&mut b) == [Master, Master]);
        for address in [VIP, OTHER, THIRD] {
            eventually("it answers", || answering(address) == [b.mac()]);
        }
    });
}

#[test]
fn a_sync_group_moves_as_one() {
    with_bridge("a_sync_group_moves_as_one", || {
        use VrrpState::{Backup, Fault, Master};
        let group = SyncGroup { name: "G".to_owned(), members: vec!["VI_1".to_owned(), "VI_2".to_owned()] };
        let path: PathBuf = std::env::temp_dir().join(format!("vipgate-group-{}", std::process::id()));
        std::fs::write(&path, "0").unwrap();
        let file = Tracked::File { path: path.clone(), interval: Duration::from_millis(20) };
        let mut routers = two(200, 200);
        routers[0].track = vec![Track { what: file, weight: 0 }];
        let groups = [group];
        let (mut a, mut b) = (start(11, routers, &groups), start(12, two(100, 100), &groups));
        let are = |node: &mut Node, expect: [VrrpState; 2]| states(node) == expect;
        eventually("the better has both", || are(&mut a, [Master, Master]) && are(&mut b, [Backup, Backup]));

        // One fails: both go.
        std::fs::write(&path, "1").unwrap();
        eventually("both are in fault", || are(&mut a, [Fault, Fault]));
        let reason = a.report().instances[1].reason.clone();
        assert!(reason.starts_with("VI_1 of the sync group G: file "), "{reason}");
        eventually("the other node has both", || are(&mut b, [Master, Master]));
        for address in [VIP, OTHER, THIRD] {
            assert_eq!(answering(address), [b.mac()], "{address}");
        }
        std::fs::write(&path, "0").unwrap();
        eventually("both come home", || are(&mut a, [Master, Master]) && are(&mut b, [Backup, Backup]));
        std::fs::remove_file(&path).unwrap();

        // One alone cannot: its peer for the first has no second that would give way.
        b.config.vrrp = two(100, 254);
        b.config.sync_groups.clear();
        b.commit();
        eventually("neither is master here", || {
            are(&mut a, [Backup, Backup]) && are(&mut b, [Master, Master])
        });
        eventually("it is said", || {
            a.report().warnings.iter().any(|w| w.contains("would be master, and waits for the sync group G"))
        });
        assert!(are(&mut a, [Backup, Backup]));
        // Nor is it once there is no group any more.
        a.config.sync_groups.clear();
        a.commit();
        eventually("it waits for nobody", || are(&mut a, [Master, Backup]));
        assert!(!a.report().warnings.iter().any(|w| w.contains("waits for the sync group")));
        a.config.sync_groups = groups.to_vec();
        a.commit();
        eventually("and waits again", || are(&mut a, [Backup, Backup]) && are(&mut b, [Master, Master]));

        // A planned move takes both along.
        b.config.vrrp = two(100, 100);
        b.config.sync_groups = groups.to_vec();
        b.commit();
        eventually("the better has both again", || {
            are(&mut a, [Master, Master]) && are(&mut b, [Backup, Backup])
        });
        hands_over_one(&mut a);
        eventually("both have moved on request", || {
            are(&mut a, [Backup, Backup]) && are(&mut b, [Master, Master])
        });
        hands_over_one(&mut b);
        eventually("both are back", || are(&mut a, [Master, Master]) && are(&mut b, [Backup, Backup]));
        a.tell(&ToVrrp::Resign { bound: Duration::from_secs(20) });
        eventually("the other node has both again", || are(&mut b, [Master, Master]));
    });
}

#[test]
fn a_member_that_an_edit_brings_costs_the_others_nothing() {
    with_bridge("a_member_that_an_edit_brings_costs_the_others_nothing", || {
        let group = |members: &[&str]| {
            let members = members.iter().map(|&name| name.to_owned()).collect();
            vec![SyncGroup { name: "G".to_owned(), members }]
        };
        let mut routers = two(200, 200);
        let second = routers.pop();
        let mut a = start(11, routers, &group(&["VI_1"]));
        eventually("it is master", || states(&mut a) == [VrrpState::Master]);
        a.config.vrrp.extend(second);
        a.config.sync_groups = group(&["VI_1", "VI_2"]);
        a.commit();
        eventually("it has both", || states(&mut a) == [VrrpState::Master; 2]);
        assert!(!a.log().contains("is not whole"), "{}", a.log());
    });
}
