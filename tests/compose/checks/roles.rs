//! One role killed or frozen beside a PID 1 that lives.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vipgate::link::worker_thread;
use vipgate::probe::Failure;

use crate::figures::Figures;
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, until};
use crate::stack::{Kind, Node, Stack};
use crate::stopped_thread::Stopped;

/// Noticed within 500 ms, and then either a new process or the other node; the rest is for a busy machine.
const FROZEN_MAX: Duration = Duration::from_millis(1500);
/// With one request, as the probe's.
const PATIENCE: Duration = Duration::from_millis(200);
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
    let mut waits = Figures::default();
    let mut failed = Vec::new();
    for _ in 0..ROUNDS {
        let probe = stack.probe()?;
        let wanted = serving(stack.kind);
        for (pid, _) in stack.processes(Node::Master)?.iter().filter(|(_, args)| args.contains(wanted)) {
            signal(*pid, Signal::SIGSTOP)?;
        }
        // Nobody need have waited in vain.
        let answered = until(ENDS_WITHIN, Duration::ZERO, || stack.holder_within(PATIENCE));
        if let Err(trouble) = answered.map(drop).and_then(|()| stack.settle(Node::Master)) {
            wrong.push(trouble);
        }
        let (report, _) = probe.stop()?;
        gaps.add(report.fresh.longest_outage());
        waits.add(report.fresh.latency.longest);
        failed.push(report.fresh.failed.to_string());
        if !wrong.is_empty() {
            break;
        }
    }
    if gaps.median() > FROZEN_MAX {
        wrong.push(format!("nobody served for {} ms", gaps.median().as_millis()));
    }
    Ok(Finding::of(format!("outage {gaps}, longest wait {waits}, failed: {}", failed.join(" | ")), wrong))
}

/// One of its threads. The others accept in its place, and then there is a new process.
pub(super) fn worker_frozen(stack: &mut Stack) -> Verdict {
    const ROUNDS: usize = 3;
    let mut wrong = Vec::new();
    let mut gaps = Figures::default();
    let mut failed = Vec::new();
    for _ in 0..ROUNDS {
        let probe = stack.probe()?;
        let worker = worker(stack.process(Node::Master, serving(stack.kind))?)?;
        let stopped = Stopped::new(worker).map_err(|e| format!("thread {worker}: {e}"))?;
        let end = Instant::now() + ENDS_WITHIN;
        while !stopped.is_dead() {
            if Instant::now() >= end {
                wrong.push(format!("a worker that stands still for {ENDS_WITHIN:?} is left standing"));
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(stopped);
        wrong.extend(stack.settle(Node::Master).err());
        std::thread::sleep(WATCHED);
        let (report, _) = probe.stop()?;
        gaps.add(report.fresh.longest_outage());
        failed.push(report.fresh.failed.to_string());
    }
    if gaps.median() > FROZEN_MAX {
        wrong.push(format!("nobody served for {} ms", gaps.median().as_millis()));
    }
    Ok(Finding::of(format!("outage {gaps}, failed: {}", failed.join(" | ")), wrong))
}

/// The first worker's thread.
fn worker(process: i32) -> Result<Pid, Trouble> {
    let said = |e: std::io::Error| format!("process {process}: {e}");
    for thread in fs::read_dir(format!("/proc/{process}/task")).map_err(said)? {
        let thread = thread.map_err(said)?;
        let name = fs::read_to_string(thread.path().join("comm")).map_err(said)?;
        if name.trim_end() == worker_thread(0) {
            let number =
                thread.file_name().to_string_lossy().parse().map_err(|e| format!("{thread:?}: {e}"))?;
            return Ok(Pid::from_raw(number));
        }
    }
    Err(format!("process {process} has no worker"))
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
