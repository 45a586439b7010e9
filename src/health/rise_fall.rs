//! HAProxy's check counter: 0 to rise + fall - 1; at `rise` and above the server is up.
//!
//! It starts at `rise`: up, but the first failed check takes it down, and the first success settles it.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RiseFall {
    rise: u64,
    fall: u64,
    health: u64,
}

impl RiseFall {
    /// Both at least 1; 0 counts as 1.
    pub fn new(rise: u32, fall: u32) -> Self {
        let (rise, fall) = (u64::from(rise.max(1)), u64::from(fall.max(1)));
        Self { rise, fall, health: rise }
    }

    /// Begins as one that has failed.
    pub fn down(rise: u32, fall: u32) -> Self {
        Self { health: 0, ..Self::new(rise, fall) }
    }

    pub fn is_up(&self) -> bool {
        self.health >= self.rise
    }

    /// Counts one check; returns whether the server went up or down by it. One failure in between starts a rise
    /// anew, one success a fall.
    pub fn record(&mut self, passed: bool) -> Option<bool> {
        let before = self.is_up();
        if passed {
            self.health += 1;
            if self.health >= self.rise {
                self.health = self.rise + self.fall - 1;
            }
        } else {
            self.health = self.health.saturating_sub(1);
            if self.health < self.rise {
                self.health = 0;
            }
        }
        Some(self.is_up()).filter(|after| *after != before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` and `-` are checks; the answer has the state after each, `U` or `D`.
    fn check(rise: u32, fall: u32, checks: &str, expect: &str) {
        let mut counter = RiseFall::new(rise, fall);
        let mut got = String::from(if counter.is_up() { "U" } else { "D" });
        for c in checks.chars() {
            let before = counter.is_up();
            let change = counter.record(c == '+');
            assert_eq!(change, Some(counter.is_up()).filter(|up| *up != before));
            got.push(if counter.is_up() { 'U' } else { 'D' });
        }
        assert_eq!(got, expect, "rise {rise} fall {fall}: {checks}");
    }

    #[test]
    fn counters() {
        check(2, 5, "-", "UD");
        check(2, 5, "+-----", "UUUUUUD");
        check(2, 5, "+----+-----", "UUUUUUUUUUUD");
        check(2, 3, "-++", "UDDU");
        check(2, 3, "-+-++", "UDDDDU");
        check(2, 3, "+---+-++---", "UUUUDDDDUUUD");
        check(1, 1, "+-+-", "UUDUD");
        check(0, 0, "-+", "UDU");
        check(u32::MAX, u32::MAX, "+-", "UUU");
    }
}
