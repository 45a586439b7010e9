//! `vipgate probe`: requests at a fixed rate, who answered them, and what a client saw of each outage.

use std::io::{self, BufWriter};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::exit;
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
    #[arg(long, default_value = "10s", value_parser = duration, conflicts_with = "count")]
    duration: Duration,
    /// End after so many requests instead
    #[arg(long)]
    count: Option<u64>,
    /// Patience with each request, from its SYN to the last byte of the answer
    #[arg(long, default_value = "200ms", value_parser = duration)]
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

/// `1500ms`, `10s`, `2m`: a whole number and a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a whole number and a unit: 200ms, 10s, 5m, 1h".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| format!("{number:?} is not a whole number"))?;
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(|| "is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_units() {
        let table = [
            ("200ms", Some(200)),
            ("10s", Some(10_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("10", None),
            ("s", None),
            ("", None),
            ("1.5s", None),
            ("-1s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ];
        for (text, expect) in table {
            assert_eq!(duration(text).ok(), expect.map(Duration::from_millis), "{text}");
        }
    }
}
