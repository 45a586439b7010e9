//! The mounted configuration edited while requests run.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::figures::Figures;
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, until};
use crate::stack::{Node, Stack};

const APPLIED_WITHIN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_millis(50);
/// A line of compose/vipgate/vipgate.yaml that the edits grow from.
const LINE: &str = "      Cache-Control: no-store\n";

/// Written in place and replaced by a rename, as editors do: applied within two seconds, no request fails.
pub(super) fn edit(stack: &mut Stack) -> Verdict {
    let file = stack.config.join("vipgate.yaml");
    let original = fs::read_to_string(&file).map_err(|e| e.to_string())?;
    let probe = stack.probe()?;
    let mut applied = Figures::default();
    for round in 1..=4 {
        let marked = original.replace(LINE, &format!("{LINE}      X-Edit: \"{round}\"\n"));
        if marked == original {
            return Err(format!("{} has no line {LINE:?}", file.display()));
        }
        let begun = Instant::now();
        write(&file, &marked, round % 2 == 0)?;
        until(PATIENCE, EVERY, || {
            let answer =
                stack.client.get(SocketAddr::from((stack.vip(), 80)), "/node", Duration::from_secs(1))?;
            match answer.header("x-edit") {
                Some(value) if value == round.to_string() => Ok(()),
                other => Err(format!("edit {round} is not in force: X-Edit is {other:?}")),
            }
        })?;
        applied.add(begun.elapsed());
    }
    write(&file, &original, true)?;
    stack.settle(Node::Master)?;
    let (report, _) = probe.stop()?;
    let mut wrong = Vec::new();
    if applied.median() > APPLIED_WITHIN {
        wrong.push("it took too long".to_owned());
    }
    if report.fresh.failed.total() > 0 {
        wrong.push(format!("requests failed: {}", report.fresh.failed));
    }
    if report.fresh.answered.len() != 1 {
        wrong.push(format!("the VIP moved: {:?}", report.fresh.answered));
    }
    let figures = format!("applied after {applied}, {} requests, none failed", report.fresh.requests);
    Ok(Finding::of(figures, wrong))
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
            if status.contains(&place) {
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
        if status.contains(&place) { Err(format!("status still says {place}")) } else { Ok(()) }
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
