//! True time, and what a node's own clock makes of it: a little fast or slow, standing still while the node is suspended.

use std::time::{Duration, Instant};

/// True time since the start, in nanoseconds.
pub(crate) type Nanos = u64;

pub(crate) const MS: Nanos = 1_000_000;

pub(crate) struct Clock {
    base: Instant,
    /// Parts per million that it runs fast.
    ppm: i64,
    /// How long it has stood still.
    pub(crate) stood: Nanos,
}

impl Clock {
    pub(crate) fn new(base: Instant, ppm: i64) -> Self {
        Self { base, ppm, stood: 0 }
    }

    pub(crate) fn local(&self, now: Nanos) -> Instant {
        let ran = i128::from(now - self.stood);
        let local = ran + ran * i128::from(self.ppm) / 1_000_000;
        self.base + Duration::from_nanos(u64::try_from(local).unwrap_or(0))
    }

    /// The first moment of true time at which this clock shows `at` or later.
    pub(crate) fn when(&self, at: Instant) -> Nanos {
        let local = i128::try_from((at - self.base).as_nanos()).unwrap_or(i128::MAX);
        let mut true_time = u64::try_from(local * 1_000_000 / (1_000_000 + i128::from(self.ppm)))
            .unwrap_or(u64::MAX)
            + self.stood;
        while self.local(true_time) < at {
            true_time += 1;
        }
        true_time
    }
}
