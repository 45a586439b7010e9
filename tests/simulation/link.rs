//! The link between two nodes, as far as the election hears of it: whether it is up, questions and answers, lateness and
//! what is promised for it, and its end. A connection loses nothing: what cannot pass waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use vipgate::vrrp::PeerNews;

use crate::clock::{MS, Nanos};
use crate::node::{Deed, Node};

/// A node says this often how late it was.
pub(crate) const REPORTS_EVERY: Nanos = 1000 * MS;
/// What could not pass is tried again after this.
pub(crate) const AGAIN_AFTER: Nanos = 50 * MS;
/// A broken connection is opened again after this.
pub(crate) const OPENED_AGAIN_AFTER: Nanos = 20 * MS;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Message {
    /// Opens the link, and is answered by the same.
    Hello {
        answers: bool,
    },
    Ping,
    Pong,
    /// The sender's worst lateness and its quota, and when it sent this by its own clock.
    Report {
        late: Duration,
        quota: Duration,
        sent: Instant,
    },
    /// The receiver's report is known, and has changed how patient the sender is.
    Promise {
        bound: Duration,
        sent: Instant,
    },
    /// The connection is broken, and both live.
    Broken,
    /// The connection is broken, and nobody listens there.
    Gone,
}

/// Between two lives of two processes; what is for an earlier one is lost with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Letter {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) lives: (u64, u64),
    pub(crate) message: Message,
}

/// What a node knows of its links.
#[derive(Default)]
pub(crate) struct Links {
    /// It has one with everybody.
    pub(crate) enabled: bool,
    pub(crate) up: Vec<usize>,
    /// Which of its processes each peer has had.
    lives: BTreeMap<usize, u64>,
    /// Arrived while the process was frozen.
    pub(crate) waiting: Vec<Letter>,
    /// The longest time lately in which it did not run, and when that ended.
    worst: Option<(Nanos, Nanos)>,
    pub(crate) quota: Duration,
}

/// The worst lateness is the worst of so long.
const LATENESS_OF: Nanos = 10_000 * MS;
/// Who did not run for longer was frozen, not late.
const LATE_AT_MOST: Nanos = 500 * MS;

impl Links {
    pub(crate) fn new(enabled: bool, quota: Duration) -> Self {
        Self { enabled, quota, ..Self::default() }
    }

    pub(crate) fn was_late(&mut self, by: Nanos, now: Nanos) {
        if by <= LATE_AT_MOST && self.lateness(now) <= by {
            self.worst = Some((by, now));
        }
    }

    pub(crate) fn lateness(&self, now: Nanos) -> Nanos {
        self.worst.filter(|(_, at)| now < at + LATENESS_OF).map_or(0, |(late, _)| late)
    }

    /// With the process.
    pub(crate) fn die(&mut self) {
        self.up.clear();
        self.lives.clear();
        self.waiting.clear();
        self.worst = None;
    }
}

impl Node {
    /// The letter is read: what it means to the machine, and what is written back.
    pub(crate) fn read(&mut self, letter: Letter, peer: std::net::IpAddr, now: Nanos) -> Deed {
        let from = letter.from;
        let mut replies = Vec::new();
        let mut restarted = false;
        let news = match letter.message {
            Message::Hello { answers } => {
                if !self.links.up.contains(&from) {
                    self.links.up.push(from);
                }
                let before = self.links.lives.insert(from, letter.lives.0);
                restarted = before.is_some_and(|before| before != letter.lives.0);
                if !answers {
                    replies.push(Message::Hello { answers: true });
                }
                replies.push(self.report(now));
                PeerNews::Askable(true)
            }
            Message::Ping => {
                replies.push(Message::Pong);
                PeerNews::Askable(true)
            }
            Message::Pong => PeerNews::Alive,
            Message::Report { late, quota, sent } => {
                let mut deed = self.tell(peer, &[PeerNews::Late(late), PeerNews::Quota(quota)], now);
                let local = self.clock.local(now);
                let bound = self.machine.as_mut().map_or(Duration::ZERO, |m| m.promise(peer, local));
                deed.letters.push((from, Message::Promise { bound, sent }));
                deed.promised.push((from, bound));
                return deed;
            }
            Message::Promise { bound, sent } => {
                let mut deed = self.tell(peer, &[PeerNews::Patient { bound, asked: sent }], now);
                deed.relies.push((from, Some((bound, sent))));
                return deed;
            }
            Message::Broken => {
                self.links.up.retain(|up| *up != from);
                PeerNews::Askable(false)
            }
            Message::Gone => {
                self.links.up.retain(|up| *up != from);
                PeerNews::Gone
            }
        };
        let mut deed = if restarted {
            self.tell(peer, &[PeerNews::Restarted, news], now)
        } else {
            self.tell(peer, &[news], now)
        };
        if restarted || matches!(letter.message, Message::Gone) {
            deed.relies.push((from, None));
        }
        deed.letters.splice(0..0, replies.into_iter().map(|reply| (from, reply)));
        deed
    }

    pub(crate) fn report(&self, now: Nanos) -> Message {
        let late = Duration::from_nanos(self.links.lateness(now));
        Message::Report { late, quota: self.links.quota, sent: self.clock.local(now) }
    }

    fn tell(&mut self, peer: std::net::IpAddr, news: &[PeerNews], now: Nanos) -> Deed {
        self.act(now, |machine, local| {
            for news in news {
                machine.handle_peer(peer, *news, local);
            }
        })
    }
}
