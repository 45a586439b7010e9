//! The resume fence: a node that did not run may have been replaced, and must not act on what it believed. No socket, no
//! clock: the shell compares its clocks and says how long the gap was.

use std::time::{Duration, Instant};

use super::machine::{Machine, Role, STRANGER_GONE};
use super::output::Output;
use super::timers::Timer;
use super::timing;

/// How long an address stays after an election lost in good order, without an answer to ARP: what was being answered when
/// the winner announced itself is on its way within this.
pub const LINGER: Duration = Duration::from_millis(200);

impl Machine {
    /// This process did not run for `gap`: the greatest that any of the shell's clocks shows. To be called before
    /// anything else that the wake-up brings.
    pub fn handle_gap(&mut self, gap: Duration, now: Instant) {
        if self.wake(now) {
            return;
        }
        let replaced = gap > self.replaced_after();
        match self.role {
            Role::Master | Role::Resigning if replaced => self.fence(gap, now),
            Role::Backup => {
                if self.timers.deadline(Timer::Release).is_some() && gap > LINGER {
                    self.drop_addresses();
                }
                self.listen_again(gap, replaced, now);
            }
            Role::Stopping if gap > LINGER => {
                self.drop_addresses();
                self.stop("a peer has taken over", now);
            }
            // No answer was heard because nobody listened.
            Role::Blocked => self.timers.arm(Timer::Stranger, now + STRANGER_GONE),
            Role::Master | Role::Resigning | Role::Stopping | Role::Fault | Role::Stopped => {}
        }
    }

    /// Somebody asks for one of the addresses: is the answer ours to give? Asked for every request, so that one that
    /// waited while this process did not run finds the fence shut. May leave outputs.
    pub fn answers(&mut self, now: Instant) -> bool {
        self.wake(now);
        self.master_since().is_some()
    }

    /// Every entry to the machine comes through here first: a master that has been silent for so long that a peer may
    /// have taken over, or whose lease has run out, is no master, whatever it is asked. True if it has just been fenced.
    pub(super) fn wake(&mut self, now: Instant) -> bool {
        if !matches!(self.role, Role::Master | Role::Resigning) {
            return false;
        }
        let since = |at: Option<Instant>| at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let silent = since(self.advertised_at);
        let unrenewed = since(self.held_at);
        let out = silent > timing::takeover_bound(self.settings.advert_interval.duration())
            || unrenewed >= self.settings.lease;
        if out {
            // It ran when it last did either.
            self.fence(silent.min(unrenewed), now);
        }
        out
    }

    /// The earliest at which this node may have been replaced, or its kernel may have dropped the addresses.
    fn replaced_after(&self) -> Duration {
        timing::takeover_bound(self.settings.advert_interval.duration()).min(self.settings.lease)
    }

    /// Silence first, then the address, then what is bound to it, then what queued up: each step makes the next harmless.
    fn fence(&mut self, gap: Duration, now: Instant) {
        let resigning = self.role == Role::Resigning;
        self.output(Output::AnswerArp(false));
        self.drop_addresses();
        self.output(Output::DiscardReceived);
        self.count("fenced");
        let reason = format!("did not run for {gap:.1?}");
        if resigning {
            return self.stop(&reason, now);
        }
        self.timers.clear();
        self.forget_conflicts();
        self.heard = None;
        self.excused = false;
        self.master_interval = self.settings.advert_interval.duration();
        // As a backup with a full down interval, under the configured preempt policy: the master that is there by then
        // is heard first. That goes for the address owner too.
        self.timers.arm(Timer::Down, now + self.down_interval());
        self.transition(Role::Backup, reason, now);
    }

    /// A backup that did not run has not listened: that time says nothing about the master.
    fn listen_again(&mut self, gap: Duration, replaced: bool, now: Instant) {
        let whole = now + self.down_interval();
        let at = if replaced {
            self.output(Output::DiscardReceived);
            whole
        } else {
            self.timers.deadline(Timer::Down).map_or(whole, |at| whole.min(at + gap))
        };
        self.timers.arm(Timer::Down, at);
    }
}
