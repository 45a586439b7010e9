//! What people ask over the control socket beyond looking: passed on to the vrrp role, answered with what it says.

use tracing::info;

use super::control::Ask;
use super::run::Supervisor;
use crate::link::control::Answer;
use crate::link::{ToVrrp, Wish};

/// More wait for the vrrp role than anybody types.
const MAX_OPEN: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Wishes {
    asked: u64,
    open: Vec<(u64, Wish, Ask)>,
    /// A vrrp role that starts is told to stand back.
    stands_back: bool,
}

impl Wishes {
    /// The process that was asked has ended.
    pub(super) fn give_up(&mut self) {
        for (_, _, ask) in self.open.drain(..) {
            refuse(ask, "the vrrp role has ended meanwhile; ask `vipgate status` what is so".into());
        }
    }
}

impl Supervisor {
    pub(super) fn take_wish(&mut self, wish: Wish, ask: Ask) {
        if self.plan.is_stopping() {
            return refuse(ask, "vipgate is stopping".into());
        }
        if self.vrrp.is_none() {
            return refuse(
                ask,
                "no virtual router runs here: `vrrp` is not configured, or its process restarts".into(),
            );
        }
        if self.wishes.open.len() >= MAX_OPEN {
            return refuse(ask, "others have asked and wait for their answer".into());
        }
        self.wishes.asked += 1;
        let question = self.wishes.asked;
        info!("asked over the control socket: {}", describe(&wish));
        self.wishes.open.push((question, wish.clone(), ask));
        let lost = self.tell_vrrp(ToVrrp::StepDown { question, wish });
        self.follow(lost);
    }

    pub(super) fn fulfilled(&mut self, question: u64, outcome: Result<String, String>) {
        let Some(at) = self.wishes.open.iter().position(|(number, ..)| *number == question) else { return };
        let (_, wish, ask) = self.wishes.open.swap_remove(at);
        match (&wish, &outcome) {
            (Wish::StandBack, Ok(_)) => self.wishes.stands_back = true,
            (Wish::StandIn, _) => self.wishes.stands_back = false,
            (Wish::StandBack, Err(_)) | (Wish::Failover { .. }, _) => (),
        }
        match outcome {
            // Whoever has gone needs no answer.
            Ok(text) => drop(ask.reply.send(Answer::Done { text })),
            Err(reason) => refuse(ask, reason),
        }
    }

    /// Before the first configuration of a vrrp role that starts. Nobody waits for the answer.
    pub(super) fn remind(&mut self) {
        if self.wishes.stands_back {
            let lost = self.tell_vrrp(ToVrrp::StepDown { question: 0, wish: Wish::StandBack });
            self.follow(lost);
        }
    }
}

fn describe(wish: &Wish) -> String {
    match wish {
        Wish::Failover { instance: Some(name) } => format!("failover {name}"),
        Wish::Failover { instance: None } => "failover".to_owned(),
        Wish::StandBack => "drain".to_owned(),
        Wish::StandIn => "drain --undo".to_owned(),
    }
}

fn refuse(ask: Ask, reason: String) {
    drop(ask.reply.send(Answer::Refused { reason }));
}
