//! What a probe says at its end, for programs (serde) and for people (`Display`). No clock, no terminal.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::latency::Latency;
use super::sample::{Kinds, Outcome, Sample, milliseconds};
use super::timeline::{Event, Outage, Stint};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub url: String,
    /// Address and port that the name led to.
    pub target: String,
    /// Wall clock of moment 0 of all others, in nanoseconds since 1970, to place commands beside it.
    pub began_unix_ns: u64,
    #[serde(rename = "length_ms", with = "milliseconds")]
    pub length: Duration,
    /// Requests with a connection of their own.
    pub fresh: Tally,
    pub persistent: Option<Persistent>,
    /// Requests that were due and not sent, because too many waited already.
    pub not_sent: u64,
    /// How late the probe itself was at worst: an outage shorter than this may be its own.
    #[serde(rename = "own_lateness_ms", with = "milliseconds")]
    pub own_lateness: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// All that were sent and ended.
    pub requests: u64,
    pub failed: Kinds,
    /// How often each node answered.
    pub answered: BTreeMap<String, u64>,
    pub latency: Latency,
    pub outages: Vec<Outage>,
    /// Outages beyond the list's limit.
    pub outages_unlisted: u64,
    pub stints: Vec<Stint>,
    pub stints_unlisted: u64,
}

/// Connections that are kept and carry one request after another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Persistent {
    pub connections: u64,
    pub requests: u64,
    pub failed: Kinds,
    pub answered: BTreeMap<String, u64>,
    pub latency: Latency,
    /// Closed by the server between two requests, or announced with `Connection: close`: nothing was lost.
    pub reopened: u64,
}

impl Tally {
    /// Stands for a node that sends no `X-Served-By`.
    pub const NAMELESS: &'static str = "(unnamed)";

    pub fn longest_outage(&self) -> Duration {
        self.outages.iter().map(|outage| outage.length).max().unwrap_or_default()
    }

    /// Answers by this node.
    pub fn answered_by(&self, node: &str) -> u64 {
        self.answered.get(node).copied().unwrap_or(0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} in {:.1} s", plural(self.fresh.requests, "request"), self.length.as_secs_f64())?;
        write_lines(f, &self.fresh.failed, &self.fresh.answered, self.fresh.latency)?;
        if let Some(persistent) = &self.persistent {
            writeln!(
                f,
                "{} on {}, reopened without loss {}",
                plural(persistent.requests, "request"),
                plural(persistent.connections, "persistent connection"),
                plural(persistent.reopened, "time"),
            )?;
            write_lines(f, &persistent.failed, &persistent.answered, persistent.latency)?;
        }
        self.write_outages(f)?;
        if self.not_sent > 0 {
            writeln!(f, "  not sent   {}: too many were waiting", self.not_sent)?;
        }
        write!(f, "  probe      itself late by {} at worst", Milliseconds(self.own_lateness))
    }
}

impl Report {
    fn write_outages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outages = &self.fresh.outages;
        if outages.is_empty() {
            return writeln!(f, "  outages    none");
        }
        let longest = Milliseconds(self.fresh.longest_outage());
        let count = outages.len() as u64 + self.fresh.outages_unlisted;
        writeln!(f, "  outages    {count}, longest {longest}")?;
        for outage in outages {
            let name = |by: &Option<String>| by.clone().unwrap_or_else(|| "nobody".to_owned());
            writeln!(
                f,
                "{:>12}  {:<11} {} -> {}  {}",
                Moment(outage.start).to_string(),
                format!("{}{}", if outage.over { "" } else { "> " }, Milliseconds(outage.length)),
                name(&outage.before),
                name(&outage.after),
                outage.looked,
            )?;
        }
        Ok(())
    }
}

