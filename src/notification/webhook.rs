//! What a webhook is told.

use std::time::Duration;

use serde::Serialize;

use super::lane::Schedule;
use crate::config::Webhook;
use crate::link::{Announced, Notice};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Serialize)]
struct Body<'a> {
    /// ISO 8601.
    time: &'a str,
    node: &'a str,
    instance: &'a str,
    state: Announced,
    priority: u8,
    reason: &'a str,
}

/// The JSON text.
pub fn body(notice: &Notice, node: &str, time: &str) -> String {
    let Notice { instance, state, priority, reason } = notice;
    let body = Body { time, node, instance, state: *state, priority: *priority, reason };
    // Texts and a number: there is nothing in it that JSON has no form for.
    serde_json::to_string(&body).unwrap_or_default()
}

pub fn schedule(webhook: &Webhook) -> Schedule {
    Schedule { tries: webhook.tries, first_pause: FIRST_PAUSE, longest_pause: LONGEST_PAUSE }
}

/// What the log calls it: `number` from 1, and what is no secret of its URL.
pub fn label(number: usize, webhook: &Webhook) -> String {
    format!("webhook {number} ({})", webhook.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_whatever_the_reason_says() {
        let notice = Notice {
            instance: "web".into(),
            state: Announced::Master,
            priority: 150,
            reason: "said \"no\"\n".into(),
        };
        let expect = r#"{"time":"2026-11-29T08:09:10+00:00","node":"one","instance":"web","state":"MASTER","priority":150,"reason":"said \"no\"\n"}"#;
        assert_eq!(body(&notice, "one", "2026-11-29T08:09:10+00:00"), expect);
    }
}
