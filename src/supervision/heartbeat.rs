//! Tells a role that hangs from one that is merely not heard, because nobody listened. No clock.

use std::time::{Duration, Instant};

/// How often silence is counted.
pub const TICK: Duration = Duration::from_millis(50);
/// A worker whose event loop has not turned for this long hangs. Healthy tickers of 20 ms beside eight busy loops on
/// two cores have been silent for 149 ms.
pub const BOUND: Duration = Duration::from_millis(400);
/// The most that one tick counts. A tick that comes later was late because this process did not run: what a role
/// said meanwhile may still lie unread, and a role of a frozen container was frozen as well.
const MOST: Duration = TICK.saturating_mul(2);
/// More worker threads than any configuration can ask for.
const MAX_WORKERS: usize = 1024;

/// How much of the time since the last tick the supervisor itself was there to listen.
#[derive(Debug, Default)]
pub(super) struct OwnTime {
    last: Option<Instant>,
}

impl OwnTime {
    pub(super) fn tick(&mut self, now: Instant) -> Duration {
        let passed = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        passed.min(MOST)
    }

    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.last.map(|last| last + TICK)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stuck {
    pub(super) worker: usize,
    pub(super) silent: Duration,
}

/// The event loops of one process, judged from its first beat on, or from the moment when it has to beat.
#[derive(Debug, Default)]
pub(super) struct Heart {
    workers: Vec<Worker>,
}

#[derive(Debug, Default)]
struct Worker {
    turns: u64,
    /// Counted from the first tick after it has turned: it is never held to have been silent for longer than it was.
    silent: Option<Duration>,
}

impl Heart {
    /// From here on silence counts, also if there has not been a beat yet.
    pub(super) fn expect(&mut self) {
        if self.workers.is_empty() {
            self.workers.push(Worker::default());
        }
    }

    pub(super) fn beat(&mut self, turns: &[u64]) {
        let known = self.workers.len();
        self.workers.resize_with(turns.len().min(MAX_WORKERS).max(known), Worker::default);
        for (worker, turns) in self.workers.iter_mut().zip(turns) {
            if worker.turns != *turns {
                *worker = Worker { turns: *turns, silent: None };
            }
        }
    }

    /// `own`: the time that the supervisor has listened since the last tick.
    pub(super) fn tick(&mut self, own: Duration) -> Option<Stuck> {
        for worker in &mut self.workers {
            worker.silent = Some(worker.silent.map_or(Duration::ZERO, |silent| silent + own));
        }
        let (worker, longest) = self.workers.iter().enumerate().max_by_key(|(_, w)| w.silent)?;
        longest.silent.filter(|silent| *silent >= BOUND).map(|silent| Stuck { worker, silent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At each of these moments (ms) a tick; `beats` are (ms, turns) and are heard before a tick of the same moment.
    fn check(ticks: &[u64], beats: &[(u64, &[u64])], expect: Option<(u64, usize)>) {
        let start = Instant::now();
        let (mut own, mut heart) = (OwnTime::default(), Heart::default());
        let mut beats = beats.iter().peekable();
        let found = ticks.iter().find_map(|at| {
            while let Some((_, turns)) = beats.next_if(|(t, _)| t <= at) {
                heart.beat(turns);
            }
            let own = own.tick(start + Duration::from_millis(*at));
            heart.tick(own).map(|stuck| (*at, stuck.worker))
        });
        assert_eq!(found, expect, "ticks {ticks:?} beats {beats:?}");
    }

    #[test]
    fn silence_is_counted_in_own_time() {
        let steady: Vec<u64> = (0..40).map(|i| i * 50).collect();
        let beating: Vec<(u64, [u64; 2])> = (0..40).map(|i| (i * 50, [i, i])).collect();
        let beating: Vec<(u64, &[u64])> = beating.iter().map(|(t, b)| (*t, &b[..])).collect();
        let second_stuck: Vec<(u64, [u64; 2])> = (0..40).map(|i| (i * 50, [i, 7])).collect();
        let second_stuck: Vec<(u64, &[u64])> = second_stuck.iter().map(|(t, b)| (*t, &b[..])).collect();
        // Nobody has beaten yet: its start has a bound of its own.
        check(&steady, &[], None);
        check(&steady, &beating, None);
        // The first beat is at 0, so the tick at 400 has counted 400 ms of silence.
        check(&steady, &[(0, &[1])], Some((400, 0)));
        check(&steady, &second_stuck, Some((400, 1)));
        // A supervisor that slept for three seconds counts two ticks of them and then listens again.
        check(&[0, 50, 3050, 3100, 3150, 3200], &[(0, &[1])], None);
        check(&[0, 50, 3050, 3100, 3150, 3200, 3250, 3300], &[(0, &[1])], Some((3300, 0)));
        check(&[0, 50, 3050, 3100], &[(0, &[1]), (3060, &[2])], None);
        // A worker that is left out of the beats has not turned.
        check(&steady, &[(0, &[1, 1]), (100, &[2]), (300, &[3])], Some((400, 1)));
    }

    #[test]
    fn beats_cannot_take_memory_at_will() {
        let mut heart = Heart::default();
        heart.beat(&vec![1; 1 << 20]);
        assert_eq!(heart.workers.len(), MAX_WORKERS);
    }
}