fn write_lines(
    f: &mut fmt::Formatter<'_>,
    failed: &Kinds,
    answered: &BTreeMap<String, u64>,
    latency: Latency,
) -> fmt::Result {
    match failed.total() {
        0 => writeln!(f, "  failed     none")?,
        total => writeln!(f, "  failed     {total}: {failed}")?,
    }
    let names: Vec<String> = answered.iter().map(|(by, count)| format!("{by} {count}")).collect();
    if names.is_empty() {
        return writeln!(f, "  answered   nobody");
    }
    writeln!(f, "  answered   {}", names.join(", "))?;
    let (p50, p99) = (Milliseconds(latency.p50), Milliseconds(latency.p99));
    writeln!(f, "  latency    p50 {p50}, p99 {p99}, longest {}", Milliseconds(latency.longest))
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, length) = (Moment(self.start).to_string(), self.end.saturating_sub(self.start));
        write!(f, "{start:>12}  #{} {} ", self.sequence, Milliseconds(length))?;
        match &self.outcome {
            Outcome::Answered { by } => f.write_str(by.as_deref().unwrap_or(Tally::NAMELESS)),
            Outcome::Failed { how } => write!(f, "{how}"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnsweredBy { at, by } => {
                write!(
                    f,
                    "{:>12}  {} answers",
                    Moment(*at).to_string(),
                    by.as_deref().unwrap_or(Tally::NAMELESS)
                )
            }
            Self::OutageBegan { at, how } => write!(f, "{:>12}  OUTAGE: {how}", Moment(*at).to_string()),
            Self::OutageEnded { at, outage } => write!(
                f,
                "{:>12}  {} answers, after {} and {} that failed: {}",
                Moment(*at).to_string(),
                outage.after.as_deref().unwrap_or(Tally::NAMELESS),
                Milliseconds(outage.length),
                plural(outage.requests, "request"),
                outage.looked,
            ),
        }
    }
}

/// `3.127 s`, counted from the start.
struct Moment(Duration);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.0.as_secs_f64())
    }
}

/// `0.41 ms`, `7.2 ms`, `293 ms`.
struct Milliseconds(Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_secs_f64() * 1000.0;
        let digits = if ms < 1.0 { 2 } else { usize::from(ms < 10.0) };
        write!(f, "{ms:.digits$} ms")
    }
}

fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Failure;

    fn report() -> Report {
        let ms = Duration::from_millis;
        let looked: Kinds = [(Failure::Timeout, 46), (Failure::Reset, 12)].into_iter().collect();
        Report {
            url: "http://172.20.128.4/".to_owned(),
            target: "172.20.128.4:80".to_owned(),
            began_unix_ns: 1,
            length: ms(10_000),
            fresh: Tally {
                requests: 2000,
                failed: looked.clone(),
                answered: [("master".to_owned(), 400), ("backup".to_owned(), 1542)].into_iter().collect(),
                latency: Latency { p50: Duration::from_micros(410), p99: ms(3), longest: ms(12) },
                outages: vec![Outage {
                    start: ms(2105),
                    length: ms(293),
                    over: true,
                    requests: 58,
                    looked,
                    before: Some("master".to_owned()),
                    after: Some("backup".to_owned()),
                }],
                ..Tally::default()
            },
            persistent: None,
            not_sent: 0,
            own_lateness: Duration::from_micros(1_900),
        }
    }

    #[test]
    fn a_report_reads_well() {
        let expect = "\
2000 requests in 10.0 s
  failed     58: 46 timeout, 12 reset
  answered   backup 1542, master 400
  latency    p50 0.41 ms, p99 3.0 ms, longest 12 ms
  outages    1, longest 293 ms
     2.105 s  293 ms      master -> backup  46 timeout, 12 reset
  probe      itself late by 1.9 ms at worst";
        assert_eq!(report().to_string(), expect);
        let mut quiet = report();
        quiet.fresh = Tally { requests: 1, ..Tally::default() };
        quiet.persistent =
            Some(Persistent { connections: 8, requests: 800, reopened: 1, ..Persistent::default() });
        let text = quiet.to_string();
        for line in [
            "1 request in 10.0 s",
            "  outages    none",
            "on 8 persistent connections, reopened without loss 1 time",
        ] {
            assert!(text.contains(line), "{line:?} in\n{text}");
        }
    }

    #[test]
    fn a_report_survives_json() {
        let text = serde_json::to_string(&report()).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report());
        assert!(text.contains(r#""length_ms":293.0"#), "{text}");
    }
}
