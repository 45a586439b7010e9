//! Announcing the addresses after a takeover: gratuitous ARP in both forms, on a schedule that outlives a lost frame and
//! a switch that is slow to learn. No socket, no clock.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::machine::{Machine, Role};
use super::output::{AnnounceForm, Output};
use super::timers::Timer;

/// Milliseconds after the takeover.
const SCHEDULE: [u64; 6] = [0, 10, 50, 100, 500, 1000];

/// Where in the schedule a master is; at rest by default.
#[derive(Clone, Debug, Default)]
pub(super) struct Announcements {
    remaining: Vec<Instant>,
}

impl Announcements {
    fn begin(now: Instant) -> Self {
        Self { remaining: SCHEDULE.iter().rev().map(|ms| now + Duration::from_millis(*ms)).collect() }
    }

    /// Takes every step that is due, so that a late timer makes one announcement and not a burst.
    fn advance(&mut self, now: Instant) -> Option<Instant> {
        while self.remaining.last().is_some_and(|at| *at <= now) {
            self.remaining.pop();
        }
        self.remaining.last().copied()
    }
}

impl Machine {
    pub(super) fn start_announcing(&mut self, now: Instant) {
        self.announcements = Announcements::begin(now);
        self.announce_next(now);
    }

    pub(super) fn stop_announcing(&mut self) {
        self.announcements = Announcements::default();
        self.timers.disarm(&[Timer::Announce]);
    }

    pub(super) fn announce_next(&mut self, now: Instant) {
        if self.role != Role::Master {
            return;
        }
        self.announce_all();
        self.announced_in_defence(now);
        if let Some(next) = self.announcements.advance(now) {
            self.timers.arm(Timer::Announce, next);
        }
    }

    pub(super) fn announce_all(&mut self) {
        for address in self.settings.addresses.clone() {
            for form in forms(address) {
                self.announce(address, *form);
            }
        }
    }

    pub(super) fn announce(&mut self, address: IpAddr, form: AnnounceForm) {
        self.output(Output::Announce { address, form });
        self.count("announcement");
    }
}

/// Neighbour discovery has one.
const fn forms(address: IpAddr) -> &'static [AnnounceForm] {
    match address {
        IpAddr::V4(_) => &[AnnounceForm::Request, AnnounceForm::Reply],
        IpAddr::V6(_) => &[AnnounceForm::Reply],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_timer_takes_all_the_steps_that_are_due() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for (now, next) in
            [(0, Some(10)), (9, Some(10)), (10, Some(50)), (60, Some(100)), (999, Some(1000)), (1000, None)]
        {
            assert_eq!(Announcements::begin(start).advance(at(now)), next.map(at), "{now} ms");
        }
    }
}
