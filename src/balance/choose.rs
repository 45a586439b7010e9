//! nginx's ways to choose among the peers of one kind, each as its module of that name does it. A place counts within
//! the peers that are handed in.

use std::net::IpAddr;

use super::peer::State;
use super::tried::Draws;
use crate::config::Balance;

/// So many draws of a request may meet a peer that cannot be had; then it takes its turn like others.
const MISSES_MAX: u8 = 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    #[default]
    RoundRobin,
    LeastConn,
    /// The less busy of two that are drawn (nginx's `random two least_conn`).
    Random,
    /// By the client's address: three octets of IPv4, all of IPv6.
    IpHash,
}

impl Algorithm {
    pub fn of(balance: Balance) -> Self {
        match balance {
            Balance::RoundRobin => Self::RoundRobin,
            Balance::LeastConn => Self::LeastConn,
            Balance::Random => Self::Random,
            Balance::IpHash => Self::IpHash,
        }
    }
}

/// Smooth weighted round robin; ties go to the first.
pub(super) fn round_robin(states: &mut [State], eligible: impl Fn(&State) -> bool) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<(usize, i64)> = None;
    for (place, state) in states.iter_mut().enumerate() {
        if !eligible(state) {
            continue;
        }
        total += take_turn(state);
        if best.is_none_or(|(_, current)| state.current > current) {
            best = Some((place, state.current));
        }
    }
    let (place, _) = best?;
    states.get_mut(place)?.current -= total;
    Some(place)
}

/// What the peer adds to the sum of all turns.
fn take_turn(state: &mut State) -> i64 {
    let gain = state.effective;
    state.current += gain;
    if state.effective < i64::from(state.weight) {
        state.effective += 1;
    }
    gain
}

/// The fewest connections by weight; those that tie take turns.
pub(super) fn least_conn(states: &mut [State], eligible: impl Fn(&State) -> bool) -> Option<usize> {
    let mut best: Option<(usize, Load)> = None;
    let mut tied = false;
    for (place, state) in states.iter().enumerate() {
        if !eligible(state) {
            continue;
        }
        let load = Load::of(state);
        match &best {
            Some((_, least)) if load.exceeds(least) => (),
            Some((_, least)) if !least.exceeds(&load) => tied = true,
            Some(_) | None => {
                best = Some((place, load));
                tied = false;
            }
        }
    }
    let (first, least) = best?;
    if !tied {
        return Some(first);
    }
    let ties = |state: &State| {
        let load = Load::of(state);
        !load.exceeds(&least) && !least.exceeds(&load)
    };
    let states = states.get_mut(first..)?;
    round_robin(states, |state| ties(state) && eligible(state)).map(|place| first + place)
}

#[derive(Clone, Copy)]
struct Load {
    connections: u64,
    weight: u64,
}

impl Load {
    fn of(state: &State) -> Self {
        Self { connections: u64::from(state.connections), weight: u64::from(state.weight) }
    }

    fn exceeds(&self, other: &Self) -> bool {
        self.connections * other.weight > other.connections * self.weight
    }
}

/// The less busy of two that are drawn by weight; of two that are equal the second.
pub(super) fn random_two(
    states: &mut [State],
    draws: &mut Draws,
    mut draw: impl FnMut() -> u64,
    eligible: impl Fn(&State) -> bool,
) -> Option<usize> {
    let mut first: Option<(usize, Load)> = None;
    while let Some((place, state)) = (draws.misses <= MISSES_MAX).then(|| drawn(states, draw())).flatten() {
        let load = Load::of(state);
        match first {
            Some((before, _)) if before == place => (),
            _ if !eligible(state) => (),
            Some((before, least)) => return Some(if load.exceeds(&least) { before } else { place }),
            None => first = Some((place, load)),
        }
        draws.misses += 1;
    }
    round_robin(states, eligible)
}

pub(super) fn ip_hash(
    states: &mut [State],
    draws: &mut Draws,
    key: Option<IpAddr>,
    eligible: impl Fn(&State) -> bool,
) -> Option<usize> {
    let mut hash = draws.hash;
    while draws.misses <= MISSES_MAX {
        hash = hashed(hash, key);
        match drawn(states, u64::from(hash)) {
            Some((place, state)) if eligible(state) => {
                draws.hash = hash;
                return Some(place);
            }
            Some(_) => draws.misses += 1,
            None => return None,
        }
    }
    round_robin(states, eligible)
}

fn hashed(hash: u32, key: Option<IpAddr>) -> u32 {
    let add = |hash: u32, octets: &[u8]| octets.iter().fold(hash, |h, o| (h * 113 + u32::from(*o)) % 6271);
    match key {
        Some(IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            add(hash, &[a, b, c])
        }
        Some(IpAddr::V6(address)) => add(hash, &address.octets()),
        // A client at a Unix socket.
        None => add(hash, &[0; 3]),
    }
}

/// The peer whose part of the sum of all weights holds this number.
fn drawn(states: &[State], number: u64) -> Option<(usize, &State)> {
    let total = states.last()?.end;
    let number = number.checked_rem(total)?;
    let place = states.partition_point(|s| s.end <= number);
    Some((place, states.get(place)?))
}
