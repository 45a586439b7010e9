//! Tells a role that hangs from one that is merely not heard, because nobody listened, or that cannot run, because others
//! have the processor or the disk. No clock.

use std::fmt;
use std::time::{Duration, Instant};

/// How often silence is counted.
pub const TICK: Duration = Duration::from_millis(50);
/// From here on the kernel is asked what the threads do that are silent.
const SUSPECT: Duration = TICK;
/// A worker whose event loop has not turned for this long hangs, unless it is held up.
pub const BOUND: Duration = Duration::from_millis(150);
/// A worker that is held up for so long is of no use either. Healthy tickers of 20 ms beside eight busy loops on two cores
/// have been silent for 149 ms, and a disk may take longer.
pub const HELD_UP_BOUND: Duration = Duration::from_secs(2);
/// Whoever has had so much of the processor, and has not turned by the next look, is not short of it.
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
    /// `None`: it is too soon to look again, whatever deadline has come.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Duration> {
        if self.next_tick().is_some_and(|at| now < at) {
            return None;
        }
        let passed = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        Some(if passed > MOST { TICK } else { passed })
    }

    pub(super) fn next_tick(&self) -> Option<Instant> {
        self.last.map(|last| last + TICK)
    }
}

/// What the threads of a process do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Those that have to run for a beat: the one that tells, and the one whose turns are told, if that is another. None:
    /// they cannot be seen.
    pub needed: Vec<Thread>,
    /// One of them may have what these wait for.
    pub others: Vec<Thread>,
}

/// What the kernel says of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    pub id: u32,
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

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Runs => "runs",
            Self::Disk => "waits for a disk",
            Self::Rests => "rests",
        })
    }
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
    /// How long nothing has been said at all, not even that nobody has turned.
    unheard: Option<Duration>,
}

#[derive(Debug, Default)]
struct Worker {
    turns: u64,
    /// Counted from the first tick after it has turned: it is never held to have been silent for longer than it was.
    silent: Option<Duration>,
    looks: Option<Looks>,
}

/// In one silence.
#[derive(Debug)]
struct Looks {
    first: Sight,
    last: Sight,
}

impl Heart {
    /// From here on silence counts, also if there has not been a beat yet.
    pub(super) fn expect(&mut self) {
        if self.workers.is_empty() {
            self.workers.push(Worker::default());
        }
    }

    pub(super) fn beat(&mut self, turns: &[u64]) {
        self.unheard = None;
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
        for silent in self.workers.iter_mut().map(|worker| &mut worker.silent).chain([&mut self.unheard]) {
            *silent = Some(silent.map_or(Duration::ZERO, |silent| silent + own));
        }
        let (worker, longest) = self.workers.iter().enumerate().max_by_key(|(_, w)| w.silent)?;
        longest.silent.filter(|silent| *silent >= SUSPECT).map(|silent| Silent { worker, silent })
    }

    /// Returns it if it hangs, which nobody does who is looked at for the first time, and what has shown that.
    pub(super) fn judge(&mut self, worker: usize, sight: Sight) -> Option<(Silent, String)> {
        let unheard = self.unheard.unwrap_or_default();
        let known = self.workers.get_mut(worker)?;
        let silent = known.silent?;
        let looks = match &mut known.looks {
            Some(looks) if looks.are_of(&sight) => looks,
            // A thread has gone, or has come.
            looks => {
                *looks = Some(Looks { first: sight.clone(), last: sight });
                return None;
            }
        };
        let bound = if looks.show_a_hang(&sight, unheard) { BOUND } else { HELD_UP_BOUND };
        let hang = (silent >= bound).then(|| (Silent { worker, silent }, looks.tell(&sight, unheard)));
        looks.last = sight;
        hang
    }
}

impl Looks {
    fn are_of(&self, sight: &Sight) -> bool {
        let ids = |sight: &Sight| sight.needed.iter().map(|thread| thread.id).collect::<Vec<_>>();
        ids(&self.last) == ids(sight)
    }

