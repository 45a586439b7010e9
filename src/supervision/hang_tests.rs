//! Who says nothing any more, and is looked at.

use std::time::Duration;

use super::Action;
use super::plan_tests::{SERVING, check};

/// A beat, then a tick, each 50 ms from `from` on.
fn alive(from: u64, to: u64) -> Vec<(u64, &'static str, &'static str)> {
    (from / 50..to / 50).flat_map(|i| [(i * 50, "beats", ""), (i * 50, "tick", "")]).collect()
}

fn silent(from: u64, to: u64) -> Vec<(u64, &'static str, &'static str)> {
    (from / 50..to / 50).map(|i| (i * 50, "tick", "")).collect()
}

#[test]
fn hang() {
    // Both are silent from 1000 on: the last beat was at 950.
    let rows = [&alive(50, 1000)[..], &silent(1000, 1100)].concat();
    let found = (1100, "tick", "tell restarting, kill proxy#1, kill vrrp#1");
    let restart = [
        (1101, "vrrp#1 ended", "spawn vrrp#2, tell restarting, prepare vrrp 1"),
        (1102, "proxy#1 ended", "spawn proxy#2, prepare proxy 1"),
        (1103, "proxy#2 prepared 1", "commit proxy 1"),
        (1104, "proxy#2 in-force 1", "tell serving#2, release 1"),
    ];
    check(SERVING, &[&rows[..], &[found], &restart].concat());
    // It does not serve again at once.
    let late = [
        (1101, "vrrp#1 ended", "spawn vrrp#2, tell restarting, prepare vrrp 1"),
        (1199, "tick", ""),
        (1200, "tick", "tell down"),
    ];
    check(SERVING, &[&rows[..], &[found], &late].concat());
    // Nor need there have been a first beat.
    check(
        SERVING,
        &[&silent(50, 200)[..], &[(200, "tick", "tell restarting, kill proxy#1, kill vrrp#1")]].concat(),
    );
    // The supervisor's own absence is held against nobody: three seconds count as two ticks.
    let rows = [&alive(50, 1000)[..], &[(4000, "tick", "")], &alive(4050, 4500)].concat();
    check(SERVING, &rows);
    // Nor is that others have the processor, for a while.
    let starved: Vec<_> = silent(1000, 2950).iter().map(|(at, _, _)| (*at, "starved tick", "")).collect();
    let found = (2950, "starved tick", "tell restarting, kill proxy#1, kill vrrp#1");
    check(SERVING, &[&alive(50, 1000)[..], &starved, &[found]].concat());
}

#[test]
fn a_deadline_between_two_ticks_is_no_tick() {
    let rows = [&alive(50, 1000)[..], &silent(1000, 1100)].concat();
    let mut plan = check(SERVING, &rows);
    let (tick, _) = plan.poll_timeout().unwrap();
    for (early, looks) in [(Duration::from_millis(45), 0), (Duration::ZERO, 2)] {
        plan.handle_timeout(tick - early);
        let found = std::iter::from_fn(|| plan.poll_output());
        assert_eq!(found.filter(|action| matches!(action, Action::Look(..))).count(), looks, "{early:?}");
    }
}
