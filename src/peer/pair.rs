//! The link to one peer: when it is dialled, which of two connections stays, what an end means, and whether the peer
//! answers. No socket, no clock: the shell opens and closes connections, and says what came of it.
//!
//! The end of a connection without a goodbye is a suspicion and no more: whoever can send from the peer's address can end
//! it. The peer is dialled at once. Where nobody listens any more, its process is gone; where it answers, nothing was.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::hello::Node;
use super::message::{Farewell, Message};
use super::refusal::Refusal;

/// Of one connection; never used again.
pub type Connection = u64;

/// Whoever was lost is dialled at once, and given so long to answer: its kernel does so within a fraction of it.
const SUSPECT_PATIENCE: Duration = Duration::from_millis(20);
/// A process that dies closes its connections and its listener one after the other: an attempt in between finds the
/// listener still open, and says nothing.
const SUSPECT_ATTEMPTS: u32 = 4;
/// So many of them in a row without any answer, up to the last, and neither the process nor its kernel is there.
const UNANSWERED: u32 = 3;
const SUSPECT_AGAIN_AFTER: Duration = Duration::from_millis(2);
const DIAL_PATIENCE: Duration = Duration::from_secs(1);
/// Between two attempts; twice as long after each failure.
const RETRY_AT_FIRST: Duration = Duration::from_millis(50);
/// A peer that starts dials by itself, and one without a link (keepalived) is not to be bothered.
const RETRY_AT_MOST_EVERY: Duration = Duration::from_secs(5);
/// Two connections that are both younger have crossed.
const CROSSING: Duration = Duration::from_secs(1);
/// Of whoever has the lower address. The other one, who is asked by it, asks only if nothing comes.
const PING_EVERY: Duration = Duration::from_millis(300);
const PING_IN_TURN: Duration = Duration::from_millis(375);
/// It need not be on time, and goes along with what is done so shortly before.
const PING_EARLY: Duration = Duration::from_millis(15);
/// A peer that has said nothing for so long does not answer: several pings, and more than a loaded machine is late.
const SILENT_AFTER: Duration = Duration::from_secs(1);
/// After so long it is dialled anew: the connection may have been forgotten by the other side.
const HOPELESS_AFTER: Duration = Duration::from_secs(10);

/// Who has dialled a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialler {
    Own,
    Peer,
}

/// What became of an attempt to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("nobody listens there")]
    Refused,
    #[error("there is no way to it")]
    Unreachable,
    #[error("its kernel does not answer")]
    Unanswered,
    /// The kernel is there, and the process may be frozen.
    #[error("it accepts a connection and says nothing")]
    Silent,
    /// Where it has another key, or is no vipgate.
    #[error("it hangs up without a greeting: is the key there another one?")]
    HungUp,
    #[error("its greeting is refused: {0}")]
    Refusal(Refusal),
    /// Not the peer's.
    #[error("no socket for it")]
    Local,
}

/// What a failure says about the process that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Its kernel, or the network, says that it is not there.
    Gone,
    /// One segment may be lost as well.
    Perhaps,
    Unknown,
}

