//! Whether this node's own proxy can serve: what PID 1 says of it, and whether it has answered through its front door.
//! No socket, no clock.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::link::ProxyHealth;

/// Between an unanswered question and the next.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// A restarted proxy of a node that was eligible has this long to answer before the node is not.
const RESTART_PATIENCE: Duration = Duration::from_secs(2);

/// One question. An answer to an older one than the last says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question(u64);

#[derive(Debug)]
pub(super) struct ProxyWatch {
    phase: Phase,
    /// The proxy has nothing to serve, so that its health says nothing.
    serves_nothing: bool,
    asked: u64,
}

#[derive(Debug)]
enum Phase {
    NotServing {
        reason: String,
    },
    Asking {
        incarnation: u64,
        listen: Vec<SocketAddr>,
        /// `None`: an answer is awaited.
        next: Option<Instant>,
        /// The node is eligible until then, because the proxy before this one has answered.
        eligible_until: Option<Instant>,
        problem: String,
    },
    /// `incarnation` has answered.
    Open {
        incarnation: u64,
    },
    /// Its sockets are still open.
    Restarting {
        pauses: bool,
        /// `None`: it has answered, and how long is PID 1's business.
        eligible_until: Option<Instant>,
    },
}

impl ProxyWatch {
    pub(super) fn new() -> Self {
        let reason = "the proxy has not served yet".to_owned();
        Self { phase: Phase::NotServing { reason }, serves_nothing: false, asked: 0 }
    }

    pub(super) fn handle_config(&mut self, serves_nothing: bool) {
        self.serves_nothing = serves_nothing;
    }

    pub(super) fn handle_health(&mut self, health: ProxyHealth, now: Instant) {
        // One that has never answered since gets no more time by being restarted once more.
        let granted = match &self.phase {
            Phase::NotServing { .. } => None,
            Phase::Asking { eligible_until, .. } => eligible_until.filter(|until| now < *until).map(Some),
            Phase::Open { .. } => Some(None),
            Phase::Restarting { eligible_until, .. } => Some(*eligible_until),
        };
        self.phase = match (health, granted) {
            (ProxyHealth::Serving { incarnation, listen }, granted) => match &mut self.phase {
                // The same proxy with another configuration: it has shown that it can answer.
                Phase::Open { incarnation: open } if *open == incarnation => return,
                Phase::Asking { incarnation: asked, listen: known, .. } if *asked == incarnation => {
                    *known = listen;
                    return;
                }
                Phase::NotServing { .. }
                | Phase::Asking { .. }
                | Phase::Open { .. }
                | Phase::Restarting { .. } => Phase::Asking {
                    incarnation,
                    listen,
                    next: Some(now),
                    eligible_until: granted.map(|until| until.unwrap_or(now + RESTART_PATIENCE)),
                    problem: "the proxy has not answered through its front door yet".to_owned(),
                },
            },
            (ProxyHealth::Restarting, Some(eligible_until)) => {
                Phase::Restarting { pauses: false, eligible_until }
            }
            (ProxyHealth::Pausing, Some(eligible_until)) => {
                Phase::Restarting { pauses: true, eligible_until }
            }
            (ProxyHealth::Restarting | ProxyHealth::Pausing, None) => {
                Phase::NotServing { reason: "the proxy is being restarted".to_owned() }
            }
            (ProxyHealth::Down { reason }, _) => Phase::NotServing { reason },
        };
    }

