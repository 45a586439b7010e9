//! Clients that the gate has turned away while this node was late for a moment. Their SYNs are kept by the kernel, and let
//! in once it has turned out that nobody has taken over; otherwise each of them waits for a second, and asks again.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::net::{Family, Vrid};
use crate::os::local::LocalPackets;
use crate::os::nflog::PacketLog;
use crate::vrrp::Syn;

/// One that is turned away while the advert leaves is found by the second.
const LOOKS: u32 = 2;
/// In one turn, so that nothing else waits for them: a few milliseconds on a slow machine.
const MOST: usize = 256;
/// More than the kernel keeps.
const ALL: usize = 8192;
/// Of nfnetlink_log, for each virtual router its own: "vg" for IPv4.
const GROUPS: u16 = 0x7667;

pub(super) struct TurnedAway {
    pub(super) group: u16,
    log: PacketLog,
    way_in: LocalPackets,
    /// When an advert has opened the gate for the last time.
    opened: Option<Instant>,
    looks: u32,
}

impl TurnedAway {
    pub(super) fn open(family: Family, vrid: Vrid) -> io::Result<Self> {
        let of_family = match family {
            Family::V4 => GROUPS,
            Family::V6 => GROUPS + 0x100,
        };
        let group = of_family ^ u16::from(vrid.get());
        let (log, way_in) = (PacketLog::open(group)?, LocalPackets::open(family)?);
        Ok(Self { group, log, way_in, opened: None, looks: 0 })
    }

    /// Whoever came before this node took the addresses has not been turned away by it.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        (self.opened, self.looks) = (None, 0);
        self.log.read(ALL, |_| ()).map(drop)
    }

    /// An advert has left, not before `now`, which opens the gate for so long.
    pub(super) fn note_opening(&mut self, stays_open: Duration, now: Instant) {
        let before = self.opened.replace(now);
        if may_have_been_shut(before, stays_open, now) {
            self.looks = LOOKS;
        }
    }

    /// The next advert opens it.
    pub(super) fn note_closing(&mut self) {
        self.opened = None;
    }

    /// Somebody may wait.
    pub(super) fn is_to_be_read(&self) -> bool {
        self.looks > 0
    }

    pub(super) fn read(&mut self, addresses: &[IpAddr]) -> io::Result<Vec<Syn>> {
        let mut waiting = vec![];
        let is_empty = self.log.read(MOST, |packet| waiting.extend(Syn::read(packet, addresses)))?;
        self.looks -= u32::from(is_empty);
        Ok(waiting)
    }

    pub(super) fn let_in(&self, syn: &Syn) -> io::Result<()> {
        self.way_in.send(syn.to, &syn.packet)
    }
}

/// The kernel counts in ticks of up to ten milliseconds, the first of which is not a whole one.
fn may_have_been_shut(opened: Option<Instant>, stays_open: Duration, now: Instant) -> bool {
    const TICK: u64 = 10;
    let ticks = u64::try_from(stays_open.as_millis()).unwrap_or(u64::MAX) / TICK;
    let surely_open = Duration::from_millis(ticks.saturating_sub(1) * TICK).min(stays_open / 2);
    opened.is_none_or(|at| now >= at + surely_open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_advert_may_have_found_the_gate_shut() {
        let (ms, opened) = (Duration::from_millis, Instant::now());
        for (stays_open, after, expect) in [
            (60, 21, false),
            (60, 29, false),
            (60, 30, true),
            (30, 14, false),
            (30, 15, true),
            (24, 9, false),
            (24, 10, true),
        ] {
            let got = may_have_been_shut(Some(opened), ms(stays_open), opened + ms(after));
            assert_eq!(got, expect, "open for {stays_open} ms, next advert after {after} ms");
        }
        assert!(may_have_been_shut(None, ms(60), opened), "none was open");
    }
}
