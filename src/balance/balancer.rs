//! One upstream as one worker balances it: nginx's selection, passive ejection and backups.
//!
//! Failures are counted by each worker for itself, as nginx does without a `zone`.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::choose::{Algorithm, ip_hash, least_conn, random_two, round_robin};
use super::peer::{Outcome, Peer, PeerId, Standing, State};
use super::tried::Tried;

/// The balancer's second at its first request: whatever never happened was longer ago than any `fail_timeout`.
const FIRST_SECOND: u64 = 1 << 63;

#[derive(Clone, Debug)]
pub struct Balancer {
    algorithm: Algorithm,
    /// Backups behind the others, else as handed in.
    states: Vec<State>,
    /// How many are no backups.
    primaries: usize,
    /// Of the next peer that is new.
    serial: u64,
    /// When the first request came.
    epoch: Option<Instant>,
}

impl Balancer {
    pub fn new(algorithm: Algorithm, peers: Vec<Peer>) -> Self {
        let mut balancer = Self { algorithm, states: vec![], primaries: 0, serial: 0, epoch: None };
        balancer.replace(peers);
        balancer
    }

    /// Takes another set of peers. An address that stays keeps its id, its connections, its failures and its turn;
    /// of several with that address the one of the same server comes first, so that a server may change its place.
    ///
    /// Requests under way go on: they still know which of the peers they have tried, and what they report of a peer
    /// that is gone is dropped.
    pub fn replace(&mut self, mut peers: Vec<Peer>) {
        peers.sort_by_key(|p| p.settings.backup);
        let before = self.states.len();
        let mut old: HashMap<SocketAddr, Vec<State>> = HashMap::with_capacity(before);
        for state in self.states.drain(..) {
            old.entry(state.peer.address).or_default().push(state);
        }
        let mut kept: Vec<Option<State>> = peers
            .iter()
            .map(|peer| {
                let known = old.get_mut(&peer.address)?;
                let place = known.iter().position(|s| s.peer.server == peer.server)?;
                Some(known.remove(place))
            })
            .collect();
        for (peer, state) in peers.iter().zip(&mut kept).filter(|(_, state)| state.is_none()) {
            *state = old.get_mut(&peer.address).and_then(Vec::pop);
        }
        self.primaries = peers.iter().filter(|p| !p.settings.backup).count();
        let stayed = kept.iter().flatten().count();
        if stayed < before || stayed < peers.len() {
            let (primaries, backups) = kept.split_at_mut(self.primaries);
            level(primaries);
            level(backups);
        }
        for (peer, state) in peers.into_iter().zip(kept) {
            self.states.push(match state {
                Some(state) => state.with(peer),
                None => {
                    self.serial += 1;
                    State::new(peer, self.serial)
                }
            });
        }
        let (primaries, backups) = self.states.split_at_mut(self.primaries);
        for group in [primaries, backups] {
            let mut end = 0;
            for state in group {
                end += u64::from(state.weight);
                state.end = end;
            }
        }
    }

    /// The peer for the next try of a request, among those that it has not tried and that are `usable`. `key`: the
    /// client's address, for `ip_hash`; `draw`: random numbers, for `random`. `begin` has to follow.
    pub fn pick(
        &mut self,
        now: Instant,
        tried: &mut Tried,
        key: Option<IpAddr>,
        mut draw: impl FnMut() -> u64,
        usable: impl Fn(&Peer) -> bool,
    ) -> Option<PeerId> {
        let now = second(*self.epoch.get_or_insert(now), now);
        if !tried.backups {
            let found = self.pick_among(false, now, tried, key, &mut draw, &usable);
            if found.is_some() || self.primaries == self.states.len() {
                return found;
            }
            tried.backups = true;
        }
        self.pick_among(true, now, tried, key, &mut draw, &usable)
    }

