//! A program under measurement: started on a core, looked at through /proc, ended with its owner.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a program may take to leave when it is told to.
const LEAVE: Duration = Duration::from_secs(20);
/// Between two looks at whether it has.
const LOOK: Duration = Duration::from_millis(10);

/// A core of its own, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    Only(usize),
    Any,
}

/// Binds a thread, 0: this one. What it starts inherits that.
pub(crate) fn bind(thread: Pid, core: Core) -> io::Result<()> {
    let mut set = CpuSet::new();
    match core {
        Core::Only(core) => set.set(core)?,
        Core::Any => (0..CpuSet::count()).try_for_each(|core| set.set(core))?,
    }
    Ok(sched_setaffinity(thread, &set)?)
}

/// Starts `command` on `core`.
pub(crate) fn spawn_on(core: Core, command: &mut Command) -> io::Result<Child> {
    let myself = Pid::from_raw(0);
    let before = sched_getaffinity(myself)?;
    bind(myself, core)?;
    let child = command.spawn();
    sched_setaffinity(myself, &before)?;
    child.map_err(|error| io::Error::other(format!("{}: {error}", command.get_program().display())))
}

/// A started program and all that it starts.
pub(crate) struct Running {
    child: Child,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Of all processes, pages that they share counted in each.
    pub(crate) resident: u64,
    /// The same with each page counted once.
    pub(crate) proportional: u64,
}

impl Running {
    pub(crate) fn new(child: Child) -> Self {
        Self { child }
    }

    /// Itself first.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Some(parent) = parent(pid) else { continue };
            children.entry(parent).or_default().push(pid);
        }
        let mut found = vec![self.child.id()];
        let mut next = 0;
        while let Some(pid) = found.get(next) {
            found.extend(children.remove(pid).unwrap_or_default());
            next += 1;
        }
        found
    }

    /// CPU time of every thread so far, by the scheduler's own clock.
    pub(crate) fn cpu(&self) -> Duration {
        let of_task = |path: std::path::PathBuf| -> Option<u64> {
            fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
        };
        let of_process = |pid: u32| -> u64 {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
            tasks.filter_map(|task| of_task(task.path())).sum()
        };
        Duration::from_nanos(self.processes().into_iter().map(of_process).sum())
    }

    pub(crate) fn memory(&self) -> Memory {
        let kib = |pid: u32, file: &str, key: &str| -> u64 {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let value = text.lines().find_map(|line| line.strip_prefix(key));
            value.and_then(|v| v.trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
        };
        let mut memory = Memory::default();
        for pid in self.processes() {
            memory.resident += kib(pid, "status", "VmRSS:") << 10;
            memory.proportional += kib(pid, "smaps_rollup", "Pss:") << 10;
        }
        memory
    }

    /// Asks it to leave, and waits until it has.
    pub(crate) fn terminate(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        signal(self.child.id(), Signal::SIGTERM)?;
        self.left()
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Waits until it has left by itself.
    pub(crate) fn left(&mut self) -> io::Result<()> {
        let end = Instant::now() + LEAVE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err(io::Error::other(format!("process {} does not end", self.child.id())));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.terminate().is_err() {
            // Or it was over already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    Ok(kill(Pid::from_raw(pid), signal)?)
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent ..`, and the name may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
