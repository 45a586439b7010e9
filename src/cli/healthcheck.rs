//! `vipgate healthcheck`: for Docker's HEALTHCHECK and Compose's `depends_on`. One line, exit 0 or 1.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::environment::Environment;
use super::output::print;
use super::status::running_status;
use crate::link::VrrpState;

/// Exit 0 if this node serves, 1 if not
#[derive(Args)]
pub(super) struct Arguments {
    /// Also demand that a virtual router of this node has this role
    #[arg(long, value_enum, default_value_t = Role::Any)]
    role: Role,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Master,
    Backup,
    Any,
}

impl Arguments {
    pub(super) fn run(self, environment: &Environment) -> ExitCode {
        let wanted = match self.role {
            Role::Master => Some(VrrpState::Master),
            Role::Backup => Some(VrrpState::Backup),
            Role::Any => None,
        };
        match running_status(environment).and_then(|status| status.health(wanted)) {
            Ok(why) => print(&(why + "\n"), ExitCode::SUCCESS),
            Err(why) => print(&(why + "\n"), ExitCode::FAILURE),
        }
    }
}