    fn pick_among(
        &mut self,
        backups: bool,
        now: u64,
        tried: &mut Tried,
        key: Option<IpAddr>,
        draw: impl FnMut() -> u64,
        usable: impl Fn(&Peer) -> bool,
    ) -> Option<PeerId> {
        let alone = self.is_alone();
        let first = if backups { self.primaries } else { 0 };
        let (front, back) = self.states.split_at_mut(self.primaries);
        let states = if backups { back } else { front };
        let mut draws = tried.draws;
        let eligible = |s: &State| s.admits(now, alone) && !tried.contains(s.serial) && usable(&s.peer);
        let place = match (alone, self.algorithm) {
            (true, _) | (false, Algorithm::RoundRobin) => round_robin(states, eligible),
            (false, Algorithm::LeastConn) => least_conn(states, eligible),
            (false, Algorithm::Random) => random_two(states, &mut draws, draw, eligible),
            (false, Algorithm::IpHash) => ip_hash(states, &mut draws, key, eligible),
        };
        tried.draws = draws;
        let place = place?;
        let state = states.get_mut(place)?;
        state.note_pick(now);
        tried.insert(state.serial);
        Some(PeerId { place: first + place, serial: state.serial })
    }

    /// Whether `pick` would find somebody.
    pub fn has_another(&self, now: Instant, tried: &Tried, usable: impl Fn(&Peer) -> bool) -> bool {
        let now = second(self.epoch.unwrap_or(now), now);
        let alone = self.is_alone();
        let from = if tried.backups { self.primaries } else { 0 };
        self.states
            .iter()
            .skip(from)
            .any(|s| s.admits(now, alone) && !tried.contains(s.serial) && usable(&s.peer))
    }

    /// A try begins there: once per `end`.
    pub fn begin(&mut self, id: PeerId) {
        if let Some(state) = self.state(id) {
            state.connections = state.connections.saturating_add(1);
        }
    }

    pub fn end(&mut self, id: PeerId, outcome: Outcome, now: Instant) {
        let now = second(*self.epoch.get_or_insert(now), now);
        let alone = self.is_alone();
        let Some(state) = self.state(id) else { return };
        match alone {
            true => state.note_end_alone(),
            false => state.note_end(outcome, now),
        }
    }

    /// `None`: it is gone.
    pub fn peer(&self, id: PeerId) -> Option<&Peer> {
        Some(&self.states.get(self.place(id)?)?.peer)
    }

    /// Those that are no backups first, else in their order.
    pub fn standings(&self) -> impl Iterator<Item = (&Peer, Standing)> {
        let alone = self.is_alone();
        self.states.iter().map(move |s| (&s.peer, s.standing(alone)))
    }

    fn state(&mut self, id: PeerId) -> Option<&mut State> {
        let place = self.place(id)?;
        self.states.get_mut(place)
    }

    /// Among the `standings`, until they are replaced. `None`: it is gone.
    pub fn place(&self, id: PeerId) -> Option<usize> {
        match self.states.get(id.place) {
            Some(state) if state.serial == id.serial => Some(id.place),
            Some(_) | None => self.states.iter().position(|s| s.serial == id.serial),
        }
    }

    /// A peer that is down or unusable is company nevertheless, as in nginx.
    fn is_alone(&self) -> bool {
        self.states.len() == 1
    }
}

fn second(epoch: Instant, now: Instant) -> u64 {
    FIRST_SECOND.saturating_add(now.saturating_duration_since(epoch).as_secs())
}

/// Turns are relative to each other. Those that left took theirs along; without this the rest would be ahead of
/// whoever comes, or behind, by more with every change.
fn level(states: &mut [Option<State>]) {
    let sum: i64 = states.iter().flatten().map(|s| s.current).sum();
    let count = i64::try_from(states.iter().flatten().count()).unwrap_or(i64::MAX);
    let mean = sum.checked_div(count).unwrap_or(0);
    for state in states.iter_mut().flatten() {
        state.current -= mean;
    }
}
