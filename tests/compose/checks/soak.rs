//! A pair that is let alone, beside as much load as the machine can bear: nobody takes over from a node that lives. Then it
//! is frozen beside the same load: how long that takes to be noticed hangs on how late the machine makes a node.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vipgate::link::VrrpState;

use super::faults;
use crate::lab::Lab;
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, run, until};
use crate::stack::{Kind, Node, Options, Stack};

const MINUTES: u64 = 60;
/// Programs that do nothing but run.
const BUSY: usize = 8;
/// Connections that ask as fast as they are answered.
const ASKING: &str = "64";
/// It asks for longer than is watched: the freezes follow.
const SPARE: Duration = Duration::from_secs(600);
/// As `cpus: 0.5` in a Compose file.
const QUOTA: &str = "0.5";
/// Between two looks at whether anything has changed; a node tells the worst lateness of as many seconds at least.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a freeze may leave nobody answering, in worst latenesses of the run.
const GAP_AT_MOST: f64 = 3.0;
/// Until a node has read that it has a quota.
const QUOTA_WITHIN: Duration = Duration::from_secs(30);

/// `SOAK_MINUTES`, on a pair without a quota and on one with.
pub(super) fn soak(lab: &mut Lab) -> Verdict {
    let minutes = match std::env::var("SOAK_MINUTES") {
        Ok(text) => text.parse().map_err(|e| format!("SOAK_MINUTES={text}: {e}"))?,
        Err(_) => MINUTES,
    };
    lab.build(Kind::Vipgate)?;
    let options = Options { kind: Kind::Vipgate, preempt: true };
    let stacks = [(Stack::up(options)?, None), (Stack::up(options)?, Some(QUOTA))];
    for (stack, quota) in &stacks {
        stack.settle(Node::Master)?;
        for node in [Node::Master, Node::Backup] {
            if let Some(quota) = quota {
                run("docker", ["update", "--cpus", quota, &stack.container(node)])?;
                until(QUOTA_WITHIN, Duration::from_millis(500), || knows_its_quota(stack, node))?;
            }
        }
    }
    let before = stacks.iter().map(|(stack, _)| standing(stack)).collect::<Result<Vec<_>, _>>()?;
    let duration = Duration::from_secs(minutes * 60);
    let mut loads = Vec::new();
    for _ in 0..BUSY {
        loads.push(Load::start(Command::new("sh").args(["-c", "while :; do :; done"]))?);
    }
    for (stack, _) in &stacks {
        let url = format!("http://{}/", stack.vip());
        let seconds = (duration + SPARE).as_secs().to_string();
        let namespace = &stack.client.namespace;
        let asking = ["netns", "exec", namespace, "wrk", "-t", "1", "-c", ASKING, "-d", &seconds, &url];
        loads.push(Load::start(Command::new("ip").args(asking))?);
    }
    let asked = stacks.iter().map(|(stack, _)| requests(stack)).collect::<Result<Vec<_>, _>>()?;
    let (started, mut wrong, mut late) = (Instant::now(), Vec::new(), [Duration::ZERO; 2]);
    while wrong.is_empty() && started.elapsed() < duration {
        std::thread::sleep(LOOK_EVERY.min(duration.saturating_sub(started.elapsed())));
        if !loads.iter_mut().all(Load::is_running) {
            wrong.push("some of the load has ended early".to_owned());
        }
        for (((stack, quota), before), late) in stacks.iter().zip(&before).zip(&mut late) {
            let after = standing(stack)?;
            *late = (*late).max(lateness(stack)?);
            if let Some((now, then)) = after.iter().zip(before).find(|(now, then)| !now.is_as(then)) {
                let words = [Node::Master, Node::Backup].map(|node| history(stack, node)).concat();
                wrong.push(format!(
                    "{}: somebody took over from a node that lives: {then:?}, then {now:?}{words}",
                    name(*quota)
                ));
            }
        }
    }
    let watched = started.elapsed().as_secs_f64() / 60.0;
    let mut figures = Vec::new();
    for (((stack, quota), asked), late) in stacks.iter().zip(asked).zip(late) {
        let what = name(*quota);
        let answered = requests(stack)?.saturating_sub(asked);
        figures.push(format!("{what}: {answered} requests, late by {} ms at worst", late.as_millis()));
        if answered == 0 {
            wrong.push(format!("{what}: nothing was asked"));
        }
        match faults::pause_beside_load(stack) {
            Ok((gaps, probe)) => {
                let worst = late.max(lateness(stack)?).max(probe);
                let ratio = gaps.median().div_duration_f64(worst);
                figures.push(format!(
                    "paused beside that: gap {gaps}, {ratio:.1} times the worst lateness, the probe's own included"
                ));
                if ratio > GAP_AT_MOST {
                    wrong.push(format!("{what}: a freeze is noticed late"));
                }
            }
            Err(trouble) => wrong.push(format!("{what}, paused: {trouble}")),
        }
    }
    drop(loads);
    Ok(Finding::of(
        format!("{watched:.0} of {minutes} minutes beside {BUSY} busy loops; {}", figures.join("; ")),
        wrong,
    ))
}

