//! Whether a failed try at an upstream is repeated, when, and where. No clock: how long a try took comes in.
//!
//! First the same server again, as often as HAProxy's `retries` says, then nginx's next server. A request that may
//! have been processed is repeated only if twice is as good as once (RFC 9110 section 9.2.2) or its owner says so,
//! and none whose body is gone or whose answer the client has begun to receive.

use std::time::Duration;

use super::next::NextPolicy;
use super::peer::Outcome;
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
    /// Once `retries` are used up.
    pub next: NextPolicy,
}

impl Policy {
    pub fn of(upstream: &Upstream) -> Self {
        Self {
            next: NextPolicy::of(&upstream.next_upstream),
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
    /// Closed or reset within the head of a response.
    CutShort,
    /// Bytes came that are no response.
    Malformed,
}

impl Failure {
    /// With which a request is answered that ends like this.
    pub fn status(self) -> u16 {
        match self {
            Self::Connect | Self::Empty | Self::CutShort | Self::Malformed => 502,
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

impl Attempt {
    /// What it shows of the peer. nginx counts a stale connection as well, and so ejects a server for closing what
    /// has been idle, with `max_fails` at 1 for whole seconds.
    pub fn outcome(&self) -> Outcome {
        if self.is_stale() { Outcome::Neutral } else { Outcome::Failure }
    }

    fn is_stale(&self) -> bool {
        self.failure == Failure::Empty && self.reused
    }
}

/// What is known about the request.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Twice is as good as once.
    pub idempotent: bool,
    /// All of it can be sent once more: no part of its body is gone.
    pub intact: bool,
    /// Bytes of the final response went to the client.
    pub answered: bool,
    /// A server that this request has not tried can be had.
    pub alternative: bool,
    /// Since the first try began.
    pub elapsed: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// `other_server`: one that was not tried; else the same, on a new connection.
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
    /// The one that a stale connection gives at each server was used.
    free_used: bool,
    /// Failures that were repeated at once.
    prompt: u32,
    /// Times that another server was next.
    moves: u32,
}

impl Retry {
    pub fn decide(&mut self, policy: &Policy, attempt: &Attempt, progress: &Progress) -> Next {
        if progress.answered {
            return Next::Cut;
        }
        let give_up = Next::GiveUp(attempt.failure.status());
        let harmless = progress.idempotent || !attempt.sent;
        if !progress.intact || !(harmless || policy.next.non_idempotent) {
            return give_up;
        }
        if attempt.is_stale() && !self.free_used {
            self.free_used = true;
            return Next::Again { after: Duration::ZERO, other_server: false };
        }
        let listed = match attempt.failure {
            Failure::Connect | Failure::ConnectTimeout => policy.on.conn_failure,
            Failure::Empty => policy.on.empty_response,
            Failure::FirstByteTimeout => policy.on.response_timeout,
            Failure::Timeout | Failure::CutShort | Failure::Malformed => false,
        };
        if harmless && listed && self.used < policy.retries {
            return self.once_more(policy, attempt, progress);
        }
        if policy.next.lists(attempt.failure) && self.may_move(policy, progress) {
            self.move_on();
            return Next::Again { after: Duration::ZERO, other_server: true };
        }
        give_up
    }

    /// Whether a response with this status, none of which went to the client, is given up for the next server;
    /// else it is passed on as it is.
    pub fn decide_status(&mut self, policy: &Policy, status: u16, progress: &Progress) -> bool {
        let next = &policy.next;
        let gives_up = next.lists_status(status)
            && !progress.answered
            && progress.intact
            && (progress.idempotent || next.non_idempotent)
            && self.may_move(policy, progress);
        if gives_up {
            self.move_on();
        }
        gives_up
    }

    /// As HAProxy does.
    fn once_more(&mut self, policy: &Policy, attempt: &Attempt, progress: &Progress) -> Next {
        self.used += 1;
        let other_server = policy.redispatch && progress.alternative && self.used == policy.retries;
        let at_once = match attempt.failure {
            // A peer that resets is alive, or has a successor that is: worth one prompt try, not all of them.
            Failure::Empty if self.prompt == 0 => {
                self.prompt += 1;
                true
            }
            Failure::Connect | Failure::ConnectTimeout | Failure::Empty => other_server,
            Failure::FirstByteTimeout | Failure::Timeout | Failure::CutShort | Failure::Malformed => true,
        };
        let after = if at_once { Duration::ZERO } else { policy.pause.saturating_sub(attempt.took) };
        if other_server {
            self.move_on();
        }
        Next::Again { after, other_server }
    }

    /// As nginx does.
    fn may_move(&self, policy: &Policy, progress: &Progress) -> bool {
        let next = &policy.next;
        progress.alternative
            && (next.tries == 0 || self.moves.saturating_add(1) < next.tries)
            && next.within.is_none_or(|bound| progress.elapsed < bound)
    }

    fn move_on(&mut self) {
        self.moves = self.moves.saturating_add(1);
        self.free_used = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: RetryOn = RetryOn { conn_failure: true, empty_response: true, response_timeout: true };
    const POLICY: Policy = Policy {
        retries: 2,
        redispatch: false,
        on: ALL,
        pause: Duration::from_millis(300),
        next: NextPolicy::OFF,
    };
    const GET: Progress = Progress {
        idempotent: true,
        intact: true,
        answered: false,
        alternative: true,
        elapsed: Duration::ZERO,
    };
    const POST: Progress = Progress { idempotent: false, ..GET };
    const ELSEWHERE: Next = Next::Again { after: Duration::ZERO, other_server: true };

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
        let refused = failed(Failure::Connect);
        check(policy, GET, &[(refused, again(299)), (refused, ELSEWHERE), (refused, Next::GiveUp(502))]);
        let alone = Progress { alternative: false, ..GET };
        check(policy, alone, &[(refused, again(299)), (refused, again(299)), (refused, Next::GiveUp(502))]);
    }

    const NGINX: Policy = Policy { retries: 0, next: DEFAULT, ..POLICY };
    const DEFAULT: NextPolicy = NextPolicy { error: true, timeout: true, ..NextPolicy::OFF };

    #[test]
    fn the_next_server_as_nginx_does() {
        use Failure::*;
        assert_eq!(NextPolicy::default(), DEFAULT);
        let with = |next| Policy { next, ..NGINX };
        for (failure, listed) in [
            (Connect, NextPolicy { error: true, ..NextPolicy::OFF }),
            (Empty, NextPolicy { error: true, ..NextPolicy::OFF }),
            (ConnectTimeout, NextPolicy { timeout: true, ..NextPolicy::OFF }),
            (FirstByteTimeout, NextPolicy { timeout: true, ..NextPolicy::OFF }),
            (Timeout, NextPolicy { timeout: true, ..NextPolicy::OFF }),
            (Malformed, NextPolicy { invalid_header: true, ..NextPolicy::OFF }),
        ] {
            let give_up = Next::GiveUp(failure.status());
            check(with(listed), GET, &[(failed(failure), ELSEWHERE); 5]);
            check(with(NextPolicy::OFF), GET, &[(failed(failure), give_up)]);
            check(with(listed), Progress { alternative: false, ..GET }, &[(failed(failure), give_up)]);
            check(with(listed), Progress { answered: true, ..GET }, &[(failed(failure), Next::Cut)]);
            check(with(listed), Progress { intact: false, ..GET }, &[(failed(failure), give_up)]);
            let anyhow = NextPolicy { non_idempotent: true, ..listed };
            let sent = Attempt { sent: true, ..failed(failure) };
            let unsent = Attempt { sent: false, ..sent };
            check(with(listed), POST, &[(sent, give_up)]);
            check(with(listed), POST, &[(unsent, ELSEWHERE)]);
            check(with(anyhow), POST, &[(sent, ELSEWHERE)]);
            check(with(anyhow), Progress { intact: false, ..POST }, &[(sent, give_up)]);
        }
    }

    #[test]
    fn tries_and_time_are_bounded() {
        let refused = failed(Failure::Connect);
        let tries = |tries| Policy { next: NextPolicy { tries, ..DEFAULT }, ..NGINX };
        let give_up = (refused, Next::GiveUp(502));
        check(tries(1), GET, &[give_up]);
        check(tries(3), GET, &[(refused, ELSEWHERE), (refused, ELSEWHERE), give_up]);
        let second = Duration::from_secs(1);
        let timed = Policy { next: NextPolicy { within: Some(second), ..DEFAULT }, ..NGINX };
        let at = |elapsed| Progress { elapsed, ..GET };
        check(timed, at(second - Duration::from_millis(1)), &[(refused, ELSEWHERE)]);
        check(timed, at(second), &[give_up]);
    }

    /// One for each server, as the next one's connection may be just as old.
    #[test]
    fn each_stale_connection_is_replaced() {
        let stale = Attempt { reused: true, ..failed(Failure::Empty) };
        check(NGINX, GET, &[(stale, again(0)), (stale, ELSEWHERE), (stale, again(0)), (stale, ELSEWHERE)]);
        assert_eq!(stale.outcome(), Outcome::Neutral);
        assert_eq!(failed(Failure::Empty).outcome(), Outcome::Failure);
        assert_eq!(Attempt { reused: true, ..failed(Failure::Timeout) }.outcome(), Outcome::Failure);
    }

    #[test]
    fn the_same_server_first_and_then_the_others() {
        let policy = Policy { next: DEFAULT, ..POLICY };
        let refused = failed(Failure::Connect);
        check(
            policy,
            GET,
            &[(refused, again(299)), (refused, again(299)), (refused, ELSEWHERE), (refused, ELSEWHERE)],
        );
        let redispatch = Policy { redispatch: true, ..policy };
        check(redispatch, GET, &[(refused, again(299)), (refused, ELSEWHERE), (refused, ELSEWHERE)]);
        let anyhow = Policy { next: NextPolicy { non_idempotent: true, ..DEFAULT }, ..POLICY };
        check(anyhow, POST, &[(failed(Failure::Empty), ELSEWHERE)]);
    }

    #[test]
    fn a_status_may_be_given_up() {
        let all = NextPolicy {
            http_500: true,
            http_502: true,
            http_503: true,
            http_504: true,
            http_403: true,
            http_404: true,
            http_429: true,
            ..DEFAULT
        };
        let decide = |next, status, progress| {
            Retry::default().decide_status(&Policy { next, ..NGINX }, status, &progress)
        };
        for (status, outcome) in [
            (500, Outcome::Failure),
            (502, Outcome::Failure),
            (503, Outcome::Failure),
            (504, Outcome::Failure),
            (429, Outcome::Failure),
            (403, Outcome::Success),
            (404, Outcome::Success),
        ] {
            assert!(decide(all, status, GET), "{status}");
            assert!(!decide(DEFAULT, status, GET), "{status}");
            assert!(!decide(all, status, POST), "{status}");
            assert!(decide(NextPolicy { non_idempotent: true, ..all }, status, POST), "{status}");
            for progress in [
                Progress { answered: true, ..GET },
                Progress { intact: false, ..GET },
                Progress { alternative: false, ..GET },
            ] {
                assert!(!decide(all, status, progress), "{status} {progress:?}");
            }
            assert_eq!(Outcome::of_given_up(status), outcome, "{status}");
        }
        for status in [100, 200, 301, 400, 405, 501, 505] {
            assert!(!decide(all, status, GET), "{status}");
        }
        let mut retry = Retry::default();
        let policy = Policy { next: NextPolicy { tries: 2, ..all }, ..NGINX };
        assert!(retry.decide_status(&policy, 503, &GET));
        assert!(!retry.decide_status(&policy, 503, &GET), "the second of two tries");
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
