//! Programs of the user's: started by the real runner, for what the vrrp role says has happened.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vipgate::link::RunnerReport;
use vipgate::link::control::{HappeningKind, Status};

use crate::cases::{BOTH, privileged};
use crate::node::{Node, Options, send, with_hooks, write};
use crate::runner::Outcome;

/// Each writes its name and its arguments, what it may do, and where it stands in the order of things.
const HOOKS: &[&str] = &[
    r#"notify_master: [/bin/sh, -c, 'echo "$$0 $$*" >> $$VIPGATE_TEST_FOLDER/hooks', master]"#,
    // As slow as it is, what comes later waits for it.
    r#"notify_backup: [/bin/sh, -c, 'sleep 0.3; echo "$$0 $$*" >> $$VIPGATE_TEST_FOLDER/hooks', backup]"#,
    r#"notify_stop: [/bin/sh, -c, 'sleep 0.3; echo "$$0 $$*" >> $$VIPGATE_TEST_FOLDER/hooks', stop]"#,
    r#"notify: [/bin/sh, -c, 'echo "$$0 $$*" >> $$VIPGATE_TEST_FOLDER/hooks; echo said by "$$0" for "$$VIPGATE_REASON"', every]"#,
];

/// Also those that are handed down to whatever a program starts.
const CAPABILITIES: &[&str] = &[
    r#"notify: [/bin/sh, -c, 'grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status > $$VIPGATE_TEST_FOLDER/rights; env > $$VIPGATE_TEST_FOLDER/environment; echo done >> $$VIPGATE_TEST_FOLDER/hooks']"#,
];

/// Deaf to SIGTERM; it leaves its number.
const HUNG: &[&str] = &[
    r#"notify_backup: [/bin/sh, -c, 'trap "" TERM; echo $$$$ > $$VIPGATE_TEST_FOLDER/hung; sleep 20; sleep 20; sleep 20']"#,
    r#"notify_stop: [/bin/sh, -c, 'echo "$$0 $$*" >> $$VIPGATE_TEST_FOLDER/hooks', stop]"#,
    r#"notify: [/bin/sh, -c, 'echo "$$0 $$*" >> $$VIPGATE_TEST_FOLDER/hooks', every]"#,
];

pub(crate) fn moves(node: &Node, lines: &str) {
    node.until("the last moves are made", || (!node.folder.join("vrrp.moves").exists()).then_some(()));
    write(&node.folder.join("vrrp.moves"), lines);
}

fn told(node: &Node) -> String {
    fs::read_to_string(node.folder.join("hooks")).unwrap_or_default()
}

/// Waits for so many lines; there are no others.
fn until_told(node: &Node, expect: &str) {
    let lines = expect.lines().count();
    node.until(&format!("{expect:?}"), || (told(node).lines().count() >= lines).then_some(()));
    assert_eq!(told(node), expect);
}

fn report(status: Status) -> Option<RunnerReport> {
    status.runner?.report.map(|(_, report)| report)
}

pub(crate) fn count(status: Status, counter: &str) -> u64 {
    let counters = report(status).unwrap_or_default().counters;
    counters.iter().find(|(name, _)| name == counter).map_or(0, |(_, n)| *n)
}

pub(crate) fn runner(node: &Node) -> u32 {
    node.until_status("the runner serves", |status| {
        let runner = status.runner?;
        runner.report.is_some().then_some(runner.pid).flatten()
    })
}

pub(crate) fn in_order() -> Outcome {
    privileged()?;
    let node = Node::serving(Options { hooks: HOOKS, ..BOTH });
    moves(&node, "web BACKUP\nweb MASTER\nweb BACKUP\n");
    let backup = "backup \nevery INSTANCE web BACKUP 150\n";
    let master = "master \nevery INSTANCE web MASTER 150\n";
    until_told(&node, &format!("{backup}{master}{backup}"));
    node.until("their output is in the log", || {
        node.log().contains("runner: web: notify: said by every for told to").then_some(())
    });
    node.until_status("a count", |status| (count(status, "hooks_succeeded") == 6).then_some(()));

    let node = Node::serving(Options { hooks: CAPABILITIES, ..BOTH });
    moves(&node, "web MASTER\n");
    until_told(&node, "done\n");
    let rights = fs::read_to_string(node.folder.join("rights")).unwrap();
    for line in rights.lines() {
        let (name, value) = line.split_once(":\t").unwrap();
        let expect = match name {
            "NoNewPrivs" => "1",
            "Seccomp" => "2",
            _ => "0000000000000000",
        };
        assert_eq!(value, expect, "{rights}");
    }
    assert_eq!(rights.lines().count(), 7, "{rights}");
    let environment = fs::read_to_string(node.folder.join("environment")).unwrap();
    for line in
        ["VIPGATE_INSTANCE=web", "VIPGATE_STATE=MASTER", "VIPGATE_PRIORITY=150", "VIPGATE_REASON=told to"]
    {
        assert!(environment.lines().any(|l| l == line), "{line} is not in {environment}");
    }
    assert!(!environment.contains("VIPGATE_LINK_"), "{environment}");
    Ok(())
}

