//! The addresses that the kernel holds for a virtual router: for how long, and what becomes of them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::machine::{Machine, Role};
use super::output::Output;
use super::timers::Timer;

/// A lease is renewed when half of it is over; the kernel counts in seconds, so that this is the half of the shortest.
const RENEW_AT_MOST_EVERY: Duration = Duration::from_millis(500);
/// So early it is renewed together with an advert.
const RENEW_EARLY: Duration = Duration::from_millis(10);

impl Machine {
    pub(super) fn hold(&mut self, now: Instant) {
        match self.role {
            // An edit may have taken some away, perhaps while they were kept for their connections only.
            Role::Master => self.keep_only(self.settings.addresses.clone()),
            Role::Resigning => {}
            Role::Fault | Role::Backup | Role::Stopping if self.is_lingering() => {
                // What the kernel has dropped meanwhile has nothing to come back for.
                if self.held_at.is_none_or(|at| now >= at + self.settings.lease) {
                    return self.linger_is_over(now);
                }
            }
            Role::Fault | Role::Blocked | Role::Backup | Role::Stopping | Role::Stopped => return,
        }
        self.output(Output::Hold { addresses: self.held.clone(), lease: self.settings.lease });
        self.held_since.get_or_insert(now);
        self.held_at = Some(now);
        self.renew_at(now);
    }

    /// `held`: when they were renewed last.
    pub(super) fn renew_at(&mut self, held: Instant) {
        self.timers.arm(Timer::Hold, held + (self.settings.lease / 2).max(RENEW_AT_MOST_EVERY));
    }

    /// Together with an advert: a wake-up of its own would cost more than that it is early.
    pub(super) fn renew_early(&mut self, now: Instant) {
        if self.timers.deadline(Timer::Hold).is_some_and(|at| at <= now + RENEW_EARLY) {
            self.timers.arm(Timer::Hold, now);
        }
    }

    /// What the kernel was last told to hold.
    pub(super) fn held(&self) -> &[IpAddr] {
        &self.held
    }

    /// The kernel's side of a virtual address, gone: what was bound to it can only mislead a client.
    pub(super) fn drop_addresses(&mut self) {
        let lingered = std::mem::take(&mut self.lingering);
        self.timers.disarm(&[Timer::Release, Timer::Hold]);
        self.held_since = None;
        self.held_at = None;
        self.keep_only(vec![]);
        if lingered {
            self.output(Output::Drained);
        }
    }

    fn keep_only(&mut self, addresses: Vec<IpAddr>) {
        let mut others = std::mem::replace(&mut self.held, addresses);
        others.retain(|address| !self.held.contains(address));
        if !others.is_empty() {
            self.output(Output::Release { addresses: others.clone() });
            self.output(Output::DestroySockets { addresses: others });
        }
    }
}
