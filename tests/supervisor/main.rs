//! PID 1 with processes that are told to misbehave. This program is the supervisor and, started again by it as
//! `role proxy` and `role vrrp`, also its roles; without such arguments it runs the tests.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test starts processes, reads files and clocks, and fails by panicking"
)]

mod cases;
mod drill;
mod edits;
mod hooks;
mod node;
mod posts;
mod roles;
mod runner;

use std::process::ExitCode;

use vipgate::config::built_in;
use vipgate::daemon::role::{self, Role};
use vipgate::daemon::supervisor::{self, Settings};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.get(1..).unwrap_or_default() {
        ["run", config, control_suffix] => {
            let settings = Settings {
                config: config.into(),
                built_in: built_in::document(&|name| std::env::var(name).ok()),
                control_suffix: (*control_suffix).into(),
            };
            match supervisor::run(settings) {
                Ok(()) => ExitCode::SUCCESS,
                Err(reason) => {
                    eprintln!("{reason}");
                    ExitCode::FAILURE
                }
            }
        }
        ["role", "config"] => role::play(Role::Config).unwrap(),
        ["role", "proxy"] => roles::proxy(),
        ["role", "vrrp"] => roles::vrrp(),
        // There is nothing to make up: this is the real one.
        ["role", "runner"] => role::play(Role::Runner).unwrap(),
        filters => runner::run(cases::ALL, filters),
    }
}
