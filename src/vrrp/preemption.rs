//! Whether a backup leaves a master alone that it could replace. No socket, no clock.

use std::time::{Duration, Instant};

use super::advert::Advert;
use super::machine::Machine;
use super::settings::Settings;
use super::timers::Timer;

impl Machine {
    /// RFC 9568 section 6.4.2: "If Preempt_Mode is False, or if the Priority in the ADVERTISEMENT is greater than or equal
    /// to the local Priority". And keepalived's `preempt_delay`: a lesser master is put up with for so long, from when
    /// it is first heard, and what is heard in between of a better one begins the delay anew.
    pub(super) fn puts_up_with(&mut self, priority: u8, now: Instant) -> bool {
        if self.yielded || !self.settings.preempts() {
            return true;
        }
        if priority >= self.settings.priority.get() {
            self.lesser_since = None;
            return true;
        }
        self.lesser_since.get_or_insert(now);
        !self.preempts(priority, now)
    }

    /// A master of this priority, the last that was heard, is one to be replaced though it is alive.
    pub(super) fn preempts(&self, priority: u8, now: Instant) -> bool {
        let waited = |since| now.saturating_duration_since(since) >= self.settings.preempt_delay;
        !self.yielded
            && self.settings.preempts()
            && priority < self.settings.priority.get()
            && (self.settings.is_owner() || self.lesser_since.is_some_and(waited))
    }

    /// The settings have changed, the priority for one: what is left of the down interval, once `whole`, stays the same
    /// part of the one that it is now, as keepalived has it. A master that was to be replaced, and is to be left alone by
    /// now, is listened to for a whole interval.
    pub(super) fn adjust_down_timer(&mut self, before: &Settings, whole: Duration, now: Instant) {
        let replaces =
            |settings: &Settings, master: u8| settings.preempts() && master < settings.priority.get();
        let spared = self.heard.map(|heard| heard.priority).is_some_and(|master| {
            master != Advert::RELEASE && replaces(before, master) && !replaces(&self.settings, master)
        });
        let anew = self.down_interval(now);
        let Some(at) = self.timers.deadline(Timer::Down).filter(|_| !spared) else {
            return self.arm_down(now + anew);
        };
        if anew != whole {
            let left = at.saturating_duration_since(now).min(whole);
            let part = left.as_secs_f64() / whole.as_secs_f64();
            // A master that has been asked still is.
            self.timers.arm(Timer::Down, now + anew.mul_f64(part));
        }
    }
}
