//! What a pair costs that nobody asks anything.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::in_network;
use crate::runner::{Finding, Verdict};
use crate::shell::Trouble;
use crate::stack::{Node, Stack};

const WATCHED: Duration = Duration::from_secs(20);
/// Of a core. 1 % is the figure to beat; some machines are twice as slow to wake a process as others.
const AGENT_MAX: f64 = 0.06;
/// Of what is taken in the same seconds by whoever only sends as many datagrams. It was 2.1 to 2.5 times that on a virtual
/// machine.
const TIMES_MAX: f64 = 4.0;
/// A master's adverts by default, and their length.
const ADVERT_EVERY: Duration = Duration::from_millis(20);
const ADVERT: [u8; 40] = [0; 40];
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
    let least = send_only(stack)?;
    if least == 0.0 {
        return Err("this kernel does not count how long a thread has run".to_owned());
    }
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
        if agent > AGENT_MAX.min(least * TIMES_MAX) {
            wrong.push(format!("the agent of {} takes {}", node.name(), percent(agent)));
        }
    }
    figures.push(format!("to send as many datagrams, and nothing else: {:.2} %", least * 100.0));
    Ok(Finding::of(format!("{} of a core", figures.join("; ")), wrong))
}

/// The share of a core that goes into sending datagrams from the master to somebody on the backup whom each of them wakes,
/// as many as there are adverts.
fn send_only(stack: &Stack) -> Result<f64, Trouble> {
    let said = |e: std::io::Error| format!("datagrams from node to node: {e}");
    let sink = inside(stack, Node::Backup, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?.map_err(said)?;
    sink.set_read_timeout(Some(ADVERT_EVERY * 10)).map_err(said)?;
    let to = (stack.address(Node::Backup), sink.local_addr().map_err(said)?.port());
    let sending = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let begun = Instant::now();
        let mut sent = 0;
        while begun.elapsed() < WATCHED {
            thread::sleep(ADVERT_EVERY);
            socket.send_to(&ADVERT, to)?;
            sent += 1;
        }
        Ok((sent, ran("/proc/thread-self/schedstat")?, begun.elapsed()))
    };
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let mut received = 0;
            while !over.load(Ordering::Relaxed) {
                received += i32::from(sink.recv(&mut ADVERT.clone()).is_ok());
            }
            received
        });
        let result = inside(stack, Node::Master, sending);
        over.store(true, Ordering::Relaxed);
        let received = receiving.join().unwrap_or_default();
        let (sent, ran, watched) = result?.map_err(said)?;
        if received * 2 < sent {
            return Err(format!("{received} of {sent} datagrams from node to node arrived"));
        }
        Ok(ran.div_duration_f64(watched))
    })
}

/// Does `work` with the network of a node.
fn inside<R: Send>(stack: &Stack, node: Node, work: impl FnOnce() -> R + Send) -> Result<R, Trouble> {
    Ok(in_network(&format!("/proc/{}/ns/net", stack.init(node)?), work))
}

fn used(stack: &Stack, node: Node) -> Result<Used, Trouble> {
    let processes = stack.processes(node)?;
    let of = |role: &str| {
        let found = processes.iter().find(|(_, args)| args.ends_with(role));
        let (pid, _) = found.ok_or_else(|| format!("no process {role:?} in {}", stack.container(node)))?;
        threads(*pid)
    };
    let [agent, proxy, init] = ROLES.map(of);
    Ok(Used { roles: [agent?, proxy?, init?], container: container(&stack.init(node)?)? })
}

/// Of all threads of a process.
fn threads(pid: i32) -> Result<Duration, Trouble> {
    let said = |e: std::io::Error| format!("process {pid}: {e}");
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).map_err(said)? {
        sum += ran(thread.map_err(said)?.path().join("schedstat")).map_err(said)?;
    }
    Ok(sum)
}

fn ran(schedstat: impl AsRef<Path>) -> std::io::Result<Duration> {
    let text = fs::read_to_string(schedstat)?;
    let ns = text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok());
    Ok(Duration::from_nanos(ns.unwrap_or_default()))
}

/// Of a control group, of whichever version.
fn container(init: &str) -> Result<Duration, Trouble> {
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
    Err(format!("process {init}: no control group says how much it has used"))
}
