//! Latencies in a fixed amount of memory. No clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sample::milliseconds;

/// Sub-steps of each power of two: a percentile is at most 1/32 (3 %) above the true value.
const STEP_BITS: u32 = 5;
const STEPS: usize = 1 << STEP_BITS;
/// 2^32 us is 71 minutes, far beyond any patience; what is longer counts as that long.
const OCTAVES: usize = 32 - STEP_BITS as usize + 1;

/// A histogram of durations in microseconds: linear below 32 us, then 32 steps for each power of two.
#[derive(Clone, Debug)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    longest: Duration,
}

/// What a report says of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    #[serde(rename = "p50_ms", with = "milliseconds")]
    pub p50: Duration,
    #[serde(rename = "p99_ms", with = "milliseconds")]
    pub p99: Duration,
    #[serde(rename = "longest_ms", with = "milliseconds")]
    pub longest: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: vec![0; OCTAVES * STEPS], count: 0, longest: Duration::ZERO }
    }
}

impl Latencies {
    pub fn add(&mut self, latency: Duration) {
        let us = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        if let Some(bucket) = self.buckets.get_mut(index(us)) {
            *bucket += 1;
            self.count += 1;
        }
        self.longest = self.longest.max(latency);
    }

    pub fn summary(&self) -> Latency {
        Latency { p50: self.percentile(50), p99: self.percentile(99), longest: self.longest }
    }

    /// The smallest bucket's upper end below which lie at least `percent` of all; never above the longest.
    fn percentile(&self, percent: u64) -> Duration {
        let rank = (self.count * percent).div_ceil(100);
        let mut below = 0;
        for (i, count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= rank && below > 0 {
                return Duration::from_micros(upper_end(i)).min(self.longest);
            }
        }
        Duration::ZERO
    }
}

fn index(us: u32) -> usize {
    let octave = (u32::BITS - us.leading_zeros()).saturating_sub(STEP_BITS + 1);
    octave as usize * STEPS + (us >> octave) as usize
}

fn upper_end(index: usize) -> u64 {
    if index < 2 * STEPS {
        return index as u64;
    }
    let octave = index / STEPS - 1;
    let step = (index - octave * STEPS) as u64;
    ((step + 1) << octave) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_lies_in_a_bucket_that_ends_at_most_one_step_above_it() {
        let samples =
            (0..5_000).chain((0..32).flat_map(|bit| [1u32 << bit, (1u32 << bit) - 1])).chain([u32::MAX]);
        for us in samples {
            let end = upper_end(index(us));
            assert!(index(us) < OCTAVES * STEPS, "{us}");
            assert!(
                end >= u64::from(us) && end - u64::from(us) <= u64::from(us) / STEPS as u64,
                "{us} -> {end}"
            );
        }
    }

    #[test]
    fn percentiles_count_from_below() {
        let check = |us: &[u64], p50: u64, p99: u64| {
            let mut latencies = Latencies::default();
            us.iter().for_each(|us| latencies.add(Duration::from_micros(*us)));
            let got = latencies.summary();
            assert_eq!(
                (got.p50, got.p99),
                (Duration::from_micros(p50), Duration::from_micros(p99)),
                "{us:?}"
            );
        };
        check(&[], 0, 0);
        check(&[7], 7, 7);
        check(&[1, 2, 3, 4], 2, 4);
        check(&[10; 100], 10, 10);
        check(&(1..=20).collect::<Vec<_>>(), 10, 20);
        // Larger ones are known to one step, and never said to be longer than the longest.
        check(&[1_000_000], 1_000_000, 1_000_000);
    }
}
