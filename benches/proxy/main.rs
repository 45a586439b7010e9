//! What proxying costs: vipgate beside nginx and HAProxy in turn, CPU per request as a ratio to the better of the two.
//! Nothing is demanded of the machine: it says which goals are met, and fails only where it could not measure.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark starts processes, reads clocks and files, and talks to sockets"
)]

mod arguments;
mod callgrind;
mod client;
mod measure;
mod origin;
mod parent;
mod process;
mod programs;
mod request;
mod rows;
mod syscalls;
mod table;
mod wrk;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use arguments::Arguments;
use measure::Bench;

fn main() -> ExitCode {
    let arguments = match arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(text) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
    };
    let folder = folder();
    let result = measure_all(&arguments, &folder);
    if arguments.keep {
        println!("Configurations, logs and profiles: {}", folder.display());
    } else {
        // In memory, and of no use any more.
        let _ = std::fs::remove_dir_all(&folder);
    }
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// In memory where there is such a place, under a name of its own.
fn folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    base.join(format!("vipgate-bench-{}", std::process::id()))
}

/// Whether everything could be measured.
fn measure_all(arguments: &Arguments, folder: &Path) -> io::Result<bool> {
    std::fs::create_dir_all(folder)?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let binary = arguments.binary.clone().map_or_else(build, Ok)?;
    println!("{}", isolate());
    let origin = origin::start()?;
    let bench = Bench { arguments, origin: &origin, binary, folder: folder.to_owned() };
    println!(
        "CPU per request (schedstat of all of a program's threads / requests that the load counted); {} rounds of {} s",
        arguments.rounds, arguments.seconds
    );
    let (mut missed, mut unmeasured) = (vec![], vec![]);
    for row in &arguments.rows {
        match bench.row(row) {
            Ok(columns) => {
                let verdict = table::print(row, &columns);
                missed.extend(
                    verdict
                        .filter(|v| v.missed)
                        .map(|v| format!("{} ({:.2} > {:.2})", row.name, v.ratio, row.must)),
                );
            }
            Err(error) => {
                println!("\n{}: NOT MEASURED: {error}", row.name);
                unmeasured.push(row.name);
            }
        }
    }
    println!();
    match missed.as_slice() {
        [] if unmeasured.len() == arguments.rows.len() => (),
        [] => println!("No must is missed in the rows that were measured."),
        missed => println!("MUST MISSED: {}", missed.join(", ")),
    }
    if !unmeasured.is_empty() {
        println!("NOT MEASURED: {}", unmeasured.join(", "));
    }
    Ok(unmeasured.is_empty())
}

/// Goes into a network of its own, before there is a second thread: the packet filters of the machine cost everybody the
/// same, which moves all ratios towards 1. Says where it is then, and how the kernel paces what is sent there.
fn isolate() -> String {
    let isolated = unshare(CloneFlags::CLONE_NEWNET)
        .map_err(io::Error::from)
        .and_then(|()| Command::new("ip").args(["link", "set", "lo", "up"]).status());
    let place = match isolated {
        Ok(_) => "in a network namespace without packet filters".to_owned(),
        Err(error) => format!("in the machine's network, with its packet filters ({error})"),
    };
    let control = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    format!("{place}, congestion control {}", control.trim())
}

/// The binary as the image has it.
fn build() -> io::Result<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !Command::new(top.join("docker/build")).status()?.success() {
        return Err(io::Error::other("docker/build failed"));
    }
    Ok(top.join("target/image/vipgate"))
}
