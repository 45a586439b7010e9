//! A client on the link with an ARP cache of one entry, as Linux keeps it.

use std::net::Ipv4Addr;

use vipgate::net::MacAddr;
use vipgate::vrrp::arp::{Frame as Arp, Operation};

use crate::clock::{MS, Nanos};

/// It asks for the address this often.
pub(crate) const ASKS_EVERY: Nanos = 10 * MS;
/// A second answer within this is ignored (the kernel's `locktime`), unless it is gratuitous.
const LOCKTIME: Nanos = 1000 * MS;
/// Unanswered for this long, it forgets the entry and asks again (neighbour unreachability detection, sped up).
const FORGETS_AFTER: Nanos = 2000 * MS;

pub(crate) struct Client {
    pub(crate) mac: MacAddr,
    pub(crate) address: Ipv4Addr,
    pub(crate) entry: Option<MacAddr>,
    learnt_at: Nanos,
    failing_since: Option<Nanos>,
    /// From the first failed request to the first good one.
    pub(crate) longest_outage: Nanos,
    outage_since: Option<Nanos>,
    pub(crate) failed: u64,
    pub(crate) last_served_by: Option<usize>,
}

impl Client {
    pub(crate) fn new(n: u8) -> Self {
        Self {
            mac: MacAddr([2, 0, 0, 0, 1, n]),
            address: Ipv4Addr::new(10, 0, 0, 200 + n),
            entry: None,
            learnt_at: 0,
            failing_since: None,
            longest_outage: 0,
            outage_since: None,
            failed: 0,
            last_served_by: None,
        }
    }

    pub(crate) fn request(&self, vip: Ipv4Addr) -> Arp {
        Arp {
            destination: MacAddr::BROADCAST,
            operation: Operation::Request,
            sender_mac: self.mac,
            sender: self.address,
            target_mac: MacAddr::ZERO,
            target: vip,
        }
    }

    pub(crate) fn receive(&mut self, arp: &Arp, vip: Ipv4Addr, now: Nanos) {
        if arp.sender != vip {
            return;
        }
        let gratuitous = arp.target == vip
            && match arp.operation {
                Operation::Request => true,
                Operation::Reply => arp.target_mac == arp.sender_mac,
            };
        let mine = arp.operation == Operation::Reply && arp.destination == self.mac;
        let take = match self.entry {
            // Gratuitous ARP makes no entry (`arp_accept` is off).
            None => mine,
            Some(_) => gratuitous || (mine && now >= self.learnt_at + LOCKTIME),
        };
        if take {
            self.entry = Some(arp.sender_mac);
            self.learnt_at = now;
        }
    }

    pub(crate) fn outcome(&mut self, served_by: Option<usize>, now: Nanos) {
        match served_by {
            Some(_) => {
                self.failing_since = None;
                if let Some(since) = self.outage_since.take() {
                    self.longest_outage = self.longest_outage.max(now - since);
                }
                self.last_served_by = served_by;
            }
            None => {
                self.failed += 1;
                self.outage_since.get_or_insert(now);
                let since = *self.failing_since.get_or_insert(now);
                if now >= since + FORGETS_AFTER {
                    self.entry = None;
                    self.failing_since = None;
                }
            }
        }
    }
}
