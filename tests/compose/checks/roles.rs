//! One role killed or frozen beside a PID 1 that lives.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vipgate::probe::{Event, Failure};

use crate::figures::Figures;
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, until};
use crate::stack::{Kind, Node, Stack};

/// Noticed within 500 ms, and then either a new process or the other node; the rest is for a busy machine.
const FROZEN_MAX: Duration = Duration::from_millis(1500);
/// An outage that lasts longer does not end by itself.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// After a kill: long enough to see what the new process does with what waited.
const WATCHED: Duration = Duration::from_millis(500);

/// What answers requests.
pub(super) fn serving(kind: Kind) -> &'static str {
    match kind {
        Kind::Vipgate => "role proxy",
        Kind::Tutorial | Kind::Tuned => "nginx: worker",
    }
}

/// What it ends with.
pub(super) fn web_server(kind: Kind) -> &'static str {
    match kind {
        Kind::Vipgate => "role proxy",
        // With a worker killed it would only start another.
        Kind::Tutorial | Kind::Tuned => "nginx: master",
    }
}

/// What speaks VRRP.
pub(super) fn agent(kind: Kind) -> &'static str {
    match kind {
        Kind::Vipgate => "role vrrp",
        Kind::Tutorial | Kind::Tuned => "keepalived --dont-fork",
    }
}

pub(super) fn killed(stack: &mut Stack) -> Verdict {
    const ROUNDS: usize = 3;
    let mut wrong = Vec::new();
    let mut gaps = Figures::default();
    let (mut requests, mut failed) = (0, Vec::new());
    for _ in 0..ROUNDS {
        let probe = stack.probe()?;
        let victim = web_server(stack.kind);
        let pid = stack.process(Node::Master, victim)?;
        signal(pid, Signal::SIGKILL)?;
        let again = until(Duration::from_secs(5), Duration::from_millis(50), || {
            stack.process(Node::Master, victim).and_then(|new| match new {
                new if new == pid => Err("the killed process is still listed".to_owned()),
                new => Ok(new),
            })
        });
        if let Err(trouble) = again.and_then(|_| stack.settle(Node::Master)) {
            wrong.push(format!("it was not restarted: {trouble}"));
        }
        std::thread::sleep(WATCHED);
        let (report, _) = probe.stop()?;
        gaps.add(report.fresh.longest_outage());
        requests += report.fresh.requests;
        failed.push(report.fresh.failed.to_string());
        let refused = report.fresh.failed.count(Failure::Refused);
        if refused > 0 {
            wrong.push(format!("{refused} connections were refused"));
        }
        if !wrong.is_empty() {
            break;
        }
    }
    let failed = failed.join(" | ");
    Ok(Finding::of(format!("{requests} requests, longest outage {gaps}, failed: {failed}"), wrong))
}

pub(super) fn frozen(stack: &mut Stack) -> Verdict {
    const ROUNDS: usize = 3;
    let mut wrong = Vec::new();
    let mut gaps = Figures::default();
    let mut failed = Vec::new();
    for _ in 0..ROUNDS {
        let mut probe = stack.probe()?;
        let wanted = serving(stack.kind);
        for (pid, _) in stack.processes(Node::Master)?.iter().filter(|(_, args)| args.contains(wanted)) {
            signal(*pid, Signal::SIGSTOP)?;
        }
        let ended = probe.event("end of the outage", ENDS_WITHIN, |e| matches!(e, Event::OutageEnded { .. }));
        if let Err(trouble) = ended.map(drop).and_then(|()| stack.settle(Node::Master)) {
            wrong.push(trouble);
        }
        let (report, _) = probe.stop()?;
        gaps.add(report.fresh.longest_outage());
        failed.push(report.fresh.failed.to_string());
        if !wrong.is_empty() {
            break;
        }
    }
    if gaps.median() > FROZEN_MAX {
        wrong.push(format!("nobody served for {} ms", gaps.median().as_millis()));
    }
    Ok(Finding::of(format!("outage {gaps}, failed: {}", failed.join(" | ")), wrong))
}

/// Its end is not the node's: the address stays with a live proxy, or moves at once.
pub(super) fn vrrp_killed(stack: &mut Stack) -> Verdict {
    const ROUNDS: usize = 3;
    let mut wrong = Vec::new();
    let mut gaps = Figures::default();
    for _ in 0..ROUNDS {
        let probe = stack.probe()?;
        signal(stack.process(Node::Master, "role vrrp")?, Signal::SIGKILL)?;
        std::thread::sleep(WATCHED);
        wrong.extend(stack.settle(Node::Master).err());
        gaps.add(probe.stop()?.0.fresh.longest_outage());
    }
    if gaps.median() > FROZEN_MAX {
        wrong.push(format!("nobody served for {} ms", gaps.median().as_millis()));
    }
    Ok(Finding::of(format!("longest outage {gaps}"), wrong))
}

pub(super) fn signal(pid: i32, signal: Signal) -> Result<(), Trouble> {
    kill(Pid::from_raw(pid), signal).map_err(|e| format!("{signal} to {pid}: {e}"))
}