pub(crate) fn hung() -> Outcome {
    privileged()?;
    let hooks: Vec<_> = HUNG.iter().copied().chain(["notify_timeout: 500ms"]).collect();
    let node = Node::serving(BOTH);
    node.write_config(&with_hooks(&node.document("second"), &hooks));
    runner(&node);
    moves(&node, "web BACKUP\n");
    let pid = node.until("the hook runs", || number(&node.folder.join("hung")));
    // What PID 1 does for the addresses it does at once, while the hook hangs.
    node.tell("proxy.ask");
    node.wait("proxy verdict 7 true");
    assert!(is_alive(pid), "the verdict has come too late to show anything");
    until_told(&node, "every INSTANCE web BACKUP 150\n");
    assert!(!is_alive(pid), "the next one has begun before it was ended");
    node.until_status("a failure", |status| (count(status, "hooks_failed") == 1).then_some(()));
    let history = node.until_status("a history", |status| Some(status.history));
    for (kind, what) in [
        (HappeningKind::Role, "vipgate 0.1.0 is started"),
        (HappeningKind::Config, "vipgate.yaml is in force (generation 2)"),
        (HappeningKind::Router, "web is BACKUP, was FAULT: told to"),
        (HappeningKind::Notification, "web: notify_backup failed: /bin/sh was killed: it took longer"),
    ] {
        let found =
            history.iter().filter(|happening| happening.kind == kind && happening.what.contains(what));
        assert_eq!(found.count(), 1, "{what}: {history:#?}");
    }
    assert!(
        node.log().contains("web: notify_backup failed: /bin/sh was killed: it took longer"),
        "{}",
        node.log()
    );
    assert_eq!(node.count("vrrp starts"), 1);
    Ok(())
}

pub(crate) fn stop() -> Outcome {
    privileged()?;
    let mut node = Node::serving(Options { hooks: HOOKS, ..BOTH });
    moves(&node, "web MASTER\n");
    let master = "master \nevery INSTANCE web MASTER 150\n";
    until_told(&node, master);
    node.signal(Signal::SIGTERM);
    assert!(node.wait_exit().success());
    let stop = "stop \nevery INSTANCE web STOP 150\n";
    assert_eq!(told(&node), format!("{master}{stop}"));

    // The vrrp role says nothing any more, and another hook hangs when the stop comes.
    let mut node = Node::serving(Options { hooks: HUNG, told: &["vrrp.silent"], ..BOTH });
    moves(&node, "web BACKUP\n");
    let pid = node.until("the hook runs", || number(&node.folder.join("hung")));
    let start = Instant::now();
    node.signal(Signal::SIGTERM);
    assert!(node.wait_exit().success());
    assert!(start.elapsed() < Duration::from_secs(9), "Docker would have killed it");
    assert!(!is_alive(pid));
    assert_eq!(told(&node), "every INSTANCE web BACKUP 150\nstop \nevery INSTANCE web STOP 100\n");
    Ok(())
}

pub(crate) fn runner_death() -> Outcome {
    privileged()?;
    let node = Node::serving(Options { hooks: HUNG, ..BOTH });
    let first = runner(&node);
    moves(&node, "web BACKUP\n");
    let hook = node.until("the hook runs", || number(&node.folder.join("hung")));
    send(first, Signal::SIGKILL);
    node.until("its hook ends with it", || (!is_alive(hook)).then_some(()));
    moves(&node, "web MASTER\n");
    until_told(&node, "every INSTANCE web MASTER 150\n");
    assert_ne!(runner(&node), first);
    // Frozen it is found out by its beats.
    send(runner(&node), Signal::SIGSTOP);
    node.until_status("a third one", |status| (status.runner?.incarnation == 3).then_some(()));
    assert_eq!((node.count("vrrp starts"), node.count("proxy starts")), (1, 1));
    Ok(())
}

pub(crate) fn edits() -> Outcome {
    privileged()?;
    let node = Node::serving(BOTH);
    assert!(node.until_status("a status", Some).runner.is_none(), "nobody needs it");
    let stop = HOOKS[2];
    node.write_config(&with_hooks(&node.document("second"), &[stop, "notify: /no/such/program"]));
    let first = runner(&node);
    let says = |status: Status| {
        let warnings = report(status)?.warnings;
        warnings
            .iter()
            .any(|w| w.contains("/no/such/program") && w.contains("static executable"))
            .then_some(())
    };
    node.until_status("a warning", says);
    moves(&node, "web MASTER\n");
    node.until_status("a failure", |status| (count(status, "hooks_failed") == 1).then_some(()));
    node.write_config(&with_hooks(&node.document("third"), &[HOOKS[0], stop]));
    node.until_status("the edit is in force", |status| {
        (status.node == "third" && report(status)?.warnings.is_empty()).then_some(())
    });
    moves(&node, "web MASTER\n");
    until_told(&node, "master \n");
    let other =
        with_hooks(&node.document("fourth"), &[stop]).replace("  web:", "  other:").replace("51", "52");
    node.write_config(&other);
    node.until_status("the edit is in force", |status| (status.node == "fourth").then_some(()));
    moves(&node, "web STOP\n");
    until_told(&node, "master \nstop \n");
    assert_eq!(runner(&node), first);
    Ok(())
}

pub(crate) fn vrrp_death() -> Outcome {
    privileged()?;
    let node = Node::serving(Options { hooks: HOOKS, ..BOTH });
    moves(&node, "web MASTER\n");
    let master = "master \nevery INSTANCE web MASTER 150\n";
    until_told(&node, master);
    send(node.wait("vrrp commit 1").pid, Signal::SIGKILL);
    until_told(&node, &format!("{master}every INSTANCE web FAULT 150\n"));
    let history = node.until_status("a history", |status| Some(status.history));
    let said = |what: &str| history.iter().any(|happening| happening.what.starts_with(what));
    assert!(said("vrrp #1 was killed by SIGKILL"), "{history:#?}");
    assert!(said("web is FAULT: the vrrp role was killed"), "{history:#?}");
    Ok(())
}

fn number(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
