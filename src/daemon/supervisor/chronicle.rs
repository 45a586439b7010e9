//! Writes down what happens, for `status`.

use std::time::{SystemTime, UNIX_EPOCH};

use super::run::Supervisor;
use crate::gateway::SecondText;
use crate::link::Boottime;
use crate::link::control::HappeningKind;
use crate::os::clock;

impl Supervisor {
    pub(super) fn record(&mut self, kind: HappeningKind, what: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = SecondText::new(now.as_secs());
        let time = String::from_utf8_lossy(time.iso8601()).into_owned();
        self.history.record(kind, what, Boottime(clock::boottime_ns()), time);
    }
}
