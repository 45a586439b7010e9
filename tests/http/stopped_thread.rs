//! One thread of a process that does not run, by ptrace: a signal stops all of them.

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A thread that is stopped; it runs again with the end of this value.
pub(crate) struct Stopped(Pid);

impl Stopped {
    pub(crate) fn new(thread: Pid) -> nix::Result<Self> {
        ptrace::seize(thread, ptrace::Options::empty())?;
        let stopped = Self(thread);
        ptrace::interrupt(thread)?;
        waitpid(thread, Some(WaitPidFlag::__WALL))?;
        Ok(stopped)
    }

    /// Its process was ended. The parent hears of that only once this has been asked.
    pub(crate) fn is_dead(&self) -> bool {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
        !matches!(waitpid(self.0, Some(flags)), Ok(WaitStatus::StillAlive))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if ptrace::detach(self.0, None).is_err() {
            // The process was killed because of it.
            let _ = waitpid(self.0, Some(WaitPidFlag::__WALL));
        }
    }
}
