//! The table of the plan: what happened when, and what is to be done about it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::heartbeat::{Doing, Sight, Thread};
use super::*;
use crate::link::control::RoleState;
use crate::link::{Generation, PeersAnswer, ProxyHealth};

/// Both roles serve generation 1, with one virtual router; the time is 0.
pub(super) const SERVING: &[(u64, &str, &str)] = &[
    (
        0,
        "candidate 1",
        "outcome 1 ok, spawn proxy#1, prepare proxy 1, spawn vrrp#1, tell down, prepare vrrp 1",
    ),
    (0, "proxy#1 prepared 1", "commit proxy 1"),
    (0, "vrrp#1 prepared 1", "commit vrrp 1"),
    (0, "vrrp#1 in-force 1", ""),
    (0, "proxy#1 in-force 1", "tell serving#1, release 1"),
];

pub(super) const WITHOUT_VRRP: &[(u64, &str, &str)] = &[
    (0, "candidate 1 without-vrrp", "outcome 1 ok, spawn proxy#1, prepare proxy 1"),
    (0, "proxy#1 prepared 1", "commit proxy 1"),
    (0, "proxy#1 in-force 1", "release 1"),
];

/// Plays the rows (milliseconds, event, expected actions) after `before`. "beats" is a beat of everybody, "tick" a
/// timeout; `poll_timeout` must never be earlier than `now` after either. Whoever is looked at has stopped, or in a
/// "starved tick" does not get the processor.
pub(super) fn check(before: &[(u64, &str, &str)], rows: &[(u64, &str, &str)]) -> Plan {
    let start = Instant::now();
    let mut plan = Plan::new(start);
    let mut turns = 0;
    for (ms, event, expect) in before.iter().chain(rows) {
        let now = start + Duration::from_millis(*ms);
        match *event {
            "tick" | "starved tick" => plan.handle_timeout(now),
            "beats" => {
                turns += 1;
                for role in RoleName::ALL {
                    let player = Player { role, incarnation: 1 };
                    plan.handle_event(Event::Said(player, Saying::Beat(vec![turns, turns])), now);
                }
            }
            event => plan.handle_event(parse(event), now),
        }
        let does = if *event == "starved tick" { Doing::Runs } else { Doing::Rests };
        let mut actions = vec![];
        while let Some(action) = plan.poll_output() {
            if let Action::Look(player, worker) = action {
                let needed = vec![Thread { id: 1, does, ran: Duration::ZERO }];
                plan.handle_event(Event::Seen(player, worker, Sight { needed, others: vec![] }), now);
            } else {
                actions.push(show(&action));
            }
        }
        assert_eq!(actions.join(", "), *expect, "at {ms} ms: {event}");
    }
    plan
}

fn parse(text: &str) -> Event {
    let words: Vec<_> = text.split(' ').collect();
    let generation = |i: usize| Generation(words[i].parse().unwrap());
    if words[0] == "candidate" {
        let listen = vec!["0.0.0.0:80".parse().unwrap()];
        // Generation 12 is the second try of generation 2.
        let digest = [words[1].bytes().next_back().unwrap(); 32];
        return Event::Candidate(Candidate {
            generation: generation(1),
            vrrp: !words.contains(&"without-vrrp"),
            runner: words.contains(&"runner"),
            listen,
            drain_timeout: Duration::from_secs(5),
            digest,
            is_urgent: words.contains(&"urgent"),
        });
    }
    if text == "edit" {
        return Event::Edit;
    }
    if text == "hurry" {
        return Event::Hurry;
    }
    if words[0] == "stop" {
        return Event::Stop;
    }
    let (role, incarnation) = words[0].split_once('#').unwrap();
    let role = RoleName::ALL.into_iter().find(|name| name.to_string() == role).unwrap();
    let player = Player { role, incarnation: incarnation.parse().unwrap() };
    let said = |saying| Event::Said(player, saying);
    match words[1] {
        "prepared" => said(Saying::Prepared(generation(2))),
        "refused" => said(Saying::Refused(generation(2), "no".into())),
        "in-force" => said(Saying::InForce(generation(2))),
        // Its number, who goes first, and which of 192.0.2.0/24 answer.
        "peers" => said(Saying::Peers(
            words[2].parse().unwrap(),
            PeersAnswer {
                goes_last: words[3] == "last",
                answered: words[4..]
                    .iter()
                    .map(|n| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n.parse().unwrap())))
                    .collect(),
            },
        )),
        "ends-connections" => said(Saying::EndsConnections(Duration::from_millis(words[2].parse().unwrap()))),
        "resigned" => said(Saying::Resigned),
        "drained" => said(Saying::Drained),
        "lost" => Event::LinkLost(player, "lost its link".into()),
        "ended" => Event::Ended(player, "died".into()),
        other => panic!("{other}"),
    }
}

