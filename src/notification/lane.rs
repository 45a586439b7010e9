//! One receiver's queue: one thing at a time, in order, tried as often as its schedule says. No clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Things that wait for their turn in one lane. A receiver that is this far behind has lost the thread; the newest
/// things are the ones that are still true.
pub const MAX_WAITING: usize = 64;

/// How often something is tried, and how long after each failure: twice as long each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// In all; at least one is made.
    pub tries: u32,
    pub first_pause: Duration,
    pub longest_pause: Duration,
}

impl Schedule {
    pub const ONCE: Self = Self { tries: 1, first_pause: Duration::ZERO, longest_pause: Duration::ZERO };

    /// After so many tries.
    fn pause(&self, tries: u32) -> Duration {
        let doublings = tries.saturating_sub(1).min(16);
        (self.first_pause * 2u32.pow(doublings)).min(self.longest_pause)
    }
}

/// What is not tried any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure<T> {
    pub item: T,
    pub reason: String,
    pub tries: u32,
}

#[derive(Debug)]
pub struct Lane<T> {
    waiting: VecDeque<(T, Schedule)>,
    current: Option<Current<T>>,
    /// No second tries.
    hurried: bool,
}

#[derive(Debug)]
struct Current<T> {
    item: T,
    schedule: Schedule,
    /// Those that have begun.
    tries: u32,
    /// The next one; `None`: one is being made.
    again: Option<Instant>,
    last_reason: String,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), current: None, hurried: false }
    }
}

impl<T: Clone> Lane<T> {
    /// What had to go for it: the oldest one that has not been begun.
    pub fn push(&mut self, item: T, schedule: Schedule) -> Option<Failure<T>> {
        self.waiting.push_back((item, schedule));
        if self.waiting.len() <= MAX_WAITING {
            return None;
        }
        let (item, _) = self.waiting.pop_front()?;
        Some(Failure { item, reason: format!("more than {MAX_WAITING} wait"), tries: 0 })
    }

    /// What is to be tried now; `handle_end` must follow.
    pub fn next(&mut self, now: Instant) -> Option<T> {
        if self.current.is_none() {
            let (item, schedule) = self.waiting.pop_front()?;
            self.current =
                Some(Current { item, schedule, tries: 0, again: Some(now), last_reason: String::new() });
        }
        let current = self.current.as_mut().filter(|c| c.again.is_some_and(|at| at <= now))?;
        current.again = None;
        current.tries += 1;
        Some(current.item.clone())
    }

    /// The try that `next` began is over. A failure if there is no further one.
    pub fn handle_end(&mut self, end: Result<(), String>, now: Instant) -> Option<Failure<T>> {
        let mut current = self.current.take()?;
        let Err(reason) = end else { return None };
        if self.hurried || current.tries >= current.schedule.tries {
            return Some(Failure { item: current.item, reason, tries: current.tries });
        }
        current.again = Some(now + current.schedule.pause(current.tries));
        current.last_reason = reason;
        self.current = Some(current);
        None
    }

    /// From here on nothing is tried a second time; a failure if something waits for that.
    pub fn hurry(&mut self) -> Option<Failure<T>> {
        self.hurried = true;
        let Current { item, tries, last_reason, .. } = self.current.take_if(|c| c.again.is_some())?;
        Some(Failure { item, reason: last_reason, tries })
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.current.as_ref()?.again
    }

    /// With what is being tried.
    pub fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.current.is_some())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FOUR: Schedule = Schedule { tries: 4, first_pause: SECOND, longest_pause: Duration::from_secs(3) };

    #[test]
    fn one_at_a_time_and_in_order() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        for item in 1..=3 {
            assert_eq!(lane.push(item, Schedule::ONCE), None);
        }
        let mut order = vec![];
        while let Some(item) = lane.next(now) {
            assert_eq!(lane.next(now), None, "{item} is under way");
            order.push(item);
            let end = if item == 2 { Err("no".into()) } else { Ok(()) };
            let failure = lane.handle_end(end, now);
            assert_eq!(failure.is_some(), item == 2);
        }
        assert_eq!(order, [1, 2, 3]);
        assert!(lane.is_empty() && lane.poll_timeout().is_none());
    }

    #[test]
    fn tries_are_spaced_and_counted() {
        let (mut lane, start) = (Lane::default(), Instant::now());
        lane.push("a", FOUR);
        lane.push("b", FOUR);
        // Seconds at which "a" is tried.
        for (at, next) in [(0, Some(1)), (1, Some(3)), (3, Some(6)), (6, None)] {
            let now = start + SECOND * at;
            assert!(at == 0 || lane.next(now - Duration::from_millis(1)).is_none(), "too early");
            assert_eq!(lane.next(now), Some("a"), "at {at} s");
            let failure = lane.handle_end(Err(format!("no {at}")), now);
            assert_eq!(lane.poll_timeout(), next.map(|at| start + SECOND * at));
            let expect = Failure { item: "a", reason: "no 6".into(), tries: 4 };
            assert_eq!(failure, next.is_none().then_some(expect));
        }
        assert_eq!(lane.next(start + SECOND * 6), Some("b"));
        assert_eq!(lane.handle_end(Ok(()), start), None);
        assert!(lane.is_empty());
    }

    #[test]
    fn the_oldest_goes_where_too_many_wait() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        lane.push(0, Schedule::ONCE);
        assert_eq!(lane.next(now), Some(0));
        for item in 1..=MAX_WAITING {
            assert_eq!(lane.push(item, Schedule::ONCE), None);
        }
        let dropped = lane.push(MAX_WAITING + 1, Schedule::ONCE).unwrap();
        assert_eq!((dropped.item, dropped.tries), (1, 0));
        assert_eq!(lane.len(), MAX_WAITING + 1);
        lane.handle_end(Ok(()), now);
        assert_eq!(lane.next(now), Some(2));
    }

    #[test]
    fn a_hurry_leaves_one_try_to_each() {
        let (mut lane, now) = (Lane::default(), Instant::now());
        lane.push("a", FOUR);
        lane.push("b", FOUR);
        lane.next(now);
        lane.handle_end(Err("no".into()), now);
        assert_eq!(lane.hurry(), Some(Failure { item: "a", reason: "no".into(), tries: 1 }));
        assert_eq!(lane.next(now), Some("b"));
        assert_eq!(lane.hurry(), None, "it is under way");
        assert!(lane.handle_end(Err("no".into()), now).is_some());
        assert!(lane.is_empty());
    }
}
