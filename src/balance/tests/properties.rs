//! What holds of a balancer whatever happens.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{ONE, peer};
use crate::balance::{Algorithm, Balancer, Outcome, Peer, PeerId, PeerSettings, Tried};

/// Any sequence will do, so long as it is the same each time.
fn random() -> impl FnMut() -> u64 {
    let mut state = 1u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 33
    }
}

fn algorithms() -> impl Strategy<Value = Algorithm> {
    prop::sample::select(vec![
        Algorithm::RoundRobin,
        Algorithm::LeastConn,
        Algorithm::Random,
        Algorithm::IpHash,
    ])
}

fn settings() -> impl Strategy<Value = PeerSettings> {
    (0..20u16, any::<bool>(), 0..8u8, 0..3u32, 0..4u32, 0..4_000u64).prop_map(
        |(weight, backup, down, max_conns, max_fails, fail_timeout)| PeerSettings {
            weight,
            backup,
            down: down == 0,
            max_conns,
            max_fails,
            fail_timeout: Duration::from_millis(fail_timeout),
        },
    )
}

#[derive(Clone, Debug)]
enum Event {
    Pick { usable: u16 },
    Retry { which: usize },
    End { which: usize, outcome: u8 },
    Pass { milliseconds: u64 },
    Replace { peers: Vec<(usize, PeerSettings)> },
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => any::<u16>().prop_map(|usable| Event::Pick { usable }),
        4 => any::<usize>().prop_map(|which| Event::Retry { which }),
        8 => (any::<usize>(), 0..3u8).prop_map(|(which, outcome)| Event::End { which, outcome }),
        3 => (0..3_000u64).prop_map(|milliseconds| Event::Pass { milliseconds }),
        1 => vec((0..12usize, settings()), 0..8).prop_map(|peers| Event::Replace { peers }),
    ]
}

