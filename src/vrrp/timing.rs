//! Skew time and down interval (RFC 9568 section 6.1, RFC 3768 section 6.1). No clock: durations in, durations out, in
//! integer nanoseconds, so that nothing is lost below a centisecond.

use std::time::Duration;

use crate::config::VrrpVersion;
use crate::net::Priority;

/// Adverts that may be missed: the 3 of "3 * Active_Adver_Interval".
pub const MISSED_ADVERTS: u32 = 3;

/// How much later than the best a router of this priority takes over.
///
/// Version 3: ((256 - priority) * interval) / 256, `interval` being the one that the master advertises.
/// Version 2: (256 - priority) / 256 seconds, whatever the interval.
pub fn skew(version: VrrpVersion, priority: Priority, interval: Duration) -> Duration {
    unit(version, interval) * (256 - u32::from(priority.get())) / 256
}

fn unit(version: VrrpVersion, interval: Duration) -> Duration {
    match version {
        VrrpVersion::V2 => Duration::from_secs(1),
        VrrpVersion::V3 => interval,
    }
}

/// Within this a peer has taken over to which priority 0 was said, or nobody will: it waits for its skew time, the longest
/// of which is the whole unit, and its advert takes a moment.
pub fn handover_bound(version: VrrpVersion, interval: Duration) -> Duration {
    const USUAL: Duration = Duration::from_secs(1);
    const MOMENT: Duration = Duration::from_millis(200);
    (unit(version, interval) + MOMENT).max(USUAL)
}

/// The silence after which some peer may have declared a master down: no skew, because its priority is not known.
pub fn takeover_bound(interval: Duration) -> Duration {
    interval * MISSED_ADVERTS
}

/// The silence that is allowed to a master that has been this late, and is throttled by the period of a quota: it may
/// use up the quota of one period at its start and get that of the next at its end. Three times its lateness have passed
/// before it is replaced, with the time for its answer where it `is_asked`.
pub fn patience(late: Duration, quota_period: Duration, is_asked: bool) -> Duration {
    let borne = late * MISSED_ADVERTS;
    let silence = if is_asked { borne * 3 / 4 } else { borne };
    silence.max(quota_period * 2)
}

/// For how long an advert keeps the gate open, in whole milliseconds: a node that has been silent for so long lets nobody
/// in any more, before a peer can have taken over.
pub fn gate(takeover_bound: Duration) -> Duration {
    let open = takeover_bound * 4 / 5;
    Duration::from_millis(u64::try_from(open.as_millis()).unwrap_or(u64::MAX))
}

/// How long an answer is waited for, after this much silence.
pub fn answer_bound(silence: Duration) -> Duration {
    silence / 3
}

/// What a master may rely on that is asked after so much silence: not the whole time for its answer, since it counts by a
/// clock of its own.
pub fn relied(silence: Duration) -> Duration {
    silence * 5 / 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use VrrpVersion::{V2, V3};

    #[test]
    fn nothing_is_truncated_to_centiseconds() {
        let nanos = Duration::from_nanos;
        // Worked by hand: (256 - priority) * interval / 256.
        let table = [
            (V3, 100, 1_000_000_000, 609_375_000, 3_609_375_000),
            (V3, 100, 100_000_000, 60_937_500, 360_937_500),
            (V3, 254, 10_000_000, 78_125, 30_078_125),
            (V3, 1, 10_000_000, 9_960_937, 39_960_937),
            (V3, 255, 40_950_000_000, 159_960_937, 123_009_960_937),
            (V2, 100, 1_000_000_000, 609_375_000, 3_609_375_000),
            (V2, 100, 5_000_000_000, 609_375_000, 15_609_375_000),
            (V2, 255, 1_000_000_000, 3_906_250, 3_003_906_250),
            (V2, 1, 1_000_000_000, 996_093_750, 3_996_093_750),
        ];
        for (version, priority, interval, expect_skew, expect_down) in table {
            let (priority, interval) = (Priority::try_from(priority).unwrap(), nanos(interval));
            let row = format!("{version:?} {priority} {interval:?}");
            assert_eq!(skew(version, priority, interval), nanos(expect_skew), "skew {row}");
            let down = takeover_bound(interval) + skew(version, priority, interval);
            assert_eq!(down, nanos(expect_down), "down {row}");
        }
    }

    #[test]
    fn the_gate_closes_before_anybody_takes_over() {
        let ms = Duration::from_millis;
        for (interval, expect) in [(10, 24), (20, 48), (100, 240), (1000, 2400)] {
            assert_eq!(gate(takeover_bound(ms(interval))), ms(expect), "{interval} ms");
        }
        assert_eq!(gate(patience(ms(151), Duration::ZERO, false)), ms(362), "it follows the bound");
    }

    #[test]
    fn a_handover_waits_for_the_longest_skew() {
        let ms = Duration::from_millis;
        for (version, interval, expect) in [
            (VrrpVersion::V3, 20, 1_000),
            (VrrpVersion::V3, 1_000, 1_200),
            (VrrpVersion::V3, 2_000, 2_200),
            (VrrpVersion::V2, 20, 1_200),
            (VrrpVersion::V2, 5_000, 1_200),
        ] {
            assert_eq!(handover_bound(version, ms(interval)), ms(expect), "{version:?} {interval} ms");
        }
    }

    #[test]
    fn three_times_the_lateness_is_borne_with_or_without_a_question() {
        let ms = Duration::from_millis;
        let asked = patience(ms(80), Duration::ZERO, true);
        assert_eq!((asked, asked + answer_bound(asked)), (ms(180), ms(240)));
        assert_eq!(patience(ms(80), Duration::ZERO, false), ms(240));
        for is_asked in [true, false] {
            assert_eq!(patience(ms(80), ms(200), is_asked), ms(400), "two periods, whatever the lateness");
        }
    }

    #[test]
    fn a_higher_priority_is_always_quicker_and_no_peer_is_quicker_than_the_bound() {
        for version in [V2, V3] {
            for interval in [10, 100, 1000, 40_950].map(Duration::from_millis) {
                let down = |p: i64| {
                    takeover_bound(interval) + skew(version, Priority::try_from(p).unwrap(), interval)
                };
                for priority in 2..=255 {
                    assert!(down(priority) < down(priority - 1), "{version:?} {priority} {interval:?}");
                }
                assert!(takeover_bound(interval) < down(255));
            }
        }
    }
}
