//! System calls of a program under load, counted by strace.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::client::PATIENCE;
use crate::process::{Core, Running, signal, spawn_on};
use crate::programs::installed;

/// Between two looks at whether strace has hold of every process.
const LOOK: Duration = Duration::from_millis(10);

/// All calls of all threads of `running` during `load`, and what that returned; `None` where strace is missing.
pub(crate) fn during<T>(
    running: &Running,
    core: Core,
    folder: &Path,
    load: impl FnOnce() -> io::Result<T>,
) -> io::Result<Option<(u64, T)>> {
    let Some(strace) = installed("strace") else { return Ok(None) };
    let table = folder.join("strace");
    let processes = running.processes();
    let mut command = Command::new(strace);
    command.args(["-c", "-f", "-U", "calls,name", "-o"]).arg(&table).stderr(Stdio::null());
    for pid in &processes {
        command.arg("-p").arg(pid.to_string());
    }
    let mut child = spawn_on(core, &mut command)?;
    let result = until_traced(&processes).and_then(|()| load());
    signal(child.id(), Signal::SIGINT)?;
    child.wait()?;
    let result = result?;
    let table = fs::read_to_string(&table)?;
    let total = table.lines().find_map(|line| line.trim().strip_suffix(" total"));
    let total = total.and_then(|total| total.trim().parse().ok());
    Ok(Some((total.ok_or_else(|| io::Error::other(format!("strace says: {table}")))?, result)))
}

fn until_traced(processes: &[u32]) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    let traced = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
    };
    while !processes.iter().all(traced) {
        if Instant::now() > end {
            return Err(io::Error::other("strace may not look at the processes"));
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
