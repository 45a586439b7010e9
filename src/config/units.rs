//! Durations as they are written: a number and a unit, or several (`1m30s`). No clock.

use std::time::Duration;

use super::field::Fault;
use super::problem::shown;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// What `duration` accepts, for the JSON Schema.
pub(super) const DURATION_PATTERN: &str = "([0-9]+(ms|s|m|h|d))+";

/// Reads `100ms`, `2s`, `1m30s`, `1h`, `7d`. A number without a unit is refused: nginx would read seconds, HAProxy
/// milliseconds.
pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    if text.parse::<u64>().is_ok() {
        return Err(Fault::new(
            format!("a duration needs a unit, {text} has none"),
            format!("write {text}ms or {text}s"),
        ));
    }
    let fault = || {
        Fault::new(
            format!("{} is not a duration", shown(text)),
            "write a whole number and a unit, ms, s, m, h or d, such as 100ms, 2s or 1m30s",
        )
    };
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, after) = after.split_at(letters);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(fault)?;
        let number: u64 = number.parse().map_err(|_| fault())?;
        total = number.checked_mul(*factor).and_then(|n| n.checked_add(total)).ok_or_else(fault)?;
        rest = after;
    }
    if text.is_empty() { Err(fault()) } else { Ok(Duration::from_millis(total)) }
}

/// For the command line, which says its problems in one line.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    duration(text).map_err(|fault| format!("{}; {}", fault.what, fault.remedy))
}

/// The shortest way to write a duration that `duration` reads; exact to the millisecond.
pub(super) fn written(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".into();
    }
    // 40950ms reads better than 40s950ms.
    if rest % 1_000 != 0 {
        return format!("{rest}ms");
    }
    let mut text = String::new();
    for (unit, factor) in UNITS.iter().rev() {
        if rest >= *factor {
            text.push_str(&format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_units() {
        let table = [
            ("100ms", Some(100)),
            ("0s", Some(0)),
            ("2s", Some(2_000)),
            ("1m30s", Some(90_000)),
            ("1h", Some(3_600_000)),
            ("7d", Some(604_800_000)),
            ("100", None),
            ("", None),
            ("ms", None),
            ("1.5s", None),
            ("-1s", None),
            ("1 s", None),
            ("1S", None),
            ("1y", None),
            ("18446744073709551616ms", None),
            ("18446744073709551615d", None),
            ("1s1", None),
            ("1ü", None),
        ];
        for (text, expect) in table {
            assert_eq!(duration(text).ok(), expect.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (ms, text) in
            [(100, "100ms"), (90_000, "1m30s"), (40_950, "40950ms"), (0, "0s"), (3_600_000, "1h")]
        {
            assert_eq!(written(Duration::from_millis(ms)), text);
            assert_eq!(duration(text).ok(), Some(Duration::from_millis(ms)));
        }
    }
}
