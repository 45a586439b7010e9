//! How long a role waits for its next start.

use std::time::Duration;

/// The first restart is free: a crash must not cost a client anything.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// Who served this long does not die of how it starts, and is forgiven now and then.
const STEADY: Duration = Duration::from_millis(500);
const FORGIVEN: u32 = 5;
/// Who served this long is healthy, whatever was before.
const HEALTHY: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default)]
pub(super) struct Backoff {
    next: Duration,
    /// Since it was healthy.
    forgiven: u32,
}

impl Backoff {
    /// The pause before the next start of a role that has just died after serving for so long.
    pub(super) fn pause(&mut self, served: Duration) -> Duration {
        if served >= HEALTHY {
            self.reset();
        }
        if (STEADY..HEALTHY).contains(&served) && self.forgiven < FORGIVEN {
            self.forgiven += 1;
            return Duration::ZERO;
        }
        let pause = self.next;
        self.next = (pause * 2).clamp(FIRST, LONGEST);
        pause
    }

    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_health_forgives() {
        let mut backoff = Backoff::default();
        let table = [
            (0, 0),
            (499, 100),
            (0, 200),
            (500, 0),
            (0, 400),
            (0, 800),
            (9_999, 0),
            (9_999, 0),
            (9_999, 0),
            (9_999, 0),
            (9_999, 1600),
            (0, 3200),
            (0, 5000),
            (0, 5000),
            (10_000, 0),
            (9_999, 0),
            (0, 100),
        ];
        for (served, expect) in table {
            let pause = backoff.pause(Duration::from_millis(served));
            assert_eq!(pause, Duration::from_millis(expect), "after {served} ms of service");
        }
    }
}
