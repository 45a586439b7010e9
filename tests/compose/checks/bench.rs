//! The figures of this stack beside those of the tutorial one and of one that somebody has tuned, in turn, with their
//! ratios. Nothing is demanded. Each row of a run is also written to `target/bench-failover.jsonl`.

use std::io::Write;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde::Serialize;
use vipgate::probe::{Failure, Report};

use super::faults::Fault;
use super::roles::{agent, serving, signal, web_server};
use crate::figures::Figures;
use crate::lab::Lab;
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, run, until};
use crate::stack::{Kind, Node, Options, Stack, top};

/// Enough for what is noticed in milliseconds, and for its end.
const WATCHED: Duration = Duration::from_secs(2);
/// An outage that lasts longer than this is said to.
const WATCHED_AT_MOST: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);
const BOOTS: usize = 7;
const STACKS: [Kind; 3] = [Kind::Vipgate, Kind::Tutorial, Kind::Tuned];

/// What befalls the master.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// Its container; a client that keeps connections is there as well.
    Container(Fault),
    AgentKilled,
    ProxyKilled,
    ProxyHangs,
}

impl Blow {
    fn rounds(self) -> usize {
        match self {
            Self::Container(Fault::Kill) | Self::AgentKilled | Self::ProxyKilled => 15,
            Self::Container(_) | Self::ProxyHangs => 7,
        }
    }

    fn strike(self, stack: &Stack) -> Result<(), Trouble> {
        match self {
            Self::Container(fault) => fault.strike(stack),
            Self::AgentKilled => signal(stack.process(Node::Master, agent(stack.kind))?, Signal::SIGKILL),
            Self::ProxyKilled => {
                signal(stack.process(Node::Master, web_server(stack.kind))?, Signal::SIGKILL)
            }
            Self::ProxyHangs => {
                let processes = stack.processes(Node::Master)?;
                let hang = processes.iter().filter(|(_, args)| args.contains(serving(stack.kind)));
                hang.into_iter().try_for_each(|(pid, _)| signal(*pid, Signal::SIGSTOP))
            }
        }
    }

    fn mend(self, stack: &Stack) -> Result<(), Trouble> {
        match self {
            Self::Container(fault) => fault.mend(stack),
            // Whoever is not in the pair again by itself is made anew before the next round.
            Self::AgentKilled | Self::ProxyKilled | Self::ProxyHangs => Ok(()),
        }
    }
}

pub(super) fn pause(lab: &mut Lab) -> Verdict {
    row(lab, "pause", Blow::Container(Fault::Pause))
}

pub(super) fn disconnect(lab: &mut Lab) -> Verdict {
    row(lab, "network disconnect", Blow::Container(Fault::Disconnect))
}

pub(super) fn kill(lab: &mut Lab) -> Verdict {
    row(lab, "kill", Blow::Container(Fault::Kill))
}

pub(super) fn stop(lab: &mut Lab) -> Verdict {
    row(lab, "stop", Blow::Container(Fault::Stop))
}

pub(super) fn agent_killed(lab: &mut Lab) -> Verdict {
    row(lab, "agent killed", Blow::AgentKilled)
}

pub(super) fn proxy_killed(lab: &mut Lab) -> Verdict {
    row(lab, "proxy killed", Blow::ProxyKilled)
}

pub(super) fn proxy_hangs(lab: &mut Lab) -> Verdict {
    row(lab, "proxy hangs", Blow::ProxyHangs)
}

/// From nothing: the later node's start until somebody answers at the address.
pub(super) fn boot(lab: &mut Lab) -> Verdict {
    each(lab, "boot", BOOTS, |stack| {
        let column = Column { gaps: Figures::from(boot_once(stack)?), ..Column::default() };
        Ok(column)
    })
}

fn boot_once(stack: &Stack) -> Result<Duration, Trouble> {
    let nodes = [Node::Master, Node::Backup].map(|node| stack.container(node));
    run("docker", ["rm", "--force"].into_iter().chain(nodes.iter().map(String::as_str)))?;
    // Of what there is already nothing is touched.
    stack.compose(&["up", "--no-start"])?;
    let answered = std::thread::scope(|scope| {
        let starts = nodes.each_ref().map(|node| scope.spawn(move || run("docker", ["start", node])));
        let answered = until(WATCHED_AT_MOST, Duration::ZERO, || {
            stack.holder_within(LOOK)?;
            Ok(SystemTime::now())
        });
        for start in starts {
            start.join().map_err(|_| "docker start panicked".to_owned())??;
        }
        answered
    })?;
    let mut later = SystemTime::UNIX_EPOCH;
    for node in &nodes {
        let at = run("docker", ["inspect", "--format", "{{.State.StartedAt}}", node])?;
        let seconds = run("date", ["-d", &at, "+%s.%N"])?;
        let seconds: f64 = seconds.parse().map_err(|e| format!("{seconds}: {e}"))?;
        later = later.max(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds));
    }
    // Before the later one, if the earlier one is as quick as that.
    Ok(answered.duration_since(later).unwrap_or_default())
}

