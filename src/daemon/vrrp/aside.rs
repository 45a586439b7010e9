//! How long a node stands aside whose kernel would not hold an address. No clock.

use std::time::{Duration, Instant};

/// Each failure in a row makes it twice as long. The peer, which may well be able to, is left alone meanwhile.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(160);

#[derive(Debug, Default)]
pub(super) struct Aside {
    /// Why, and until when.
    problem: Option<(String, Instant)>,
    /// Of the last failure, unless the kernel has held what it was told since.
    pause: Option<Duration>,
}

impl Aside {
    pub(super) fn note_failure(&mut self, problem: String, now: Instant) {
        let pause = self.pause.map_or(FIRST, |pause| (pause * 2).min(LONGEST));
        self.pause = Some(pause);
        self.problem = Some((problem, now + pause));
    }

    pub(super) fn note_success(&mut self) {
        self.pause = None;
    }

    /// What counts is forgotten once its time is over.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.problem.take_if(|(_, until)| *until <= now);
    }

    pub(super) fn problem(&self) -> Result<(), String> {
        self.problem.as_ref().map_or(Ok(()), |(problem, _)| Err(problem.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_in_a_row_doubles_the_pause() {
        let mut now = Instant::now();
        let mut aside = Aside::default();
        let mut pause = |aside: &mut Aside| {
            aside.note_failure("no".to_owned(), now);
            let began = now;
            while aside.problem().is_err() {
                now += Duration::from_secs(1);
                aside.look_again(now);
            }
            (now - began).as_secs()
        };
        assert_eq!([(); 7].map(|()| pause(&mut aside)), [5, 10, 20, 40, 80, 160, 160]);
        aside.note_success();
        assert_eq!([(); 2].map(|()| pause(&mut aside)), [5, 10]);
    }

    #[test]
    fn success_with_one_address_does_not_end_what_another_has_begun() {
        let now = Instant::now();
        let mut aside = Aside::default();
        aside.note_failure("no".to_owned(), now);
        aside.note_success();
        aside.look_again(now);
        assert_eq!(aside.problem(), Err("no".to_owned()));
    }
}