fn show(action: &Action) -> String {
    match action {
        Action::Spawn(Player { role, incarnation }) => format!("spawn {role}#{incarnation}"),
        Action::Kill(Player { role, incarnation }, _) => format!("kill {role}#{incarnation}"),
        Action::Look(player, worker) => format!("look at {player} {worker}"),
        Action::Prepare(role, g) => format!("prepare {role} {}", g.0),
        Action::Commit(role, g) => format!("commit {role} {}", g.0),
        Action::Abort(role, g) => format!("abort {role} {}", g.0),
        Action::AskPeers(question, _) => format!("ask peers {question}"),
        Action::Wait(g, peers) => {
            let peers: Vec<_> = peers.iter().map(|peer| peer.to_string().replace("192.0.2.", "")).collect();
            format!("wait {} for {}", g.0, peers.join(" "))
        }
        Action::Tell(ProxyHealth::Serving { incarnation, .. }) => format!("tell serving#{incarnation}"),
        Action::Tell(ProxyHealth::Restarting) => "tell restarting".into(),
        Action::Tell(ProxyHealth::Pausing) => "tell pausing".into(),
        Action::Tell(ProxyHealth::Down { .. }) => "tell down".into(),
        Action::Resign(_) => "resign".into(),
        Action::Drain(RoleName::Proxy, bound) if *bound == Duration::from_secs(5) => "drain".into(),
        Action::Drain(RoleName::Proxy, bound) => format!("drain {bound:?}"),
        Action::Drain(role, _) => format!("drain {role}"),
        Action::Dismiss => "dismiss".into(),
        Action::Outcome(g, Ok(())) => format!("outcome {} ok", g.0),
        Action::Outcome(g, Err(Rejection::ForGood(_))) => format!("outcome {} refused", g.0),
        Action::Outcome(g, Err(Rejection::ForNow(_))) => format!("outcome {} refused for now", g.0),
        Action::Outcome(g, Err(Rejection::Held(_))) => format!("outcome {} held", g.0),
        Action::Release(g) => format!("release {}", g.0),
        Action::Exit => "exit".into(),
    }
}

#[test]
fn start() {
    let plan = check(SERVING, &[]);
    assert_eq!(plan.view(RoleName::Proxy).state, RoleState::Serving);
    check(WITHOUT_VRRP, &[(10, "proxy#1 ended", "spawn proxy#2, prepare proxy 1")]);
    // A role that cannot work by the first configuration is tried again; the other one does its work meanwhile.
    check(
        &SERVING[..4],
        &[
            (5, "proxy#1 ended", "spawn proxy#2, prepare proxy 1"),
            (6, "proxy#2 refused 1", "kill proxy#2"),
            (7, "proxy#2 ended", ""),
            (106, "tick", ""),
            (107, "tick", "spawn proxy#3, prepare proxy 1"),
            (10_107, "tick", "kill proxy#3"),
        ],
    );
}

