//! Stories with a known end, on a clean network: what a client sees of the faults that users know.

use std::time::{Duration, Instant};

use vipgate::config::VrrpVersion;

use crate::clock::{MS, Nanos};
use crate::node::Freeze;
use crate::plan::{Fault, NodePlan, Plan, settings};
use crate::random::Random;
use crate::world::World;

/// Of a pair that advertises every 100 ms: three intervals, and the least skew time of the protocol.
const TAKEOVER: Nanos = 301 * MS;
const SKEW: Nanos = MS;
/// A client asks every 10 ms, and frames take some tenths of a millisecond.
const GRAIN: Nanos = 25 * MS;
/// By then the pair has found its master, and the clients have found it.
const SETTLED: Nanos = 2000 * MS;

/// Node 0 has priority 150, node 1 has 100.
fn pair(preempt: bool, faults: &[(Nanos, Fault)]) -> World {
    let node = |priority| NodePlan {
        settings: settings(VrrpVersion::V3, 10, priority, preempt, 1),
        ppm: 0,
        notices_gaps: true,
        quota: Duration::ZERO,
    };
    let plan = Plan {
        nodes: vec![node(150), node(100)],
        password: None,
        unicast: true,
        linked: false,
        loss_percent: 0,
        duplicate_percent: 0,
        delay: (MS / 10, MS / 3),
        lateness: MS / 10,
        faults: faults.to_vec(),
        healed_at: 0,
    };
    World::new(plan, Random::new(1), Instant::now(), false)
}

/// The better node comes home only when this has passed.
fn patient_pair(delay: Duration, faults: &[(Nanos, Fault)]) -> World {
    let mut world = pair(true, faults);
    for node in &mut world.nodes {
        node.settings.preempt_delay = delay;
    }
    world
}

fn run(world: &mut World, until: Nanos) {
    world.run_until(until).unwrap_or_else(|report| panic!("{report}"));
}

/// The masters, and the worst that any client has seen.
fn seen(world: &World) -> (Vec<usize>, Nanos) {
    let masters = world.nodes.iter().filter(|node| node.answers()).map(|node| node.id).collect();
    (masters, world.clients.iter().map(|client| client.longest_outage).max().unwrap_or(0))
}

#[test]
fn a_pause_costs_one_takeover_and_coming_home_costs_nothing() {
    let fault = Fault::Freeze(0, Freeze::Paused);
    let mut world = pair(
        true,
        &[(SETTLED, fault), (SETTLED + 1000 * MS, Fault::Forget(0)), (SETTLED + 3000 * MS, Fault::Thaw(0))],
    );
    run(&mut world, SETTLED - 1);
    assert_eq!(seen(&world), (vec![0], 0));
    run(&mut world, SETTLED + 2999 * MS);
    let (masters, outage) = seen(&world);
    assert_eq!(masters, [1]);
    assert!(outage <= TAKEOVER + GRAIN, "{outage} ns");
    for client in &world.clients {
        assert_eq!(client.last_served_by, Some(1), "the one without an ARP entry too");
    }
    assert!(!world.nodes[0].holds(world.now), "the frozen kernel's lease has run out");
    run(&mut world, SETTLED + 6000 * MS);
    assert_eq!(seen(&world), (vec![0], outage), "home again, and nobody has noticed");
}

#[test]
fn nopreempt_survives_a_pause() {
    let fault = Fault::Freeze(0, Freeze::Paused);
    for length in [500 * MS, 1200 * MS, 5000 * MS] {
        let mut world = pair(false, &[(SETTLED, fault), (SETTLED + length, Fault::Thaw(0))]);
        run(&mut world, SETTLED + length + 10_000 * MS);
        assert_eq!(seen(&world).0, [1], "after {} ms", length / MS);
    }
}

#[test]
fn who_is_merely_late_stays_master() {
    for late in [50 * MS, 150 * MS, 199 * MS] {
        let mut world = pair(true, &[]);
        run(&mut world, SETTLED);
        let takeovers = world.summary.takeovers;
        world.fault(0, Fault::Freeze(0, Freeze::Paused));
        world.fault(late, Fault::Thaw(0));
        run(&mut world, SETTLED + 3000 * MS);
        assert_eq!((seen(&world).0, world.summary.takeovers), (vec![0], takeovers), "{} ms", late / MS);
    }
}

#[test]
fn a_node_that_comes_home_waits_for_its_preempt_delay() {
    let delay = 5000 * MS;
    let home = SETTLED + 2000 * MS;
    let faults = [(SETTLED, Fault::Crash(0)), (home, Fault::Restart(0))];
    let mut world = patient_pair(Duration::from_nanos(delay), &faults);
    run(&mut world, home + delay);
    let (masters, outage) = seen(&world);
    assert_eq!(masters, [1]);
    assert!(outage <= TAKEOVER + GRAIN, "the delay is for the living: {outage} ns");
    run(&mut world, home + delay + 1000 * MS);
    assert_eq!(seen(&world), (vec![0], outage), "home again, and nobody has noticed");
}

#[test]
fn a_crash_costs_one_takeover() {
    let mut world = pair(true, &[(SETTLED, Fault::Crash(0)), (SETTLED + 2000 * MS, Fault::Restart(0))]);
    run(&mut world, SETTLED + 6000 * MS);
    let (masters, outage) = seen(&world);
    assert_eq!(masters, [0]);
    assert!(outage <= TAKEOVER + GRAIN, "{outage} ns");
}

#[test]
fn a_handover_costs_nothing() {
    let mut world = pair(true, &[(SETTLED, Fault::Resign(0)), (SETTLED + 3000 * MS, Fault::Restart(0))]);
    run(&mut world, SETTLED + 2000 * MS);
    assert_eq!(seen(&world), (vec![1], 0));
    assert_eq!(world.summary.resigned, 1);
    run(&mut world, SETTLED + 6000 * MS);
    assert_eq!(seen(&world), (vec![0], 0));
    let failed: u64 = world.clients.iter().map(|client| client.failed).sum();
    assert_eq!(failed, 0);
}

#[test]
fn a_proxy_that_fails_costs_the_skew_time() {
    let mut world = pair(true, &[(SETTLED, Fault::Ineligible(0))]);
    run(&mut world, SETTLED + 2000 * MS);
    let (masters, outage) = seen(&world);
    assert_eq!(masters, [1]);
    assert!(outage <= SKEW + GRAIN, "{outage} ns");
}

#[test]
fn two_masters_that_hear_each_others_arp_only_do_not_fill_the_link() {
    let mut world =
        pair(true, &[(SETTLED, Fault::FilterAdverts(0, 1)), (SETTLED, Fault::FilterAdverts(1, 0))]);
    run(&mut world, SETTLED);
    let before = world.summary.broadcasts;
    run(&mut world, SETTLED + 10_000 * MS);
    assert_eq!(seen(&world).0, [0, 1]);
    let broadcasts = world.summary.broadcasts - before;
    assert!(broadcasts <= 40, "{broadcasts} in ten seconds: one takeover, and ten defences each");
}
