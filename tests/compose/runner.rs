//! Runs checks one after the other and says of each: ok, FAILED or skipped, with its figures.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use crate::lab::Lab;
use crate::shell::Trouble;
use crate::stack::{Kind, Options, Stack};

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
    let mut lab = Lab::default();
    let missing = Lab::missing();
    if missing.is_none() {
        Lab::sweep();
    }
    let (mut failed, mut skipped) = (Vec::new(), 0);
    for check in &chosen {
        let begun = Instant::now();
        if let (Some(why), false) = (&missing, matches!(check.on, On::Files(_))) {
            println!("{:<44} skipped: {why}", check.name);
            skipped += 1;
            continue;
        }
        let verdict = catch_unwind(AssertUnwindSafe(|| judge(check, &mut lab)))
            .unwrap_or_else(|_| Err("panicked, see above".to_owned()));
        let seconds = begun.elapsed().as_secs_f64();
        match verdict {
            Ok(figures) => println!("{:<44} ok      {figures} [{seconds:.1} s]", check.name),
            Err(trouble) => {
                println!("{:<44} FAILED  {trouble} [{seconds:.1} s]", check.name);
                lab.tear_down();
                failed.push(check.name);
            }
        }
    }
    drop(lab);
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    let passed = chosen.len() - failed.len() - skipped;
    println!(
        "\ntest result: {result}. {passed} passed; {} failed; {skipped} skipped; finished in {:.1} s\n",
        failed.len(),
        started.elapsed().as_secs_f64()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn judge(check: &Check, lab: &mut Lab) -> Result<String, Trouble> {
    let finding = match check.on {
        On::Files(check) => check(),
        On::Engine(check) | On::Bench(check) => check(lab),
        On::Pair { preempt, check } => check(lab.settled(Options { kind: Kind::Vipgate, preempt })?),
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
