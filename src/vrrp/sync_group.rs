//! keepalived's sync groups: virtual routers that are master together or not at all. No socket, no clock.

use std::time::Instant;

use super::machine::{Machine, Role};
use super::output::Output;

/// A member of a group, as the others have to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    Master,
    /// A planned move is under way, or it has yet to hear whether there is a master: both end by themselves.
    Moving,
    /// It would be master if it were alone.
    Ready,
    Waiting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Together {
    Stay,
    /// Those that are ready become master.
    Take,
    /// Those that are master stop being it.
    LetGo,
}

/// All can, or none is.
pub fn decide(members: &[Member]) -> Together {
    let has = |member: Member| members.contains(&member);
    if has(Member::Moving) {
        return Together::Stay;
    }
    match (has(Member::Master), has(Member::Ready), has(Member::Waiting)) {
        (_, true, false) => Together::Take,
        (true, _, true) => Together::LetGo,
        (true | false, false, false) | (false, _, true) => Together::Stay,
    }
}

impl Machine {
    /// Grouped: it becomes master when `handle_take` says so, and not by itself.
    pub fn handle_grouped(&mut self, grouped: bool, now: Instant) {
        self.wake(now);
        self.grouped = grouped;
        if !grouped {
            self.handle_take(now);
        }
    }

    pub fn member(&self) -> Member {
        match self.role {
            Role::Resigning | Role::Stopping | Role::Stopped => Member::Moving,
            Role::Master if self.stepping_down.is_some() => Member::Moving,
            Role::Master => Member::Master,
            Role::Backup if self.ready.is_some() => Member::Ready,
            Role::Backup if self.heard.is_none() => Member::Moving,
            Role::Fault | Role::Blocked | Role::Backup => Member::Waiting,
        }
    }

    /// All members are ready, or master already.
    pub fn handle_take(&mut self, now: Instant) {
        if self.wake(now) {
            return;
        }
        if let Some(reason) = self.ready.take().filter(|_| self.role == Role::Backup) {
            self.become_master(reason, now);
        }
    }

    /// Another member is master no more, for this reason. A peer may take over at once.
    pub fn handle_let_go(&mut self, reason: String, now: Instant) {
        self.wake(now);
        if self.role != Role::Master || self.stepping_down.is_some() {
            return;
        }
        self.output(Output::AnswerArp(false));
        self.release_mastership(now);
        self.timers.clear();
        self.forget_conflicts();
        self.heard = None;
        self.arm_down(now + self.down_interval(now));
        self.linger(now);
        self.transition(Role::Backup, reason, now);
    }

    /// The master is down: a lonely virtual router takes over, one of a group says that it could, and looks again.
    pub(super) fn take_over(&mut self, reason: String, now: Instant) {
        if !self.grouped {
            return self.become_master(reason, now);
        }
        self.ready = Some(reason);
        self.arm_down(now + self.master_interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_can_or_none_is() {
        use Member::{Master, Moving, Ready, Waiting};
        use Together::{LetGo, Stay, Take};
        let table: [(&[Member], Together); 10] = [
            (&[Ready, Ready], Take),
            (&[Master, Ready], Take),
            (&[Ready, Waiting], Stay),
            (&[Waiting, Waiting], Stay),
            (&[Master, Master], Stay),
            (&[Master, Waiting], LetGo),
            (&[Master, Ready, Waiting], LetGo),
            (&[Master, Moving], Stay),
            (&[Moving, Ready, Waiting], Stay),
            (&[], Stay),
        ];
        for (members, expect) in table {
            assert_eq!(decide(members), expect, "{members:?}");
        }
    }
}
