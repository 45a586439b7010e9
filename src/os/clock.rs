//! The kernel's clocks. A process that was frozen finds MONOTONIC ahead of it; a machine that was suspended finds
//! only BOOTTIME (and REALTIME) ahead.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The three clocks, read one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Runs while the machine runs, whether or not this process does.
    pub monotonic: Duration,
    /// Runs also while the machine is suspended.
    pub boottime: Duration,
    /// Since 1970; jumps when somebody sets it.
    pub realtime: Duration,
}

pub fn read() -> Reading {
    Reading {
        monotonic: elapsed(ClockId::CLOCK_MONOTONIC),
        boottime: elapsed(ClockId::CLOCK_BOOTTIME),
        realtime: elapsed(ClockId::CLOCK_REALTIME),
    }
}

/// CLOCK_BOOTTIME in nanoseconds: the one clock that all roles share.
pub fn boottime_ns() -> u64 {
    u64::try_from(elapsed(ClockId::CLOCK_BOOTTIME).as_nanos()).unwrap_or(u64::MAX)
}

/// CLOCK_MONOTONIC in milliseconds as of the kernel's last tick: read for a fraction of what the exact one costs.
pub fn coarse_ms() -> u64 {
    u64::try_from(elapsed(ClockId::CLOCK_MONOTONIC_COARSE).as_millis()).unwrap_or(u64::MAX)
}

/// These clocks exist on every Linux that runs this binary, so that no error is left to report.
fn elapsed(clock: ClockId) -> Duration {
    clock_gettime(clock).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run_forward_and_boottime_is_never_behind() {
        let first = read();
        let second = read();
        assert!(first.monotonic > Duration::ZERO && second.monotonic >= first.monotonic);
        assert!(second.boottime >= first.boottime && second.boottime >= first.monotonic);
        assert!(u128::from(boottime_ns()) >= second.boottime.as_nanos());
        assert!(u128::from(coarse_ms()) <= read().monotonic.as_millis());
    }
}
