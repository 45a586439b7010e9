//! Tells a role that hangs from one that is merely not heard, because nobody listened, or that cannot run, because others
//! have the processor or the disk. No clock.

use std::time::{Duration, Instant};

/// How often silence is counted.
pub const TICK: Duration = Duration::from_millis(50);
/// From here on the kernel is asked what the threads do that are silent.
const SUSPECT: Duration = Duration::from_millis(100);
/// A worker whose event loop has not turned for this long hangs, unless it is held up.
pub const BOUND: Duration = Duration::from_millis(150);
/// A worker that is held up for so long is of no use either. Healthy tickers of 20 ms beside eight busy loops on two cores
/// have been silent for 149 ms, and a disk may take longer.
pub const HELD_UP_BOUND: Duration = Duration::from_secs(2);
/// Whoever has had so much of the processor, and has not turned, is not short of it.
const RAN_ENOUGH: Duration = Duration::from_millis(40);
/// A tick that comes later than this counts as one that came in time: it was late because this process did not run, and a
/// role of a frozen container was frozen as well.
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
        if passed > MOST { TICK } else { passed }
    }

    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.last.map(|last| last + TICK)
    }
}

/// What the kernel says of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    pub does: Doing,
    /// On a processor, so far.
    pub ran: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Has a processor, or waits for one.
    Runs,
    /// Waits for what cannot be interrupted: a disk, most of the time.
    Disk,
    /// Sleeps, or was stopped.
    Rests,
}

/// A worker that has not turned for a while.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Silent {
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
    /// When it was first looked at in this silence.
    seen: Option<Vec<Thread>>,
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
                *worker = Worker { turns: *turns, ..Worker::default() };
            }
        }
    }

    /// `own`: the time that the supervisor has listened since the last tick. What the kernel says of the threads of a
    /// worker that is returned goes to `judge`.
    pub(super) fn tick(&mut self, own: Duration) -> Option<Silent> {
        for worker in &mut self.workers {
            worker.silent = Some(worker.silent.map_or(Duration::ZERO, |silent| silent + own));
        }
        let (worker, longest) = self.workers.iter().enumerate().max_by_key(|(_, w)| w.silent)?;
        longest.silent.filter(|silent| *silent >= SUSPECT).map(|silent| Silent { worker, silent })
    }

    /// `threads`: those that have to run for a beat, always in the same order; empty: nothing is known of them.
    /// Returns it if it hangs, which nobody does who is looked at for the first time.
    pub(super) fn judge(&mut self, worker: usize, threads: Vec<Thread>) -> Option<Silent> {
        let known = self.workers.get_mut(worker)?;
        let silent = known.silent?;
        let Some(seen) = &known.seen else {
            known.seen = Some(threads);
            return None;
        };
        let held_up =
            threads.is_empty() || threads.iter().zip(seen.iter()).any(|(now, then)| now.is_held_up(*then));
        let bound = if held_up { HELD_UP_BOUND } else { BOUND };
        (silent >= bound).then_some(Silent { worker, silent })
    }
}

impl Thread {
    fn is_held_up(self, then: Self) -> bool {
        match self.does {
            Doing::Runs => self.ran.saturating_sub(then.ran) < RAN_ENOUGH,
            Doing::Disk => true,
            Doing::Rests => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a thread does, and how much it runs of each millisecond, in percent.
    type Life = (Doing, u64);
    const STOPPED: &[Life] = &[(Doing::Rests, 0)];

    /// At each of these moments (ms) a tick; `beats` are (ms, turns) and are heard before a tick of the same moment.
    fn check_of(lives: &[Life], ticks: &[u64], beats: &[(u64, &[u64])], expect: Option<(u64, usize)>) {
        let start = Instant::now();
        let (mut own, mut heart) = (OwnTime::default(), Heart::default());
        let mut beats = beats.iter().peekable();
        let found = ticks.iter().find_map(|at| {
            while let Some((_, turns)) = beats.next_if(|(t, _)| t <= at) {
                heart.beat(turns);
            }
            let own = own.tick(start + Duration::from_millis(*at));
            let suspect = heart.tick(own)?;
            let threads = lives
                .iter()
                .map(|(does, share)| Thread { does: *does, ran: Duration::from_millis(at * share / 100) });
            heart.judge(suspect.worker, threads.collect()).map(|stuck| (*at, stuck.worker))
        });
        assert_eq!(found, expect, "{lives:?} ticks {ticks:?} beats {beats:?}");
    }

    fn check(ticks: &[u64], beats: &[(u64, &[u64])], expect: Option<(u64, usize)>) {
        check_of(STOPPED, ticks, beats, expect);
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
        // The first beat is at 0, so the tick at 150 has counted 150 ms of silence.
        check(&steady, &[(0, &[1])], Some((150, 0)));
        check(&steady, &second_stuck, Some((150, 1)));
        // A supervisor that slept for three seconds counts one tick of them and then listens again.
        check(&[0, 50, 3050], &[(0, &[1])], None);
        check(&[0, 50, 3050, 3100], &[(0, &[1])], Some((3100, 0)));
        check(&[0, 3050, 3100], &[(0, &[1])], None);
        check(&[0, 3050, 3100], &[(0, &[1]), (3060, &[2])], None);
        // Ticks that are late jump over the first look, which kills nobody.
        check(&[0, 75, 150], &[(0, &[1])], None);
        check(&[0, 75, 150, 225], &[(0, &[1])], Some((225, 0)));
        // A worker that is left out of the beats has not turned.
        check(&steady, &[(0, &[1, 1]), (100, &[2]), (200, &[3])], Some((150, 1)));
    }

    #[test]
    fn whoever_is_held_up_is_given_more_time() {
        let steady: Vec<u64> = (0..60).map(|i| i * 50).collect();
        let (starved, spinning, waiting) = ((Doing::Runs, 1), (Doing::Runs, 90), (Doing::Disk, 0));
        let table: [(&[Life], u64); 7] = [
            (&[(Doing::Rests, 0)], 150),
            (&[starved], 2_000),
            (&[waiting], 2_000),
            (&[spinning], 150),
            // The one that tells of the other's turns.
            (&[(Doing::Rests, 0), starved], 2_000),
            (&[spinning, starved], 2_000),
            (&[], 2_000),
        ];
        for (lives, expect) in table {
            check_of(lives, &steady, &[(0, &[1])], Some((expect, 0)));
        }
        // Eight others beside it: it gets a ninth, which is enough in the end.
        check_of(&[(Doing::Runs, 11)], &steady, &[(0, &[1])], Some((500, 0)));
        // What was seen in an earlier silence says nothing about this one.
        let beats: [(u64, &[u64]); 2] = [(0, &[1]), (120, &[2])];
        check_of(&[(Doing::Runs, 30)], &steady, &beats, Some((400, 0)));
    }

    #[test]
    fn beats_cannot_take_memory_at_will() {
        let mut heart = Heart::default();
        heart.beat(&vec![1; 1 << 20]);
        assert_eq!(heart.workers.len(), MAX_WORKERS);
    }
}