impl Failure {
    const fn verdict(self) -> Verdict {
        match self {
            Self::Refused | Self::Unreachable => Verdict::Gone,
            Self::Unanswered => Verdict::Perhaps,
            Self::Silent | Self::HungUp | Self::Refusal(_) | Self::Local => Verdict::Unknown,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect within this time, and greet within as much.
    Dial {
        patience: Duration,
    },
    Send(Connection, Message),
    /// Once everything is sent that was to be.
    Close(Connection),
    /// There is a connection now, and this is it: tell the peer all there is to know.
    Linked(Connection),
    /// Before that: another process than the one before has greeted, which knows nothing of what that one has said.
    Restarted,
    Unlinked,
    /// It has answered a question, and is master of these virtual routers.
    Alive {
        masters: Vec<u8>,
    },
    Gone,
    Count(&'static str),
}

#[derive(Clone, Copy, Debug)]
struct Current {
    connection: Connection,
    by: Dialler,
    since: Instant,
    heard_at: Instant,
    next_ping: Instant,
}

/// What `status` says of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not yet tried to the end.
    Connecting,
    Linked {
        answers: bool,
    },
    Unlinked(Failure),
}

#[derive(Debug)]
pub struct Pair {
    own: IpAddr,
    peer: IpAddr,
    /// Of the peer's process.
    node: Option<Node>,
    current: Option<Current>,
    /// When to dial; `None`: it is being dialled, or need not be.
    dial_at: Option<Instant>,
    dialling: bool,
    retry: Duration,
    /// A connection has ended without a goodbye; so many attempts will tell.
    suspect: u32,
    /// Of those so many in a row were not answered at all.
    unanswered: u32,
    failure: Option<Failure>,
    questions: u64,
    /// Number of the question that was asked for somebody.
    asked: Option<u64>,
    outputs: VecDeque<Output>,
}

impl Pair {
    pub fn new(own: IpAddr, peer: IpAddr, now: Instant) -> Self {
        Self {
            own,
            peer,
            node: None,
            current: None,
            dial_at: Some(now),
            dialling: false,
            retry: RETRY_AT_FIRST,
            suspect: 0,
            unanswered: 0,
            failure: None,
            questions: 0,
            asked: None,
            outputs: VecDeque::new(),
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let dial = self.dial_at.map(|at| (at, "the peer is to be dialled"));
        let ping =
            self.current.map(|current| (current.next_ping, "the peer is to be asked whether it lives"));
        dial.into_iter().chain(ping).min_by_key(|(at, _)| *at)
    }

    /// The connection that counts.
    pub fn connection(&self) -> Option<Connection> {
        self.current.map(|current| current.connection)
    }

    pub fn standing(&self, now: Instant) -> Standing {
        match (self.current, self.failure) {
            (Some(current), _) => {
                Standing::Linked { answers: now.saturating_duration_since(current.heard_at) < SILENT_AFTER }
            }
            (None, Some(failure)) => Standing::Unlinked(failure),
            (None, None) => Standing::Connecting,
        }
    }

    /// Both sides know that the other one has the key, and lives.
    pub fn handle_greeted(&mut self, connection: Connection, by: Dialler, node: Node, now: Instant) {
        if by == Dialler::Own {
            self.dialling = false;
        }
        let is_lower = self.own < self.peer;
        if let Some(old) = self.current {
            // Whoever dials has no connection, or has lost it. Two that have dialled at once keep that of the lower address.
            let has_crossed = by != old.by
                && self.node == Some(node)
                && now.saturating_duration_since(old.since) < CROSSING;
            if has_crossed && (by == Dialler::Own) != is_lower {
                return self.bid_farewell(connection, Farewell::Duplicate);
            }
            self.bid_farewell(old.connection, Farewell::Duplicate);
        }
        self.current =
            Some(Current { connection, by, since: now, heard_at: now, next_ping: now + self.ping_every() });
        if self.node.replace(node).is_some_and(|before| before != node) {
            self.outputs.push_back(Output::Restarted);
        }
        (self.suspect, self.failure, self.asked) = (0, None, None);
        (self.dial_at, self.retry) = (None, RETRY_AT_FIRST);
        self.outputs.push_back(Output::Linked(connection));
        self.count("link_up");
    }

    /// The attempt that `Output::Dial` began has come to nothing.
    pub fn handle_failure(&mut self, failure: Failure, now: Instant) {
        self.dialling = false;
        if self.current.is_some() {
            return;
        }
        self.failure = Some(failure);
        let verdict = failure.verdict();
        self.unanswered = if verdict == Verdict::Perhaps { self.unanswered + 1 } else { 0 };
        let is_gone = match verdict {
            Verdict::Gone => self.suspect > 0,
            Verdict::Perhaps => self.suspect == 1 && self.unanswered >= UNANSWERED,
            Verdict::Unknown => false,
        };
        if is_gone {
            self.suspect = 0;
            self.count("link_gone");
            self.outputs.push_back(Output::Gone);
        }
        self.suspect = self.suspect.saturating_sub(1);
        if self.suspect > 0 {
            self.dial_at = Some(now + SUSPECT_AGAIN_AFTER);
            return;
        }
        self.dial_at = Some(now + self.retry);
        self.retry = (self.retry * 2).min(RETRY_AT_MOST_EVERY);
    }

    /// True if it is for the shell as well: it came over the connection that counts.
    pub fn handle_message(&mut self, connection: Connection, message: &Message, now: Instant) -> bool {
        let next_ping = now + self.ping_every();
        let Some(current) = self.current.as_mut().filter(|current| current.connection == connection) else {
            return false;
        };
        (current.heard_at, current.next_ping) = (now, next_ping);
        match message {
            Message::Farewell(_) => {
                self.outputs.push_back(Output::Close(connection));
                self.lose(now + self.retry);
                false
            }
            Message::Alive { id, masters } => {
                // An earlier question's answer says nothing about the moment in which this one was asked.
                if self.asked.is_some_and(|asked| *id >= asked) {
                    self.asked = None;
                    self.outputs.push_back(Output::Alive { masters: masters.clone() });
                }
                false
            }
            Message::Ask { .. }
            | Message::State(_)
            | Message::Patience { .. }
            | Message::Drained { .. }
            | Message::Clients(_) => true,
            // They have connections of their own.
            Message::Order(_) | Message::Outcome(_) => false,
        }
    }

    /// The connection has ended, or was ended for what came over it, without a goodbye.
    pub fn handle_end(&mut self, connection: Connection, now: Instant) {
        if self.connection() == Some(connection) {
            self.count("link_lost");
            (self.suspect, self.unanswered) = (SUSPECT_ATTEMPTS, 0);
            self.lose(now);
        }
    }

    /// Somebody has to know now whether the peer lives; `Output::Alive` is the answer.
    pub fn ask(&mut self) {
        if let Some(current) = self.current {
            self.asked = Some(self.question(current.connection));
        }
    }

    /// This process did not run: that the peer was not heard says nothing about it.
    pub fn handle_gap(&mut self, now: Instant) {
        if let Some(current) = &mut self.current {
            current.heard_at = now;
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(mut current) = self.current.filter(|current| current.next_ping <= now + PING_EARLY) {
            if now.saturating_duration_since(current.heard_at) >= HOPELESS_AFTER {
                self.count("link_hopeless");
                self.outputs.push_back(Output::Close(current.connection));
                self.failure = Some(Failure::Silent);
                self.lose(now);
            } else {
                current.next_ping = now + self.ping_every();
                self.current = Some(current);
                self.question(current.connection);
            }
        }
        if self.dial_at.is_some_and(|at| at <= now) {
            self.dial_at = None;
            if self.current.is_none() && !self.dialling {
                self.dialling = true;
                let patience = if self.suspect > 0 { SUSPECT_PATIENCE } else { DIAL_PATIENCE };
                self.outputs.push_back(Output::Dial { patience });
            }
        }
    }

    /// The peer is none any more, or this node has another key.
    pub fn leave(&mut self, why: Farewell) {
        if let Some(current) = self.current.take() {
            self.bid_farewell(current.connection, why);
            self.outputs.push_back(Output::Unlinked);
        }
        self.dial_at = None;
    }

    /// After `leave`, under other circumstances.
    pub fn begin(&mut self, now: Instant) {
        (self.dial_at, self.retry) = (Some(now), RETRY_AT_FIRST);
    }

    fn lose(&mut self, dial_at: Instant) {
        self.current = None;
        self.asked = None;
        self.outputs.push_back(Output::Unlinked);
        // One that is under way began before the loss, and says nothing about it; another one follows it.
        self.dial_at = Some(dial_at);
    }

    fn ping_every(&self) -> Duration {
        if self.own < self.peer { PING_EVERY } else { PING_IN_TURN }
    }

    fn question(&mut self, connection: Connection) -> u64 {
        self.questions += 1;
        let id = self.questions;
        self.outputs.push_back(Output::Send(connection, Message::Ask { id }));
        id
    }

    fn bid_farewell(&mut self, connection: Connection, why: Farewell) {
        self.outputs.push_back(Output::Send(connection, Message::Farewell(why)));
        self.outputs.push_back(Output::Close(connection));
    }

    fn count(&mut self, counter: &'static str) {
        self.outputs.push_back(Output::Count(counter));
    }
}

#[cfg(test)]
#[path = "pair_tests.rs"]
mod tests;