    fn show_a_hang(&self, sight: &Sight, unheard: Duration) -> bool {
        let looks = self.first.needed.iter().zip(&self.last.needed).zip(&sight.needed);
        let looks = looks.map(|((first, last), now)| (first, last, now));
        // The one that tells does not hang if it has told something, though not that the other has turned.
        let telling = usize::from(unheard < BOUND && sight.needed.len() > 1);
        let rests_for_another = |now: &Thread| now.does == Doing::Rests && self.show_a_want(sight);
        !looks.clone().any(|(first, _, now)| now.is_held_up(*first))
            && looks
                .skip(telling)
                .any(|(first, last, now)| now.hangs(*first, *last) && !rests_for_another(now))
    }

    /// Another thread of the process could run, and has got no processor since the last look: who rests may wait for what
    /// that one has, such as the allocator.
    fn show_a_want(&self, sight: &Sight) -> bool {
        sight
            .others
            .iter()
            .filter(|now| now.does == Doing::Runs)
            .any(|now| self.last.others.iter().any(|last| (last.id, last.ran) == (now.id, now.ran)))
    }

    fn tell(&self, sight: &Sight, unheard: Duration) -> String {
        let each = self.last.needed.iter().zip(&sight.needed).map(|(last, now)| {
            let ran = now.ran.saturating_sub(last.ran);
            format!("thread {} {} and has run for {ran:?} since the last look", now.id, now.does)
        });
        let each: Vec<_> = each.chain([format!("last heard {unheard:?} ago")]).collect();
        each.join(", ")
    }
}

impl Thread {
    fn is_held_up(self, first: Self) -> bool {
        match self.does {
            Doing::Runs => !self.ran_enough(first),
            Doing::Disk => true,
            Doing::Rests => false,
        }
    }

    /// Who has had the processor since the last look may have turned, which is told with the next beat, that is before the
    /// next look. A worker that turns does not rest from one look to the next; the thread that tells may, but beats whenever
    /// it runs after that.
    fn hangs(self, first: Self, last: Self) -> bool {
        match self.does {
            Doing::Runs => last.ran_enough(first),
            Doing::Disk => false,
            Doing::Rests => self.ran == last.ran,
        }
    }

