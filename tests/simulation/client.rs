//! A client on the link with an ARP cache of one entry, as Linux keeps it.

use std::net::Ipv4Addr;

use vipgate::net::MacAddr;
use vipgate::vrrp::arp::{Frame as Arp, Operation};

use crate::clock::{MS, Nanos};

/// It asks for the address this often.
pub const ASKS_EVERY: Nanos = 20 * MS;
/// A second answer within this is ignored (the kernel's `locktime`), unless it is gratuitous.
const LOCKTIME: Nanos = 1000 * MS;
/// Unanswered for this long, it forgets the entry and asks again (neighbour unreachability detection, sped up).
const FORGETS_AFTER: Nanos = 2000 * MS;

pub struct Client {
    pub mac: MacAddr,
    pub address: Ipv4Addr,
    pub entry: Option<MacAddr>,
    learnt_at: Nanos,
    failing_since: Option<Nanos>,
    pub served: u64,
    pub failed: u64,
    pub last_served_by: Option<usize>,
}

impl Client {
    pub fn new(n: u8) -> Self {
        Self {
            mac: MacAddr([2, 0, 0, 0, 1, n]),
            address: Ipv4Addr::new(10, 0, 0, 200 + n),
            entry: None,
            learnt_at: 0,
            failing_since: None,
            served: 0,
            failed: 0,
            last_served_by: None,
        }
    }

    pub fn request(&self, vip: Ipv4Addr) -> Arp {
        Arp {
            destination: MacAddr::BROADCAST,
            operation: Operation::Request,
            sender_mac: self.mac,
            sender: self.address,
            target_mac: MacAddr::ZERO,
            target: vip,
        }
    }

    pub fn receive(&mut self, arp: &Arp, vip: Ipv4Addr, now: Nanos) {
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

    pub fn outcome(&mut self, served_by: Option<usize>, now: Nanos) {
        match served_by {
            Some(_) => {
                self.served += 1;
                self.failing_since = None;
                self.last_served_by = served_by;
            }
            None => {
                self.failed += 1;
                let since = *self.failing_since.get_or_insert(now);
                if now >= since + FORGETS_AFTER {
                    self.entry = None;
                    self.failing_since = None;
                }
            }
        }
    }
}
