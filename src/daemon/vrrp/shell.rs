//! What the virtual routers of this process share: the kernel, the clocks, and the way to PID 1.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::warn;

use super::kernel::Kernel;
use super::place::Survey;
use super::turns::Watch;
use super::warnings::Warnings;
use crate::link::{Boottime, FromVrrp};
use crate::net::Family;
use crate::os::clock;
use crate::vrrp::Gap;

/// Everybody is told of a gap within one turn, in which there are no more of them than this.
const GAPS: usize = 8;

pub(super) struct Shell {
    pub(super) kernel: Kernel,
    /// The last look at links and addresses.
    pub(super) survey: Survey,
    pub(super) warnings: Warnings,
    /// Of every virtual router of this node.
    pub(super) virtual_addresses: Vec<IpAddr>,
    /// How long connections live on at the old owner of an address.
    pub(super) drain_timeout: Duration,
    /// When a virtual address was last taken or lost.
    moved: Boottime,
    /// Of every virtual router of this node.
    pub(super) vrids: Vec<(Family, u8)>,
    /// Peers that are to be asked over their links whether they live.
    pub(super) asked: Vec<IpAddr>,
    /// Virtual routers whose old connections are gone: the peers are to be told.
    pub(super) drained: Vec<(Family, u8)>,
    /// Addresses whose old owner serves nothing any more, with that one: its clients are to be told.
    pub(super) bereaved: Vec<(Vec<IpAddr>, IpAddr)>,
    /// Somebody speaks who is no peer, unless his address is what the name of one stands for by now.
    pub(super) hears_stranger: bool,
    /// A virtual router has done more than send an advert.
    pub(super) has_news: bool,
    watch: Watch,
    /// With their numbers, in order: one that is noticed in the middle of something concerns everybody, but nobody twice.
    gaps: VecDeque<(u64, Gap)>,
    /// Counts the times that connections were to end.
    departures: u64,
    outbox: mpsc::Sender<FromVrrp>,
}

impl Shell {
    pub(super) fn new(kernel: Kernel, outbox: mpsc::Sender<FromVrrp>) -> Self {
        Self {
            kernel,
            survey: Survey::default(),
            warnings: Warnings::default(),
            virtual_addresses: vec![],
            drain_timeout: Duration::ZERO,
            vrids: vec![],
            asked: vec![],
            drained: vec![],
            bereaved: vec![],
            hears_stranger: false,
            has_news: false,
            moved: Boottime(clock::boottime_ns()),
            watch: Watch::new(clock::read()),
            gaps: VecDeque::new(),
            departures: 0,
            outbox,
        }
    }

    /// Compares the clocks, and returns the gaps that come after number `told`, which becomes the last one's.
    pub(super) fn gaps_after(&mut self, told: &mut u64) -> Vec<Gap> {
        if let Some(gap) = self.watch.look(clock::read()) {
            let number = self.gaps.back().map_or(1, |(number, _)| number + 1);
            if self.gaps.len() == GAPS {
                self.gaps.pop_front();
            }
            self.gaps.push_back((number, gap));
        }
        let untold = self.gaps.iter().filter(|(number, _)| *number > *told).map(|(_, gap)| *gap).collect();
        *told = self.gaps.back().map_or(*told, |(number, _)| *number);
        untold
    }

    /// A virtual router that starts has missed nothing.
    pub(super) fn last_gap(&self) -> u64 {
        self.gaps.back().map_or(0, |(number, _)| *number)
    }

    /// The next look at the clocks finds that this process was out for so long.
    #[cfg(test)]
    pub(super) fn pretend_gap(&mut self, length: Duration) {
        let now = clock::read();
        let earlier = |at: Duration| at.saturating_sub(length);
        self.watch = Watch::new(clock::Reading {
            monotonic: earlier(now.monotonic),
            boottime: earlier(now.boottime),
            realtime: earlier(now.realtime),
        });
    }

    pub(super) fn survey(&mut self, now: Instant) {
        let result = match self.kernel.survey() {
            Ok(survey) => {
                self.survey = survey;
                Ok(())
            }
            Err(error) => Err(format!("links and addresses cannot be listed: {error}")),
        };
        self.warnings.set("vrrp", "survey", result, now);
    }

    pub(super) fn next_departure(&mut self) -> u64 {
        self.departures += 1;
        self.departures
    }

    pub(super) fn address_moved(&mut self) {
        self.moved = Boottime(clock::boottime_ns());
    }

    pub(super) fn unmoved_since(&self, since: Boottime) -> bool {
        self.moved <= since
    }

    /// For a task that has something to tell later.
    pub(super) fn outbox(&self) -> mpsc::Sender<FromVrrp> {
        self.outbox.clone()
    }

    /// PID 1 that has not read for as long as the queue is deep is frozen or gone; then the end of the link says so.
    pub(super) fn tell(&self, message: FromVrrp) {
        if let Err(error) = self.outbox.try_send(message) {
            match error.into_inner() {
                FromVrrp::Beat { .. } => {}
                lost => warn!("PID 1 does not listen, not told: {lost:?}"),
            }
        }
    }
}
