//! In a pair the backup applies an edit first, and the master once the backup has survived it: an edit that is valid
//! and wrong must not take both at once. The nodes do not talk about it. Both are shown the same folder, so the master
//! asks at the peer's front door before the edit and again when the peer must have taken it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::reload::{Reload, Step};
use super::{Action, Plan, Rejection};
use crate::link::PeersAnswer;

/// A peer sees an edit within a second, whatever tells it; it is half a second settled and read, and applied at once. A
/// proxy that dies of it does so at its first steps, and one that hangs is found out within half a second.
pub const SETTLE_TIME: Duration = Duration::from_secs(3);
/// The vrrp role gives a peer a second to answer.
pub const ASK_BOUND: Duration = Duration::from_secs(2);

/// What is known of the peers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// Number of the last question.
    asked: u64,
    before: Option<Before>,
    suspicion: Option<Suspicion>,
}

/// Who was there before the last edit.
#[derive(Debug)]
struct Before {
    question: u64,
    until: Instant,
    answer: Option<PeersAnswer>,
}

/// After this edit these peers did not answer, or were not asked again. However it is tried, it is for them to show
/// that it can be lived with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Suspicion {
    digest: [u8; 32],
    witnesses: Vec<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    Now,
    /// After these.
    After(Vec<IpAddr>),
    /// These do not answer.
    Never(Vec<IpAddr>),
}

impl Peers {
    /// Of an edit that is given up, for its next try.
    pub(super) fn remember(&mut self, reload: &Reload) {
        let witnesses = reload.witnesses().to_vec();
        if !witnesses.is_empty() {
            self.suspicion = Some(Suspicion { digest: reload.candidate.digest, witnesses });
        }
    }

    /// The edit that has just been given up has been replaced by this one, which its peers may have died of as well.
    pub(super) fn suspect_instead(&mut self, digest: [u8; 32]) {
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.digest = digest;
        }
    }

    pub(super) fn forgive(&mut self) {
        self.suspicion = None;
    }

    fn turn(&self, answer: &PeersAnswer, digest: [u8; 32]) -> Turn {
        if !answer.goes_last {
            return Turn::Now;
        }
        let suspicion = self.suspicion.as_ref().filter(|suspicion| suspicion.digest == digest);
        let witnesses = suspicion.map_or(&answer.answered, |suspicion| &suspicion.witnesses);
        let silent = silent(witnesses, answer);
        if !silent.is_empty() {
            return Turn::Never(silent);
        }
        if witnesses.is_empty() { Turn::Now } else { Turn::After(witnesses.clone()) }
    }
}

fn silent(witnesses: &[IpAddr], answer: &PeersAnswer) -> Vec<IpAddr> {
    witnesses.iter().filter(|witness| !answer.answered.contains(witness)).copied().collect()
}

impl Plan {
    /// Before the peers can have taken the edit: they see it in the same moment.
    pub(super) fn ask_before(&mut self, now: Instant) {
        self.peers.before = None;
        let listen = self.in_force.as_ref().map(|c| c.listen.clone()).unwrap_or_default();
        if !self.vrrp.serves() || !self.proxy.serves() || self.is_stopping() {
            return;
        }
        let question = self.ask_peers(listen);
        self.peers.before = Some(Before { question, until: now + ASK_BOUND, answer: None });
    }

    fn ask_peers(&mut self, listen: Vec<std::net::SocketAddr>) -> u64 {
        self.peers.asked += 1;
        self.push(Action::AskPeers(self.peers.asked, listen));
        self.peers.asked
    }

    pub(super) fn heard_of_peers(&mut self, question: u64, answer: PeersAnswer, now: Instant) {
        if let Some(before) = self.peers.before.as_mut().filter(|before| before.question == question) {
            before.answer = Some(answer.clone());
        }
        match self.reload.as_ref().map(|reload| &reload.step) {
            Some(Step::Asking) => self.take_turn(now),
            Some(Step::AskingAgain { question: again, witnesses }) if *again == question => {
                match silent(witnesses, &answer) {
                    silent if answer.goes_last && !silent.is_empty() => self.hold(&silent),
                    _ => self.commit(now),
                }
            }
            Some(Step::Voting(_) | Step::Waiting(_) | Step::AskingAgain { .. }) | None => (),
        }
    }

    /// All roles have agreed.
    pub(super) fn take_turn(&mut self, now: Instant) {
        let Some(reload) = &mut self.reload else { return };
        if reload.candidate.is_urgent || !reload.is_whole() {
            return self.commit(now);
        }
        let Some(before) = &self.peers.before else { return self.commit(now) };
        let silence = PeersAnswer::default();
        let answer = match &before.answer {
            None if before.until > now => {
                (reload.step, reload.until) = (Step::Asking, before.until);
                return;
            }
            // A vrrp role that does not answer is about to be replaced, and its address with it.
            None => &silence,
            Some(answer) => answer,
        };
        match self.peers.turn(answer, reload.candidate.digest) {
            Turn::Now => self.commit(now),
            Turn::After(witnesses) => {
                let generation = reload.generation();
                (reload.step, reload.until) = (Step::Waiting(witnesses.clone()), now + SETTLE_TIME);
                self.push(Action::Wait(generation, witnesses));
            }
            Turn::Never(silent) => self.hold(&silent),
        }
    }

    pub(super) fn expire_turn(&mut self, now: Instant) {
        let Some(reload) = &mut self.reload else { return };
        match &mut reload.step {
            Step::Voting(_) => (),
            Step::Asking => self.take_turn(now),
            Step::Waiting(witnesses) => {
                let witnesses = std::mem::take(witnesses);
                let listen = reload.candidate.listen.clone();
                let question = self.ask_peers(listen);
                if let Some(reload) = &mut self.reload {
                    (reload.step, reload.until) =
                        (Step::AskingAgain { question, witnesses }, now + ASK_BOUND);
                }
            }
            Step::AskingAgain { .. } => {
                let reason =
                    format!("the vrrp role did not say within {ASK_BOUND:?} whether the peers answer");
                self.abort(Rejection::ForNow(reason));
            }
        }
    }

    fn hold(&mut self, silent: &[IpAddr]) {
        let names: Vec<_> = silent.iter().map(ToString::to_string).collect();
        let names = names.join(" and ");
        self.abort(Rejection::Held(format!(
            "{names} stopped answering after this edit, so that it is not applied here: it is once {names} answers \
             again, or on SIGHUP"
        )));
    }

    pub(super) fn hurry(&mut self, now: Instant) {
        if let Some(queued) = &mut self.queued {
            queued.is_urgent = true;
        }
        let Some(reload) = &mut self.reload else { return };
        reload.candidate.is_urgent = true;
        match reload.step {
            Step::Voting(_) => (),
            Step::Asking | Step::Waiting(_) | Step::AskingAgain { .. } => self.commit(now),
        }
    }
}
