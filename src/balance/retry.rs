//! Whether a failed try at an upstream is repeated, when, and where. No clock: how long a try took comes in.
//!
//! A request that may have been processed is repeated only if twice is as good as once (RFC 9110 section 9.2.2), and
//! none whose answer the client has begun to receive.

use std::time::Duration;

use crate::config::{RetryOn, Upstream};

/// A try at the same server starts at most this long after the last one began (HAProxy pauses as long).
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What an upstream's configuration says about repeating.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    pub retries: u32,
    pub redispatch: bool,
    pub on: RetryOn,
    /// From the start of one try to the start of the next at the same server, where a failure came sooner.
    pub pause: Duration,
}

impl Policy {
    pub fn of(upstream: &Upstream) -> Self {
        Self {
            retries: upstream.retries,
            redispatch: upstream.redispatch,
            on: upstream.retry_on,
            pause: upstream.first_byte_timeout.unwrap_or(upstream.connect_timeout).min(PAUSE_MAX),
        }
    }
}

/// How a try ended without a usable response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Refused, unreachable, reset in the handshake.
    Connect,
    ConnectTimeout,
    /// Closed or reset before the first byte of a response.
    Empty,
    /// `first_byte_timeout` passed.
    FirstByteTimeout,
    /// `read_timeout` or `send_timeout` passed.
    Timeout,
    /// Bytes came that are no response.
    Malformed,
}

impl Failure {
    fn status(self) -> u16 {
        match self {
            Self::Connect | Self::Empty | Self::Malformed => 502,
            Self::ConnectTimeout | Self::FirstByteTimeout | Self::Timeout => 504,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    pub failure: Failure,
    /// The connection had been used before, so that its end may have nothing to do with this request.
    pub reused: bool,
    /// Bytes of the request were handed to the kernel: it may have been processed.
    pub sent: bool,
    pub took: Duration,
}

/// What is known about the request.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Idempotent, without a body.
    pub repeatable: bool,
    /// Bytes of the final response went to the client.
    pub answered: bool,
    /// Another server is up.
    pub alternative: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// On a new connection.
    Again { after: Duration, other_server: bool },
    /// Answer with this status.
    GiveUp(u16),
    /// The client holds a part of an answer: only the end of its connection can tell it the truth.
    Cut,
}

/// The tries of one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retry {
    /// Retries used up.
    used: u32,
    /// The one that a stale connection gives was used.
    free_used: bool,
    /// Failures that were repeated at once.
    prompt: u32,
}