/// What one stack showed in all rounds.
#[derive(Default)]
struct Column {
    gaps: Figures,
    endless: usize,
    refused: u64,
    failed: u64,
    /// Failed requests of connections that are kept.
    cut: u64,
}

impl Column {
    fn add(&mut self, report: &Report) {
        let gap = report.fresh.longest_outage();
        self.endless += usize::from(report.fresh.outages.iter().any(|outage| !outage.over));
        self.gaps.add(gap);
        self.refused += report.fresh.failed.count(Failure::Refused);
        self.failed += report.fresh.failed.total();
        self.cut += report.persistent.as_ref().map_or(0, |kept| kept.failed.total());
    }

    fn join(&mut self, round: Self) {
        self.gaps.join(round.gaps);
        self.endless += round.endless;
        self.refused += round.refused;
        self.failed += round.failed;
        self.cut += round.cut;
    }
}

/// A line of the file.
#[derive(Serialize)]
struct Record<'a> {
    row: &'a str,
    stack: String,
    commit: &'a str,
    date: &'a str,
    gaps_ms: Vec<f64>,
    endless: usize,
    refused: u64,
    failed: u64,
    persistent_failed: u64,
}

fn row(lab: &mut Lab, name: &str, blow: Blow) -> Verdict {
    each(lab, name, blow.rounds(), |stack| {
        let mut column = Column::default();
        column.add(&round(stack, blow)?);
        Ok(column)
    })
}

/// All stacks in turn, round by round.
fn each(
    lab: &mut Lab,
    name: &str,
    rounds: usize,
    round: impl Fn(&Stack) -> Result<Column, Trouble>,
) -> Verdict {
    let rounds = match std::env::var("BENCH_ROUNDS") {
        Ok(text) => text.parse().map_err(|e| format!("BENCH_ROUNDS={text}: {e}"))?,
        Err(_) => rounds,
    };
    let (mut tutorial, mut tuned) = (Lab::default(), Lab::default());
    let mut columns = STACKS.map(|_| Column::default());
    for _ in 0..rounds {
        for (kind, column) in STACKS.into_iter().zip(&mut columns) {
            let lab = match kind {
                Kind::Vipgate => &mut *lab,
                Kind::Tutorial => &mut tutorial,
                Kind::Tuned => &mut tuned,
            };
            column.join(round(lab.settled(Options { kind, preempt: true })?)?);
            if kind != Kind::Vipgate {
                // After most faults its node does not come back for another round.
                lab.tear_down();
            }
        }
    }
    record(name, &columns)?;
    Ok(Finding::Holds(table(&columns)))
}

fn round(stack: &Stack, blow: Blow) -> Result<Report, Trouble> {
    let mut probe = stack.probe_with(&["--rate", "200", "--timeout", "200ms", "--persistent", "8"])?;
    blow.strike(stack)?;
    probe.watch(WATCHED, WATCHED_AT_MOST, LOOK)?;
    let (report, _) = probe.stop()?;
    blow.mend(stack)?;
    Ok(report)
}

fn table(columns: &[Column; 3]) -> String {
    let mut text = String::new();
    let ours = columns[0].gaps.median();
    for (kind, column) in STACKS.iter().zip(columns) {
        let endless = match column.endless {
            0 => String::new(),
            n => format!(", {n} without end while watched"),
        };
        let ratio = match kind {
            Kind::Vipgate => String::new(),
            Kind::Tutorial | Kind::Tuned => format!("; ratio {}", ratio(ours, column.gaps.median())),
        };
        text += &format!(
            "\n  {:<9} gap {}{endless}; failed {}, refused {}; on 8 persistent connections failed {}{ratio}",
            format!("{kind:?}").to_lowercase(),
            column.gaps,
            column.failed,
            column.refused,
            column.cut,
        );
    }
    text
}

fn ratio(ours: Duration, theirs: Duration) -> String {
    if theirs.is_zero() {
        "none: no gap there".to_owned()
    } else {
        format!("{:.2}", ours.div_duration_f64(theirs))
    }
}

fn record(row: &str, columns: &[Column; 3]) -> Result<(), Trouble> {
    let commit = run("git", ["-C", &top().display().to_string(), "describe", "--always", "--dirty"])?;
    let date = run("date", ["-u", "+%Y-%m-%dT%H:%M:%SZ"])?;
    let path = top().join("target/bench-failover.jsonl");
    let said = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(said)?;
    for (kind, column) in STACKS.iter().zip(columns) {
        let line = Record {
            row,
            stack: format!("{kind:?}").to_lowercase(),
            commit: &commit,
            date: &date,
            gaps_ms: column.gaps.milliseconds(),
            endless: column.endless,
            refused: column.refused,
            failed: column.failed,
            persistent_failed: column.cut,
        };
        let line = serde_json::to_string(&line).map_err(|e| e.to_string())?;
        writeln!(file, "{line}").map_err(said)?;
    }
    Ok(())
}
