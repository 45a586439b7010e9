//! `vipgate role`: what PID 1 starts. Hidden: there is nothing in it for a person.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::exit;
use crate::daemon::role::{self, Filter};

/// Play a role for the vipgate that started this process
#[derive(Args)]
pub(super) struct Arguments {
    #[arg(value_enum)]
    role: Role,
    /// Leave out the seccomp filter: valgrind, which counts instructions, cannot install one
    #[arg(long)]
    without_filter: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Config,
    Proxy,
    Vrrp,
    Runner,
}

impl Arguments {
    pub(super) fn run(self) -> ExitCode {
        let role = match self.role {
            Role::Config => role::Role::Config,
            Role::Proxy => role::Role::Proxy,
            Role::Vrrp => role::Role::Vrrp,
            Role::Runner => role::Role::Runner,
        };
        let filter = if self.without_filter { Filter::LeftOut } else { Filter::Installed };
        match role::play_with(role, filter) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("vipgate role {}: {error}; roles are started by vipgate run", role.name());
                exit::USAGE.into()
            }
        }
    }
}
