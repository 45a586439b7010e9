//! A pair that is let alone, beside as much load as the machine can bear: nobody takes over from a node that lives.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use vipgate::link::control::Status;

use crate::lab::Lab;
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, run};
use crate::stack::{Kind, Node, Options, Stack};

const MINUTES: u64 = 60;
/// Programs that do nothing but run.
const BUSY: usize = 8;
/// Connections that ask as fast as they are answered.
const ASKING: &str = "64";
/// As `cpus: 0.5` in a Compose file.
const QUOTA: &str = "0.5";

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
            }
        }
    }
    let before = stacks.iter().map(|(stack, _)| moves(stack)).collect::<Result<Vec<_>, _>>()?;
    let duration = Duration::from_secs(minutes * 60);
    let mut loads = Vec::new();
    for _ in 0..BUSY {
        loads.push(Load::start(Command::new("sh").args(["-c", "while :; do :; done"]))?);
    }
    for (stack, _) in &stacks {
        let url = format!("http://{}/", stack.vip());
        let seconds = duration.as_secs().to_string();
        let asking =
            ["netns", "exec", &stack.client.namespace, "wrk", "-t", "1", "-c", ASKING, "-d", &seconds, &url];
        loads.push(Load::start(Command::new("ip").args(asking))?);
    }
    std::thread::sleep(duration);
    drop(loads);
    let (mut figures, mut wrong) = (Vec::new(), Vec::new());
    for ((stack, quota), before) in stacks.iter().zip(before) {
        let what = quota.map_or("without a quota".to_owned(), |quota| format!("cpus: {quota}"));
        let moved = moves(stack)?.saturating_sub(before);
        let late = [Node::Master, Node::Backup].map(|node| lateness(stack, node));
        let [master, backup] = late;
        figures.push(format!(
            "{what}: {moved} changes of state, late {} and {} ms at the end",
            master?, backup?
        ));
        if moved > 0 {
            wrong.push(format!("{what}: somebody took over from a node that lives{}", stack.last_words()));
        }
    }
    Ok(Finding::of(format!("{minutes} minutes beside {BUSY} busy loops; {}", figures.join("; ")), wrong))
}

/// A program that ends with this, and by itself long after.
struct Load(Child);

impl Load {
    fn start(command: &mut Command) -> Result<Self, Trouble> {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().map(Self).map_err(|e| format!("{command:?}: {e}"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It has ended already, or ends here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How often a virtual router has changed its state, or a role was replaced, so far.
fn moves(stack: &Stack) -> Result<usize, Trouble> {
    const EVER: u32 = 1 << 20;
    let is_move =
        |line: &&str| (line.contains(" from=") && line.contains(" to=")) || line.contains(" is killed: ");
    let count = |node| stack.log(node, EVER).map(|log| log.lines().filter(is_move).count());
    Ok(count(Node::Master)? + count(Node::Backup)?)
}

/// In milliseconds, as the node tells its peer.
fn lateness(stack: &Stack, node: Node) -> Result<u128, Trouble> {
    let status = stack.exec(node, &["/vipgate", "status", "--json"])?;
    let status: Status = serde_json::from_str(&status).map_err(|e| format!("status: {e}"))?;
    let report = status.vrrp.and_then(|vrrp| vrrp.report).ok_or("no report of the vrrp role")?;
    Ok(report.1.link.late.as_millis())
}
