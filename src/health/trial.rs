//! The counter of a tracked check, as keepalived's of a script: the first result decides alone, then `rise` and `fall`
//! count. No clock.

use super::RiseFall;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    counter: RiseFall,
    is_known: bool,
}

impl Trial {
    /// `init_fail`: it has failed before the first result, and until it has passed `rise` times.
    pub fn new(rise: u32, fall: u32, init_fail: bool) -> Self {
        if init_fail {
            return Self { counter: RiseFall::down(rise, fall), is_known: true };
        }
        Self { counter: RiseFall::new(rise, fall), is_known: false }
    }

    pub fn record(&mut self, passed: bool) {
        self.is_known = true;
        self.counter.record(passed);
    }

    /// `None`: there was no result yet.
    pub fn is_up(&self) -> Option<bool> {
        self.is_known.then(|| self.counter.is_up())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` and `-` are results; the answer has the state before and after each: `?`, `U` or `D`.
    fn check(rise: u32, fall: u32, init_fail: bool, results: &str, expect: &str) {
        let mut trial = Trial::new(rise, fall, init_fail);
        let mut got = String::new();
        let mut tell = |trial: &Trial| got.push(trial.is_up().map_or('?', |up| if up { 'U' } else { 'D' }));
        tell(&trial);
        for result in results.chars() {
            trial.record(result == '+');
            tell(&trial);
        }
        assert_eq!(got, expect, "rise {rise}, fall {fall}, init_fail {init_fail}: {results}");
    }

    #[test]
    fn the_first_result_decides_alone() {
        check(3, 3, false, "+", "?U");
        check(3, 3, false, "-", "?D");
        check(3, 3, false, "+--+---", "?UUUUUUD");
        check(3, 3, false, "-++-+++", "?DDDDDDU");
        check(1, 1, false, "+-+", "?UDU");
        check(3, 1, true, "+++-", "DDDUD");
        check(1, 2, true, "+--", "DUUD");
    }
}
