//! What nginx's `proxy_next_upstream` lists: which failures send a request on to the next server.

use std::time::Duration;

use super::peer::Outcome;
use super::retry::Failure;
use crate::config::NextUpstream;

/// nginx's `proxy_next_upstream`, `_tries` and `_timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextPolicy {
    /// No connection, or one that ended before there was a response.
    pub error: bool,
    pub timeout: bool,
    pub invalid_header: bool,
    pub http_500: bool,
    pub http_502: bool,
    pub http_503: bool,
    pub http_504: bool,
    pub http_403: bool,
    pub http_404: bool,
    pub http_429: bool,
    /// What may have been processed is sent again even if twice is not as good as once.
    pub non_idempotent: bool,
    /// Servers that a request may try; 0: all.
    pub tries: u32,
    /// Since the request's first try began.
    pub within: Option<Duration>,
}

impl NextPolicy {
    pub const OFF: Self = Self {
        error: false,
        timeout: false,
        invalid_header: false,
        http_500: false,
        http_502: false,
        http_503: false,
        http_504: false,
        http_403: false,
        http_404: false,
        http_429: false,
        non_idempotent: false,
        tries: 0,
        within: None,
    };

    pub fn of(config: &NextUpstream) -> Self {
        let has = |status| config.statuses.contains(&status);
        Self {
            error: config.error,
            timeout: config.timeout,
            invalid_header: config.invalid_header,
            http_500: has(500),
            http_502: has(502),
            http_503: has(503),
            http_504: has(504),
            http_403: has(403),
            http_404: has(404),
            http_429: has(429),
            non_idempotent: config.non_idempotent,
            tries: config.tries,
            within: config.timeout_after,
        }
    }

    pub(super) fn lists(&self, failure: Failure) -> bool {
        match failure {
            Failure::Connect | Failure::Empty | Failure::CutShort => self.error,
            Failure::ConnectTimeout | Failure::FirstByteTimeout | Failure::Timeout => self.timeout,
            Failure::Malformed => self.invalid_header,
        }
    }

    /// A response with this status is a reason.
    pub fn lists_status(&self, status: u16) -> bool {
        match status {
            500 => self.http_500,
            502 => self.http_502,
            503 => self.http_503,
            504 => self.http_504,
            403 => self.http_403,
            404 => self.http_404,
            429 => self.http_429,
            _ => false,
        }
    }
}

/// As in nginx.
impl Default for NextPolicy {
    fn default() -> Self {
        Self { error: true, timeout: true, ..Self::OFF }
    }
}

impl Outcome {
    /// Of a try whose response was given up for the next server because of its status. Of a response that is passed
    /// on it is a success, whatever its status.
    pub fn of_given_up(status: u16) -> Self {
        match status {
            403 | 404 => Self::Success,
            _ => Self::Failure,
        }
    }
}
