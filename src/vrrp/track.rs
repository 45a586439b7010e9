//! keepalived's priority arithmetic: what is tracked adds to the configured priority, takes from it, or is a fault. No
//! socket, no clock.

use crate::net::Priority;

/// The sum is held between these: 0 releases, and 255 is the owner's.
const LOWEST: i64 = 1;
const HIGHEST: i64 = 254;
/// A file's number below this, multiplied, is a fault.
const FILE_FAULT: i64 = -253;

/// What is known of one tracked thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not looked at yet.
    Unknown,
    Well,
    /// With the reason that a person reads.
    Failed(String),
    /// A file's.
    Number(i64),
}

/// What that does to a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Priority(i64),
    Fault,
}

/// `weight`: 0 makes a failure a fault, more is added while all is well, less is taken away while it is not. What is
/// unknown adds and takes nothing, but with weight 0 there is no standing before it is known. A master that an edit has
/// given something else to track goes on meanwhile.
pub fn effect(weight: i16, outcome: &Outcome, is_master: bool) -> Effect {
    let weight = i64::from(weight);
    match outcome {
        Outcome::Unknown if is_master => Effect::Priority(0),
        Outcome::Number(number) if weight == 0 => {
            if *number == 0 {
                Effect::Priority(0)
            } else {
                Effect::Fault
            }
        }
        Outcome::Number(number) => match number.saturating_mul(weight) {
            ..FILE_FAULT => Effect::Fault,
            product => Effect::Priority(product),
        },
        Outcome::Unknown | Outcome::Failed(_) if weight == 0 => Effect::Fault,
        Outcome::Unknown => Effect::Priority(0),
        Outcome::Well => Effect::Priority(weight.max(0)),
        Outcome::Failed(_) => Effect::Priority(weight.min(0)),
    }
}

/// The owner's priority never changes, and nobody else gets it.
pub fn effective(base: Priority, effects: impl IntoIterator<Item = Effect>) -> Priority {
    if base == Priority::OWNER {
        return base;
    }
    let sum = effects.into_iter().fold(i64::from(base.get()), |sum, effect| match effect {
        Effect::Priority(change) => sum.saturating_add(change),
        Effect::Fault => sum,
    });
    Priority::try_from(sum.clamp(LOWEST, HIGHEST)).unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_added_while_well_and_taken_while_not() {
        use Effect::{Fault, Priority};
        let failed = || Outcome::Failed("status 503".to_owned());
        for (weight, outcome, expect) in [
            (0, Outcome::Well, Priority(0)),
            (0, failed(), Fault),
            (0, Outcome::Unknown, Fault),
            (20, Outcome::Well, Priority(20)),
            (20, failed(), Priority(0)),
            (20, Outcome::Unknown, Priority(0)),
            (-20, Outcome::Well, Priority(0)),
            (-20, failed(), Priority(-20)),
            (-20, Outcome::Unknown, Priority(0)),
            (1, Outcome::Number(30), Priority(30)),
            (-2, Outcome::Number(30), Priority(-60)),
            (1, Outcome::Number(-253), Priority(-253)),
            (1, Outcome::Number(-254), Fault),
            (254, Outcome::Number(-1), Fault),
            (-254, Outcome::Number(i64::MAX), Fault),
            (254, Outcome::Number(i64::MAX), Priority(i64::MAX)),
            (0, Outcome::Number(0), Priority(0)),
            (0, Outcome::Number(7), Fault),
        ] {
            assert_eq!(effect(weight, &outcome, false), expect, "{weight} {outcome:?}");
            let to_master = if outcome == Outcome::Unknown { Priority(0) } else { expect };
            assert_eq!(effect(weight, &outcome, true), to_master, "{weight} {outcome:?}");
        }
    }

    #[test]
    fn the_sum_is_held_between_1_and_254_and_the_owner_stays_the_owner() {
        use Effect::{Fault, Priority as Add};
        let table: [(i64, &[Effect], u8); 9] = [
            (100, &[], 100),
            (100, &[Add(20), Add(-50)], 70),
            (100, &[Add(-200)], 1),
            (100, &[Add(200)], 254),
            (100, &[Add(i64::MAX), Add(i64::MAX)], 254),
            // In the middle of the sum nothing is cut.
            (100, &[Add(-200), Add(150)], 50),
            (100, &[Fault, Add(5)], 105),
            (255, &[Add(-100)], 255),
            (1, &[Add(-1)], 1),
        ];
        for (base, effects, expect) in table {
            let base = Priority::try_from(base).unwrap();
            assert_eq!(effective(base, effects.iter().copied()).get(), expect, "{base} {effects:?}");
        }
    }
}
