//! User instructions per proxied GET of 1 KiB, counted by callgrind on the release build as the image has it: a number
//! that no other load on the machine moves, and so one that can be held.
//!
//! `cargo test --test instructions` prints it. Reported as skipped without valgrind, and where the release build is not the one
//! that the figure belongs to (x86-64, musl).
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test starts processes, reads clocks and files, and talks to sockets"
)]

#[allow(dead_code, reason = "the benchmark needs the rest")]
#[path = "../../benches/proxy/callgrind.rs"]
mod callgrind;
#[allow(dead_code, reason = "the benchmark needs the rest")]
#[path = "../../benches/proxy/client.rs"]
mod client;
#[allow(dead_code, reason = "the benchmark needs the rest")]
#[path = "../../benches/proxy/origin.rs"]
mod origin;
#[allow(dead_code, reason = "the benchmark needs the rest")]
#[path = "../../benches/proxy/parent.rs"]
mod parent;
#[allow(dead_code, reason = "the benchmark needs the rest")]
#[path = "../../benches/proxy/process.rs"]
mod process;
#[allow(dead_code, reason = "the benchmark needs the rest")]
#[path = "../../benches/proxy/programs.rs"]
mod programs;
#[allow(dead_code, reason = "the benchmark needs the rest")]
#[path = "../../benches/proxy/request.rs"]
mod request;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use process::Core;
use programs::{Program, Setting};

/// What a GET costs. To renew: put the number that this test prints here, in the commit that changed it, and say there
/// why it costs more or less. (x86-64, musl, valgrind 3.19; runs differ by 1 %, as requests meet in a turn or not.)
const COMMITTED: u64 = 13_971;
/// Percent. Below the smallest change worth a look, above what another compiler of the same year does.
const TOLERANCE: u64 = 5;
/// The figure to reach, and the one to aim for.
const MUST: u64 = 16_000;
const GOAL: u64 = 12_000;

const NAME: &str = "user_instructions_per_get";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    if words.iter().any(|word| word == "--list") {
        println!("{NAME}: test");
        return ExitCode::SUCCESS;
    }
    if !filters.is_empty() && !filters.iter().any(|filter| NAME.contains(filter.as_str())) {
        return ExitCode::SUCCESS;
    }
    match count() {
        Ok(Counted::Instructions(count)) => judge(count),
        Ok(Counted::Skipped(why)) => {
            println!("test {NAME} ... skipped: {why}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("test {NAME} ... FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn judge(count: u64) -> ExitCode {
    let word = if count <= GOAL {
        "goal reached"
    } else if count <= MUST {
        "must reached"
    } else {
        "must not reached"
    };
    let change = (count as f64 / COMMITTED as f64 - 1.0) * 100.0;
    let figures =
        format!("{count} ({change:+.1} % of the committed {COMMITTED}; must {MUST}, goal {GOAL}: {word})");
    if count * 100 > COMMITTED * (100 + TOLERANCE) {
        println!("test {NAME} ... FAILED: {figures}");
        return ExitCode::FAILURE;
    }
    println!("test {NAME} ... ok: {figures}");
    if count * 100 < COMMITTED * (100 - TOLERANCE) {
        println!("    That is a gain worth keeping: write {count} into COMMITTED.");
    }
    ExitCode::SUCCESS
}

enum Counted {
    Instructions(u64),
    Skipped(&'static str),
}

fn count() -> io::Result<Counted> {
    const NO_VALGRIND: Counted = Counted::Skipped("valgrind is not installed");
    if cfg!(not(target_arch = "x86_64")) {
        return Ok(Counted::Skipped("the figure is one of x86-64"));
    }
    if programs::installed("valgrind").is_none() {
        return Ok(NO_VALGRIND);
    }
    let Some(binary) = build()? else {
        return Ok(Counted::Skipped("the figure is one of musl, for which Rust cannot build here"));
    };
    let origin = origin::start()?;
    let folder = std::env::temp_dir().join(format!("vipgate-instructions-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let setting = Setting { origin: origin.address, workers: 1, log: false, core: Core::Any };
    let program = Program::Vipgate { binary, name: "vipgate".into() };
    let count = callgrind::per_request(&program, &setting, &folder);
    // Nothing in it is of use to anybody but this test.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(count?.map_or(NO_VALGRIND, Counted::Instructions))
}

/// The binary as the image has it; `None`: with another libc.
fn build() -> io::Result<Option<PathBuf>> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(top.join("docker/build")).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("docker/build failed: {said}")));
    }
    let other_libc = String::from_utf8_lossy(&output.stdout).contains("linking glibc");
    Ok((!other_libc).then(|| top.join("target/image/vipgate")))
}
