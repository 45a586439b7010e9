//! Only a living process answers for the VIP.

use std::time::{Duration, SystemTime};

use vipgate::probe::Outcome;

use crate::probe::moment;
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, until};
use crate::stack::{Kind, Node, Stack};

const TAKEOVER_WITHIN: Duration = Duration::from_secs(10);
const CLIENTS: usize = 30;
/// A living node answers within 2 ms.
const PATIENCE: Duration = Duration::from_millis(250);

/// While the master is frozen, clients that have no ARP entry for the VIP reach the living node, whichever of the
/// two ports the bridge floods first.
pub(super) fn fresh_clients(stack: &mut Stack) -> Verdict {
    let mut wrong = Vec::new();
    let mut figures = Vec::new();
    // The tutorial stack does not survive a restart; it was brought up with the master's port newer.
    let restarted: &[Option<Node>] = match stack.kind {
        Kind::Vipgate => &[Some(Node::Backup), Some(Node::Master)],
        Kind::Tutorial | Kind::Tuned => &[None],
    };
    for restarted in restarted {
        if let Some(node) = *restarted {
            stack.docker("restart", node)?;
            stack.settle(Node::Master)?;
        }
        let reached = reach_while_paused(stack)?;
        let newer = restarted.unwrap_or(Node::Master).name();
        figures.push(format!("{reached} of {CLIENTS} with the {newer}'s port newer"));
        if reached < CLIENTS {
            wrong.push(format!("{} fresh clients reached nobody", CLIENTS - reached));
        }
        stack.settle(Node::Master)?;
    }
    Ok(Finding::of(figures.join(", "), wrong))
}

fn reach_while_paused(stack: &Stack) -> Result<usize, Trouble> {
    let mut probe = stack.probe()?;
    stack.docker("pause", Node::Master)?;
    probe.answered_by("backup", TAKEOVER_WITHIN)?;
    probe.stop()?;
    let mut reached = 0;
    for _ in 0..CLIENTS {
        stack.client.forget()?;
        reached += usize::from(stack.holder_within(PATIENCE).is_ok_and(|by| by == Node::Backup.name()));
    }
    stack.docker("unpause", Node::Master)?;
    Ok(reached)
}

/// A thawed node answers nothing that waited in it, and does not take the VIP back where preempt is off.
pub(super) fn thaw(stack: &mut Stack) -> Verdict {
    const ROUNDS: usize = 3;
    const WATCHED: Duration = Duration::from_secs(2);
    let (mut waited, mut late, mut wrong) = (0, 0, Vec::new());
    for _ in 0..ROUNDS {
        // Patient clients: they are still there when the node thaws with their requests in its queues.
        let probe = stack.probe_with(&["--rate", "100", "--timeout", "20s", "--samples"])?;
        stack.docker("pause", Node::Master)?;
        let frozen = SystemTime::now();
        until(TAKEOVER_WITHIN, Duration::from_millis(20), || match stack.holder()? {
            by if by == Node::Backup.name() => Ok(()),
            by => Err(format!("{by} answers while the master is frozen")),
        })?;
        stack.docker("unpause", Node::Master)?;
        std::thread::sleep(WATCHED);
        if let Err(trouble) = stack.settle(Node::Backup) {
            wrong.push(format!("the thawed node did not stay backup: {trouble}"));
        }
        let (report, samples) = probe.stop()?;
        let frozen = moment(&report, frozen);
        for sample in samples.iter().filter(|sample| sample.end > frozen) {
            match &sample.outcome {
                Outcome::Answered { by } if by.as_deref() == Some("master") => late += 1,
                Outcome::Answered { .. } => {}
                Outcome::Failed { .. } => waited += 1,
            }
        }
        stack.docker("restart", Node::Backup)?;
        stack.settle(Node::Master)?;
    }
    if late > 0 {
        wrong.push(format!("{late} requests were answered by the thawed node"));
    }
    Ok(Finding::of(
        format!("{ROUNDS} thaws: {waited} requests that had waited were refused, {late} answered"),
        wrong,
    ))
}
