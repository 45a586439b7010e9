//! The mounted configuration edited while requests run.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::figures::Figures;
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, until};
use crate::stack::{Node, Stack};

/// At the backup; the master gives it another three seconds to show that it has survived.
const APPLIED_WITHIN: Duration = Duration::from_secs(2);
const BY_THE_MASTER_WITHIN: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_secs(10);
/// An edit that was held back is tried again within five seconds, and the peer has its three seconds then.
const AGAIN_WITHIN: Duration = Duration::from_secs(15);
const EVERY: Duration = Duration::from_millis(50);
/// A line of compose/vipgate/vipgate.yaml that the edits grow from.
const LINE: &str = "      Cache-Control: no-store\n";

/// Written in place and replaced by a rename, as editors do: applied by the backup, then by the master, and no request
/// fails.
pub(super) fn edit(stack: &mut Stack) -> Verdict {
    let file = stack.config.join("vipgate.yaml");
    let original = fs::read_to_string(&file).map_err(|e| e.to_string())?;
    let probe = stack.patient_probe()?;
    let mut applied = Figures::default();
    let mut by_the_master = Figures::default();
    let mut in_turn = true;
    for round in 1..=4 {
        let marked = original.replace(LINE, &format!("{LINE}      X-Edit: \"{round}\"\n"));
        if marked == original {
            return Err(format!("{} has no line {LINE:?}", file.display()));
        }
        let begun = Instant::now();
        write(&file, &marked, round % 2 == 0)?;
        let edit = round.to_string();
        until(PATIENCE, EVERY, || in_force(stack, stack.address(Node::Backup), Some(&edit)))?;
        applied.add(begun.elapsed());
        in_turn &= in_force(stack, stack.vip(), Some(&edit)).is_err();
        until(PATIENCE, EVERY, || in_force(stack, stack.vip(), Some(&edit)))?;
        by_the_master.add(begun.elapsed());
    }
    write(&file, &original, true)?;
    until(PATIENCE, EVERY, || in_force(stack, stack.vip(), None))?;
    stack.settle(Node::Master)?;
    let (report, _) = probe.stop()?;
    let mut wrong = Vec::new();
    if applied.median() > APPLIED_WITHIN || by_the_master.median() > BY_THE_MASTER_WITHIN {
        wrong.push("it took too long".to_owned());
    }
    if !in_turn {
        wrong.push("the master did not let the backup go first".to_owned());
    }
    if report.fresh.failed.total() > 0 {
        wrong.push(format!("requests failed: {}", report.fresh.failed));
    }
    if report.fresh.answered.len() != 1 {
        wrong.push(format!("the VIP moved: {:?}", report.fresh.answered));
    }
    let figures = format!(
        "applied after {applied}, by the master after {by_the_master}, {} requests, none failed",
        report.fresh.requests
    );
    Ok(Finding::of(figures, wrong))
}

/// The backup has taken an edit and answers no more: the master keeps what it has, until the backup answers again.
pub(super) fn edit_that_takes_the_backup(stack: &mut Stack) -> Verdict {
    let file = stack.config.join("vipgate.yaml");
    let original = fs::read_to_string(&file).map_err(|e| e.to_string())?;
    write(&file, &original.replace(LINE, &format!("{LINE}      X-Edit: \"bad\"\n")), true)?;
    until(PATIENCE, EVERY, || in_force(stack, stack.address(Node::Backup), Some("bad")))?;
    stack.docker("pause", Node::Backup)?;
    let held = until(PATIENCE, EVERY, || {
        let status = stack.exec(Node::Master, &["/vipgate", "status"])?;
        if status.contains("was held back") {
            Ok(())
        } else {
            Err(format!("nothing is held back:\n{status}"))
        }
    });
    let kept = in_force(stack, stack.vip(), None);
    stack.docker("unpause", Node::Backup)?;
    let applied = until(AGAIN_WITHIN, EVERY, || in_force(stack, stack.vip(), Some("bad")));
    write(&file, &original, true)?;
    until(PATIENCE, EVERY, || in_force(stack, stack.vip(), None))?;
    let wrong = [held, kept, applied].into_iter().filter_map(Result::err).collect();
    Ok(Finding::of("held back by the master, applied once the backup answered".to_owned(), wrong))
}

/// Whether whoever answers there works by this edit.
fn in_force(stack: &Stack, address: Ipv4Addr, edit: Option<&str>) -> Result<(), Trouble> {
    let answer = stack.client.get(SocketAddr::from((address, 80)), "/node", Duration::from_secs(1))?;
    match answer.header("x-edit") {
        found if found == edit => Ok(()),
        found => Err(format!("at {address} X-Edit is {found:?} instead of {edit:?}")),
    }
}

/// The one in force goes on; status and log say file, line and column.
pub(super) fn broken_edit(stack: &mut Stack) -> Verdict {
    let file = stack.config.join("vipgate.yaml");
    let original = fs::read_to_string(&file).map_err(|e| e.to_string())?;
    let wrong_key = original.replace("virtual_addresses:", "virtual_adresses:");
    let line = wrong_key
        .lines()
        .position(|l| l.contains("virtual_adresses:"))
        .ok_or("no virtual_addresses to spoil")?;
    let column = wrong_key.lines().nth(line).and_then(|l| l.find("virtual_")).unwrap_or(0);
    let place = format!("vipgate.yaml:{}:{}", line + 1, column + 1);
    let probe = stack.probe()?;
    write(&file, &wrong_key, true)?;
    let mut wrong = Vec::new();
    for node in [Node::Master, Node::Backup] {
        let said = until(PATIENCE, EVERY, || {
            let status = stack.exec(node, &["/vipgate", "status"])?;
            if of_now(&status).contains(&place) {
                Ok(())
            } else {
                Err(format!("status does not say {place}:\n{status}"))
            }
        });
        wrong.extend(said.err());
        if !stack.log(node, 30)?.contains(&place) {
            wrong.push(format!("the log of {} does not say {place}", node.name()));
        }
    }
    write(&file, &original, true)?;
    let mended = until(PATIENCE, EVERY, || {
        let status = stack.exec(Node::Master, &["/vipgate", "status"])?;
        if of_now(&status).contains(&place) { Err(format!("status still says {place}")) } else { Ok(()) }
    });
    wrong.extend(mended.err());
    let (report, _) = probe.stop()?;
    if report.fresh.failed.total() > 0 || report.fresh.answered.len() != 1 {
        wrong.push(format!(
            "it did harm: failed {}, answered {:?}",
            report.fresh.failed, report.fresh.answered
        ));
    }
    Ok(Finding::of(format!("{place} is said; {} requests, none failed", report.fresh.requests), wrong))
}

fn write(file: &Path, text: &str, by_rename: bool) -> Result<(), Trouble> {
    let said = |e: std::io::Error| format!("{}: {e}", file.display());
    if by_rename {
        let beside = file.with_extension("yaml.new");
        fs::write(&beside, text).map_err(said)?;
        fs::rename(&beside, file).map_err(said)
    } else {
        fs::write(file, text).map_err(said)
    }
}

/// A status without what happened before.
fn of_now(status: &str) -> &str {
    status.split("\nhistory").next().unwrap_or_default()
}
