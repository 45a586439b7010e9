//! `vipgate drill` as a user runs it, with somebody beside it who looks at the same.

use std::time::Duration;

use vipgate::drill::Report;

use crate::runner::{Finding, Verdict};
use crate::stack::{Node, Stack};

/// The drill takes answers for it, the other one requests that failed.
const APART: Duration = Duration::from_millis(250);

pub(super) fn both_phases(stack: &mut Stack) -> Verdict {
    let mut wrong = Vec::new();
    for node in [Node::Master, Node::Backup] {
        let said = stack.exec(node, &["/vipgate", "drill"]).err().unwrap_or_default();
        if !said.contains("75") || !said.contains("this is one of the nodes") {
            wrong.push(format!("on {} it says {said:?}", node.name()));
        }
    }
    let probe = stack.probe()?;
    let said = stack.compose(&["run", "--rm", "-T", "drill", "--json", "--max-gap", "1s"])?;
    let (seen, _) = probe.stop()?;
    let report: Report = said
        .find('{')
        .and_then(|at| serde_json::from_str(said.get(at..)?).ok())
        .ok_or_else(|| format!("no report: {said}"))?;
    let (Some(planned), Some(freeze)) = (&report.planned, &report.freeze) else {
        return Err(format!("a phase is missing: {said}"));
    };
    if planned.failed.total() + planned.kept.failed.total() + planned.late > 0 {
        wrong.push("a planned move lost something".to_owned());
    }
    if [planned, freeze].iter().any(|phase| phase.double_answers != Some(0) || phase.moved != Some(true)) {
        wrong.push("who answered is not as it should be".to_owned());
    }
    let outage = seen.fresh.longest_outage();
    if freeze.gap.abs_diff(outage) > APART {
        wrong.push(format!("somebody beside it saw an outage of {} ms", outage.as_millis()));
    }
    wrong.extend(stack.settle(Node::Master).err());
    Ok(Finding::of(
        format!(
            "planned: gap {} ms, {} of {} failed, {} of {} kept cut, {} moved; freeze: gap {} ms (beside it {} ms), \
             failed {}, kept cut {}",
            planned.gap.as_millis(),
            planned.failed.total(),
            planned.requests,
            planned.kept.failed.total(),
            planned.kept.connections,
            planned.kept.reopened,
            freeze.gap.as_millis(),
            outage.as_millis(),
            freeze.failed.total(),
            freeze.kept.failed.total(),
        ),
        wrong,
    ))
}
