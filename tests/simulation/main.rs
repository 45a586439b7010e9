//! Two to five virtual routers on a simulated LAN, under virtual time, from one seed: loss, delay, duplication, freezes,
//! lateness, suspensions, crashes, partitions, filters, broken links, lost interfaces, failing proxies, handovers, clocks
//! that differ. After every step the oracle checks what must hold; then everything heals, and they must agree.
//!
//! `SEED=n` replays one run with its trace, `SEEDS=n` sets how many are run.
#![allow(
    clippy::disallowed_methods,
    reason = "the one base instant of the virtual clocks, and the seed to replay"
)]
#![allow(clippy::expect_used, reason = "a plan's own numbers are in range")]

mod client;
mod clock;
mod healing;
mod lan;
mod letters;
mod link;
mod node;
mod oracle;
mod plan;
mod random;
mod scenarios;
mod world;

use std::time::Instant;

use plan::Plan;
use random::Random;
use world::{Summary, World};

/// Runs of the default `cargo test`.
const SEEDS: u64 = 256;

fn run(seed: u64, base: Instant, loud: bool) -> Result<Summary, String> {
    let mut random = Random::new(seed);
    let plan = Plan::from_seed(&mut random);
    let healed_at = plan.healed_at;
    let mut world = World::new(plan, random, base, loud);
    world.run_until(healed_at)?;
    world.converge()?;
    Ok(world.summary)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn every_seed_keeps_the_invariants_and_converges() {
    let base = Instant::now();
    if let Some(seed) = number("SEED") {
        let summary = run(seed, base, true).unwrap_or_else(|report| panic!("seed {seed}:\n{report}"));
        println!("seed {seed}: {summary:?}");
        return;
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let workers = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let results: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    let mine = (0..seeds).filter(|seed| seed % workers == worker);
                    mine.map(|seed| (seed, run(seed, base, false))).collect::<Vec<_>>()
                })
            })
            .collect();
        handles.into_iter().flat_map(|handle| handle.join().expect("a run panicked")).collect()
    });
    let failed: Vec<_> =
        results.iter().filter_map(|(seed, result)| Some((seed, result.as_ref().err()?))).collect();
    if let Some((seed, report)) = failed.first() {
        let all: Vec<_> = failed.iter().map(|(seed, _)| seed).collect();
        panic!(
            "{report}\nseed {seed}; replay with SEED={seed} cargo test --test simulation\nfailed seeds: {all:?}"
        );
    }
    let total =
        results.iter().filter_map(|(_, result)| result.as_ref().ok()).fold(Summary::default(), |sum, run| {
            Summary {
                steps: sum.steps + run.steps,
                takeovers: sum.takeovers + run.takeovers,
                thawed_out: sum.thawed_out + run.thawed_out,
                resigned: sum.resigned + run.resigned,
                broadcasts: sum.broadcasts + run.broadcasts,
                longest_overlap: sum.longest_overlap.max(run.longest_overlap),
                asked: sum.asked + run.asked,
                answered: sum.answered + run.answered,
                gone: sum.gone + run.gone,
                relied: sum.relied + run.relied,
            }
        });
    println!("{seeds} seeds: {total:?}");
    // A simulation in which nothing happens proves nothing.
    let often = [total.takeovers / 8, total.thawed_out, total.resigned, total.asked, total.answered];
    let seldom = [total.gone, total.relied];
    assert!(
        often.iter().all(|happened| *happened > seeds / 8)
            && seldom.iter().all(|happened| *happened > seeds / 40),
        "{total:?}"
    );
}
