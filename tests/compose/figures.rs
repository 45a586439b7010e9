//! Durations of several rounds as one line.

use std::fmt;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(Vec<Duration>);

impl Figures {
    pub(crate) fn add(&mut self, value: Duration) {
        self.0.push(value);
    }

    pub(crate) fn join(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    pub(crate) fn milliseconds(&self) -> Vec<f64> {
        self.0.iter().map(|value| value.as_secs_f64() * 1e3).collect()
    }

    pub(crate) fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

impl From<Duration> for Figures {
    fn from(value: Duration) -> Self {
        Self(vec![value])
    }
}

/// `181/224/291 ms (min/median/max of 7)`
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |d: Option<&Duration>| d.map_or(0, Duration::as_millis);
        let (min, max) = (ms(self.0.iter().min()), ms(self.0.iter().max()));
        write!(f, "{min}/{}/{max} ms (min/median/max of {})", self.median().as_millis(), self.0.len())
    }
}
