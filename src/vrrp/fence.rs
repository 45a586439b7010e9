//! The resume fence: a node that did not run may have been replaced, and must not act on what it believed. No socket, no
//! clock: the shell compares its clocks and says how long the gap was.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::advert::Advert;
use super::handover::Then;
use super::machine::{Machine, Role, STRANGER_GONE};
use super::output::{Gap, Output};
use super::timers::Timer;
use super::timing;

/// Timers of an idle machine are not later than this: a later one tells that the process did not run.
const TIMER_IS_LATE: Duration = Duration::from_millis(2);

impl Machine {
    /// To be called before anything else that the wake-up brings. Being told twice does no harm, but hidden time adds up.
    pub fn handle_gap(&mut self, gap: Gap, now: Instant) {
        self.hidden += gap.hidden;
        let gap = gap.length;
        if self.wake(now) {
            return;
        }
        match self.role {
            Role::Master | Role::Resigning if gap >= self.settings.lease => self.fence(gap, now),
            Role::Backup => {
                self.end_linger_after(gap, now);
                self.listen_again(gap, now);
            }
            Role::Stopping | Role::Fault => self.end_linger_after(gap, now),
            // No answer was heard because nobody listened.
            Role::Blocked => self.timers.arm(Timer::Stranger, now + STRANGER_GONE),
            Role::Master | Role::Resigning | Role::Stopped => {}
        }
    }

    /// What is kept for the connections of a lost address goes when its lease may have run out.
    fn end_linger_after(&mut self, gap: Duration, now: Instant) {
        if self.is_lingering() && gap >= self.settings.lease {
            self.linger_is_over(now);
        }
    }

    /// When the last advert of this mastership left.
    pub fn advertised_at(&self) -> Option<Instant> {
        self.advertised_at
    }

    /// Somebody asks for one of the addresses: is the answer ours to give? Asked for every request, so that one that
    /// waited while this process did not run finds the fence shut. May leave outputs.
    pub fn answers(&mut self, now: Instant) -> bool {
        self.wake(now);
        self.master_since().is_some()
    }

    /// Every entry to the machine comes through here first, and learns here that this process did not run, whether or not
    /// the shell has noticed. True: what has come in may have waited, and is not to be used.
    pub(super) fn wake(&mut self, now: Instant) -> bool {
        match self.role {
            Role::Master | Role::Resigning => self.wake_as_master(now),
            Role::Backup => self.wake_as_backup(now),
            Role::Fault | Role::Blocked | Role::Stopping | Role::Stopped => false,
        }
    }

    /// A master that has been silent for so long that a peer may have taken over, or whose lease has run out, is none.
    fn wake_as_master(&mut self, now: Instant) -> bool {
        let since = |at: Option<Instant>| at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let silent = self.silent(now);
        let unrenewed = since(self.held_at) + self.hidden;
        let out =
            silent > self.takeover_bound(now + self.hidden) || since(self.held_at) >= self.settings.lease;
        if out {
            // It ran when it last did either.
            self.fence(silent.min(unrenewed), now);
        }
        out
    }

    pub(super) fn silent(&self, now: Instant) -> Duration {
        self.advertised_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)) + self.hidden
    }

    /// A master that took itself for alone hears one that has come up while it stood still, and has had the addresses.
    pub(super) fn was_alone_too_long(&self, source: IpAddr, advert: &Advert, now: Instant) -> bool {
        matches!(self.role, Role::Master | Role::Resigning)
            && !advert.releases()
            && self.detector.is_absent(source)
            && self.silent(now) > timing::takeover_bound(self.own_interval())
    }

    /// An advert from an address that is nobody's who is known. It may be a peer's who has come up while this node stood
    /// still, took himself for alone, and will learn his address from DNS only.
    pub fn handle_unknown_advert(&mut self, now: Instant) {
        if !self.wake(now) && self.may_have_been_joined(now) {
            self.fence(self.silent(now), now);
        }
    }

    pub(super) fn may_have_been_joined(&self, now: Instant) -> bool {
        matches!(self.role, Role::Master | Role::Resigning)
            && self.detector.may_be_joined()
            && self.silent(now) > timing::takeover_bound(self.own_interval())
    }

    /// A down timer that is late tells that nobody listened: that time says nothing about the master, whose adverts may
    /// be waiting unread. A little late is excused once, or a node that is always late would never take over; one that is
    /// always as late as a takeover takes could not stay master anyway.
    fn wake_as_backup(&mut self, now: Instant) -> bool {
        let Some(due) = self.timers.deadline(Timer::Down) else { return false };
        let late = now.saturating_duration_since(due);
        let long = late > self.detection_bound(now);
        if late <= TIMER_IS_LATE || (self.excused && !long) {
            return false;
        }
        self.excused = true;
        self.count("down_timer_late");
        self.listen_again(late, now);
        long
    }

    /// Silence first, then the address, then what is bound to it, then what queued up: each step makes the next harmless.
    pub(super) fn fence(&mut self, gap: Duration, now: Instant) {
        let step = self.stepping_down.take();
        self.output(Output::AnswerArp(false));
        self.drop_addresses();
        self.output(Output::DiscardReceived);
        self.count("fenced");
        let reason = format!("did not run for {gap:.1?}");
        match step.map(|step| step.then) {
            Some(Then::Stop) => return self.stop(&reason, now),
            Some(Then::StandBy | Then::StandBack) => self.refuse(&format!("this node {reason}")),
            None => {}
        }
        self.timers.clear();
        self.forget_conflicts();
        self.heard = None;
        self.excused = false;
        self.master_interval = self.settings.advert_interval.duration();
        // As a backup with a full down interval, under the configured preempt policy: the master that is there by then
        // is heard first. That goes for the address owner too.
        self.arm_down(now + self.down_interval(now));
        self.transition(Role::Backup, reason, now);
        self.step_is_over(now);
    }

    /// Gives a backup the time back in which it did not listen. After a long time, what waits in its sockets is as likely
    /// to mislead: a full queue has the oldest adverts and not the latest, and a release among them is no news.
    fn listen_again(&mut self, gap: Duration, now: Instant) {
        if gap > self.detection_bound(now) {
            self.output(Output::DiscardReceived);
            self.detector.listen_anew(now);
            self.arm_down(now + self.down_interval(now));
        } else {
            let whole = now + self.down_interval(now);
            // Who has been asked goes on being waited for.
            let due = self.timers.deadline(Timer::Down).map_or(now, |due| due.max(now));
            self.timers.arm(Timer::Down, whole.min(due + gap));
        }
    }
}
