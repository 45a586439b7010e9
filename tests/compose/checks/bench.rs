//! The figures of this stack beside the tutorial one. Nothing is demanded.

use std::time::Duration;

use crate::figures::Figures;
use crate::lab::Lab;
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, run};
use crate::stack::{Kind, Node, Options, Stack};

const TAKEOVER_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn side_by_side(lab: &mut Lab) -> Verdict {
    let mut lines = vec![String::new()];
    for (kind, rounds) in [(Kind::Tutorial, 3), (Kind::Vipgate, 7)] {
        let stack = lab.settled(Options { kind, preempt: true })?;
        lines.push(format!("  {kind:?}"));
        lines.push(format!("    new connections   {}", fresh(stack)?));
        lines.push(format!(
            "    wrk, 32 kept      {}",
            wrk(stack).unwrap_or_else(|_| "wrk is not installed".to_owned())
        ));
        lines.push(format!("    gap by pause      {}", pause(stack, rounds)?));
    }
    Ok(Finding::Holds(lines.join("\n")))
}

/// Latency of a new connection and a GET, unloaded.
fn fresh(stack: &Stack) -> Result<String, Trouble> {
    const WATCHED: Duration = Duration::from_secs(3);
    let probe = stack.probe()?;
    std::thread::sleep(WATCHED);
    let (report, _) = probe.stop()?;
    let latency = report.fresh.latency;
    Ok(format!(
        "p50 {:?}, p99 {:?}, {} of {} failed",
        latency.p50,
        latency.p99,
        report.fresh.failed.total(),
        report.fresh.requests
    ))
}

fn wrk(stack: &Stack) -> Result<String, Trouble> {
    let url = format!("http://{}/node", stack.vip());
    let load = ["wrk", "-t", "1", "-c", "32", "-d", "5s", "--latency", &url];
    let said = run("ip", ["netns", "exec", &stack.client.namespace].into_iter().chain(load))?;
    let wanted =
        |line: &&str| ["Requests/sec", "99%", "Socket errors"].iter().any(|word| line.contains(word));
    let words = said.lines().filter(wanted).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    Ok(words.collect::<Vec<_>>().join(", "))
}

fn pause(stack: &Stack, rounds: usize) -> Result<Figures, Trouble> {
    let mut gaps = Figures::default();
    for _ in 0..rounds {
        let mut probe = stack.probe()?;
        stack.docker("pause", Node::Master)?;
        probe.answered_by("backup", TAKEOVER_WITHIN)?;
        stack.docker("unpause", Node::Master)?;
        stack.settle(Node::Master)?;
        gaps.add(probe.stop()?.0.fresh.longest_outage());
    }
    Ok(gaps)
}
