//! What the answers of an address show of a phase. Who answered is known by `X-Served-By`; without it, a second owner of
//! the address cannot be seen, and is not claimed to be absent. No clock.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::course::Mark;
use crate::probe::{Kinds, Outcome, Sample, Tally, milliseconds};

/// An answer that took this long was asked for twice: the kernel sends a SYN again after a second.
pub(super) const LATE: Duration = Duration::from_millis(900);

/// All that a prober saw, moments counted from its beginning.
#[derive(Debug, Default)]
pub struct Samples {
    pub fresh: Vec<Sample>,
    /// On connections that are kept.
    pub kept: Vec<Sample>,
    /// When the server had closed one of them between two requests.
    pub reopened: Vec<Duration>,
    pub connections: u64,
}

/// When what began, on the same clock.
pub type Marks = BTreeMap<Mark, Duration>;

/// One phase of a drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    #[serde(rename = "length_ms", with = "milliseconds")]
    pub length: Duration,
    /// With a connection of their own.
    pub requests: u64,
    pub answered: BTreeMap<String, u64>,
    pub failed: Kinds,
    /// Of those the ones that were sent when somebody else answered already.
    pub failed_later: Kinds,
    /// Answered, but after most of a second and more.
    pub late: u64,
    /// The longest time in which no request was answered.
    #[serde(rename = "gap_ms", with = "milliseconds")]
    pub gap: Duration,
    /// Answers by a node that did not have the address any more; `None`: it is not known who answered.
    pub double_answers: Option<u64>,
    /// Another node than the holder has answered; `None`: it is not known.
    pub moved: Option<bool>,
    pub kept: KeptFigures,
}

/// On connections that are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptFigures {
    pub connections: u64,
    pub requests: u64,
    /// Each failure is a connection that was cut.
    pub failed: Kinds,
    /// Closed in good order and opened anew.
    pub reopened: u64,
}

/// `None`: it was not carried to its end. `holder`: the name of the node that has the address at the beginning.
pub fn planned(samples: &Samples, marks: &Marks, holder: &str) -> Option<Phase> {
    let at = |mark| marks.get(&mark).copied();
    let (from, to) = (at(Mark::Planned)?, at(Mark::PlannedOver)?);
    let (away, back) = (at(Mark::Away)?, at(Mark::Back)?);
    let window = Window { samples, from, to };
    let taken = window.first_answer(away, |by| by != holder);
    let returned = window.first_answer(back, |by| by == holder);
    // Requests that began before somebody else answered may be answered by whoever had them.
    let stray = |sample: &&Sample, since: Option<Duration>, until: Duration| {
        since.is_some_and(|since| sample.start > since) && sample.start < until
    };
    let by_holder = window.by(|by| by == holder).filter(|sample| stray(sample, taken, back)).count();
    let by_other = window.by(|by| by != holder).filter(|sample| stray(sample, returned, to)).count();
    let is_told = window.is_told(holder);
    Some(Phase {
        double_answers: is_told.then_some((by_holder + by_other) as u64),
        moved: is_told.then_some(taken.is_some()),
        ..window.phase(taken)
    })
}

/// `length`: how long the holder stood still. What it answers of that time it answers after the thaw, too late.
pub fn freeze(samples: &Samples, marks: &Marks, holder: &str, length: Duration) -> Option<Phase> {
    let at = |mark| marks.get(&mark).copied();
    let (from, frozen, to) = (at(Mark::Freeze)?, at(Mark::Frozen)?, at(Mark::FreezeOver)?);
    let window = Window { samples, from, to };
    let is_told = window.is_told(holder);
    let taken = match is_told {
        true => window.first_answer(frozen, |by| by != holder),
        false => window.longest_gap().map(|(end, _)| end),
    };
    let kept = samples.kept.iter().filter(|sample| answered_by(sample, &|by| by == holder));
    let stale = window.by(|by| by == holder).chain(kept).filter(|sample| {
        taken.is_some_and(|taken| sample.end > taken)
            && sample.start >= from
            && sample.start < frozen + length
    });
    Some(Phase {
        double_answers: is_told.then(|| stale.count() as u64),
        moved: is_told.then_some(taken.is_some()),
        ..window.phase(taken)
    })
}

