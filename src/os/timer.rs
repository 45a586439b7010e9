//! A timer that is a descriptor: readable once its time has come.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

#[derive(Debug)]
pub struct Timer(TimerFd);

impl Timer {
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Self(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?))
    }

    /// What was set before is void, also if it has come.
    pub fn set(&self, after: Duration) -> io::Result<()> {
        // Nothing is what ends a timer.
        let after = after.max(Duration::from_nanos(1));
        let once = Expiration::OneShot(TimeSpec::from_duration(after));
        Ok(self.0.set(once, TimerSetTimeFlags::empty())?)
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
