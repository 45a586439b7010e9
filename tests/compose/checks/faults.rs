//! The faults that a newcomer tries: how long nobody answers at the VIP, and whether the node is in the pair again
//! afterwards, by itself.

use std::time::{Duration, Instant};

use vipgate::probe::{Kinds, Report};

use crate::figures::Figures;
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, run};
use crate::stack::{Kind, Node, Stack};
use crate::stillness::STOOD_STILL;

/// 400 ms is the figure to beat; the rest is for a busy machine. The tutorial stack needs 3 s.
const GAP_MEDIAN_MAX: Duration = Duration::from_secs(1);
/// Longer than the tutorial stack takes.
const TAKEOVER_WITHIN: Duration = Duration::from_secs(10);
/// A healthy node of either stack needs less than 5 s.
const HOME_WITHIN: Duration = Duration::from_secs(8);

/// So many rounds of a fault are repeated for that.
const REPEATED_AT_MOST: usize = 3;

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
    /// The machine stands still in all of them, and none is repeated for that.
    loaded: bool,
    /// Failed requests on those.
    cut: Vec<Kinds>,
    gaps: Figures,
    /// Failed requests before the other node answered, by kind.
    looked: Vec<Kinds>,
    /// Failed requests after it, while the node came home.
    later: Vec<Kinds>,
    back: usize,
    /// Those that count.
    done: usize,
    /// Those in which the machine stood still, and for how long.
    repeated: Vec<Duration>,
    /// How late the probe was at worst.
    late: Duration,
    wrong: Vec<String>,
}

impl Rounds {
    /// As many as count for this stack.
    fn all(
        mut self,
        stack: &Stack,
        mut strike: impl FnMut() -> Result<(), Trouble>,
        mend: impl Fn() -> Result<(), Trouble>,
    ) -> Result<Self, Trouble> {
        while self.done < rounds(stack) {
            self.round(stack, &mut strike, &mend)?;
        }
        Ok(self)
    }

    fn all_of(self, fault: Fault, stack: &Stack) -> Result<Self, Trouble> {
        self.all(stack, || fault.strike(stack), || fault.mend(stack))
    }

    /// `fault` while a probe runs, the other node answers, `mend`, the node is home again.
    fn round(
        &mut self,
        stack: &Stack,
        fault: impl FnOnce() -> Result<(), Trouble>,
        mend: impl FnOnce() -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut probe = stack.patient_probe_with_kept(self.kept)?;
        fault()?;
        let taken = probe.answered_by("backup", TAKEOVER_WITHIN);
        mend()?;
        let home = probe.answered_by("master", HOME_WITHIN).and_then(|()| stack.settle(Node::Master));
        let (report, _) = probe.stop()?;
        // The other stack may not stand a second round, nor does it win anything by one.
        let is_void = stack.kind == Kind::Vipgate && !self.loaded && report.own_lateness >= STOOD_STILL;
        self.late = self.late.max(report.own_lateness);
        if is_void && taken.is_ok() && home.is_ok() && self.repeated.len() < REPEATED_AT_MOST {
            self.repeated.push(report.own_lateness);
            return Ok(());
        }
        self.done += 1;
        self.wrong.extend(taken.err());
        match home {
            Ok(()) => self.back += 1,
            Err(trouble) => self.wrong.push(format!("not back in the pair: {trouble}")),
        }
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

    fn say_repeated(&self) -> String {
        let stalls: Vec<String> = self.repeated.iter().map(|stall| format!("{stall:.0?}")).collect();
        match stalls.len() {
            0 => String::new(),
            n => format!("; {n} more not counted: the machine stood still for {}", stalls.join(", ")),
        }
    }

    fn finding(mut self, gap_median_max: Duration) -> Finding {
        let median = self.gaps.median();
        if median > gap_median_max {
            self.wrong.push(format!("the gap is {} ms", median.as_millis()));
        }
        let list = |kinds: &[Kinds]| kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
        let figures = format!(
            "gap {}; failed on the way home: {}; back by itself: {} of {}; seen as: {}{}",
            self.gaps,
            if self.later.is_empty() { "none".to_owned() } else { list(&self.later) },
            self.back,
            self.done,
            list(&self.looked),
            self.say_repeated(),
        );
        Finding::of(figures, self.wrong)
    }
}

pub(super) fn pause(stack: &mut Stack) -> Verdict {
    let mut rounds = Rounds::default().all_of(Fault::Pause, stack)?;
    if stack.kind == Kind::Vipgate && !rounds.later.is_empty() {
        rounds.wrong.push("requests failed after the thaw".to_owned());
    }
    Ok(rounds.finding(GAP_MEDIAN_MAX))
}

pub(super) fn kill(stack: &mut Stack) -> Verdict {
    Ok(Rounds::default().all_of(Fault::Kill, stack)?.finding(GAP_MEDIAN_MAX))
}

pub(super) fn disconnect(stack: &mut Stack) -> Verdict {
    Ok(Rounds::default().all_of(Fault::Disconnect, stack)?.finding(GAP_MEDIAN_MAX))
}

/// What a pause costs on a machine that is loaded, and how late it made the probe at worst. Nothing is demanded but that
/// the other node answers.
pub(super) fn pause_beside_load(stack: &Stack) -> Result<(Figures, Duration), Trouble> {
    let rounds = Rounds { loaded: true, ..Rounds::default() }.all_of(Fault::Pause, stack)?;
    if rounds.wrong.is_empty() { Ok((rounds.gaps, rounds.late)) } else { Err(rounds.wrong.join("; ")) }
}

/// A planned move: no new connection fails at all, and none that is kept.
pub(super) fn stop(stack: &mut Stack) -> Verdict {
    let mut lasted = Figures::default();
    let strike = || {
        let begun = Instant::now();
        Fault::Stop.strike(stack)?;
        lasted.add(begun.elapsed());
        Ok(())
    };
    let rounds = Rounds { kept: 8, ..Rounds::default() };
    let mut rounds = rounds.all(stack, strike, || Fault::Stop.mend(stack))?;
    if !rounds.later.is_empty() {
        rounds.wrong.push("requests failed on the way home".to_owned());
    }
    let cut: Vec<String> =
        rounds.cut.iter().filter(|kinds| kinds.total() > 0).map(ToString::to_string).collect();
    if !cut.is_empty() {
        rounds.wrong.push(format!("requests failed on kept connections: {}", cut.join(" | ")));
    }
    Ok(match rounds.finding(Duration::ZERO) {
        Finding::Holds(figures) => Finding::Holds(format!("{figures}; docker stop took {lasted}")),
        Finding::Broken(figures) => Finding::Broken(format!("{figures}; docker stop took {lasted}")),
    })
}

pub(super) fn restart(stack: &mut Stack) -> Verdict {
    let restart = || stack.docker("restart", Node::Master).map(drop);
    Ok(Rounds::default().all(stack, restart, || Ok(()))?.finding(GAP_MEDIAN_MAX))
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
