//! Child processes of this same program, and what becomes of them.

use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, dup2_stdin, getpid, getppid};

/// Starts this program again with other arguments. `link` becomes its standard input, the one descriptor that it
/// inherits besides standard output and error, where the access log and the log go; see `adopt_link`.
/// `hidden`: a variable of the environment that it is not to have.
pub fn spawn(arguments: &[&str], link: OwnedFd, hidden: Option<&str>) -> io::Result<u32> {
    let mut command = Command::new("/proc/self/exe");
    if let Some(hidden) = hidden {
        command.env_remove(hidden);
    }
    let child = command.arg0("vipgate").args(arguments).stdin(Stdio::from(link)).spawn()?;
    // Dropped without `wait`: whoever it is that ends, `reap` hears of it.
    Ok(child.id())
}

/// The link that `spawn` gave to this process, taken away from standard input, so that it ends when its owner drops
/// it. Anything else on standard input is an error: a role is not for starting by hand.
pub fn adopt_link() -> io::Result<OwnedFd> {
    let link = io::stdin().as_fd().try_clone_to_owned()?;
    nix::sys::socket::getsockopt(&link, nix::sys::socket::sockopt::SockType)?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(link)
}

/// What `ps` and `docker top` call this process; the kernel keeps 15 bytes.
pub fn call_oneself(name: &CStr) -> io::Result<()> {
    Ok(prctl::set_name(name)?)
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    Killed { signal: String },
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Killed { signal } => write!(f, "was killed by {signal}"),
        }
    }
}

/// The next child that has ended, whether this process started it or inherited it as an orphan; `None`: all that
/// are left run, or there are none.
pub fn reap() -> Option<(u32, End)> {
    let mut status = 0;
    // Not nix's: it loses a child that was killed by a real-time signal, for which it has no name.
    // SAFETY: the pointer is valid, and the kernel writes one integer.
    let pid = loop {
        match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
            -1 if Errno::last() == Errno::EINTR => (),
            pid => break pid,
        }
    };
    let pid = u32::try_from(pid).ok().filter(|pid| *pid > 0)?;
    let end = if libc::WIFEXITED(status) {
        End::Exited(libc::WEXITSTATUS(status))
    } else {
        // Neither stopped nor continued children were asked for.
        let number = libc::WTERMSIG(status);
        let signal = Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |s| s.to_string());
        End::Killed { signal }
    };
    Some((pid, end))
}

/// SIGKILL for a child that has not been reaped: its number cannot be another's yet.
pub fn kill_child(pid: u32) -> io::Result<()> {
    Ok(kill(pid_of(pid)?, Signal::SIGKILL)?)
}

/// It does not run until `resume_child`. For a child that has not been reaped.
pub fn suspend_child(pid: u32) -> io::Result<()> {
    Ok(kill(pid_of(pid)?, Signal::SIGSTOP)?)
}

pub fn resume_child(pid: u32) -> io::Result<()> {
    Ok(kill(pid_of(pid)?, Signal::SIGCONT)?)
}

pub fn is_init() -> bool {
    getpid().as_raw() == 1
}

/// Orphans of this process's children come to it, as they come to process 1 of a namespace anyway.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(prctl::set_child_subreaper(true)?)
}

/// Nothing that this process starts can have more capabilities than it has itself.
pub fn forbid_new_privileges() -> io::Result<()> {
    Ok(prctl::set_no_new_privs()?)
}

/// Neighbours of the same user cannot read or write this process's memory (ptrace, /proc/PID/mem).
pub fn hide_memory() -> io::Result<()> {
    Ok(prctl::set_dumpable(false)?)
}

/// SIGKILL when the parent ends; an error if it has ended already.
pub fn die_with_parent() -> io::Result<()> {
    let parent = getppid();
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() == parent { Ok(()) } else { Err(io::Error::other("the parent has gone")) }
}

/// As many descriptors as this process may have at all.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Bounds for a process that reads what nobody has checked yet.
pub fn limit_memory_and_time(bytes: u64, seconds: u64) -> io::Result<()> {
    setrlimit(Resource::RLIMIT_AS, bytes, bytes)?;
    Ok(setrlimit(Resource::RLIMIT_CPU, seconds, seconds)?)
}

fn pid_of(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 0)
        .map(Pid::from_raw)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a process number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_mean_groups_are_never_signalled() {
        for pid in [0, u32::MAX, 1 << 31] {
            assert_eq!(kill_child(pid).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{pid}");
        }
    }
}
