//! The election: RFC 9568 section 6.4 (and RFC 3768's, where version 2 differs), arm by arm. No socket, no clock.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::advert::Advert;
use super::machine::{Heard, Machine, PROBE_EVERY, Role, STRANGER_GONE};
use super::output::{Output, WarningKind};
use super::timers::Timer;
use crate::config::VrrpVersion;

/// A losing advert is answered at once, but never more often than the shortest interval of the protocol.
const ANSWER_AT_MOST_EVERY: Duration = Duration::from_millis(10);
/// For two adverts to cross, and for a loaded machine to read what has come.
const CROSSING: Duration = Duration::from_millis(50);

impl Machine {
    /// An advert that passed `receive::check`.
    pub fn handle_advert(&mut self, source: IpAddr, advert: &Advert, now: Instant) {
        if self.wake(now) {
            // It may have waited while this process did not run.
            return;
        }
        if self.was_alone_too_long(source, advert, now) {
            self.fence(self.silent(now), now);
        }
        self.detector.note_advert(source, now);
        self.count(if advert.releases() { "advert_received_release" } else { "advert_received" });
        match self.role {
            Role::Fault => self.heard = heard(source, advert),
            Role::Blocked => self.advert_while_blocked(source, advert, now),
            Role::Backup => self.advert_as_backup(source, advert, now),
            Role::Master => self.advert_as_master(source, advert, now),
            Role::Resigning if !self.is_releasing() => self.advert_as_master(source, advert, now),
            Role::Resigning if !advert.releases() => {
                self.heard = heard(source, advert);
                self.learn_interval(advert);
                self.hand_over(format!("{source} has taken over"), now);
            }
            Role::Resigning | Role::Stopping | Role::Stopped => {}
        }
    }

    /// Section 6.4.1, Initialize.
    pub(super) fn stand(&mut self, now: Instant) {
        self.master_interval = self.settings.advert_interval.duration();
        let heard = self.heard.take();
        self.stranger = None;
        self.excused = false;
        // "If the Priority = 255 (i.e., the router owns the IPvX addresses ..)": Active at once.
        if self.settings.is_owner() && !self.yielded {
            // Whoever has been heard while this node got ready is replaced as by any better router.
            let is_lesser = |heard: &Heard| heard.priority < self.settings.priority.get();
            self.heard = heard.filter(|heard| is_lesser(heard) && self.has_spoken_lately(heard.from, now));
            return self.become_master("it owns the addresses".to_owned(), now);
        }
        // "Set Active_Adver_Interval to Advertisement_Interval, set the Active_Down_Timer to Active_Down_Interval".
        self.arm_down(now + self.down_interval(now));
        self.transition(Role::Backup, "ready, and listens for a master".to_owned(), now);
        self.probe(now);
    }

    /// Section 6.4.2, Backup.
    fn advert_as_backup(&mut self, source: IpAddr, advert: &Advert, now: Instant) {
        self.stranger = None;
        self.timers.disarm(&[Timer::Probe]);
        self.heard = heard(source, advert);
        // "If the Priority in the ADVERTISEMENT is zero, then set the Active_Down_Timer to Skew_Time".
        if advert.releases() {
            self.arm_down(now + self.skew());
            self.excused = false;
            return;
        }
        // "If Preempt_Mode is False, or if the Priority in the ADVERTISEMENT is greater than or equal to the local
        // Priority": learn its interval, recompute, reset the timer.
        if self.puts_up_with(advert.priority, now) {
            self.accept_master(advert, now);
        }
        // Else "discard the ADVERTISEMENT": the timer runs on, which is how a better router takes over.
    }

    /// Section 6.4.3, Active.
    fn advert_as_master(&mut self, source: IpAddr, advert: &Advert, now: Instant) {
        // "If the Priority in the ADVERTISEMENT is zero: send an ADVERTISEMENT, reset the Adver_Timer".
        if advert.releases() {
            self.advertise(self.settings.priority.get(), now);
            return;
        }
        self.count("two_masters");
        let own = (self.settings.priority.get(), self.primary);
        // "greater than the local Priority, or .. equal .. and the primary address of the sender is greater than the
        // local primary address (based on an unsigned integer comparison of the IP addresses in network byte order)".
        if (advert.priority, Some(source)) > own {
            return self.yield_to(source, advert, now);
        }
        // "Else discard the ADVERTISEMENT, send an ADVERTISEMENT immediately to assert Active state" (RFC 3768 and 5798
        // stay silent; the sender would wait up to an interval to learn that it lost).
        let said = self.advertised_at.is_some_and(|at| now < at + ANSWER_AT_MOST_EVERY);
        if !said {
            self.advertise(self.settings.priority.get(), now);
        }
        // Whoever was master until now may have said so before it heard of this one.
        if self.master_since().is_none_or(|since| now >= since + CROSSING) {
            let text = format!("{source} also advertises as master, with priority {}", advert.priority);
            self.warn(WarningKind::TwoMasters, text);
        }
        self.contest_lost_by_peer(now);
    }