#[test]
fn proxy_crash() {
    let crash = (10, "proxy#1 ended", "tell restarting, spawn proxy#2, prepare proxy 1");
    let back = (20, "proxy#2 in-force 1", "tell serving#2, release 1");
    check(SERVING, &[crash, (15, "proxy#2 prepared 1", "commit proxy 1"), back, (1500, "tick", "")]);
    // What the dead one said counts for nothing.
    check(SERVING, &[crash, (11, "proxy#1 prepared 1", ""), (12, "proxy#1 ended", "")]);
    // It does not come back within the grace.
    check(SERVING, &[crash, (1009, "tick", ""), (1010, "tick", "tell down")]);
    // Its link is lost before its death is seen.
    check(
        SERVING,
        &[
            (10, "proxy#1 lost", "tell restarting, kill proxy#1"),
            (11, "proxy#1 ended", "spawn proxy#2, prepare proxy 1"),
        ],
    );
    // Again and again: the grace counts from the first death, and PID 1 goes on for ever.
    check(
        SERVING,
        &[
            crash,
            (20, "proxy#2 ended", "tell pausing"),
            (120, "tick", "spawn proxy#3, prepare proxy 1"),
            (121, "proxy#3 ended", ""),
            (321, "tick", "spawn proxy#4, prepare proxy 1"),
            (322, "proxy#4 ended", ""),
            (722, "beats", ""),
            (722, "tick", "spawn proxy#5, prepare proxy 1"),
            (723, "proxy#5 ended", ""),
            (1010, "beats", ""),
            (1010, "tick", "tell down"),
            (1523, "beats", ""),
            (1523, "tick", "spawn proxy#6, prepare proxy 1"),
            (1524, "proxy#6 ended", ""),
            (3124, "beats", ""),
            (3124, "tick", "spawn proxy#7, prepare proxy 1"),
            (3124, "proxy#7 prepared 1", "commit proxy 1"),
            (3125, "proxy#7 in-force 1", "tell serving#7, release 1"),
            // It would come back too late anyway: nobody waits for the grace.
            (3126, "proxy#7 ended", "tell restarting, tell down"),
        ],
    );
    // Half a second of service is forgiveness.
    check(
        SERVING,
        &[
            crash,
            (15, "proxy#2 prepared 1", "commit proxy 1"),
            back,
            (520, "proxy#2 ended", "tell restarting, spawn proxy#3, prepare proxy 1"),
        ],
    );
}

#[test]
fn vrrp_crash() {
    check(SERVING, &[(10, "vrrp#1 ended", "spawn vrrp#2, tell serving#1, prepare vrrp 1")]);
    check(SERVING, &[(10, "vrrp#1 lost", "kill vrrp#1"), (11, "vrrp#1 lost", "")]);
    // Both at once: each is told what is true when it starts.
    check(
        SERVING,
        &[
            (10, "vrrp#1 ended", "spawn vrrp#2, tell serving#1, prepare vrrp 1"),
            (10, "proxy#1 ended", "tell restarting, spawn proxy#2, prepare proxy 1"),
        ],
    );
}