    fn ran_enough(self, first: Self) -> bool {
        self.ran.saturating_sub(first.ran) >= RAN_ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a thread does, and how much it runs of each millisecond, in percent.
    type Life = (Doing, u64);
    const STOPPED: &[Life] = &[(Doing::Rests, 0)];

    fn thread(id: usize, does: Doing, ran: u64) -> Thread {
        Thread { id: u32::try_from(id).unwrap(), does, ran: Duration::from_millis(ran) }
    }

    /// At each of these moments (ms) a tick; `beats` are (ms, turns) and are heard before a tick of the same moment.
    fn check_of(
        [needed, others]: [&[Life]; 2],
        ticks: &[u64],
        beats: &[(u64, &[u64])],
        expect: Option<(u64, usize)>,
    ) {
        let start = Instant::now();
        let (mut own, mut heart) = (OwnTime::default(), Heart::default());
        let mut beats = beats.iter().peekable();
        let found = ticks.iter().find_map(|at| {
            while let Some((_, turns)) = beats.next_if(|(t, _)| t <= at) {
                heart.beat(turns);
            }
            let own = own.tick(start + Duration::from_millis(*at))?;
            let suspect = heart.tick(own)?;
            let live = |lives: &[Life]| {
                let lives = lives.iter().enumerate();
                lives.map(|(id, (does, share))| thread(id, *does, at * share / 100)).collect()
            };
            let sight = Sight { needed: live(needed), others: live(others) };
            heart.judge(suspect.worker, sight).map(|(stuck, _)| (*at, stuck.worker))
        });
        assert_eq!(found, expect, "{needed:?} beside {others:?}, ticks {ticks:?} beats {beats:?}");
    }

    fn check(ticks: &[u64], beats: &[(u64, &[u64])], expect: Option<(u64, usize)>) {
        check_of([STOPPED, &[]], ticks, beats, expect);
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
        check(&[0, 75, 150], &[(0, &[1])], Some((150, 0)));
        // The first look kills nobody: another one had been silent for longer.
        check(&steady, &[(0, &[1, 1]), (120, &[1, 2])], Some((200, 0)));
        // A worker that is left out of the beats has not turned.
        check(&steady, &[(0, &[1, 1]), (100, &[2]), (200, &[3])], Some((150, 1)));
    }

    #[test]
    fn whoever_is_held_up_is_given_more_time() {
        let steady: Vec<u64> = (0..60).map(|i| i * 50).collect();
        let (starved, spinning, waiting) = ((Doing::Runs, 1), (Doing::Runs, 90), (Doing::Disk, 0));
        // Each time that it is looked at it rests again.
        let resting = (Doing::Rests, 2);
        let table: [([&[Life]; 2], u64); 12] = [
            ([&[(Doing::Rests, 0)], &[]], 150),
            ([&[starved], &[]], 2_000),
            ([&[waiting], &[]], 2_000),
            ([&[spinning], &[]], 150),
            // The one that tells of the other's turns.
            ([&[(Doing::Rests, 0), starved], &[]], 2_000),
            ([&[spinning, starved], &[]], 2_000),
            ([&[resting], &[]], 2_000),
            ([&[(Doing::Rests, 0), resting], &[]], 150),
            ([&[], &[]], 2_000),
            // It may wait for what another one has.
            ([&[(Doing::Rests, 0)], &[resting, (Doing::Runs, 0)]], 2_000),
            ([&[(Doing::Rests, 0)], &[resting, (Doing::Runs, 10), (Doing::Rests, 0)]], 150),
            ([&[spinning], &[(Doing::Runs, 0)]], 150),
        ];
        for (lives, expect) in table {
            check_of(lives, &steady, &[(0, &[1])], Some((expect, 0)));
        }
        // The one that tells goes on telling that the other has not turned.
        let told: Vec<(u64, &[u64])> = steady.iter().map(|at| (*at, &[1][..])).collect();
        check_of([&[(Doing::Rests, 0), resting], &[]], &steady, &told, Some((2_000, 0)));
        check_of([&[(Doing::Rests, 0), (Doing::Rests, 0)], &[]], &steady, &told, Some((150, 0)));
        // Eight others beside it: it gets a ninth, which is enough in the end.
        check_of([&[(Doing::Runs, 11)], &[]], &steady, &[(0, &[1])], Some((500, 0)));
        // What was seen in an earlier silence says nothing about this one.
        let beats: [(u64, &[u64]); 2] = [(0, &[1]), (120, &[2])];
        check_of([&[(Doing::Runs, 30)], &[]], &steady, &beats, Some((400, 0)));
    }

    #[test]
    fn who_has_turned_since_the_last_look_is_given_the_time_to_say_so() {
        let ms = Duration::from_millis;
        for does in [Doing::Rests, Doing::Runs] {
            let mut heart = Heart::default();
            heart.beat(&[1]);
            for (own, ran) in [(0, 0), (50, 1), (50, 1), (50, 45)] {
                if let Some(silent) = heart.tick(ms(own)) {
                    // It was held up until just before the last of these.
                    let sight = Sight {
                        needed: vec![
                            thread(0, Doing::Rests, 1),
                            thread(1, if ran == 1 { Doing::Runs } else { does }, ran),
                        ],
                        others: vec![],
                    };
                    assert_eq!(heart.judge(silent.worker, sight), None, "{does:?}");
                }
                // Of what it was a moment ago.
                heart.beat(&[1]);
            }
            heart.beat(&[2]);
            assert_eq!(heart.tick(ms(50)), None, "{does:?}");
        }
    }

    #[test]
    fn threads_that_are_others_now_are_looked_at_anew() {
        let (mut heart, ms) = (Heart::default(), Duration::from_millis);
        heart.beat(&[1]);
        assert_eq!(heart.tick(ms(0)), None);
        for (ids, is_killed) in [(vec![0], false), (vec![0], false), (vec![0, 1], false), (vec![0, 1], true)]
        {
            let silent = heart.tick(ms(50)).unwrap();
            let needed = ids.iter().map(|id| thread(*id, Doing::Rests, 0)).collect();
            let found = heart.judge(silent.worker, Sight { needed, others: vec![] });
            assert_eq!(found.is_some(), is_killed, "{ids:?}: {found:?}");
        }
    }

    #[test]
    fn beats_cannot_take_memory_at_will() {
        let mut heart = Heart::default();
        heart.beat(&vec![1; 1 << 20]);
        assert_eq!(heart.workers.len(), MAX_WORKERS);
    }
}
