//! Orders that come over the link to the peers: what is obeyed, for how long, and what becomes of the roles.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vipgate::link::control::{HappeningKind, RoleState};

use crate::cases::{BOTH, privileged};
use crate::node::Node;
use crate::runner::Outcome;

/// Its vrrp role hears this order.
fn order(node: &Node, what: &str) {
    let beside = node.folder.join("order");
    fs::write(&beside, what).unwrap();
    fs::rename(beside, node.folder.join("vrrp.order")).unwrap();
}

/// With the configuration that takes orders.
fn allow(node: &Node) {
    node.write_config(&format!("link: {{drill: true}}\n{}", node.document("second")));
    node.wait("vrrp commit 2");
    node.wait("proxy commit 2");
    node.until_status("the edit is in force", |s| (s.config.generation.0 == 2).then_some(()));
}

/// Process numbers of both roles.
fn roles(node: &Node) -> [u32; 2] {
    [node.wait("proxy starts").pid, node.wait("vrrp starts").pid]
}

fn is_stopped(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| status.contains("State:\tT"))
}

pub(crate) fn stands_still() -> Outcome {
    privileged()?;
    let node = Node::serving(BOTH);
    order(&node, "2000");
    node.wait("vrrp outcome Err(\"it takes no orders");
    allow(&node);
    order(&node, "100");
    node.wait("vrrp outcome Err(\"it stands still for 200ms to 10s");
    let pids = roles(&node);
    assert!(!pids.iter().any(|pid| is_stopped(*pid)));

    order(&node, "2000");
    let begun = Instant::now();
    node.wait("vrrp outcome Ok(\"stands still for 2s");
    node.until("no role runs", || pids.iter().all(|pid| is_stopped(*pid)).then_some(()));
    node.until("both run again", || (!pids.iter().any(|pid| is_stopped(*pid))).then_some(()));
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    let status = node.until_status("both serve", |status| {
        let serve = status.proxy.state == RoleState::Serving
            && status.vrrp.as_ref().is_some_and(|vrrp| vrrp.state == RoleState::Serving);
        serve.then_some(status)
    });
    assert_eq!(roles(&node), pids, "nobody was killed for it");
    let drills = status.history.iter().filter(|h| h.kind == HappeningKind::Drill);
    let drills: Vec<_> = drills.map(|h| h.what.as_str()).collect();
    assert_eq!(
        drills,
        [
            "192.0.2.7 orders this node to stand still for 2s, for a drill",
            "this node has stood still for a drill, and goes on"
        ]
    );
    order(&node, "2000");
    node.wait("vrrp outcome Err(\"it has just stood still");
    Ok(())
}

pub(crate) fn stop_ends_it() -> Outcome {
    privileged()?;
    let mut node = Node::serving(BOTH);
    allow(&node);
    let pids = roles(&node);
    order(&node, "10000");
    node.until("no role runs", || pids.iter().all(|pid| is_stopped(*pid)).then_some(()));
    let told = Instant::now();
    node.signal(Signal::SIGTERM);
    assert_eq!(node.wait_exit().code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(8), "{:?}", told.elapsed());
    assert_eq!((node.count("proxy drain"), node.count("vrrp resign")), (1, 1), "in good order");
    Ok(())
}

pub(crate) fn hands_over() -> Outcome {
    privileged()?;
    let node = Node::serving(BOTH);
    order(&node, "web");
    node.wait("vrrp outcome Err(\"it takes no orders");
    assert_eq!(node.count("vrrp wish"), 0);
    allow(&node);
    order(&node, "web");
    node.wait("vrrp wish Failover { instance: Some(\"web\") }");
    node.wait("vrrp outcome Ok(\"told to");
    Ok(())
}