    /// Nobody should be master, and here is one: it is no stranger that answers for the addresses.
    fn advert_while_blocked(&mut self, source: IpAddr, advert: &Advert, now: Instant) {
        if advert.releases() {
            return;
        }
        self.timers.clear();
        self.clear_warning(WarningKind::Stranger);
        self.arm_down(now + self.down_interval(now));
        self.transition(Role::Backup, format!("{source} is master"), now);
        self.advert_as_backup(source, advert, now);
    }

    fn accept_master(&mut self, advert: &Advert, now: Instant) {
        self.learn_interval(advert);
        self.excused = false;
        self.ready = None;
        self.arm_down(now + self.down_interval(now));
    }

    fn learn_interval(&mut self, advert: &Advert) {
        // Version 2 knows no learning: `receive` has refused any other interval than ours.
        self.master_interval = match self.settings.version {
            VrrpVersion::V3 => advert.interval.duration(),
            VrrpVersion::V2 => self.settings.advert_interval.duration(),
        };
    }

    /// An orderly loss: silence at once, but the address stays for the connections that this node has.
    fn yield_to(&mut self, source: IpAddr, advert: &Advert, now: Instant) {
        if self.stepping_down.is_some() {
            self.heard = heard(source, advert);
            self.learn_interval(advert);
            return self.hand_over(format!("{source} has taken over"), now);
        }
        self.output(Output::AnswerArp(false));
        self.timers.clear();
        self.forget_conflicts();
        self.heard = heard(source, advert);
        self.accept_master(advert, now);
        self.linger(now);
        let reason =
            format!("{source} is master with priority {} over {}", advert.priority, self.settings.priority);
        self.transition(Role::Backup, reason, now);
    }

    /// Section 6.4.2, "If the Active_Down_Timer fires".
    pub(super) fn master_is_down(&mut self, now: Instant) {
        if self.role != Role::Backup {
            return;
        }
        if let (Some((address, mac)), None) = (self.stranger, self.heard) {
            return self.block(address, mac, now);
        }
        let reason = match self.heard {
            Some(Heard { from, priority: Advert::RELEASE }) => format!("{from} has released it"),
            Some(Heard { from, priority })
                if self.preempts(priority, now) && !self.detector.is_gone(from) =>
            {
                format!("{from} has the lower priority {priority}")
            }
            Some(Heard { from, .. }) => {
                if self.gives_time(from, now) {
                    return;
                }
                self.silence_of(from, now)
            }
            None => format!("no master was heard for {:.0?}", self.down_interval(now)),
        };
        self.take_over(reason, now);
    }

    fn block(&mut self, address: IpAddr, mac: crate::net::MacAddr, now: Instant) {
        let text = format!("{address} is answered by {mac}, which is no configured peer");
        self.drop_addresses();
        self.timers.clear();
        self.timers.arm(Timer::Stranger, now + STRANGER_GONE);
        self.transition(Role::Blocked, text.clone(), now);
        self.warn(WarningKind::Stranger, text);
        self.probe(now);
    }

    /// Asks who answers for the addresses, as long as no master is known to.
    pub(super) fn probe(&mut self, now: Instant) {
        let asks = match self.role {
            Role::Backup => self.heard.is_none(),
            Role::Blocked => true,
            Role::Fault | Role::Master | Role::Resigning | Role::Stopping | Role::Stopped => false,
        };
        if asks {
            for address in self.settings.addresses.clone() {
                self.output(Output::Probe { address });
            }
            self.timers.arm(Timer::Probe, now + PROBE_EVERY);
        }
    }

    pub(super) fn stranger_is_gone(&mut self, now: Instant) {
        if self.role == Role::Blocked {
            self.timers.clear();
            self.clear_warning(WarningKind::Stranger);
            self.stand(now);
        }
    }
}

fn heard(source: IpAddr, advert: &Advert) -> Option<Heard> {
    Some(Heard { from: source, priority: advert.priority })
}
