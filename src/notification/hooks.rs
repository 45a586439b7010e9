//! Which programs are started for a state of a virtual router, and with what: keepalived's names, order and arguments.

use crate::config::Hooks;
use crate::link::{Announced, Notice};

/// The environment of `vipgate run` begins with these where it holds keys; no program of the user's gets them.
pub const SECRETS: &str = "VIPGATE_LINK_";

/// One program to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The key that it was configured by.
    pub key: &'static str,
    pub argv: Vec<String>,
}

/// One after the other: first the one for this state, then the one for all of them, which is told more.
pub fn calls(hooks: &Hooks, notice: &Notice) -> Vec<Call> {
    let (key, own) = match notice.state {
        Announced::Master => ("notify_master", &hooks.master),
        Announced::Backup => ("notify_backup", &hooks.backup),
        Announced::Fault => ("notify_fault", &hooks.fault),
        Announced::Stop => ("notify_stop", &hooks.stop),
    };
    let own = own.iter().map(|argv| Call { key, argv: argv.clone() });
    let every = hooks.every.iter().map(|argv| {
        let told = [
            "INSTANCE".to_owned(),
            notice.instance.clone(),
            notice.state.to_string(),
            notice.priority.to_string(),
        ];
        Call { key: "notify", argv: argv.iter().cloned().chain(told).collect() }
    });
    own.chain(every).collect()
}

/// What a program finds in its environment beside that of vipgate.
pub fn environment(notice: &Notice) -> Vec<(String, String)> {
    [
        ("VIPGATE_INSTANCE", notice.instance.clone()),
        ("VIPGATE_STATE", notice.state.to_string()),
        ("VIPGATE_PRIORITY", notice.priority.to_string()),
        ("VIPGATE_REASON", notice.reason.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// Every program that is configured, with its key.
pub fn programs(hooks: &Hooks) -> impl Iterator<Item = (&'static str, &String)> {
    [
        ("notify_master", &hooks.master),
        ("notify_backup", &hooks.backup),
        ("notify_fault", &hooks.fault),
        ("notify_stop", &hooks.stop),
        ("notify", &hooks.every),
    ]
    .into_iter()
    .filter_map(|(key, argv)| Some((key, argv.as_ref()?.first()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_state_has_its_program_and_then_that_for_all() {
        let argv = |text: &str| Some(text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let hooks = Hooks {
            master: argv("/m -v"),
            backup: argv("/b"),
            fault: None,
            stop: argv("/s"),
            every: argv("/n --to ops"),
            timeout: Duration::from_secs(1),
        };
        let table = [
            (Announced::Master, "notify_master /m -v; notify /n --to ops INSTANCE web MASTER 150"),
            (Announced::Backup, "notify_backup /b; notify /n --to ops INSTANCE web BACKUP 150"),
            (Announced::Fault, "notify /n --to ops INSTANCE web FAULT 150"),
            (Announced::Stop, "notify_stop /s; notify /n --to ops INSTANCE web STOP 150"),
        ];
        for (state, expect) in table {
            let notice = Notice { instance: "web".into(), state, priority: 150, reason: "because".into() };
            let calls: Vec<_> = calls(&hooks, &notice)
                .into_iter()
                .map(|call| format!("{} {}", call.key, call.argv.join(" ")))
                .collect();
            assert_eq!(calls.join("; "), expect);
        }
        assert_eq!(programs(&hooks).count(), 4);
    }
}
