//! The load: wrk with one thread, and what it says.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::{Core, spawn_on};
use crate::request::{FIELDS, HOST};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) path: &'static str,
    pub(crate) connections: usize,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    /// With a body of 4 KiB.
    Post,
    /// A GET on a connection of its own.
    Close,
}

/// What wrk reads for `Kind::Post`.
const POST: &str = "wrk.method = 'POST'\nwrk.body = string.rep('x', 4096)\n";

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

pub(crate) fn run(
    workload: &Workload,
    proxy: SocketAddr,
    seconds: u32,
    core: Core,
    folder: &Path,
) -> io::Result<Load> {
    let mut command = Command::new("wrk");
    command.args(["-t1", "--latency", "--timeout", "10s"]);
    command.arg(format!("-c{}", workload.connections)).arg(format!("-d{seconds}s"));
    command.arg("-H").arg(format!("Host: {HOST}"));
    for (name, value) in FIELDS {
        command.arg("-H").arg(format!("{name}: {value}"));
    }
    match workload.kind {
        Kind::Get => (),
        Kind::Close => _ = command.args(["-H", "Connection: close"]),
        Kind::Post => {
            let script = folder.join("post.lua");
            std::fs::write(&script, POST)?;
            command.arg("-s").arg(script);
        }
    }
    command.arg(format!("http://{proxy}{}", workload.path)).stdout(Stdio::piped());
    let output = spawn_on(core, &mut command)?.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    understand(&said).ok_or_else(|| io::Error::other(format!("the load met errors:\n{said}")))
}

/// `None`: not every answer was whole and a 2xx.
fn understand(said: &str) -> Option<Load> {
    let mut load = Load::default();
    for line in said.lines().map(str::trim) {
        if let Some(p50) = line.strip_prefix("50%") {
            load.p50 = duration(p50.trim())?;
        } else if let Some(p99) = line.strip_prefix("99%") {
            load.p99 = duration(p99.trim())?;
        } else if let Some((requests, _)) = line.split_once(" requests in ") {
            load.requests = requests.parse().ok()?;
        } else if line.starts_with("Socket errors") || line.starts_with("Non-2xx") {
            return None;
        }
    }
    (load.requests > 0).then_some(load)
}

/// `512.00us`, `1.27ms`, `2.00s`.
fn duration(text: &str) -> Option<Duration> {
    let start = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(start);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}
