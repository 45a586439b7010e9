//! One table of timers for the whole machine: what is armed, until when, and why. No clock.

use std::collections::BTreeMap;
use std::time::Instant;

/// In the order in which those of one instant are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Master_Down_Timer, RFC 9568's Active_Down_Timer.
    Down,
    /// Adver_Timer.
    Advert,
    Hold,
    Announce,
    Defend,
    Quiet,
    Release,
    Relay,
    Empty,
    Resign,
    Probe,
    Stranger,
}

impl Timer {
    const fn reason(self) -> &'static str {
        match self {
            Self::Down => "the master is silent",
            Self::Advert => "the next advert is due",
            Self::Hold => "the lease is to be renewed",
            Self::Announce => "the next announcement is due",
            Self::Defend => "the address is to be defended",
            Self::Quiet => "nobody else claims the address any more",
            Self::Release => "the bound of the old connections ends",
            Self::Relay => "the old owner has nothing more to serve",
            Self::Empty => "the connections have had the time that there is for them",
            Self::Resign => "the bound of the handover ends",
            Self::Probe => "the address is to be probed again",
            Self::Stranger => "no stranger has answered for a while",
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Timers(BTreeMap<Timer, Instant>);

impl Timers {
    pub(super) fn arm(&mut self, timer: Timer, at: Instant) {
        self.0.insert(timer, at);
    }

    pub(super) fn disarm(&mut self, timers: &[Timer]) {
        for timer in timers {
            self.0.remove(timer);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn deadline(&self, timer: Timer) -> Option<Instant> {
        self.0.get(&timer).copied()
    }

    pub(super) fn next(&self) -> Option<(Instant, &'static str)> {
        self.earliest().map(|(timer, at)| (at, timer.reason()))
    }

    /// Disarms and returns the earliest timer that is due, with the instant it was due at.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Timer, Instant)> {
        let (timer, at) = self.earliest().filter(|(_, at)| *at <= now)?;
        self.0.remove(&timer);
        Some((timer, at))
    }

    fn earliest(&self) -> Option<(Timer, Instant)> {
        self.0.iter().map(|(timer, at)| (*timer, *at)).min_by_key(|(timer, at)| (*at, *timer))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_earliest_comes_first_and_those_of_one_instant_in_their_order() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.arm(Timer::Hold, at(5));
        timers.arm(Timer::Advert, at(5));
        timers.arm(Timer::Release, at(1));
        timers.arm(Timer::Probe, at(9));
        assert_eq!(timers.next(), Some((at(1), Timer::Release.reason())));
        let mut due = Vec::new();
        while let Some((timer, _)) = timers.pop_due(at(5)) {
            due.push(timer);
        }
        assert_eq!(due, [Timer::Release, Timer::Advert, Timer::Hold]);
        assert_eq!(timers.deadline(Timer::Probe), Some(at(9)));
    }
}
