//! Docker Compose end to end: every fault on the real stack, with its figures; and the same checks on the tutorial
//! stack (nginx, keepalived and haproxy as people copy them), where they must fail.
//!
//! `cargo test --test compose -- [WORD..]` runs the checks whose names contain a word. Needs root, a Docker engine
//! and iproute2; without them every check reports itself skipped. Stacks have names, subnet, vrid and port of their
//! own, drawn at random, and run beside a `make up`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "tests touch the real world and end at the first surprise"
)]

mod checks;
mod client;
mod figures;
mod lab;
mod probe;
mod runner;
mod shell;
mod stack;
mod stillness;
#[path = "../http/stopped_thread.rs"]
mod stopped_thread;

use std::process::ExitCode;

fn main() -> ExitCode {
    runner::run(&checks::all(), std::env::args().skip(1))
}
