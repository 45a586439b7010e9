//! How late this process is when it wanted to run: what a peer should know before it takes silence for death. No clock of
//! its own: readings are handed in.

use std::time::{Duration, Instant};

/// The worst of the last one to two of these is told.
const SPAN: Duration = Duration::from_secs(5);
/// A process that is later than this was frozen, and has lost what it held.
const FROZEN: Duration = Duration::from_secs(1);
/// So much may come from the clock's own coarseness, and from what the kernel does before it wakes a process.
const UNCOUNTED: Duration = Duration::from_millis(5);
/// How often the time is looked at in which others had the processor, where there is no lateness to explain.
const LOOK_AT_OTHERS_EVERY: Duration = Duration::from_millis(50);
/// A quota changes when somebody changes it.
const LOOK_AT_LOAD_EVERY: Duration = Duration::from_secs(5);
/// Somebody has waited for a processor in so much of the last ten seconds and of the last minute, in percent: that is no
/// burst.
const CONTENDED_FROM: f64 = 50.0;
/// What has to be expected then, although it happens once in minutes: with eight busy loops on two processors of a virtual
/// machine, two stalls of 60 and 77 ms in ten minutes, where the worst of the seconds before was 20 ms.
const CONTENDED: Duration = Duration::from_millis(80);

/// What can stop this process, as somebody has read it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// The period of the quota on its CPU time, if there is one.
    pub(super) quota: Option<Duration>,
    /// The share of the time in which somebody has waited for a processor, in percent: of ten seconds, and of a minute.
    pub(super) pressure: Option<[f64; 2]>,
}

#[derive(Debug)]
pub(super) struct Lateness {
    since: Instant,
    worst: [Duration; 2],
    /// All the time so far in which others had the processor, and when that was read.
    waited: Option<Duration>,
    read_at: Instant,
    load: Load,
    /// `None`: somebody is looking.
    next_load: Option<Instant>,
}

impl Lateness {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            worst: [Duration::ZERO; 2],
            waited: None,
            read_at: now,
            load: Load::default(),
            next_load: Some(now),
        }
    }

    /// It wanted to run at `due`. `waited`: all the time so far in which it could have run and others did; only that is
    /// lateness. A process that is frozen waits for nothing, however short that lasts, and its peer is not to be the
    /// more patient with it the next time.
    pub(super) fn note(&mut self, due: Instant, now: Instant, waited: impl FnOnce() -> Option<Duration>) {
        let mut late = now.saturating_duration_since(due);
        let is_old = self.waited.is_none() || now >= self.read_at + LOOK_AT_OTHERS_EVERY;
        if late > UNCOUNTED || is_old {
            let waited = waited();
            let before = std::mem::replace(&mut self.waited, waited);
            let others = waited.zip(before).map_or(Duration::MAX, |(now, before)| now.saturating_sub(before));
            late = late.min(others.max(UNCOUNTED));
            self.read_at = now;
        }
        if now >= self.since + SPAN {
            let is_recent = now < self.since + SPAN * 2;
            self.worst = [Duration::ZERO, if is_recent { self.worst[0] } else { Duration::ZERO }];
            self.since = now;
        }
        if late < FROZEN {
            self.worst[0] = self.worst[0].max(late);
        }
    }

    /// What a peer has to reckon with.
    pub(super) fn worst(&self) -> Duration {
        let expected = if self.is_contended() { CONTENDED } else { Duration::ZERO };
        self.measured().max(expected)
    }

    pub(super) fn measured(&self) -> Duration {
        self.worst[0].max(self.worst[1])
    }

    /// Others want the processors as well, all the time.
    pub(super) fn is_contended(&self) -> bool {
        self.load.pressure.is_some_and(|shares| shares.iter().all(|share| *share >= CONTENDED_FROM))
    }

    /// The period of the quota on the CPU time of this process; zero: there is none.
    pub(super) fn quota(&self) -> Duration {
        self.load.quota.unwrap_or_default()
    }

    /// True once; the answer goes to `set_load`.
    pub(super) fn load_is_due(&mut self, now: Instant) -> bool {
        self.next_load.take_if(|at| *at <= now).is_some()
    }

    pub(super) fn set_load(&mut self, load: Load, now: Instant) {
        self.load = load;
        self.next_load = Some(now + LOOK_AT_LOAD_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_is_told_for_a_while_and_a_freeze_is_no_lateness() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut lateness = Lateness::new(start);
        let mut worst = |due, now, expect| {
            lateness.note(at(due), at(now), || None);
            assert_eq!(lateness.worst(), Duration::from_millis(expect), "due {due}, ran {now}");
        };
        worst(50, 40, 0);
        worst(50, 51, 1);
        worst(100, 170, 70);
        worst(200, 203, 70);
        worst(1_000, 4_000, 70);
        worst(5_000, 5_002, 70);
        worst(9_900, 9_903, 70);
        worst(10_010, 10_012, 3);
        worst(30_000, 30_001, 1);
    }

    #[test]
    fn only_what_others_took_is_lateness() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut lateness = Lateness::new(start);
        let mut worst = |due, now, waited: u64, expect| {
            lateness.note(at(due), at(now), || Some(Duration::from_millis(waited)));
            assert_eq!(
                lateness.worst(),
                Duration::from_millis(expect),
                "due {due}, ran {now}, waited {waited}"
            );
        };
        worst(10, 10, 7, 0);
        worst(20, 320, 8, 5);
        worst(330, 430, 88, 80);
        worst(440, 443, 88, 80);
        worst(500, 900, 90, 80);
    }

    #[test]
    fn the_load_is_looked_at_now_and_then() {
        let start = Instant::now();
        let mut lateness = Lateness::new(start);
        let period = Duration::from_millis(100);
        assert!(lateness.load_is_due(start));
        assert!(!lateness.load_is_due(start + SPAN * 2), "somebody is looking");
        lateness.set_load(Load { quota: Some(period), pressure: None }, start);
        assert_eq!((lateness.quota(), lateness.load_is_due(start + SPAN / 2)), (period, false));
        assert!(lateness.load_is_due(start + LOOK_AT_LOAD_EVERY));
        lateness.set_load(Load::default(), start);
        assert_eq!(lateness.quota(), Duration::ZERO);
    }

    #[test]
    fn where_processors_are_contended_all_the_time_a_stall_is_to_be_expected() {
        let start = Instant::now();
        let mut lateness = Lateness::new(start);
        let mut check = |pressure, expect| {
            lateness.set_load(Load { quota: None, pressure }, start);
            assert_eq!(lateness.worst(), Duration::from_millis(expect), "{pressure:?}");
            assert_eq!(lateness.measured(), Duration::ZERO, "{pressure:?}");
        };
        check(None, 0);
        check(Some([99.0, 49.9]), 0);
        check(Some([49.9, 99.0]), 0);
        check(Some([50.0, 50.0]), 80);
        lateness.note(start, start + Duration::from_millis(170), || None);
        assert_eq!(lateness.worst(), Duration::from_millis(170), "and it may be worse");
    }
}
