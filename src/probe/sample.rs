//! One request as the client saw it. No clock: moments count from the start of the probe.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One request and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Counts the requests in the order in which they were sent, from 0, without a hole.
    pub sequence: u64,
    #[serde(rename = "start_ms", with = "milliseconds")]
    pub start: Duration,
    #[serde(rename = "end_ms", with = "milliseconds")]
    pub end: Duration,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A whole response with a 2xx or 3xx status; `by` is its `X-Served-By`.
    Answered {
        by: Option<String>,
    },
    Failed {
        how: Failure,
    },
}

/// How a failed request looked to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Nobody listens: the SYN was answered with a reset.
    Refused,
    /// No route, or nobody answers ARP for the address.
    Unreachable,
    /// Reset after the connection stood.
    Reset,
    /// Closed before a whole response had come.
    Closed,
    /// No whole response within the patience of the probe.
    Timeout,
    /// A whole response with a status of 500 or above.
    ServerError,
    /// A whole response with a status below 200 or between 400 and 499.
    OtherStatus,
    /// Not HTTP.
    Malformed,
    /// This machine could not send it: no file descriptor, no local port.
    Local,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::ServerError => "5xx",
            Self::OtherStatus => "other status",
            Self::Malformed => "not HTTP",
            Self::Local => "not sent from here",
        })
    }
}

/// How many requests failed in which way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kinds(BTreeMap<Failure, u64>);

impl Kinds {
    pub fn add(&mut self, how: Failure) {
        let count = self.0.entry(how).or_default();
        *count = count.saturating_add(1);
    }

    pub fn count(&self, how: Failure) -> u64 {
        self.0.get(&how).copied().unwrap_or(0)
    }

    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

impl FromIterator<(Failure, u64)> for Kinds {
    fn from_iter<I: IntoIterator<Item = (Failure, u64)>>(counts: I) -> Self {
        Self(counts.into_iter().collect())
    }
}

/// The most frequent first: `46 timeout, 12 reset`.
impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<_> = self.0.iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (i, (how, count)) in kinds.into_iter().enumerate() {
            write!(f, "{}{count} {how}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// A duration as milliseconds with a fraction, exact to the microsecond.
pub(crate) mod milliseconds {
    use super::{Deserialize, Duration};
    use serde::{Deserializer, Serializer, de};

    #[expect(clippy::cast_precision_loss, reason = "microseconds of a probe stay far below 2^53")]
    pub(crate) fn serialize<S: Serializer>(d: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(d.as_micros() as f64 / 1000.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let ms = f64::deserialize(from)?;
        let whole = Duration::try_from_secs_f64(ms / 1000.0).map_err(de::Error::custom)?;
        Ok(Duration::from_micros(u64::try_from((whole.as_nanos() + 500) / 1000).map_err(de::Error::custom)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_name_the_most_frequent_first() {
        let kinds: Kinds =
            [(Failure::Reset, 12), (Failure::Timeout, 46), (Failure::ServerError, 1)].into_iter().collect();
        assert_eq!(kinds.to_string(), "46 timeout, 12 reset, 1 5xx");
        assert_eq!(kinds.total(), 59);
        assert_eq!(Kinds::default().to_string(), "");
    }

    #[test]
    fn a_sample_keeps_its_microseconds_on_the_wire() {
        for us in [0, 1, 999, 1_001, 86_400_000_001, 3_333_333] {
            let sample = Sample {
                sequence: 7,
                start: Duration::from_micros(us),
                end: Duration::from_micros(us + 1),
                outcome: Outcome::Failed { how: Failure::Reset },
            };
            let line = serde_json::to_string(&sample).unwrap();
            assert_eq!(serde_json::from_str::<Sample>(&line).unwrap(), sample, "{line}");
        }
        let sample = Sample {
            sequence: 0,
            start: Duration::from_micros(1_500),
            end: Duration::from_micros(2_250),
            outcome: Outcome::Answered { by: Some("master".to_owned()) },
        };
        assert_eq!(
            serde_json::to_string(&sample).unwrap(),
            r#"{"sequence":0,"start_ms":1.5,"end_ms":2.25,"outcome":"answered","by":"master"}"#
        );
    }
}
