//! Somebody else claims an address that this node holds: defended by gratuitous ARP, but never so that two defenders
//! fill the link. No socket, no clock.

use std::time::{Duration, Instant};

use super::machine::{Machine, Role, STRANGER_GONE};
use super::output::{AnnounceForm, Claim, Claimant, WarningKind};
use super::timers::Timer;

/// At most one defence in this time (two nodes that both defend at once make 149,000 broadcasts a second).
const DEFEND_AT_MOST_EVERY: Duration = Duration::from_millis(100);
/// As many as this, then the link must have been quiet first.
const DEFENCES: u32 = 10;
/// Without a claim for this long, the conflict is over.
const QUIET: Duration = Duration::from_secs(1);

/// One conflict, from its first claim to the quiet after its last; none by default.
#[derive(Clone, Debug, Default)]
pub(super) struct Defence {
    sent: u32,
    last: Option<Instant>,
    /// A peer advertised as master beside us: it has gone silent once the conflict is over.
    two_masters: bool,
}

impl Defence {
    /// The earliest moment for the next defence; `None`: no more of them in this conflict.
    fn next(&self, wanted: Instant) -> Option<Instant> {
        let earliest = self.last.map_or(wanted, |last| wanted.max(last + DEFEND_AT_MOST_EVERY));
        (self.sent < DEFENCES).then_some(earliest)
    }
}

impl Machine {
    /// ARP whose sender address is one of ours and whose MAC address is not.
    pub fn handle_claim(&mut self, claim: Claim, now: Instant) {
        if self.wake(now) {
            // It may have waited while this process did not run.
            return;
        }
        if claim.by == Claimant::Stranger && self.may_have_been_joined(now) {
            // It knows no address to which it could send an advert.
            return self.fence(self.silent(now), now);
        }
        match (self.role, claim.by) {
            (Role::Backup, Claimant::Stranger) => {
                // Only weighed when the down timer fires: the master's own answer comes before its first advert.
                self.stranger = self.heard.is_none().then_some((claim.address, claim.mac));
            }
            (Role::Blocked, Claimant::Stranger) => self.timers.arm(Timer::Stranger, now + STRANGER_GONE),
            (Role::Resigning, Claimant::Peer) if self.is_releasing() => {
                self.hand_over("a peer has claimed the address".to_owned(), now)
            }
            (Role::Master, by) => self.claim_against_master(claim, by, now),
            (Role::Backup | Role::Blocked, Claimant::Peer)
            | (Role::Resigning, Claimant::Peer | Claimant::Stranger)
            | (Role::Fault | Role::Stopping | Role::Stopped, Claimant::Peer | Claimant::Stranger) => {}
        }
    }

    fn claim_against_master(&mut self, claim: Claim, by: Claimant, now: Instant) {
        self.count("claim");
        let contested = self.timers.deadline(Timer::Defend).is_some();
        match by {
            Claimant::Peer => {
                // First an election: a peer that loses it falls silent, and one that wins says so before we defend.
                if !contested && self.defence.next(now).is_some() {
                    self.advertise(self.settings.priority.get(), now);
                }
                self.defend_at(now + DEFEND_AT_MOST_EVERY, now);
            }
            Claimant::Stranger => {
                let text =
                    format!("{} is claimed by {}, which is no configured peer", claim.address, claim.mac);
                self.warn(WarningKind::Stranger, text);
                self.defend_at(now, now);
            }
        }
    }

    /// A peer's advert has lost against ours: its announcements may have reached neighbours that ours must win back.
    pub(super) fn contest_lost_by_peer(&mut self, now: Instant) {
        self.defence.two_masters = true;
        self.defend_at(now + DEFEND_AT_MOST_EVERY, now);
    }

    fn defend_at(&mut self, wanted: Instant, now: Instant) {
        self.timers.arm(Timer::Quiet, now + QUIET);
        if self.timers.deadline(Timer::Defend).is_some() {
            return;
        }
        match self.defence.next(wanted) {
            Some(at) if at <= now => self.defend(now),
            Some(at) => self.timers.arm(Timer::Defend, at),
            None => self.count("defence_suppressed"),
        }
    }

    pub(super) fn defend(&mut self, now: Instant) {
        if self.role != Role::Master {
            return;
        }
        // One frame per address; the forms alternate because some equipment takes only one of them.
        let form =
            if self.defence.sent.is_multiple_of(2) { AnnounceForm::Request } else { AnnounceForm::Reply };
        self.defence.sent += 1;
        self.defence.last = Some(now);
        self.count("defence");
        for address in self.settings.addresses.clone() {
            self.announce(address, form);
        }
    }

    /// What is announced after a takeover defends as well, so that both together keep the pace of one.
    pub(super) fn announced_in_defence(&mut self, now: Instant) {
        self.defence.last = Some(now);
        if self.timers.deadline(Timer::Defend).is_some() {
            self.timers.arm(Timer::Defend, now + DEFEND_AT_MOST_EVERY);
        }
    }

    pub(super) fn conflict_is_over(&mut self, _now: Instant) {
        // The peer has yielded, perhaps long after the last defence was spent: the last word is ours.
        if self.defence.two_masters && self.role == Role::Master {
            self.announce_all();
        }
        self.forget_conflicts();
    }

    pub(super) fn forget_conflicts(&mut self) {
        self.defence = Defence::default();
        self.stranger = None;
        self.stop_announcing();
        self.timers.disarm(&[Timer::Defend, Timer::Quiet]);
        self.clear_warning(WarningKind::TwoMasters);
        self.clear_warning(WarningKind::Stranger);
    }
}