#[test]
fn reload() {
    let asked = (10, "candidate 2", "prepare proxy 2, prepare vrrp 2");
    let taken = "commit proxy 2, commit vrrp 2, outcome 2 ok";
    let refused = "abort proxy 2, abort vrrp 2, outcome 2 refused";
    let first = (11, "vrrp#1 prepared 2", "");
    check(
        SERVING,
        &[
            asked,
            first,
            (12, "proxy#1 prepared 2", taken),
            (13, "proxy#1 in-force 2", "release 2"),
            (14, "vrrp#1 in-force 2", ""),
        ],
    );
    // Everybody has to agree.
    check(SERVING, &[asked, first, (12, "proxy#1 refused 2", refused), (13, "proxy#1 prepared 2", "")]);
    check(SERVING, &[asked, (11, "vrrp#1 refused 2", refused), (12, "proxy#1 prepared 2", "")]);
    // Silence says nothing about the configuration.
    let for_now = "abort proxy 2, abort vrrp 2, outcome 2 refused for now";
    check(SERVING, &[asked, first, (5009, "tick", ""), (5010, "tick", for_now)]);
    // An answer about another generation is no answer.
    check(SERVING, &[asked, first, (12, "proxy#1 prepared 1", ""), (13, "proxy#1 refused 1", "")]);
    // A death is a refusal that may pass, and the dead one starts by the configuration that stays.
    let death = "tell restarting, abort vrrp 2, outcome 2 refused for now, spawn proxy#2, prepare proxy 1";
    check(SERVING, &[asked, first, (12, "proxy#1 ended", death)]);
    // Once committed there is no way back: whoever dies starts by the new one.
    check(
        SERVING,
        &[
            asked,
            first,
            (12, "proxy#1 prepared 2", taken),
            (13, "vrrp#1 in-force 2", ""),
            (14, "proxy#1 ended", "tell restarting, spawn proxy#2, prepare proxy 2"),
        ],
    );
    // Whoever does not do what it agreed to is replaced.
    check(
        SERVING,
        &[
            asked,
            first,
            (12, "proxy#1 prepared 2", taken),
            (13, "vrrp#1 in-force 2", ""),
            (10_012, "tick", "tell restarting, kill proxy#1"),
        ],
    );
}

#[test]
fn reload_waits_for_its_turn() {
    let asked = (10, "candidate 2", "prepare proxy 2, prepare vrrp 2");
    check(
        SERVING,
        &[
            asked,
            (11, "candidate 3", ""),
            (12, "candidate 4", "outcome 3 refused"),
            (
                13,
                "proxy#1 refused 2",
                "abort proxy 2, abort vrrp 2, outcome 2 refused, prepare proxy 4, prepare vrrp 4",
            ),
        ],
    );
    // Not while a role starts.
    check(
        SERVING,
        &[
            (10, "proxy#1 ended", "tell restarting, spawn proxy#2, prepare proxy 1"),
            (11, "candidate 2", ""),
            (12, "proxy#2 prepared 1", "commit proxy 1"),
            (13, "proxy#2 in-force 1", "tell serving#2, release 1, prepare proxy 2, prepare vrrp 2"),
        ],
    );
    // A role that waits for its restart has no vote, does not start in between, and then starts at once.
    check(
        SERVING,
        &[
            (10, "proxy#1 ended", "tell restarting, spawn proxy#2, prepare proxy 1"),
            (11, "proxy#2 ended", "tell pausing"),
            (12, "candidate 2", "prepare vrrp 2"),
            (200, "tick", ""),
            (201, "vrrp#1 prepared 2", "commit vrrp 2, outcome 2 ok, spawn proxy#3, prepare proxy 2"),
        ],
    );
}

#[test]
fn the_vrrp_role_comes_with_the_first_router_and_stays() {
    check(
        WITHOUT_VRRP,
        &[
            (10, "candidate 2", "prepare proxy 2"),
            (
                11,
                "proxy#1 prepared 2",
                "commit proxy 2, outcome 2 ok, spawn vrrp#1, tell serving#1, prepare vrrp 2",
            ),
            (12, "proxy#1 in-force 2", "release 2"),
            (13, "vrrp#1 prepared 2", "commit vrrp 2"),
            (14, "vrrp#1 in-force 2", ""),
            (20, "candidate 3 without-vrrp", "prepare proxy 3, prepare vrrp 3"),
            (21, "proxy#1 prepared 3", ""),
            (22, "vrrp#1 prepared 3", "commit proxy 3, commit vrrp 3, outcome 3 ok"),
        ],
    );
}