impl Retry {
    pub fn decide(&mut self, policy: &Policy, attempt: &Attempt, progress: &Progress) -> Next {
        if progress.answered {
            return Next::Cut;
        }
        let give_up = Next::GiveUp(attempt.failure.status());
        let harmless = progress.repeatable || !attempt.sent;
        if !harmless {
            return give_up;
        }
        if attempt.failure == Failure::Empty && attempt.reused && !self.free_used {
            self.free_used = true;
            return Next::Again { after: Duration::ZERO, other_server: false };
        }
        let listed = match attempt.failure {
            Failure::Connect | Failure::ConnectTimeout => policy.on.conn_failure,
            Failure::Empty => policy.on.empty_response,
            Failure::FirstByteTimeout => policy.on.response_timeout,
            Failure::Timeout | Failure::Malformed => false,
        };
        if !listed || self.used >= policy.retries {
            return give_up;
        }
        self.used += 1;
        let other_server = policy.redispatch && progress.alternative && self.used == policy.retries;
        let at_once = match attempt.failure {
            // A peer that resets is alive, or has a successor that is: worth one prompt try, not all of them.
            Failure::Empty if self.prompt == 0 => {
                self.prompt += 1;
                true
            }
            Failure::Connect | Failure::ConnectTimeout | Failure::Empty => other_server,
            Failure::FirstByteTimeout | Failure::Timeout | Failure::Malformed => true,
        };
        let after = if at_once { Duration::ZERO } else { policy.pause.saturating_sub(attempt.took) };
        Next::Again { after, other_server }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: RetryOn = RetryOn { conn_failure: true, empty_response: true, response_timeout: true };
    const POLICY: Policy =
        Policy { retries: 2, redispatch: false, on: ALL, pause: Duration::from_millis(300) };
    const GET: Progress = Progress { repeatable: true, answered: false, alternative: true };
    const POST: Progress = Progress { repeatable: false, ..GET };

    fn failed(failure: Failure) -> Attempt {
        let sent = !matches!(failure, Failure::Connect | Failure::ConnectTimeout);
        Attempt { failure, reused: false, sent, took: Duration::from_millis(1) }
    }

    fn again(ms: u64) -> Next {
        Next::Again { after: Duration::from_millis(ms), other_server: false }
    }

    fn check(policy: Policy, progress: Progress, tries: &[(Attempt, Next)]) {
        let mut retry = Retry::default();
        for (n, (attempt, expect)) in tries.iter().enumerate() {
            assert_eq!(retry.decide(&policy, attempt, &progress), *expect, "try {n} of {tries:?}");
        }
    }

    #[test]
    fn each_failure_of_a_get() {
        use Failure::*;
        let late = Attempt { took: Duration::from_millis(300), ..failed(ConnectTimeout) };
        check(
            POLICY,
            GET,
            &[
                (failed(Connect), again(299)),
                (failed(Connect), again(299)),
                (failed(Connect), Next::GiveUp(502)),
            ],
        );
        check(POLICY, GET, &[(late, again(0)), (late, again(0)), (late, Next::GiveUp(504))]);
        check(
            POLICY,
            GET,
            &[(failed(Empty), again(0)), (failed(Empty), again(299)), (failed(Empty), Next::GiveUp(502))],
        );
        let slow = failed(FirstByteTimeout);
        check(POLICY, GET, &[(slow, again(0)), (slow, again(0)), (slow, Next::GiveUp(504))]);
        check(POLICY, GET, &[(failed(Timeout), Next::GiveUp(504))]);
        check(POLICY, GET, &[(failed(Malformed), Next::GiveUp(502))]);
    }

    #[test]
    fn what_may_have_been_processed_is_not_repeated() {
        use Failure::*;
        check(POLICY, POST, &[(failed(Empty), Next::GiveUp(502))]);
        check(POLICY, POST, &[(failed(FirstByteTimeout), Next::GiveUp(504))]);
        check(POLICY, POST, &[(Attempt { reused: true, ..failed(Empty) }, Next::GiveUp(502))]);
        check(POLICY, POST, &[(Attempt { reused: true, sent: false, ..failed(Empty) }, again(0))]);
        check(POLICY, POST, &[(failed(Connect), again(299))]);
        let answered = Progress { answered: true, ..GET };
        check(POLICY, answered, &[(failed(Empty), Next::Cut)]);
        check(POLICY, answered, &[(failed(Timeout), Next::Cut)]);
    }

    #[test]
    fn a_stale_connection_costs_no_retry_once() {
        let stale = Attempt { reused: true, ..failed(Failure::Empty) };
        let none = Policy { retries: 0, on: RetryOn { empty_response: false, ..ALL }, ..POLICY };
        check(none, GET, &[(stale, again(0)), (stale, Next::GiveUp(502))]);
        check(
            POLICY,
            GET,
            &[(stale, again(0)), (stale, again(0)), (stale, again(299)), (stale, Next::GiveUp(502))],
        );
    }

    #[test]
    fn only_what_is_listed() {
        let none = RetryOn { conn_failure: false, empty_response: false, response_timeout: false };
        for (failure, status) in [
            (Failure::Connect, 502),
            (Failure::ConnectTimeout, 504),
            (Failure::Empty, 502),
            (Failure::FirstByteTimeout, 504),
        ] {
            check(Policy { on: none, ..POLICY }, GET, &[(failed(failure), Next::GiveUp(status))]);
        }
        check(Policy { retries: 0, ..POLICY }, GET, &[(failed(Failure::Connect), Next::GiveUp(502))]);
    }

    #[test]
    fn the_last_try_may_go_elsewhere() {
        let policy = Policy { redispatch: true, ..POLICY };
        let elsewhere = Next::Again { after: Duration::ZERO, other_server: true };
        let refused = failed(Failure::Connect);
        check(policy, GET, &[(refused, again(299)), (refused, elsewhere), (refused, Next::GiveUp(502))]);
        let alone = Progress { alternative: false, ..GET };
        check(policy, alone, &[(refused, again(299)), (refused, again(299)), (refused, Next::GiveUp(502))]);
    }

    #[test]
    fn the_pause_follows_the_bounds_of_a_try() {
        let ms = Duration::from_millis;
        let table =
            [(Some(ms(300)), ms(5_000), ms(300)), (None, ms(200), ms(200)), (None, ms(5_000), PAUSE_MAX)];
        for (first_byte_timeout, connect_timeout, expect) in table {
            let [upstream] = crate::config::example().upstreams.try_into().unwrap();
            let upstream = Upstream { connect_timeout, first_byte_timeout, ..upstream };
            assert_eq!(Policy::of(&upstream).pause, expect, "{first_byte_timeout:?} {connect_timeout:?}");
        }
    }

    /// How long a GET goes on trying while nobody answers.
    #[test]
    fn a_silent_server_is_outlasted() {
        use Failure::*;
        let span = |failure, each: u64| {
            let mut retry = Retry::default();
            let mut elapsed = Duration::ZERO;
            loop {
                let took = Duration::from_millis(each);
                elapsed += took;
                match retry.decide(&POLICY, &Attempt { took, ..failed(failure) }, &GET) {
                    Next::Again { after, .. } => elapsed += after,
                    Next::GiveUp(_) | Next::Cut => return elapsed.as_millis(),
                }
            }
        };
        for (failure, each, expect) in [
            (FirstByteTimeout, 300, 900),
            (ConnectTimeout, 300, 900),
            (Connect, 0, 600),
            (Connect, 450, 1350),
        ] {
            assert_eq!(span(failure, each), expect, "{failure:?} after {each} ms");
        }
    }
}
