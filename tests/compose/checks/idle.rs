//! What a pair costs that nobody asks anything.

use std::fs;
use std::time::{Duration, Instant};

use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, run};
use crate::stack::{Node, Stack};

const WATCHED: Duration = Duration::from_secs(20);
/// Of a core. 1 % is the figure to beat; on a virtual machine, who only sends 50 datagrams a second takes half of that,
/// and some are twice as slow to wake a process as others.
const AGENT_MAX: f64 = 0.06;
const ROLES: [&str; 3] = ["role vrrp", "role proxy", "run"];

/// CPU time so far.
struct Used {
    roles: [Duration; 3],
    /// With what Docker runs in it now and then, to ask for its health.
    container: Duration,
}

pub(super) fn cost(stack: &mut Stack) -> Verdict {
    let nodes = [Node::Master, Node::Backup];
    let (before, begun) = (nodes.map(|node| used(stack, node)), Instant::now());
    std::thread::sleep(WATCHED);
    let (after, watched) = (nodes.map(|node| used(stack, node)), begun.elapsed());
    let (mut figures, mut wrong) = (Vec::new(), Vec::new());
    for ((node, before), after) in nodes.iter().zip(before).zip(after) {
        let (before, after) = (before?, after?);
        let share = |from: Duration, to: Duration| to.saturating_sub(from).div_duration_f64(watched);
        let roles: Vec<f64> =
            before.roles.iter().zip(after.roles).map(|(from, to)| share(*from, to)).collect();
        let asked = share(before.container, after.container) - roles.iter().sum::<f64>();
        let percent = |share: f64| format!("{:.2} %", share.max(0.0) * 100.0);
        let [agent, proxy, init] = roles[..] else { return Err("three roles".to_owned()) };
        figures.push(format!(
            "{}: agent {}, proxy {}, PID 1 {}, health checks {}",
            node.name(),
            percent(agent),
            percent(proxy),
            percent(init),
            percent(asked)
        ));
        if agent > AGENT_MAX {
            wrong.push(format!("the agent of {} takes {}", node.name(), percent(agent)));
        }
    }
    Ok(Finding::of(format!("{} of a core", figures.join("; ")), wrong))
}

fn used(stack: &Stack, node: Node) -> Result<Used, Trouble> {
    let processes = stack.processes(node)?;
    let of = |role: &str| {
        let found = processes.iter().find(|(_, args)| args.ends_with(role));
        let (pid, _) = found.ok_or_else(|| format!("no process {role:?} in {}", stack.container(node)))?;
        threads(*pid)
    };
    let [agent, proxy, init] = ROLES.map(of);
    Ok(Used { roles: [agent?, proxy?, init?], container: container(&stack.container(node))? })
}

/// Of all threads of a process.
fn threads(pid: i32) -> Result<Duration, Trouble> {
    let said = |e: std::io::Error| format!("process {pid}: {e}");
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).map_err(said)? {
        let path = thread.map_err(said)?.path().join("schedstat");
        let text = fs::read_to_string(path).map_err(said)?;
        sum += text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(Duration::from_nanos(sum))
}

/// Of a control group, of whichever version.
fn container(name: &str) -> Result<Duration, Trouble> {
    let init = run("docker", ["inspect", "--format", "{{.State.Pid}}", name])?;
    let groups = fs::read_to_string(format!("/proc/{init}/cgroup")).map_err(|e| format!("{init}: {e}"))?;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (file, unit, key) = if controllers.split(',').any(|c| c == "cpuacct") {
            (format!("/sys/fs/cgroup/cpuacct{path}/cpuacct.usage"), 1, None)
        } else if controllers.is_empty() {
            (format!("/sys/fs/cgroup{path}/cpu.stat"), 1000, Some("usage_usec"))
        } else {
            continue;
        };
        let Ok(text) = fs::read_to_string(file) else { continue };
        let number = match key {
            None => text.trim().parse::<u64>().ok(),
            Some(key) => text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()),
        };
        if let Some(number) = number {
            return Ok(Duration::from_nanos(number * unit));
        }
    }
    Err(format!("{name}: no control group says how much it has used"))
}
