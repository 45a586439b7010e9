//! A test runner with libtest's manners, since the roles need this program's own `main`.

use std::panic;
use std::process::ExitCode;
use std::time::Instant;

/// What a test returns: nothing, or why it cannot run here.
pub(crate) type Outcome = Result<(), Skipped>;

/// Its name, and what it does.
pub(crate) type Case = (&'static str, fn() -> Outcome);

pub(crate) struct Skipped(pub(crate) &'static str);

pub(crate) fn run(cases: &[Case], arguments: &[&str]) -> ExitCode {
    let listing = arguments.contains(&"--list");
    let exact = arguments.contains(&"--exact");
    let filters: Vec<_> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let chosen = cases.iter().filter(|(name, _)| {
        filters.is_empty() || filters.iter().any(|f| if exact { name == *f } else { name.contains(**f) })
    });
    let mut failed = vec![];
    let mut passed = 0;
    for (name, case) in chosen {
        if listing {
            println!("{name}: test");
            continue;
        }
        let start = Instant::now();
        let outcome = panic::catch_unwind(case);
        let took = start.elapsed();
        match outcome {
            Ok(Ok(())) => {
                passed += 1;
                println!("test {name} ... ok ({took:.1?})");
            }
            Ok(Err(Skipped(why))) => println!("test {name} ... skipped: {why}"),
            Err(_) => {
                failed.push(*name);
                println!("test {name} ... FAILED ({took:.1?})");
            }
        }
    }
    if listing {
        return ExitCode::SUCCESS;
    }
    println!("\n{passed} passed; {} failed: {}", failed.len(), failed.join(", "));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
