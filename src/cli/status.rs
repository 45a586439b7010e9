//! `vipgate status`: asks the vipgate that runs in this network namespace.

use std::io;
use std::process::ExitCode;

use clap::Args;

use super::environment::Environment;
use super::output::print;
use super::table;
use crate::daemon::control;
use crate::link::control::{Answer, Request, Status};

/// Who is master, since when and why; the health of proxy and upstreams; what is wrong with the last edit
#[derive(Args)]
pub(super) struct Arguments {
    /// Print JSON for a program to read
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(self, environment: &Environment) -> ExitCode {
        let text = running_status(environment).and_then(|status| {
            if self.json {
                serde_json::to_string_pretty(&status).map(|t| t + "\n").map_err(|e| e.to_string())
            } else {
                Ok(table::render(&status))
            }
        });
        match text {
            Ok(text) => print(&text, ExitCode::SUCCESS),
            Err(why) => {
                eprintln!("vipgate: {why}");
                ExitCode::FAILURE
            }
        }
    }
}

/// What the running vipgate says of itself, or one line that says why it does not.
pub(super) fn running_status(environment: &Environment) -> Result<Status, String> {
    let suffix = environment.control_suffix();
    match control::ask(suffix, &Request::Status) {
        Ok(Answer::Status(status)) => Ok(*status),
        Ok(Answer::Done { .. }) => Err("the answer is not one to this question".into()),
        Ok(Answer::Refused { reason }) => Err(reason),
        Err(error) => Err(no_answer(suffix, &error)),
    }
}

/// Why nobody has answered on the control socket.
pub(super) fn no_answer(suffix: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "nothing listens on the control socket @vipgate{suffix}: vipgate does not run in this network \
             namespace, or VIPGATE_CONTROL names another socket than its own"
        ),
        _ => format!("the control socket @vipgate{suffix} gives no answer: {error}"),
    }
}
