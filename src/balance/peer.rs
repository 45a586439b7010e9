//! One address of a server: its settings, and what its requests have shown of it (nginx's passive checks).

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::UpstreamServer;

/// An address at which a server of an upstream can be reached; a name that stands for several has as many peers,
/// each with the settings of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The server's place in its upstream.
    pub server: usize,
    pub address: SocketAddr,
    pub settings: PeerSettings,
}

/// The parameters of nginx's `server`, by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// At least 1; 0 counts as 1.
    pub weight: u16,
    /// Only where no other server can be had.
    pub backup: bool,
    pub down: bool,
    /// Requests under way at once, of this worker; 0: any number.
    pub max_conns: u32,
    /// Failures within `fail_timeout` that eject; 0: none do.
    pub max_fails: u32,
    /// In whole seconds, as in nginx; the rest of one counts as one.
    pub fail_timeout: Duration,
}

impl PeerSettings {
    pub fn of(server: &UpstreamServer) -> Self {
        Self {
            weight: server.weight,
            backup: server.backup,
            down: server.down,
            max_conns: server.max_conns,
            max_fails: server.max_fails,
            fail_timeout: server.fail_timeout,
        }
    }
}

/// Names a peer for as long as its balancer lives: a peer that is gone is never taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerId {
    /// Where it was when it was picked.
    pub(super) place: usize,
    pub(super) serial: u64,
}

/// How a try ended, as far as the peer is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure,
    /// Shows nothing of the peer: a stale connection, a client that left before there was an answer.
    Neutral,
}

/// What there is to report of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests under way.
    pub connections: u32,
    pub fails: u32,
    /// Gets one request per `fail_timeout` until one succeeds.
    pub ejected: bool,
}

/// A peer and what is known of it; times are in seconds of the balancer's.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) peer: Peer,
    /// The turn of smooth weighted round robin.
    pub(super) current: i64,
    /// Less than `weight` after a failure, and back by one with every turn.
    pub(super) effective: i64,
    pub(super) weight: u32,
    pub(super) connections: u32,
    /// It gets requests with fewer connections than these.
    room: u32,
    /// And with fewer failures than these.
    patience: u32,
    fails: u32,
    fail_timeout: u64,
    /// The last failure.
    accessed: u64,
    /// The last failure, or the first pick since a `fail_timeout` passed.
    checked: u64,
    /// The weights up to and with this one, of all peers before it that may serve along with it.
    pub(super) end: u64,
    pub(super) serial: u64,
}

impl State {
    pub(super) fn new(peer: Peer, serial: u64) -> Self {
        let settings = peer.settings;
        let weight = u32::from(settings.weight.max(1));
        let room = match (settings.down, settings.max_conns) {
            (true, _) => 0,
            (false, 0) => u32::MAX,
            (false, max) => max,
        };
        Self {
            peer,
            current: 0,
            effective: i64::from(weight),
            weight,
            connections: 0,
            room,
            patience: if settings.max_fails == 0 { u32::MAX } else { settings.max_fails },
            fails: 0,
            fail_timeout: whole_seconds(settings.fail_timeout),
            accessed: 0,
            checked: 0,
            end: 0,
            serial,
        }
    }

    /// Changed settings do not change what is known of the peer.
    pub(super) fn with(&self, peer: Peer) -> Self {
        let new = Self::new(peer, self.serial);
        let effective = if new.weight == self.weight { self.effective } else { new.effective };
        Self {
            current: self.current,
            effective,
            connections: self.connections,
            fails: self.fails,
            accessed: self.accessed,
            checked: self.checked,
            ..new
        }
    }

    pub(super) fn standing(&self, alone: bool) -> Standing {
        Standing {
            connections: self.connections,
            fails: self.fails,
            ejected: !alone && self.fails >= self.patience,
        }
    }

    /// Who is `alone` is not ejected: that would help nobody.
    #[inline]
    pub(super) fn admits(&self, now: u64, alone: bool) -> bool {
        self.connections < self.room
            && (self.fails < self.patience || alone || now.saturating_sub(self.checked) > self.fail_timeout)
    }

    /// If it is ejected, this request probes it, and is the only one to do so within `fail_timeout`.
    pub(super) fn note_pick(&mut self, now: u64) {
        if now.saturating_sub(self.checked) > self.fail_timeout {
            self.checked = now;
        }
    }

    pub(super) fn note_end(&mut self, outcome: Outcome, now: u64) {
        self.connections = self.connections.saturating_sub(1);
        match outcome {
            Outcome::Failure => {
                self.fails = self.fails.saturating_add(1).min(u32::MAX - 1);
                self.accessed = now;
                self.checked = now;
                let loss = self.weight.checked_div(self.patience).unwrap_or(0);
                self.effective = (self.effective - i64::from(loss)).max(0);
            }
            // Picked after a `fail_timeout` without a failure, and no failure since.
            Outcome::Success if self.accessed < self.checked => self.fails = 0,
            Outcome::Success | Outcome::Neutral => (),
        }
    }

    pub(super) fn note_end_alone(&mut self) {
        self.connections = self.connections.saturating_sub(1);
        self.fails = 0;
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}
