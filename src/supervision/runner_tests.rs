//! The rows of the plan's table that are about the runner.

use super::plan_tests::{SERVING, check};

/// All three serve generation 1; the time is 0.
const WITH_RUNNER: &[(u64, &str, &str)] = &[
    (
        0,
        "candidate 1 runner",
        "outcome 1 ok, spawn proxy#1, prepare proxy 1, spawn vrrp#1, tell down, prepare vrrp 1, spawn runner#1, \
         prepare runner 1",
    ),
    (0, "runner#1 prepared 1", "commit runner 1"),
    (0, "proxy#1 prepared 1", "commit proxy 1"),
    (0, "vrrp#1 prepared 1", "commit vrrp 1"),
    (0, "vrrp#1 in-force 1", ""),
    (0, "proxy#1 in-force 1", "tell serving#1, release 1"),
    (0, "runner#1 in-force 1", ""),
];

#[test]
fn the_runner_comes_with_the_first_configuration_that_needs_it_and_stays() {
    check(
        SERVING,
        &[
            (10, "candidate 2 runner", "prepare proxy 2, prepare vrrp 2"),
            (11, "proxy#1 prepared 2", ""),
            (
                12,
                "vrrp#1 prepared 2",
                "commit proxy 2, commit vrrp 2, outcome 2 ok, spawn runner#1, prepare runner 2",
            ),
            (13, "runner#1 prepared 2", "commit runner 2"),
            (14, "runner#1 in-force 2", ""),
            (15, "vrrp#1 in-force 2", ""),
            (16, "proxy#1 in-force 2", "release 2"),
            (20, "candidate 3", "prepare proxy 3, prepare vrrp 3, prepare runner 3"),
            (21, "runner#1 prepared 3", ""),
            (22, "proxy#1 prepared 3", ""),
            (23, "vrrp#1 prepared 3", "commit proxy 3, commit vrrp 3, commit runner 3, outcome 3 ok"),
        ],
    );
}

/// Neither the addresses nor the requests have anything to do with it.
#[test]
fn a_runner_that_dies_moves_nothing_and_comes_back() {
    check(
        WITH_RUNNER,
        &[
            (10, "runner#1 ended", "spawn runner#2, prepare runner 1"),
            (11, "runner#2 lost", "kill runner#2"),
            (12, "runner#2 ended", ""),
            (111, "tick", ""),
            (112, "tick", "spawn runner#3, prepare runner 1"),
        ],
    );
    check(
        WITH_RUNNER,
        &[
            (10, "candidate 2 runner", "prepare proxy 2, prepare vrrp 2, prepare runner 2"),
            (
                11,
                "runner#1 ended",
                "abort proxy 2, abort vrrp 2, outcome 2 refused for now, spawn runner#2, prepare runner 1",
            ),
        ],
    );
}

/// After the addresses, beside the requests, before the end.
#[test]
fn a_stop_is_told_in_its_place() {
    check(
        WITH_RUNNER,
        &[
            (10, "stop", "resign"),
            (11, "vrrp#1 resigned", "drain, drain runner"),
            (12, "proxy#1 drained", ""),
            (13, "proxy#1 drained", ""),
            (14, "runner#1 drained", "dismiss"),
            (15, "runner#1 ended", ""),
            (15, "vrrp#1 ended", ""),
            (16, "proxy#1 ended", "exit"),
        ],
    );
    // Its hooks have their bound, and no more.
    check(
        WITH_RUNNER,
        &[
            (0, "stop", "resign"),
            (1, "vrrp#1 resigned", "drain, drain runner"),
            (2, "proxy#1 drained", ""),
            (5200, "tick", ""),
            (5201, "tick", "dismiss"),
            (5701, "tick", "tell restarting, kill proxy#1, kill vrrp#1, kill runner#1"),
        ],
    );
    // The dead are not waited for.
    check(
        WITH_RUNNER,
        &[
            (0, "stop", "resign"),
            (1, "vrrp#1 resigned", "drain, drain runner"),
            (2, "runner#1 ended", ""),
            (3, "proxy#1 drained", "dismiss"),
        ],
    );
}
