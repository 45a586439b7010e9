//! `vipgate probe`: requests at a fixed rate, who answered them, and what a client saw of each outage.

use std::io::{self, BufWriter};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::exit;
use crate::config::parse_duration;
use crate::daemon::probe::{self, Form, Plan, Until};

/// Ask a URL at a fixed rate, each time on a new connection; report who answered and each outage
///
/// Requests leave on time however slow the answers are. Ends by itself, or on ctrl-C, with a summary. Exit 0 if
/// anybody answered, 1 if nobody did.
#[derive(Args)]
pub(super) struct Arguments {
    /// http://HOST[:PORT][/PATH]
    url: String,
    /// Requests per second
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// How long, as 500ms, 10s, 5m
    #[arg(long, default_value = "10s", value_parser = parse_duration, conflicts_with = "count")]
    duration: Duration,
    /// End after so many requests instead
    #[arg(long)]
    count: Option<u64>,
    /// Patience with each request, from its SYN to the last byte of the answer
    #[arg(long, default_value = "200ms", value_parser = parse_duration)]
    timeout: Duration,
    /// Also keep so many connections, with a request every 100 ms on each
    #[arg(long, default_value_t = 0)]
    persistent: u32,
    /// Print JSON, one object a line; the last one is the report
    #[arg(long)]
    json: bool,
    /// Print each request, too
    #[arg(long)]
    samples: bool,
}

impl Arguments {
    pub(super) fn run(self) -> ExitCode {
        let until = self.count.map_or(Until::Elapsed(self.duration), Until::Count);
        let plan = match Plan::try_new(&self.url, self.rate, self.timeout, self.persistent, until) {
            Ok(plan) => plan,
            Err(e) => {
                eprintln!("vipgate probe: {e}");
                return exit::USAGE.into();
            }
        };
        let form = if self.json { Form::JsonLines } else { Form::Text };
        if form == Form::Text {
            let (url, every) = (&plan.target.url, plan.every);
            println!("{url}: a new connection every {every:?}, each given {:?}", plan.timeout);
        }
        match probe::run(plan, form, self.samples, &mut BufWriter::new(io::stdout().lock())) {
            Ok(report) if report.fresh.answered.is_empty() => ExitCode::FAILURE,
            Ok(_) => ExitCode::SUCCESS,
            // A reader that has gone (`| head`) is no failure of ours.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("vipgate probe: {}: {e}", self.url);
                ExitCode::FAILURE
            }
        }
    }
}