#[test]
fn stop_in_order() {
    check(
        SERVING,
        &[
            (10, "stop", "resign"),
            (11, "proxy#1 drained", ""),
            (12, "vrrp#1 resigned", "drain"),
            (13, "proxy#1 drained", "dismiss"),
            (14, "proxy#1 ended", "tell restarting"),
            (15, "vrrp#1 ended", "exit"),
            (16, "tick", ""),
            (17, "stop", ""),
        ],
    );
    // Each step has a bound.
    check(
        SERVING,
        &[
            (0, "stop", "resign"),
            (3199, "tick", ""),
            (3200, "tick", "drain"),
            (8399, "tick", ""),
            (8400, "tick", "dismiss"),
            (8900, "tick", "tell restarting, kill proxy#1, kill vrrp#1"),
            (9400, "tick", "exit"),
        ],
    );
    // Where connections cannot be handed over, they have had their time before the addresses move.
    check(
        SERVING,
        &[
            (0, "vrrp#1 ends-connections 5000", ""),
            (10, "stop", "resign"),
            (11, "vrrp#1 ends-connections 5000", ""),
            (8210, "tick", ""),
            (8211, "vrrp#1 resigned", "drain 1s"),
            (9410, "tick", ""),
            (9411, "tick", "dismiss"),
        ],
    );
    check(
        WITHOUT_VRRP,
        &[(0, "stop", "drain"), (1, "proxy#1 drained", "dismiss"), (2, "proxy#1 ended", "exit")],
    );
}

#[test]
fn stop_is_cut_short_and_keeps_nobody_waiting() {
    let killed = "tell restarting, kill proxy#1, kill vrrp#1";
    check(
        SERVING,
        &[
            (0, "stop", "resign"),
            (1, "stop", killed),
            (2, "stop", ""),
            (3, "vrrp#1 ended", ""),
            (4, "proxy#1 ended", "exit"),
        ],
    );
    // The dead are not waited for, nor started again.
    check(
        SERVING,
        &[(0, "stop", "resign"), (1, "vrrp#1 ended", "drain"), (2, "proxy#1 ended", "dismiss, exit")],
    );
    check(
        SERVING,
        &[
            (0, "stop", "resign"),
            (1, "proxy#1 ended", "tell restarting"),
            (2, "vrrp#1 ended", "dismiss, exit"),
        ],
    );
    // A role that waits for its restart at that moment never comes.
    check(
        SERVING,
        &[
            (10, "proxy#1 ended", "tell restarting, spawn proxy#2, prepare proxy 1"),
            (11, "proxy#2 ended", "tell pausing"),
            (12, "stop", "resign"),
            (200, "tick", ""),
            (201, "vrrp#1 resigned", "dismiss"),
            (202, "vrrp#1 ended", "exit"),
        ],
    );
    // An edit in flight is given up.
    check(
        SERVING,
        &[
            (10, "candidate 2", "prepare proxy 2, prepare vrrp 2"),
            (11, "stop", "abort proxy 2, abort vrrp 2, outcome 2 refused, resign"),
            (12, "candidate 3", "outcome 3 refused"),
        ],
    );
    // Who is about to start is not told to: it would take the addresses that have just been handed over.
    check(
        SERVING,
        &[
            (10, "vrrp#1 ended", "spawn vrrp#2, tell serving#1, prepare vrrp 1"),
            (10, "proxy#1 ended", "tell restarting, spawn proxy#2, prepare proxy 1"),
            (11, "stop", "resign"),
            (12, "vrrp#2 prepared 1", ""),
            (13, "proxy#2 prepared 1", ""),
            (14, "vrrp#2 resigned", "drain"),
            (15, "proxy#2 drained", "dismiss"),
        ],
    );
    // Before anything was started.
    check(&[], &[(0, "stop", "dismiss, exit")]);
}

#[test]
fn the_next_deadline_says_why_it_is_there() {
    let why = |plan: &Plan| plan.poll_timeout().map(|(_, why)| why);
    let plan = check(&[], &[]);
    assert_eq!(why(&plan), None);
    let plan = check(SERVING, &[]);
    assert_eq!(why(&plan), Some("heartbeats are counted"));
    let plan = check(
        WITHOUT_VRRP,
        &[(1, "proxy#1 ended", "spawn proxy#2, prepare proxy 1"), (2, "proxy#2 ended", "")],
    );
    assert_eq!(why(&plan), Some("a role waits for its restart"));
}
