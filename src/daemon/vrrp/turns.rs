//! Notices that this process was out. No clock of its own: readings are handed in.

use std::time::{Duration, Instant};

use crate::os::clock::Reading;
use crate::vrrp::Gap;

/// The event loop turns at least this often, so that a longer silence of the clocks means something.
pub(super) const TURN: Duration = Duration::from_millis(50);
/// What is due so soon is done together with what has woken this process anyway.
const EARLY: Duration = Duration::from_millis(15);
/// A timer of an idle machine is not later than this.
const ON_TIME: Duration = Duration::from_millis(2);
/// A turn that comes later than this was not merely late.
const GAP: Duration = Duration::from_millis(100);
/// MONOTONIC and BOOTTIME are read one after the other, and only a suspended machine parts them.
const SUSPENDED: Duration = Duration::from_millis(20);

/// For what is done every `TURN` or less often, and need not be done to the millisecond.
pub(super) fn is_due(at: Instant, now: Instant) -> bool {
    at <= now + EARLY
}

/// Whether a virtual router has to have read all that has arrived, up to now, before it serves its timer of `due`. A backup
/// takes silence for the end of the master, and a master that is late may have been replaced.
pub(super) fn must_know_all(is_master: bool, due: Instant, now: Instant) -> bool {
    now >= if is_master { due + ON_TIME } else { due }
}

#[derive(Debug)]
pub(super) struct Watch {
    last: Reading,
}

impl Watch {
    pub(super) fn new(now: Reading) -> Self {
        Self { last: now }
    }

    /// To be asked before anything else that a wake-up brings. REALTIME takes no part: alone, it moves when somebody
    /// sets the clock.
    pub(super) fn look(&mut self, now: Reading) -> Option<Gap> {
        let ran = now.monotonic.saturating_sub(self.last.monotonic);
        let passed = now.boottime.saturating_sub(self.last.boottime).max(ran);
        self.last = now;
        let hidden = Some(passed - ran).filter(|hidden| *hidden > SUSPENDED).unwrap_or_default();
        (!hidden.is_zero() || passed > GAP).then_some(Gap { length: passed, hidden })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_time_has_come_reads_first_and_a_master_if_it_is_late() {
        let due = Instant::now() + Duration::from_secs(1);
        let after = |is_master, us| must_know_all(is_master, due, due + Duration::from_micros(us));
        assert_eq!([0, 1_999, 2_000].map(|us| after(true, us)), [false, false, true]);
        assert_eq!([0, 1_999, 2_000].map(|us| after(false, us)), [true; 3]);
        assert!(![true, false].iter().any(|m| must_know_all(*m, due, due - Duration::from_micros(1))));
    }

    #[test]
    fn only_time_in_which_nothing_ran_is_a_gap() {
        let ms = Duration::from_millis;
        let start = Reading { monotonic: ms(1_000), boottime: ms(5_000), realtime: ms(9_000_000) };
        let gap = |length, hidden| Some(Gap { length: ms(length), hidden: ms(hidden) });
        let table = [
            ("an ordinary turn", 50, 50, 50, None),
            ("a late turn", 99, 99, 99, None),
            ("frozen", 4_000, 4_000, 4_000, gap(4_000, 0)),
            ("suspended", 10, 60_000, 60_000, gap(60_000, 59_990)),
            ("suspended for a moment", 10, 90, 90, gap(90, 80)),
            ("the clock was set forward", 50, 50, 3_600_000, None),
            ("the clock was set back", 50, 50, -3_600_000, None),
        ];
        for (what, monotonic, boottime, realtime, expect) in table {
            let mut watch = Watch::new(start);
            let now = Reading {
                monotonic: start.monotonic + ms(monotonic),
                boottime: start.boottime + ms(boottime),
                realtime: ms((9_000_000 + i64::from(realtime)).unsigned_abs()),
            };
            assert_eq!(watch.look(now), expect, "{what}");
            assert_eq!(watch.look(now), None, "{what}: told once");
        }
    }
}
