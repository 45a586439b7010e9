//! What the runner is told and says. Whatever becomes of it: nothing waits for it here.

use std::collections::{BTreeMap, VecDeque};

use tracing::warn;

use super::run::Supervisor;
use crate::link::control::HappeningKind;
use crate::link::{Announced, FromRunner, Generation, Notice, Run, ToRunner, ToVrrp, Transition};
use crate::notification::history;
use crate::supervision::{Event, Player, RoleName, Saying};

/// Notices that wait for a runner that is being started again.
const MAX_UNDELIVERED: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Notices {
    /// What was said last of each virtual router.
    last: BTreeMap<String, Notice>,
    undelivered: VecDeque<Notice>,
}

impl Supervisor {
    pub(super) fn hear_runner(&mut self, player: Player, message: FromRunner) {
        let saying = match message {
            FromRunner::Prepared { generation } => Saying::Prepared(generation),
            FromRunner::Committed { generation } => Saying::InForce(generation),
            FromRunner::Beat { turns } => Saying::Beat(vec![turns]),
            FromRunner::Drained { cut } => {
                if cut > 0 {
                    warn!("{cut} notifications were cut off: they took longer than a stop may");
                }
                Saying::Drained
            }
            // The runner has logged it itself.
            FromRunner::Failed { what } => return self.record(HappeningKind::Notification, &what),
            FromRunner::Ended(ended) => {
                let lost = self.tell_vrrp(ToVrrp::Ended(ended));
                return self.follow(lost);
            }
            FromRunner::Report(report) => return self.reports.runner(player, report),
        };
        self.happen(Event::Said(player, saying));
    }

    /// Without a runner nobody hears of the end; whoever has asked asks again.
    pub(super) fn have_run(&mut self, run: Run) {
        let lost = self.tell_runner(ToRunner::Run(run));
        self.follow(lost);
    }

    pub(super) fn prepare_runner(&mut self, generation: Generation) -> Option<Event> {
        let config = self.edition(generation)?.config_for(RoleName::Runner);
        let prepared = self.tell_runner(ToRunner::Prepare { generation, config });
        if prepared.is_some() {
            return prepared;
        }
        let undelivered = std::mem::take(&mut self.notices.undelivered);
        undelivered.into_iter().find_map(|notice| self.tell_runner(ToRunner::Notice(notice)))
    }

    pub(super) fn pass_on(&mut self, transition: &Transition) {
        if let Some(what) = history::told(transition) {
            self.record(HappeningKind::Router, &what);
        }
        let Some(notice) = Notice::of(transition) else { return };
        // To be backup is not the news of a node that leaves.
        let state = if self.plan.is_stopping() { Announced::Stop } else { notice.state };
        self.notice(Notice { state, ..notice });
    }

    /// A process that has died says nothing any more of the addresses that it has taken with it.
    pub(super) fn vrrp_is_gone(&mut self, how: &str) {
        let standing = self
            .notices
            .last
            .values()
            .filter(|notice| matches!(notice.state, Announced::Master | Announced::Backup));
        let reason = format!("the vrrp role {how}");
        let lost: Vec<_> = standing
            .map(|notice| Notice { state: Announced::Fault, reason: reason.clone(), ..notice.clone() })
            .collect();
        if !self.plan.is_stopping() {
            for notice in lost {
                let Notice { instance, reason, .. } = &notice;
                self.record(HappeningKind::Router, &format!("{instance} is FAULT: {reason}"));
                self.notice(notice);
            }
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice.state {
            Announced::Stop => drop(self.notices.last.remove(&notice.instance)),
            Announced::Master | Announced::Backup | Announced::Fault => {
                drop(self.notices.last.insert(notice.instance.clone(), notice.clone()));
            }
        }
        if !self.plan.is_wanted(RoleName::Runner) {
            return;
        }
        if self.runner.is_some() {
            let lost = self.tell_runner(ToRunner::Notice(notice));
            return self.follow(lost);
        }
        if self.notices.undelivered.len() == MAX_UNDELIVERED {
            self.notices.undelivered.pop_front();
        }
        self.notices.undelivered.push_back(notice);
    }

    pub(super) fn tell_runner(&self, message: ToRunner) -> Option<Event> {
        self.runner.as_ref()?.order(message, None).err().and_then(|why| self.lost(RoleName::Runner, why))
    }
}
