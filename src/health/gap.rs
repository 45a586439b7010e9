//! Did this process run all the time? Whoever was frozen finds a gap between two looks at the clock, and what waited
//! meanwhile may belong to another node by now.
//!
//! Gaps are counted. A connection remembers up to which gap it is known to be good; those after it have to be found
//! harmless, each by its own verdict, before anything that it sent is processed.

use std::time::Duration;

/// A gap that was just found: ask about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Counts from 1.
    pub number: u64,
    /// The last moment before it, in the clock's nanoseconds.
    pub since: u64,
}

/// What may be done with something that was good up to a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clearance {
    Clear,
    /// A verdict is missing.
    Wait,
    Lost,
}

/// Readings are nanoseconds of one clock that also runs while the machine sleeps.
#[derive(Clone, Debug)]
pub struct GapWatch {
    /// `None`: gaps do not matter.
    bound: Option<Duration>,
    last: u64,
    found: u64,
    /// The last gap that did harm.
    lost: u64,
    /// Gaps without a verdict.
    open: Vec<u64>,
}

/// Gaps without a verdict that are told apart; a further one is taken for lost. Each needs a freeze of its own
/// within the second that a verdict may take.
const OPEN_MAX: usize = 64;

impl GapWatch {
    pub fn new(now: u64) -> Self {
        Self { bound: None, last: now, found: 0, lost: 0, open: vec![] }
    }

    /// From `now` on.
    pub fn set_bound(&mut self, bound: Option<Duration>, now: u64) {
        if self.bound.is_none() {
            // Nobody has looked meanwhile.
            self.last = self.last.max(now);
        }
        self.bound = bound;
    }

    /// Gaps do not matter, and none is without a verdict.
    pub fn is_idle(&self) -> bool {
        self.bound.is_none() && self.open.is_empty()
    }

    /// Notes that this process runs; says whether it had not for longer than the bound.
    pub fn observe(&mut self, now: u64) -> Option<Gap> {
        let since = self.last;
        self.last = since.max(now);
        let gap = Duration::from_nanos(now.saturating_sub(since));
        if self.bound.is_none_or(|bound| gap <= bound) {
            return None;
        }
        self.found += 1;
        if self.open.len() < OPEN_MAX {
            self.open.push(self.found);
        } else {
            self.lost = self.found;
        }
        Some(Gap { number: self.found, since })
    }

    /// Gaps found so far: what begins after this moment is good up to here.
    pub fn found(&self) -> u64 {
        self.found
    }

    /// `harmless`: nothing was lost in that gap. The first verdict counts.
    pub fn decide(&mut self, number: u64, harmless: bool) {
        let Some(at) = self.open.iter().position(|n| *n == number) else { return };
        self.open.swap_remove(at);
        if !harmless {
            self.lost = self.lost.max(number);
        }
    }

    /// About something that is good up to gap `number`.
    pub fn clearance(&self, number: u64) -> Clearance {
        if self.lost > number {
            Clearance::Lost
        } else if self.open.iter().any(|n| *n > number) {
            Clearance::Wait
        } else {
            Clearance::Clear
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn watch() -> GapWatch {
        let mut watch = GapWatch::new(0);
        watch.set_bound(Some(Duration::from_millis(300)), 0);
        watch
    }

    #[test]
    fn a_gap_is_longer_than_the_bound() {
        let mut watch = watch();
        assert_eq!(watch.observe(300 * MS), None);
        assert_eq!(watch.observe(601 * MS), Some(Gap { number: 1, since: 300 * MS }));
        assert_eq!(watch.observe(500 * MS), None, "a clock that goes back is no gap");
        assert_eq!(watch.observe(901 * MS), None, "and does not make one");
        watch.set_bound(None, 0);
        assert_eq!(watch.observe(9_000 * MS), None);
        assert_eq!(watch.found(), 1);
    }

    #[test]
    fn every_gap_since_needs_its_verdict() {
        let mut watch = watch();
        assert_eq!(watch.clearance(0), Clearance::Clear);
        watch.observe(1_000 * MS);
        watch.observe(2_000 * MS);
        assert_eq!(watch.clearance(0), Clearance::Wait);
        assert_eq!(watch.clearance(1), Clearance::Wait);
        assert_eq!(watch.clearance(2), Clearance::Clear, "what began after both is no suspect");
        watch.decide(2, true);
        assert_eq!(watch.clearance(0), Clearance::Wait);
        assert_eq!(watch.clearance(1), Clearance::Clear);
        watch.decide(1, false);
        assert_eq!(watch.clearance(0), Clearance::Lost);
        assert_eq!(watch.clearance(1), Clearance::Clear);
        watch.decide(1, true);
        assert_eq!(watch.clearance(0), Clearance::Lost, "the first verdict counts");
        watch.decide(7, true);
        assert_eq!(watch.clearance(1), Clearance::Clear);
    }

    #[test]
    fn more_gaps_than_can_be_told_apart_are_lost() {
        let mut watch = watch();
        for n in 1..=OPEN_MAX as u64 + 1 {
            watch.observe(n * 1_000 * MS);
        }
        assert_eq!(watch.clearance(0), Clearance::Lost);
        assert_eq!(watch.clearance(watch.found()), Clearance::Clear);
    }
}
