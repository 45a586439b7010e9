//! Runs checks one after the other and says of each: ok, FAILED or skipped, with its figures.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::lab::Lab;
use crate::shell::Trouble;
use crate::stack::{Kind, Options, Stack};
use crate::stillness::{self, STOOD_STILL};

/// So often a check of a pair is repeated that has failed while the whole machine stood still.
const REPEATED_AT_MOST: usize = 2;

/// What a check found out; `Err`: it could not find out.
pub(crate) type Verdict = Result<Finding, Trouble>;

/// Figures either way.
pub(crate) enum Finding {
    Holds(String),
    Broken(String),
}

impl Finding {
    /// `wrong`: each demand that was not met, in words.
    pub(crate) fn of(figures: String, wrong: Vec<String>) -> Self {
        if wrong.is_empty() {
            Self::Holds(figures)
        } else {
            Self::Broken(format!("{}; {figures}", wrong.join("; ")))
        }
    }
}

pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) on: On,
}

pub(crate) enum On {
    /// No stack: files of the repository only.
    Files(fn() -> Verdict),
    /// No stack of the lab's: brings its own up and down.
    Engine(fn(&mut Lab) -> Verdict),
    /// A stack of this kind; the check leaves it as it found it.
    Pair { preempt: bool, check: fn(&mut Stack) -> Verdict },
    /// The same on the tutorial stack, where it must fail: else it shows nothing.
    Control(fn(&mut Stack) -> Verdict),
    /// Only when asked for by name together with `--ignored`.
    Bench(fn(&mut Lab) -> Verdict),
}

pub(crate) fn run(checks: &[Check], arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    let words: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let asked = |flag: &str| arguments.iter().any(|a| a == flag);
    let chosen: Vec<&Check> = checks
        .iter()
        .filter(|check| matches!(check.on, On::Bench(_)) == asked("--ignored"))
        .filter(|check| words.is_empty() || words.iter().any(|word| check.name.contains(word.as_str())))
        .collect();
    if asked("--list") {
        chosen.iter().for_each(|check| println!("{}: test", check.name));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} checks", chosen.len());
    let started = Instant::now();
    let missing = Lab::missing();
    if missing.is_none() {
        Lab::sweep();
        stillness::watch();
    }
    let (controls, alone): (Vec<&Check>, Vec<&Check>) =
        chosen.into_iter().partition(|check| matches!(check.on, On::Control(_)));
    let mut ends = run_in_turn(alone.into_iter(), missing.as_deref());
    ends.extend(run_in_lanes(controls, missing.as_deref()));
    let count = |wanted: End| ends.iter().filter(|end| **end == wanted).count();
    let failed = count(End::Failed);
    println!(
        "\ntest result: {}. {} passed; {failed} failed; {} skipped; finished in {:.1} s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        count(End::Passed),
        count(End::Skipped),
        started.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Passed,
    Failed,
    Skipped,
}

fn run_in_turn<'a>(checks: impl Iterator<Item = &'a Check>, missing: Option<&str>) -> Vec<End> {
    let mut lab = Lab::default();
    checks.map(|check| run_one(check, &mut lab, missing)).collect()
}

/// Controls measure nothing finely and mostly wait: several at once, each on a stack of its own.
fn run_in_lanes(checks: Vec<&Check>, missing: Option<&str>) -> Vec<End> {
    const LANES: usize = 3;
    if missing.is_none()
        && !checks.is_empty()
        && let Err(trouble) = Lab::default().build(Kind::Tutorial)
    {
        println!("the tutorial stack cannot be built: {trouble}");
        return vec![End::Failed];
    }
    let queue = Mutex::new(checks.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    std::thread::scope(|scope| {
        let lanes: Vec<_> =
            (0..LANES).map(|_| scope.spawn(|| run_in_turn(std::iter::from_fn(next), missing))).collect();
        lanes.into_iter().flat_map(|lane| lane.join().unwrap_or_else(|_| vec![End::Failed])).collect()
    })
}

fn run_one(check: &Check, lab: &mut Lab, missing: Option<&str>) -> End {
    if let (Some(why), false) = (missing, matches!(check.on, On::Files(_))) {
        println!("{:<44} skipped: {why}", check.name);
        return End::Skipped;
    }
    let mut repeated = 0;
    loop {
        let begun = Instant::now();
        let verdict = catch_unwind(AssertUnwindSafe(|| judge(check, lab)))
            .unwrap_or_else(|_| Err("panicked, see above".to_owned()));
        let (seconds, still) = (begun.elapsed().as_secs_f64(), stillness::longest());
        let trouble = match verdict {
            Ok(figures) => {
                println!("{:<44} ok      {figures} [{seconds:.1} s]", check.name);
                return End::Passed;
            }
            Err(trouble) => trouble.replace('\n', "\n    ") + &lab.last_words(),
        };
        // Whatever state it left is nobody else's.
        lab.tear_down();
        if !matches!(check.on, On::Pair { .. }) || still < STOOD_STILL || repeated == REPEATED_AT_MOST {
            println!("{:<44} FAILED  [{seconds:.1} s] {trouble}", check.name);
            return End::Failed;
        }
        repeated += 1;
        println!(
            "{:<44} again   [{seconds:.1} s] the machine stood still for {} ms: {trouble}",
            check.name,
            still.as_millis()
        );
    }
}

fn judge(check: &Check, lab: &mut Lab) -> Result<String, Trouble> {
    let finding = match check.on {
        On::Files(check) => check(),
        On::Engine(check) | On::Bench(check) => check(lab),
        On::Pair { preempt, check } => {
            let stack = lab.settled(Options { kind: Kind::Vipgate, preempt })?;
            // Building and starting it is no part of the check.
            stillness::longest();
            check(stack)
        }
        On::Control(check) => {
            let finding = check(lab.settled(Options { kind: Kind::Tutorial, preempt: true })?);
            // It may leave a node that never comes back; the next control begins anew.
            lab.tear_down();
            return match finding? {
                Finding::Holds(figures) => {
                    Err(format!("holds on the tutorial stack, so it shows nothing: {figures}"))
                }
                Finding::Broken(trouble) => Ok(format!("broken there, as it must be: {trouble}")),
            };
        }
    };
    match finding? {
        Finding::Holds(figures) => Ok(figures),
        Finding::Broken(trouble) => Err(trouble),
    }
}
