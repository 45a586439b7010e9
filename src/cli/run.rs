//! `vipgate run`: process 1 of the container.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::environment::Environment;
use super::exit;
use crate::config::built_in;
use crate::daemon::supervisor::{self, GiveUp, Settings};

const DEFAULT_CONFIG: &str = "/etc/vipgate";

/// Run this node until SIGTERM
///
/// SIGHUP reads the configuration again at once; an edit is noticed within two seconds anyway.
#[derive(Args)]
pub(super) struct Arguments {
    /// A directory with a vipgate.yaml, or a file [env: VIPGATE_CONFIG] [default: /etc/vipgate]
    ///
    /// Where neither is named and nothing is there, VIPGATE_UPSTREAM=app:80 makes a node that forwards to app.
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn run(self, environment: &Environment) -> ExitCode {
        let named = environment.value("VIPGATE_CONFIG").map(PathBuf::from);
        let named = self.config.or(named);
        let variables = |name: &str| environment.variable(name).map(str::to_owned);
        let settings = Settings {
            // A file that somebody names has to be there.
            built_in: if named.is_none() { built_in::document(&variables) } else { None },
            config: named.unwrap_or_else(|| DEFAULT_CONFIG.into()),
            control_suffix: environment.control_suffix().to_owned(),
        };
        let Err(reason) = supervisor::run(settings) else { return ExitCode::SUCCESS };
        eprintln!("vipgate: {reason}");
        ExitCode::from(match reason {
            GiveUp::Config(_) => exit::CONFIG,
            GiveUp::Permission(_) => exit::PERMISSION,
            GiveUp::Bug(_) => exit::BUG,
        })
    }
}
