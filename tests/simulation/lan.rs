//! The wire: who reaches whom, how late, how often not at all, how often twice.

use std::rc::Rc;

use vipgate::vrrp::packet_v3::IP_PROTOCOL;

use crate::clock::Nanos;
use crate::random::Random;
use std::net::IpAddr;

#[derive(Clone)]
pub(crate) enum Frame {
    /// IP protocol 112.
    Advert { source: IpAddr, destination: IpAddr, ttl: u8, payload: Rc<[u8]> },
    /// From the Ethernet header on.
    Arp(Rc<[u8]>),
}

impl Frame {
    pub(crate) const fn protocol(&self) -> Option<u8> {
        match self {
            Self::Advert { .. } => Some(IP_PROTOCOL),
            Self::Arp(_) => None,
        }
    }
}

/// One direction between two stations.
#[derive(Clone, Copy, Default)]
struct Direction {
    cut: u32,
    /// Adverts are lost and ARP is not: a filter, not a broken cable.
    filtered: u32,
}

pub(crate) struct Lan {
    stations: usize,
    directions: Vec<Direction>,
    pub(crate) loss_percent: u64,
    pub(crate) duplicate_percent: u64,
    pub(crate) delay: (Nanos, Nanos),
}

impl Lan {
    pub(crate) fn new(
        stations: usize,
        loss_percent: u64,
        duplicate_percent: u64,
        delay: (Nanos, Nanos),
    ) -> Self {
        let directions = vec![Direction::default(); stations * stations];
        Self { stations, directions, loss_percent, duplicate_percent, delay }
    }

    fn direction(&mut self, from: usize, to: usize) -> &mut Direction {
        &mut self.directions[from * self.stations + to]
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.direction(from, to).cut += 1;
    }

    pub(crate) fn mend(&mut self, from: usize, to: usize) {
        let direction = self.direction(from, to);
        direction.cut = direction.cut.saturating_sub(1);
    }

    pub(crate) fn filter(&mut self, from: usize, to: usize) {
        self.direction(from, to).filtered += 1;
    }

    pub(crate) fn unfilter(&mut self, from: usize, to: usize) {
        let direction = self.direction(from, to);
        direction.filtered = direction.filtered.saturating_sub(1);
    }

    /// Adverts pass in both directions.
    pub(crate) fn hear_each_other(&self, a: usize, b: usize) -> bool {
        let open = |from: usize, to: usize| {
            let direction = self.directions[from * self.stations + to];
            direction.cut == 0 && direction.filtered == 0
        };
        open(a, b) && open(b, a)
    }

    pub(crate) fn passes(&self, from: usize, to: usize, frame: &Frame) -> bool {
        let direction = self.directions[from * self.stations + to];
        direction.cut == 0 && (direction.filtered == 0 || frame.protocol().is_none())
    }

    /// The delays after which the frame arrives: none, once, or twice.
    pub(crate) fn fate(&self, random: &mut Random) -> Vec<Nanos> {
        if random.chance(self.loss_percent) {
            return Vec::new();
        }
        let copies = if random.chance(self.duplicate_percent) { 2 } else { 1 };
        (0..copies).map(|_| random.between(self.delay.0, self.delay.1)).collect()
    }

    pub(crate) fn heal(&mut self) {
        self.directions.fill(Direction::default());
        self.loss_percent = 0;
        self.duplicate_percent = 0;
    }
}