fn name(quota: Option<&str>) -> String {
    quota.map_or("without a quota".to_owned(), |quota| format!("cpus: {quota}"))
}

/// From then on its peer is as patient with it as that needs.
fn knows_its_quota(stack: &Stack, node: Node) -> Result<(), Trouble> {
    if stack.vrrp_report(node)?.link.quota.is_zero() {
        Err("a node does not know of its quota".to_owned())
    } else {
        Ok(())
    }
}

/// A program that ends with this, and by itself long after.
struct Load(Child);

impl Load {
    fn start(command: &mut Command) -> Result<Self, Trouble> {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().map(Self).map_err(|e| format!("{command:?}: {e}"))
    }
}

impl Load {
    fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It has ended already, or ends here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a change would change.
#[derive(Debug)]
struct Standing {
    state: VrrpState,
    /// In nanoseconds since the machine was started.
    since: u64,
    /// How often each role has been started.
    starts: [u64; 2],
}

impl Standing {
    fn is_as(&self, then: &Self) -> bool {
        // Ages are counted back from a clock that is read anew each time.
        let is_same_moment = self.since.abs_diff(then.since) < 1_000_000_000;
        (self.state, self.starts) == (then.state, then.starts) && is_same_moment
    }
}

fn standing(stack: &Stack) -> Result<Vec<Standing>, Trouble> {
    let one = |node| {
        let status = stack.status(node)?;
        let vrrp = status.vrrp.ok_or("no vrrp role")?;
        let (_, report) = vrrp.report.ok_or("no report of the vrrp role")?;
        let router = report.instances.first().ok_or("no virtual router")?;
        let starts = [status.proxy.incarnation, vrrp.incarnation];
        Ok(Standing { state: router.state, since: router.since.0, starts })
    };
    [Node::Master, Node::Backup].into_iter().map(one).collect()
}

/// What has become of a node, and why.
fn history(stack: &Stack, node: Node) -> String {
    let status = stack.status(node).map(|status| status.history);
    let lines = status.map(|all| all.iter().map(|one| format!("\n    {:<8} {one:?}", node.name())).collect());
    lines.unwrap_or_else(|trouble| format!("\n    {:<8} {trouble}", node.name()))
}

/// That the master has answered so far.
fn requests(stack: &Stack) -> Result<u64, Trouble> {
    let (_, report) = stack.status(Node::Master)?.proxy.report.ok_or("no report of the proxy")?;
    Ok(report.requests)
}

/// The worst that either node has measured in the last seconds.
fn lateness(stack: &Stack) -> Result<Duration, Trouble> {
    let of = |node| Ok::<_, Trouble>(stack.vrrp_report(node)?.link.measured);
    Ok(of(Node::Master)?.max(of(Node::Backup)?))
}
