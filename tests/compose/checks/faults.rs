//! The faults that a newcomer tries: how long nobody answers at the VIP, and whether the node is in the pair again
//! afterwards, by itself.

use std::time::{Duration, Instant};

use vipgate::probe::{Kinds, Report};

use crate::figures::Figures;
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, run};
use crate::stack::{Kind, Node, Stack};

/// 400 ms is the figure to beat; the rest is for a busy machine. The tutorial stack needs 3 s.
const GAP_MEDIAN_MAX: Duration = Duration::from_secs(1);
/// Longer than the tutorial stack takes.
const TAKEOVER_WITHIN: Duration = Duration::from_secs(10);
/// A healthy node of either stack needs less than 5 s.
const HOME_WITHIN: Duration = Duration::from_secs(8);

/// What becomes of the master's container, and how it is undone.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Pause,
    Kill,
    Disconnect,
    Stop,
}

impl Fault {
    pub(super) fn strike(self, stack: &Stack) -> Result<(), Trouble> {
        match self {
            Self::Pause => stack.docker("pause", Node::Master).map(drop),
            Self::Kill => stack.docker("kill", Node::Master).map(drop),
            Self::Stop => stack.docker("stop", Node::Master).map(drop),
            Self::Disconnect => {
                let ends = [&stack.network(), &stack.container(Node::Master)];
                run("docker", ["network", "disconnect"].into_iter().chain(ends.map(String::as_str))).map(drop)
            }
        }
    }

    pub(super) fn mend(self, stack: &Stack) -> Result<(), Trouble> {
        match self {
            Self::Pause => stack.docker("unpause", Node::Master).map(drop),
            Self::Kill | Self::Stop => stack.docker("start", Node::Master).map(drop),
            Self::Disconnect => {
                let (network, container) = (stack.network(), stack.container(Node::Master));
                let address = stack.address(Node::Master).to_string();
                let place = ["--ip", &address, "--alias", "master", &network, &container];
                run("docker", ["network", "connect"].into_iter().chain(place)).map(drop)
            }
        }
    }
}

fn rounds(stack: &Stack) -> usize {
    match stack.kind {
        Kind::Vipgate => 7,
        // It is slow, its figures are known, and after most faults it does not come back for a second round.
        Kind::Tutorial | Kind::Tuned => 1,
    }
}

/// What several rounds of one fault gave.
#[derive(Default)]
struct Rounds {
    /// So many connections are kept meanwhile.
    kept: u64,
    /// Failed requests on those.
    cut: Vec<Kinds>,
    gaps: Figures,
    /// Failed requests before the other node answered, by kind.
    looked: Vec<Kinds>,
    /// Failed requests after it, while the node came home.
    later: Vec<Kinds>,
    back: usize,
    wrong: Vec<String>,
}

impl Rounds {
    /// `fault` while a probe runs, the other node answers, `mend`, the node is home again.
    fn round(
        &mut self,
        stack: &Stack,
        fault: impl FnOnce() -> Result<(), Trouble>,
        mend: impl FnOnce() -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut probe = stack.patient_probe_with_kept(self.kept)?;
        fault()?;
        if let Err(trouble) = probe.answered_by("backup", TAKEOVER_WITHIN) {
            self.wrong.push(trouble);
        }
        mend()?;
        let home = probe.answered_by("master", HOME_WITHIN).and_then(|()| stack.settle(Node::Master));
        match home {
            Ok(()) => self.back += 1,
            Err(trouble) => self.wrong.push(format!("not back in the pair: {trouble}")),
        }
        let (report, _) = probe.stop()?;
        self.add(&report);
        Ok(())
    }

    fn add(&mut self, report: &Report) {
        self.cut.extend(report.persistent.iter().map(|kept| kept.failed.clone()));
        let outages = &report.fresh.outages;
        let home = report.fresh.stints.iter().position(|s| s.by.as_deref() == Some("backup"));
        let taken = home.and_then(|i| report.fresh.stints.get(i)).map_or(Duration::MAX, |stint| stint.start);
        let (before, after): (Vec<_>, Vec<_>) = outages.iter().partition(|o| o.start < taken);
        self.gaps.add(before.iter().map(|o| o.length).max().unwrap_or_default());
        self.looked.extend(before.iter().map(|o| o.looked.clone()));
        self.later.extend(after.iter().map(|o| o.looked.clone()));
        let stints: Vec<&str> = report.fresh.stints.iter().filter_map(|s| s.by.as_deref()).collect();
        let mut nodes = stints.clone();
        nodes.dedup();
        if !matches!(nodes[..], ["master", "backup", "master"] | ["master", "backup"]) {
            self.wrong.push(format!("answers came from {}", stints.join(", ")));
        }
    }

    fn finding(mut self, rounds: usize, gap_median_max: Duration) -> Finding {
        let median = self.gaps.median();
        if median > gap_median_max {
            self.wrong.push(format!("the gap is {} ms", median.as_millis()));
        }
        let list = |kinds: &[Kinds]| kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
        let figures = format!(
            "gap {}; failed on the way home: {}; back by itself: {} of {rounds}; seen as: {}",
            self.gaps,
            if self.later.is_empty() { "none".to_owned() } else { list(&self.later) },
            self.back,
            list(&self.looked),
        );
        Finding::of(figures, self.wrong)
    }
}

