//! The table of who applies an edit first.

use super::plan_tests::{SERVING, WITHOUT_VRRP, check};
use crate::link::Generation;

type Row = (u64, &'static str, &'static str);

/// The edit is sighted at 10 ms, and both roles agree to generation 2 at 30 ms.
const AGREED: [Row; 4] = [
    (10, "edit", "ask peers 1"),
    (20, "candidate 2", "prepare proxy 2, prepare vrrp 2"),
    (30, "proxy#1 prepared 2", ""),
    (30, "vrrp#1 prepared 2", ""),
];
const COMMIT: &str = "commit proxy 2, commit vrrp 2, outcome 2 ok";

/// The same, with this answer on its way before the last vote, and what comes of it.
fn agreed(answer: &'static str, expect: &'static str) -> Vec<Row> {
    let [edit, candidate, proxy, (ms, vrrp, _)] = AGREED;
    vec![edit, (11, answer, ""), candidate, proxy, (ms, vrrp, expect)]
}

fn story(parts: &[&[Row]]) -> Vec<Row> {
    parts.concat()
}

/// Beats and ticks until `to`, at which a tick brings `expect`.
fn until(from: u64, to: u64, expect: &'static str) -> Vec<Row> {
    let quiet = (from / 50 + 1..to / 50).flat_map(|i| [(i * 50, "beats", ""), (i * 50, "tick", "")]);
    quiet.chain([(to, "beats", ""), (to, "tick", expect)]).collect()
}

#[test]
fn nobody_to_wait_for() {
    // A backup, or a peer that has to wait for this node.
    check(SERVING, &agreed("vrrp#1 peers 1 first 3", COMMIT));
    // A master whose peers do not answer anyway, or that has none it could ask.
    check(SERVING, &agreed("vrrp#1 peers 1 last", COMMIT));
    // SIGHUP.
    let urgent = [
        (10, "edit", "ask peers 1"),
        (11, "vrrp#1 peers 1 last 3", ""),
        (20, "candidate 2 urgent", "prepare proxy 2, prepare vrrp 2"),
        (30, "proxy#1 prepared 2", ""),
        (30, "vrrp#1 prepared 2", COMMIT),
    ];
    check(SERVING, &urgent);
    // Without virtual routers.
    let alone = [
        (10, "edit", ""),
        (20, "candidate 2 without-vrrp", "prepare proxy 2"),
        (30, "proxy#1 prepared 2", "commit proxy 2, outcome 2 ok"),
    ];
    check(WITHOUT_VRRP, &alone);
    // The proxy is being restarted: it waits for nobody.
    let broken = [
        (10, "edit", "ask peers 1"),
        (11, "vrrp#1 peers 1 last 3", ""),
        (12, "proxy#1 ended", "tell restarting, spawn proxy#2, prepare proxy 1"),
        (13, "proxy#2 ended", "tell pausing"),
        (20, "candidate 2", "prepare vrrp 2"),
        (30, "vrrp#1 prepared 2", "commit vrrp 2, outcome 2 ok, spawn proxy#3, prepare proxy 2"),
    ];
    check(SERVING, &broken);
    // Nor for a vrrp role that does not answer.
    check(SERVING, &story(&[&AGREED, &until(30, 2000, ""), &[(2010, "tick", COMMIT)]]));
}

#[test]
fn the_master_waits_for_its_peer() {
    let waits = "wait 2 for 3";
    // The answer comes before the votes, or after.
    for begun in
        [agreed("vrrp#1 peers 1 last 3", waits), story(&[&AGREED, &[(30, "vrrp#1 peers 1 last 3", waits)]])]
    {
        let plan = check(SERVING, &begun);
        assert_eq!(plan.waiting(), Some(Generation(2)));
        let asked = story(&[&begun, &until(30, 3000, ""), &[(3030, "tick", "ask peers 2")]]);
        let plan = check(SERVING, &asked);
        assert_eq!(plan.waiting(), Some(Generation(2)));
        let plan = check(SERVING, &story(&[&asked, &[(3040, "vrrp#1 peers 2 last 3 4", COMMIT)]]));
        assert_eq!(plan.waiting(), None);
        // It has lost the address: somebody else goes last.
        check(SERVING, &story(&[&asked, &[(3040, "vrrp#1 peers 2 first", COMMIT)]]));
        // An old answer says nothing.
        let hold = "abort proxy 2, abort vrrp 2, outcome 2 held";
        let old = (3040, "vrrp#1 peers 1 last 3", "");
        check(SERVING, &story(&[&asked, &[old, (3050, "vrrp#1 peers 2 last", hold)]]));
    }
    let begun = agreed("vrrp#1 peers 1 last 3", waits);
    check(SERVING, &story(&[&begun, &[(40, "hurry", COMMIT)]]));
    let hurried = [
        (10, "edit", "ask peers 1"),
        (11, "vrrp#1 peers 1 last 3", ""),
        (20, "candidate 2", "prepare proxy 2, prepare vrrp 2"),
        (25, "hurry", ""),
        (30, "proxy#1 prepared 2", ""),
        (30, "vrrp#1 prepared 2", COMMIT),
    ];
    check(SERVING, &hurried);
    check(
        SERVING,
        &story(&[&begun, &[(40, "stop", "abort proxy 2, abort vrrp 2, outcome 2 refused, resign")]]),
    );
}

