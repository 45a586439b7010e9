//! Numbered random cases for the targets that fuzz: one that panics or hangs is named with what repeats it. Knows
//! nothing of what is fuzzed.
//!
//! `FUZZ_ITERATIONS` says how many, `SEED` with which number to begin; `SEED` alone is one case.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

#[allow(dead_code, reason = "each target draws what it needs")]
#[path = "../simulation/random.rs"]
mod random;
pub(crate) use random::Random;

/// For one case: on any machine, more than this is a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// As many cases as the environment says, or else `default`.
#[track_caller]
pub(crate) fn each(default: u64, test: impl Fn(&mut Random) + Send + Sync + 'static) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("SEED");
    let first = seed.unwrap_or(1);
    let count = number("FUZZ_ITERATIONS").unwrap_or(if seed.is_some() { 1 } else { default });
    watch((first..first + count).map(|seed| (format!("SEED={seed}"), seed)), move |seed| {
        test(&mut Random::new(seed));
    });
}

/// Checks one named thing after the other.
#[track_caller]
pub(crate) fn watch<T>(
    cases: impl Iterator<Item = (String, T)> + Send + 'static,
    check: impl Fn(T) + Send + 'static,
) {
    let (progress, watchdog) = mpsc::sync_channel::<String>(1);
    let worker = std::thread::spawn(move || {
        for (name, case) in cases {
            if progress.send(name.clone()).is_err() || catch_unwind(AssertUnwindSafe(|| check(case))).is_err()
            {
                return Err(name);
            }
        }
        Ok(())
    });
    let mut last = String::new();
    loop {
        match watchdog.recv_timeout(PATIENCE) {
            Ok(started) => last = started,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("hangs: {last}"),
        }
    }
    if let Err(name) = worker.join().unwrap() {
        panic!("panics: {name}");
    }
}
