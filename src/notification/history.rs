//! The last things that have happened to a node. Bounded: the oldest ones go. No clock.

use std::collections::VecDeque;

use crate::link::control::{Happening, HappeningKind};
use crate::link::{Boottime, Transition};

/// Weeks of a quiet node, and minutes of one that flaps.
pub const MAX_HAPPENINGS: usize = 256;
/// Of one text, in characters; problems of a configuration are many lines, and `status` has them anyway.
const MAX_TEXT: usize = 300;

#[derive(Clone, Debug, Default)]
pub struct History {
    /// From the oldest to the newest.
    happenings: VecDeque<Happening>,
}

impl History {
    /// `time`: as ISO 8601 writes it.
    pub fn record(&mut self, kind: HappeningKind, what: &str, at: Boottime, time: String) {
        if self.happenings.len() == MAX_HAPPENINGS {
            self.happenings.pop_front();
        }
        let mut text: String = what.lines().next().unwrap_or_default().chars().take(MAX_TEXT).collect();
        if text.len() < what.trim_end().len() {
            text.push_str(" ..");
        }
        self.happenings.push_back(Happening { at, time, kind, what: text });
    }

    pub fn list(&self) -> Vec<Happening> {
        self.happenings.iter().cloned().collect()
    }
}

/// `None`: it is in the state that it was in.
pub fn told(transition: &Transition) -> Option<String> {
    let Transition { instance, from, to, reason, is_end, .. } = transition;
    match (from == to, is_end) {
        (true, false) => None,
        (_, true) => Some(format!("{instance} is left: {reason}")),
        (false, false) => Some(format!("{instance} is {to}, was {from}: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::VrrpState;

    #[test]
    fn the_newest_are_kept_in_order_and_short() {
        let mut history = History::default();
        for n in 0..MAX_HAPPENINGS as u64 + 3 {
            history.record(HappeningKind::Role, &n.to_string(), Boottime(n), String::new());
        }
        let list = history.list();
        assert_eq!(list.len(), MAX_HAPPENINGS);
        assert_eq!((list[0].what.as_str(), list[0].at), ("3", Boottime(3)));
        assert!(list.windows(2).all(|two| two[0].at < two[1].at));
        let table = [
            ("one\ntwo".to_owned(), "one ..".to_owned()),
            ("one\n".to_owned(), "one".to_owned()),
            ("ä".repeat(MAX_TEXT + 1), format!("{} ..", "ä".repeat(MAX_TEXT))),
        ];
        for (what, expect) in table {
            history.record(HappeningKind::Config, &what, Boottime(0), String::new());
            assert_eq!(history.list().last().unwrap().what, expect);
        }
    }

    #[test]
    fn a_state_that_stays_is_no_news() {
        let (backup, master) = (VrrpState::Backup, VrrpState::Master);
        let table = [
            (backup, master, false, Some("web is MASTER, was BACKUP: because")),
            (backup, backup, false, None),
            (backup, backup, true, Some("web is left: because")),
        ];
        for (from, to, is_end, expect) in table {
            let (instance, reason) = ("web".to_owned(), "because".to_owned());
            let transition = Transition { instance, from, to, reason, priority: 1, is_end };
            assert_eq!(told(&transition).as_deref(), expect);
        }
    }
}