/// Generation 12 is generation 2 tried again.
#[test]
fn an_edit_that_has_silenced_a_peer_is_tried_again() {
    let held = story(&[
        &agreed("vrrp#1 peers 1 last 3", "wait 2 for 3"),
        &until(30, 3000, ""),
        &[
            (3030, "tick", "ask peers 2"),
            (3040, "vrrp#1 peers 2 last", "abort proxy 2, abort vrrp 2, outcome 2 held"),
            (3041, "beats", ""),
            (3050, "edit", "ask peers 3"),
            (3060, "candidate 12", "prepare proxy 12, prepare vrrp 12"),
            (3070, "proxy#1 prepared 12", ""),
            (3070, "vrrp#1 prepared 12", ""),
        ],
    ]);
    let again = "abort proxy 12, abort vrrp 12, outcome 12 held";
    check(SERVING, &story(&[&held, &[(3080, "vrrp#1 peers 3 last", again)]]));
    // Another one is no witness.
    check(SERVING, &story(&[&held, &[(3080, "vrrp#1 peers 3 last 4", again)]]));
    check(SERVING, &story(&[&held, &[(3080, "vrrp#1 peers 3 last 3 4", "wait 12 for 3")]]));
    check(SERVING, &story(&[&held, &[(3080, "hurry", "commit proxy 12, commit vrrp 12, outcome 12 ok")]]));
    // A role that dies meanwhile makes nobody forget whose word it takes.
    let died = story(&[
        &agreed("vrrp#1 peers 1 last 3", "wait 2 for 3"),
        &[
            (
                40,
                "proxy#1 ended",
                "tell restarting, abort vrrp 2, outcome 2 refused for now, spawn proxy#2, prepare proxy 1",
            ),
            (41, "proxy#2 prepared 1", "commit proxy 1"),
            (42, "proxy#2 in-force 1", "tell serving#2, release 1"),
            (50, "edit", "ask peers 2"),
            (51, "vrrp#1 peers 2 last", ""),
            (60, "candidate 12", "prepare proxy 12, prepare vrrp 12"),
            (70, "proxy#2 prepared 12", ""),
            (70, "vrrp#1 prepared 12", again),
        ],
    ]);
    check(SERVING, &died);
}

#[test]
fn a_newer_edit_takes_the_place_and_the_witnesses() {
    let newer = story(&[
        &agreed("vrrp#1 peers 1 last 3", "wait 2 for 3"),
        &[
            (40, "edit", "ask peers 2"),
            (41, "vrrp#1 peers 2 last", ""),
            (
                50,
                "candidate 3",
                "abort proxy 2, abort vrrp 2, outcome 2 refused, prepare proxy 3, prepare vrrp 3",
            ),
            (60, "proxy#1 prepared 3", ""),
            (60, "vrrp#1 prepared 3", "abort proxy 3, abort vrrp 3, outcome 3 held"),
        ],
    ]);
    check(SERVING, &newer);
    // Once something has been applied, the past is forgotten.
    let applied = story(&[
        &newer,
        &[
            (70, "candidate 4 urgent", "prepare proxy 4, prepare vrrp 4"),
            (71, "proxy#1 prepared 4", ""),
            (71, "vrrp#1 prepared 4", "commit proxy 4, commit vrrp 4, outcome 4 ok"),
            (72, "proxy#1 in-force 4", "release 4"),
            (72, "vrrp#1 in-force 4", ""),
            (80, "edit", "ask peers 3"),
            (81, "vrrp#1 peers 3 last", ""),
            (90, "candidate 3", "prepare proxy 3, prepare vrrp 3"),
            (91, "proxy#1 prepared 3", ""),
            (91, "vrrp#1 prepared 3", "commit proxy 3, commit vrrp 3, outcome 3 ok"),
        ],
    ]);
    check(SERVING, &applied);
}