pub(super) fn pause(stack: &mut Stack) -> Verdict {
    let mut rounds = Rounds::default();
    for _ in 0..self::rounds(stack) {
        rounds.round(stack, || Fault::Pause.strike(stack), || Fault::Pause.mend(stack))?;
    }
    if stack.kind == Kind::Vipgate && !rounds.later.is_empty() {
        rounds.wrong.push("requests failed after the thaw".to_owned());
    }
    Ok(rounds.finding(self::rounds(stack), GAP_MEDIAN_MAX))
}

pub(super) fn kill(stack: &mut Stack) -> Verdict {
    let mut rounds = Rounds::default();
    for _ in 0..self::rounds(stack) {
        rounds.round(stack, || Fault::Kill.strike(stack), || Fault::Kill.mend(stack))?;
    }
    Ok(rounds.finding(self::rounds(stack), GAP_MEDIAN_MAX))
}

pub(super) fn disconnect(stack: &mut Stack) -> Verdict {
    let mut rounds = Rounds::default();
    for _ in 0..self::rounds(stack) {
        rounds.round(stack, || Fault::Disconnect.strike(stack), || Fault::Disconnect.mend(stack))?;
    }
    Ok(rounds.finding(self::rounds(stack), GAP_MEDIAN_MAX))
}

/// A planned move: no new connection fails at all, and none that is kept.
pub(super) fn stop(stack: &mut Stack) -> Verdict {
    let mut rounds = Rounds { kept: 8, ..Rounds::default() };
    let mut lasted = Figures::default();
    for _ in 0..self::rounds(stack) {
        let begun = Instant::now();
        rounds.round(
            stack,
            || {
                Fault::Stop.strike(stack)?;
                lasted.add(begun.elapsed());
                Ok(())
            },
            || Fault::Stop.mend(stack),
        )?;
    }
    if !rounds.later.is_empty() {
        rounds.wrong.push("requests failed on the way home".to_owned());
    }
    let cut: Vec<String> =
        rounds.cut.iter().filter(|kinds| kinds.total() > 0).map(ToString::to_string).collect();
    if !cut.is_empty() {
        rounds.wrong.push(format!("requests failed on kept connections: {}", cut.join(" | ")));
    }
    Ok(match rounds.finding(self::rounds(stack), Duration::ZERO) {
        Finding::Holds(figures) => Finding::Holds(format!("{figures}; docker stop took {lasted}")),
        Finding::Broken(figures) => Finding::Broken(format!("{figures}; docker stop took {lasted}")),
    })
}

pub(super) fn restart(stack: &mut Stack) -> Verdict {
    let mut rounds = Rounds::default();
    for _ in 0..self::rounds(stack) {
        rounds.round(stack, || stack.docker("restart", Node::Master).map(drop), || Ok(()))?;
    }
    Ok(rounds.finding(self::rounds(stack), GAP_MEDIAN_MAX))
}

/// Through the front end nobody notices a fault but by waiting.
pub(super) fn front(stack: &mut Stack) -> Verdict {
    // Longer than the tutorial's haproxy waits for a frozen server.
    const FROZEN: Duration = Duration::from_secs(6);
    let probe = stack.front_probe()?;
    let mut wrong = Vec::new();
    stack.docker("pause", Node::Master)?;
    std::thread::sleep(FROZEN);
    stack.docker("unpause", Node::Master)?;
    let mut settle = |after: &str| {
        if let Err(trouble) = stack.settle(Node::Master) {
            wrong.push(format!("not back after {after}: {trouble}"));
        }
    };
    settle("the pause");
    if stack.kind == Kind::Vipgate {
        stack.docker("kill", Node::Master)?;
        stack.docker("start", Node::Master)?;
        settle("the kill");
        stack.docker("stop", Node::Master)?;
        stack.docker("start", Node::Master)?;
        settle("the stop");
    }
    let (report, _) = probe.stop()?;
    let failed = &report.fresh.failed;
    if failed.total() > 0 {
        wrong.push(format!("{} of {} requests failed: {failed}", failed.total(), report.fresh.requests));
    }
    let figures =
        format!("{} requests, longest wait {:?}", report.fresh.requests, report.fresh.latency.longest);
    Ok(Finding::of(figures, wrong))
}

/// Nobody notices what becomes of the node that holds nothing.
pub(super) fn backup_paused(stack: &mut Stack) -> Verdict {
    const FROZEN: Duration = Duration::from_secs(1);
    let probe = stack.probe()?;
    stack.docker("pause", Node::Backup)?;
    std::thread::sleep(FROZEN);
    stack.docker("unpause", Node::Backup)?;
    let mut wrong: Vec<String> = stack.settle(Node::Master).err().into_iter().collect();
    let (report, _) = probe.stop()?;
    if report.fresh.failed.total() > 0 || report.fresh.answered.len() != 1 {
        wrong.push(format!("failed {}, answered {:?}", report.fresh.failed, report.fresh.answered));
    }
    Ok(Finding::of(format!("{} requests, none failed", report.fresh.requests), wrong))
}