    /// An answer that is on its way may be older than the gap.
    pub(super) fn handle_gap(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Asking { next, .. } => *next = Some(now),
            Phase::NotServing { .. } | Phase::Open { .. } | Phase::Restarting { .. } => {}
        }
        self.asked += 1;
    }

    /// When there is a question.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Asking { next, .. } => *next,
            Phase::NotServing { .. } | Phase::Open { .. } | Phase::Restarting { .. } => None,
        }
    }

    /// The question that is due, and whom it concerns; to be answered with `handle_answer`.
    pub(super) fn poll_question(&mut self, now: Instant) -> Option<(Question, &[SocketAddr])> {
        match &mut self.phase {
            Phase::Asking { next, listen, .. } if next.is_some_and(|at| at <= now) => {
                *next = None;
                self.asked += 1;
                Some((Question(self.asked), listen))
            }
            Phase::Asking { .. }
            | Phase::NotServing { .. }
            | Phase::Open { .. }
            | Phase::Restarting { .. } => None,
        }
    }

    pub(super) fn handle_answer(&mut self, question: Question, answer: Result<(), String>, now: Instant) {
        if question != Question(self.asked) {
            return;
        }
        match (&mut self.phase, answer) {
            (Phase::Asking { incarnation, .. }, Ok(())) => {
                self.phase = Phase::Open { incarnation: *incarnation };
            }
            (Phase::Asking { next, problem, .. }, Err(text)) => {
                *next = Some(now + AGAIN_AFTER);
                *problem = format!("the proxy does not answer through its front door ({text})");
            }
            (Phase::NotServing { .. } | Phase::Open { .. } | Phase::Restarting { .. }, _) => {}
        }
    }

    /// Where somebody else might take over.
    pub(super) fn eligible(&self, now: Instant) -> Result<(), String> {
        let pauses = matches!(self.phase, Phase::Restarting { pauses: true, .. });
        if pauses && !self.serves_nothing {
            return Err("the proxy dies again and again, and is started again after a pause".to_owned());
        }
        self.eligible_alone(now)
    }

    /// For a node that is alone: while the proxy is being restarted, clients wait in the queues of its sockets.
    pub(super) fn eligible_alone(&self, now: Instant) -> Result<(), String> {
        if self.serves_nothing {
            return Ok(());
        }
        match &self.phase {
            Phase::Restarting { eligible_until: Some(until), .. } if now >= *until => {
                Err("the proxy is restarted again, and has not answered since".to_owned())
            }
            Phase::Open { .. } | Phase::Restarting { .. } => Ok(()),
            Phase::Asking { eligible_until: Some(until), .. } if now < *until => Ok(()),
            Phase::Asking { problem, .. } => Err(problem.clone()),
            Phase::NotServing { reason } => Err(reason.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving(incarnation: u64) -> ProxyHealth {
        ProxyHealth::Serving { incarnation, listen: vec!["0.0.0.0:80".parse().unwrap()] }
    }

    fn down() -> ProxyHealth {
        ProxyHealth::Down { reason: "gone".to_owned() }
    }

    #[test]
    fn a_node_is_eligible_once_its_proxy_has_answered_and_until_it_is_down() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = ProxyWatch::new();
        assert!(watch.eligible(start).is_err());
        watch.handle_health(serving(1), start);
        let (question, _) = watch.poll_question(start).unwrap();
        assert!(watch.poll_question(at(5_000)).is_none(), "one question at a time");
        watch.handle_answer(question, Err("refused".to_owned()), start);
        assert!(watch.eligible(start).unwrap_err().contains("refused"));
        assert!(watch.poll_question(at(99)).is_none());
        let (second, _) = watch.poll_question(at(100)).unwrap();
        watch.handle_answer(question, Ok(()), at(100));
        assert!(watch.eligible(at(100)).is_err(), "an old answer");
        watch.handle_answer(second, Ok(()), at(100));
        assert_eq!(watch.eligible(at(100)), Ok(()));

        watch.handle_health(serving(1), at(100));
        assert!(watch.poll_question(at(100)).is_none(), "a reload asks nothing");
        watch.handle_health(ProxyHealth::Restarting, at(200));
        assert_eq!(watch.eligible(at(60_000)), Ok(()), "how long is PID 1's business");
        watch.handle_health(ProxyHealth::Pausing, at(300));
        assert!(watch.eligible(at(300)).unwrap_err().contains("again and again"));
        assert_eq!(watch.eligible_alone(at(300)), Ok(()));
        watch.handle_health(serving(2), at(1_000));
        assert_eq!(watch.eligible(at(2_999)), Ok(()));
        // Again, before it has answered.
        watch.handle_health(ProxyHealth::Restarting, at(2_000));
        assert_eq!(watch.eligible(at(2_999)), Ok(()));
        assert!(watch.eligible(at(3_000)).unwrap_err().contains("restarted again"));
        watch.handle_health(serving(2), at(2_900));
        assert_eq!(watch.eligible(at(2_999)), Ok(()));
        assert!(watch.eligible(at(3_000)).is_err(), "restarted, and silent");
        let (question, _) = watch.poll_question(at(3_000)).unwrap();
        watch.handle_answer(question, Ok(()), at(3_001));
        assert_eq!(watch.eligible(at(9_000)), Ok(()));
        watch.handle_health(down(), at(9_000));
        assert_eq!(watch.eligible(at(9_000)), Err("gone".to_owned()));
        watch.handle_health(ProxyHealth::Restarting, at(9_000));
        assert!(watch.eligible(at(9_000)).is_err(), "was down before");
        watch.handle_health(ProxyHealth::Pausing, at(9_000));
        assert!(watch.eligible_alone(at(9_000)).is_err(), "was down before");
        watch.handle_health(serving(3), at(9_000));
        assert!(watch.eligible(at(9_000)).is_err(), "did not answer yet");
    }

    #[test]
    fn an_answer_from_before_a_gap_is_none() {
        let now = Instant::now();
        let mut watch = ProxyWatch::new();
        watch.handle_health(serving(1), now);
        let (question, _) = watch.poll_question(now).unwrap();
        watch.handle_gap(now);
        watch.handle_answer(question, Ok(()), now);
        assert!(watch.eligible(now).is_err());
        let (question, _) = watch.poll_question(now).unwrap();
        watch.handle_answer(question, Ok(()), now);
        assert_eq!(watch.eligible(now), Ok(()));
    }

    #[test]
    fn nothing_to_serve_needs_no_proxy() {
        let mut watch = ProxyWatch::new();
        watch.handle_config(true);
        watch.handle_health(down(), Instant::now());
        assert_eq!(watch.eligible(Instant::now()), Ok(()));
    }
}