proptest! {
    /// The connections of every peer are those that began and did not end, whatever else came and went; no peer is
    /// tried twice by a request, nor one that is down, full or unusable.
    #[test]
    fn connections_are_what_is_under_way(
        algorithm in algorithms(),
        first in vec(settings(), 0..8),
        events in vec(events(), 0..200),
    ) {
        let mut now = Instant::now();
        let mut balancer =
            Balancer::new(algorithm, first.iter().enumerate().map(|(n, s)| peer(n, *s)).collect());
        let mut open = Vec::new();
        let mut random = random();
        for event in events {
            let (usable, request) = match event {
                Event::Pick { usable } => (usable, Some((Tried::default(), Vec::new()))),
                Event::Retry { which } if !open.is_empty() => {
                    let (id, tried, before) = open.swap_remove(which % open.len());
                    balancer.end(id, Outcome::Failure, now);
                    (u16::MAX, Some((tried, before)))
                }
                Event::End { which, outcome } if !open.is_empty() => {
                    let (id, ..) = open.swap_remove(which % open.len());
                    let outcome = [Outcome::Success, Outcome::Failure, Outcome::Neutral][usize::from(outcome)];
                    balancer.end(id, outcome, now);
                    (0, None)
                }
                Event::Retry { .. } | Event::End { .. } => (0, None),
                Event::Pass { milliseconds } => {
                    now += Duration::from_millis(milliseconds);
                    (0, None)
                }
                Event::Replace { peers } => {
                    // A set: the same address at the same server only once.
                    let peers: HashMap<_, _> = peers.into_iter().collect();
                    balancer.replace(peers.into_iter().map(|(n, s)| peer(n, s)).collect());
                    (0, None)
                }
            };
            if let Some((mut tried, mut before)) = request {
                let is_usable = |peer: &Peer| usable & 1 << peer.server != 0;
                let another = balancer.has_another(now, &tried, is_usable);
                let picked = balancer.pick(now, &mut tried, Some([10, 1, 1, 1].into()), &mut random, is_usable);
                prop_assert_eq!(another, picked.is_some());
                if let Some(id) = picked {
                    let found = balancer.peer(id).unwrap().clone();
                    let connections = open.iter().filter(|(other, ..)| *other == id).count();
                    prop_assert!(is_usable(&found));
                    prop_assert!(!found.settings.down);
                    let max = found.settings.max_conns as usize;
                    prop_assert!(max == 0 || connections < max);
                    prop_assert!(!before.contains(&id), "twice");
                    before.push(id);
                    balancer.begin(id);
                    open.push((id, tried, before));
                }
            }
            for (peer, standing) in balancer.standings() {
                let expect = open.iter().filter(|(id, ..)| balancer.peer(*id) == Some(peer)).count();
                prop_assert_eq!(standing.connections as usize, expect);
            }
        }
    }

    /// From any moment on, as many requests as the weights add up to give each peer as many as its weight.
    #[test]
    fn shares_are_exact_over_a_round(weights in vec(1..50u16, 1..12), skip in 0..200usize, tie in any::<bool>()) {
        let algorithm = if tie { Algorithm::LeastConn } else { Algorithm::RoundRobin };
        let settings = |w: &u16| PeerSettings { weight: *w, ..ONE };
        let peers = weights.iter().enumerate().map(|(n, w)| peer(n, settings(w))).collect();
        let mut balancer = Balancer::new(algorithm, peers);
        let now = Instant::now();
        let mut next = || {
            let id = balancer.pick(now, &mut Tried::default(), None, || 0, |_| true).unwrap();
            balancer.peer(id).unwrap().server
        };
        for _ in 0..skip {
            next();
        }
        let mut counts = vec![0; weights.len()];
        for _ in 0..weights.iter().map(|w| u32::from(*w)).sum::<u32>() {
            counts[next()] += 1;
        }
        prop_assert_eq!(counts, weights);
    }

    /// Who fails gets one request at a time, more than `fail_timeout` after the last one and after the last failure,
    /// however long that request takes; and gets it as soon as it is its turn after that.
    #[test]
    fn an_ejected_peer_gets_one_probe_per_window(
        algorithm in algorithms(),
        others in 1..4usize,
        seconds in 1..5u64,
        pauses in vec((0..400u64, 0..30usize), 100..400),
    ) {
        let bad = PeerSettings { fail_timeout: Duration::from_secs(seconds), ..ONE };
        let peers = (0..=others).map(|n| peer(n, if n == 0 { bad } else { ONE })).collect();
        let mut balancer = Balancer::new(algorithm, peers);
        let start = Instant::now();
        let mut now = start;
        let mut random = random();
        // Probes under way, and the request with which each ends.
        let mut open: Vec<(PeerId, usize)> = Vec::new();
        let mut checked = None;
        let mut turns = 0;
        for (n, (pause, lasts)) in pauses.into_iter().enumerate() {
            // Seconds are those of the balancer, whose first began with the first request.
            now += Duration::from_millis(if n == 0 { 0 } else { pause });
            let second = now.duration_since(start).as_secs();
            open.retain(|(id, until)| {
                if *until == n {
                    balancer.end(*id, Outcome::Failure, now);
                    checked = Some(second);
                }
                *until > n
            });
            let key = [10, 1, n as u8, 1].into();
            let id = balancer.pick(now, &mut Tried::default(), Some(key), &mut random, |_| true).unwrap();
            balancer.begin(id);
            let due = checked.is_none_or(|last| second - last > seconds);
            if balancer.peer(id).unwrap().server == 0 {
                prop_assert!(due, "{second} {checked:?}");
                // Nothing is known of it before its first failure.
                match checked {
                    None => balancer.end(id, Outcome::Failure, now),
                    Some(_) => open.push((id, n + 1 + lasts)),
                }
                checked = Some(second);
                turns = 0;
            } else {
                balancer.end(id, Outcome::Success, now);
                turns = if due { turns + 1 } else { 0 };
                // The first of them only gives it back its weight.
                prop_assert!(algorithm != Algorithm::RoundRobin || turns <= 2 * (others + 1), "{turns}");
            }
        }
    }

    /// Names come and go for as long as the proxy runs.
    #[test]
    fn whoever_comes_gets_its_share_at_once(changes in vec((0..5usize, 0..9usize), 1..300)) {
        let set = |skipped: usize| (0..6).filter(move |n| *n != skipped).map(|n| peer(n, ONE));
        let mut balancer = Balancer::new(Algorithm::RoundRobin, set(0).collect());
        let now = Instant::now();
        let next = |balancer: &mut Balancer| {
            let id = balancer.pick(now, &mut Tried::default(), None, || 0, |_| true).unwrap();
            balancer.peer(id).unwrap().server
        };
        for (skipped, requests) in changes {
            balancer.replace(set(skipped).collect());
            for _ in 0..requests {
                next(&mut balancer);
            }
        }
        balancer.replace(set(5).collect());
        balancer.replace((0..6).map(|n| peer(n, ONE)).collect());
        let mut counts = [0; 6];
        for _ in 0..60 {
            counts[next(&mut balancer)] += 1;
        }
        prop_assert!(counts.iter().all(|c| (9..=11).contains(c)), "{counts:?}");
    }
}