/// The samples of a phase.
#[derive(Clone, Copy)]
struct Window<'s> {
    samples: &'s Samples,
    from: Duration,
    to: Duration,
}

impl<'s> Window<'s> {
    fn is_inside(self, sample: &Sample) -> bool {
        sample.start >= self.from && sample.start < self.to
    }

    fn fresh(self) -> impl Iterator<Item = &'s Sample> {
        self.samples.fresh.iter().filter(move |sample| self.is_inside(sample))
    }

    fn by(self, who: impl Fn(&str) -> bool) -> impl Iterator<Item = &'s Sample> {
        self.fresh().filter(move |sample| answered_by(sample, &who))
    }

    /// That the answers name their node.
    fn is_told(self, holder: &str) -> bool {
        self.by(|by| by == holder).next().is_some()
    }

    /// When it had come, to whatever was sent in this phase.
    fn first_answer(self, since: Duration, who: impl Fn(&str) -> bool) -> Option<Duration> {
        self.by(who).map(|sample| sample.end).filter(|end| *end >= since).min()
    }

    /// Its end and its length. The edges of the phase count as answers.
    fn longest_gap(self) -> Option<(Duration, Duration)> {
        let good = self.samples.fresh.iter().filter(|s| matches!(s.outcome, Outcome::Answered { .. }));
        let mut ends: Vec<Duration> =
            good.map(|sample| sample.end).filter(|end| (self.from..self.to).contains(end)).collect();
        ends.extend([self.from, self.to]);
        ends.sort_unstable();
        ends.windows(2)
            .filter_map(|pair| Some((*pair.get(1)?, pair.get(1)?.saturating_sub(*pair.first()?))))
            .max_by_key(|(_, length)| *length)
    }

    fn phase(self, taken: Option<Duration>) -> Phase {
        let mut phase = Phase {
            length: self.to.saturating_sub(self.from),
            requests: 0,
            answered: BTreeMap::new(),
            failed: Kinds::default(),
            failed_later: Kinds::default(),
            late: 0,
            gap: self.longest_gap().map_or(Duration::ZERO, |(_, length)| length),
            double_answers: None,
            moved: None,
            kept: self.kept(),
        };
        for sample in self.fresh() {
            phase.requests += 1;
            match &sample.outcome {
                Outcome::Answered { by } => {
                    let by = by.as_deref().unwrap_or(Tally::NAMELESS).to_owned();
                    *phase.answered.entry(by).or_default() += 1;
                    phase.late += u64::from(sample.end.saturating_sub(sample.start) >= LATE);
                }
                Outcome::Failed { how } => {
                    phase.failed.add(*how);
                    if taken.is_some_and(|taken| sample.start > taken) {
                        phase.failed_later.add(*how);
                    }
                }
            }
        }
        phase
    }

    fn kept(self) -> KeptFigures {
        let inside = |at: &&Duration| (self.from..self.to).contains(*at);
        let mut kept = KeptFigures {
            connections: self.samples.connections,
            reopened: self.samples.reopened.iter().filter(inside).count() as u64,
            ..KeptFigures::default()
        };
        for sample in self.samples.kept.iter().filter(|sample| self.is_inside(sample)) {
            kept.requests += 1;
            if let Outcome::Failed { how } = sample.outcome {
                kept.failed.add(how);
            }
        }
        kept
    }
}

fn answered_by(sample: &Sample, who: &impl Fn(&str) -> bool) -> bool {
    matches!(&sample.outcome, Outcome::Answered { by: Some(by) } if who(by))
}

#[cfg(test)]
#[path = "figures_tests.rs"]
mod tests;
