//! How many requests ended how, whoever sent them. No clock.

use std::collections::BTreeMap;

use super::latency::Latencies;
use super::report::Tally;
use super::sample::{Kinds, Outcome, Sample};

/// Names that are counted one by one; they come from the network, so their number is bounded.
pub(super) const NAMES: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) failed: Kinds,
    pub(super) answered: BTreeMap<String, u64>,
    pub(super) latencies: Latencies,
}

impl Counts {
    pub(super) fn add(&mut self, sample: &Sample) {
        self.requests += 1;
        match &sample.outcome {
            Outcome::Answered { by } => {
                self.latencies.add(sample.end.saturating_sub(sample.start));
                self.count_name(by.as_deref().unwrap_or(Tally::NAMELESS));
            }
            Outcome::Failed { how } => self.failed.add(*how),
        }
    }

    fn count_name(&mut self, by: &str) {
        if let Some(count) = self.answered.get_mut(by) {
            *count += 1;
        } else {
            let name = if self.answered.len() < NAMES { by } else { "(others)" };
            *self.answered.entry(name.to_owned()).or_default() += 1;
        }
    }
}
