//! The gate: packets for a virtual address are let in only as long as the process that advertises it goes on doing so.
//! Each advert that leaves opens it for a while, without another system call; the kernel of a process that is frozen
//! then accepts no connection that nobody will serve.
//!
//! A rule's `update` begins the timeout of an element anew on every kernel. What a process itself adds a second time is
//! not extended before Linux 6.12, so nothing is: a gate that is changed is put in place whole.

use std::net::IpAddr;
use std::time::Duration;

use super::error::Error;
use super::expression::{
    Base, Field, Verdict, compare, counter, from_station, log, masked, not_in, not_over, octets, protocol,
    refresh, verdict,
};
use super::silence::MAX_ADDRESSES;
use super::table::{self, Table};
use crate::net::{Family, MacAddr, Vrid};

const HOOK_INPUT: u32 = 1;
const HOOK_OUTPUT: u32 = 3;
/// Behind every filter of somebody else's (NF_IP_PRI_FILTER is 0): what is kept and let in later comes over `lo`, where
/// most filters ask nothing.
const LAST: i32 = 200;
const LOOPBACK: u32 = 1;
const WORD: &str = "gate";
const SET: &str = "open";
/// The kernel clears the set once a second; until then what has run out takes its place beside what is added anew, and
/// in a set that is full an advert would open nothing.
const EXPIRED: u32 = 64;

/// The second byte of an advert of either version.
const VRID: Field = Field { base: Base::Transport, offset: 1, length: 1 };
const VRRP: u8 = 112;
const TCP: u8 = 6;
/// Of RFC 9293: FIN, SYN, RST and ACK tell a SYN from what follows it.
const FLAGS: Field = Field { base: Base::Transport, offset: 13, length: 1 };
const TELLING: u8 = 0x17;
const SYN: u8 = 0x02;

/// What is let in, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Of one family.
    pub addresses: Vec<IpAddr>,
    /// An advert opens it for so long; whole milliseconds.
    pub stays_open: Duration,
    /// Their frames always pass: in a handover they bring the segments of this node's connections.
    pub peers: Vec<MacAddr>,
    /// Who listens to this group is handed each SYN that is turned away.
    pub log: Option<u16>,
}

impl Gate {
    /// In one step in place of whatever has its name. `open`: for as long as the last advert would have opened it.
    pub fn install(&self, family: Family, vrid: Vrid, open: Duration) -> Result<(), Error> {
        let destination = Field::destination(family);
        let addresses = &self.addresses;
        let size = u32::try_from(addresses.len()).ok().filter(|_| addresses.len() <= MAX_ADDRESSES);
        let size = size.ok_or(Error::TooManyAddresses(addresses.len()))? * EXPIRED;
        let mut table = gate(family, vrid);
        table.set_of_addresses(SET, size, self.stays_open);
        table.base_chain("input", HOOK_INPUT, LAST);
        table.base_chain("output", HOOK_OUTPUT, 0);
        for peer in &self.peers {
            table.rule("input", |list| verdict(from_station(list, peer.0), Verdict::Accept));
        }
        for address in addresses {
            let turned_away = |list| {
                let list = not_in(compare(list, destination, &octets(*address)), destination, SET);
                not_over(list, LOOPBACK)
            };
            if let Some(group) = self.log {
                table.rule("input", |list| {
                    log(masked(protocol(turned_away(list), TCP), FLAGS, TELLING, SYN), group)
                });
            }
            table.rule("input", |list| verdict(counter(turned_away(list)), Verdict::Drop));
            table.rule("output", |list| {
                let list = compare(compare(list, Field::next(family), &[VRRP]), VRID, &[vrid.get()]);
                refresh(list, &octets(*address), SET)
            });
        }
        let open = open.min(self.stays_open);
        if open.as_millis() > 0 {
            for address in addresses {
                table.element(SET, &octets(*address), open);
            }
        }
        table.replace()
    }
}

fn gate(family: Family, vrid: Vrid) -> Table {
    Table::second(table::Family::of(family), vrid, WORD)
}

/// Until the next advert.
pub fn close(family: Family, vrid: Vrid) -> Result<(), Error> {
    gate(family, vrid).flush(SET)
}

/// Takes the gate away, and lets everything in; it need not be there.
pub fn remove(family: Family, vrid: Vrid) -> Result<(), Error> {
    gate(family, vrid).remove()
}

/// Whether it is still there: a foreign `flush ruleset` takes it away without a word.
pub fn present(family: Family, vrid: Vrid) -> Result<bool, Error> {
    gate(family, vrid).present()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::Instant;

    use super::*;
    use crate::os::netns;
    use crate::os::nflog::PacketLog;
    use crate::os::raw::VrrpSocket;

    const VIPS: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::new(10, 9, 0, 99)), IpAddr::V4(Ipv4Addr::new(10, 9, 0, 98))];
    const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn vrid() -> Vrid {
        Vrid::try_from(51).unwrap()
    }

    fn gate(addresses: &[IpAddr], stays_open: u64, peers: Vec<MacAddr>) -> Gate {
        Gate {
            addresses: addresses.to_vec(),
            stays_open: Duration::from_millis(stays_open),
            peers,
            log: None,
        }
    }

    #[test]
    fn the_table_is_the_one_that_nft_itself_would_write() {
        netns::with("the_table_is_the_one_that_nft_itself_would_write", || {
            gate(&VIPS[..1], 240, vec![]).install(Family::V4, vrid(), Duration::from_millis(100)).unwrap();
            let logged = Gate { log: Some(7), ..gate(&VIPS, 48, vec![PEER]) };
            logged.install(Family::V4, vrid(), Duration::ZERO).unwrap();
            assert!(present(Family::V4, vrid()).unwrap());
            close(Family::V4, vrid()).unwrap();
            let Some(ours) = netns::output("nft", &["list", "ruleset"]) else { return };
            remove(Family::V4, vrid()).unwrap();
            remove(Family::V4, vrid()).unwrap();
            assert!(!present(Family::V4, vrid()).unwrap());
            assert_eq!(netns::output("nft", &["list", "ruleset"]).as_deref(), Some(""));
            let script = "table ip vipgate-51-gate {
                set open { type ipv4_addr; size 128; flags dynamic, timeout; timeout 48ms; }
                chain input { type filter hook input priority 200; policy accept;
                    ether saddr 02:00:00:00:00:09 accept
                    ip daddr 10.9.0.99 ip daddr != @open iif != \"lo\" meta l4proto tcp tcp flags & (fin|syn|rst|ack) == syn log group 7
                    ip daddr 10.9.0.99 ip daddr != @open iif != \"lo\" counter drop
                    ip daddr 10.9.0.98 ip daddr != @open iif != \"lo\" meta l4proto tcp tcp flags & (fin|syn|rst|ack) == syn log group 7
                    ip daddr 10.9.0.98 ip daddr != @open iif != \"lo\" counter drop
                }
                chain output { type filter hook output priority filter; policy accept;
                    ip protocol 112 @th,8,8 51 update @open { 10.9.0.99 }
                    ip protocol 112 @th,8,8 51 update @open { 10.9.0.98 }
                }
            }";
            netns::output("nft", &[script]).unwrap();
            assert_eq!(Some(ours), netns::output("nft", &["list", "ruleset"]));
        });
    }

    #[test]
    fn that_of_ipv6_is_too() {
        netns::with("that_of_ipv6_is_too", || {
            let vip = "2001:db8::99".parse().unwrap();
            gate(&[vip], 48, vec![PEER]).install(Family::V6, vrid(), Duration::ZERO).unwrap();
            gate(&VIPS[..1], 48, vec![]).install(Family::V4, vrid(), Duration::ZERO).unwrap();
            remove(Family::V4, vrid()).unwrap();
            assert!(present(Family::V6, vrid()).unwrap(), "the same number in the other family is another");
            let Some(ours) = netns::output("nft", &["list", "ruleset"]) else { return };
            remove(Family::V6, vrid()).unwrap();
            let script = "table ip6 vipgate-51-gate {
                set open { type ipv6_addr; size 64; flags dynamic, timeout; timeout 48ms; }
                chain input { type filter hook input priority 200; policy accept;
                    ether saddr 02:00:00:00:00:09 accept
                    ip6 daddr 2001:db8::99 ip6 daddr != @open iif != \"lo\" counter drop
                }
                chain output { type filter hook output priority filter; policy accept;
                    ip6 nexthdr 112 @th,8,8 51 update @open { 2001:db8::99 }
                }
            }";
            netns::output("nft", &[script]).unwrap();
            assert_eq!(Some(ours), netns::output("nft", &["list", "ruleset"]));
        });
    }

    /// Is the address let in? Waits for a change, so that no clock is raced.
    fn becomes(near: IpAddr, open: bool) -> bool {
        let until = Instant::now() + Duration::from_secs(10);
        let address = (near, 80).into();
        while Instant::now() < until {
            if TcpStream::connect_timeout(&address, Duration::from_millis(20)).is_ok() == open {
                return true;
            }
        }
        false
    }

    #[test]
    fn what_another_filter_drops_is_handed_to_nobody() {
        netns::with("what_another_filter_drops_is_handed_to_nobody", || {
            netns::loopback_up();
            let Some((near, far)) = netns::veth() else { return };
            let mut log = netns::far_end(&near, &far, |link| {
                let filter = "table inet f { chain c { type filter hook input priority filter; tcp dport 81 drop\n}\n}";
                netns::output("nft", &[filter]).unwrap();
                netns::output("ip", &["addr", "add", "10.9.0.99/24", "dev", link.name.as_str()]).unwrap();
                let log = PacketLog::open(7).unwrap();
                let gate = Gate { log: Some(7), ..gate(&VIPS[..1], 48, vec![]) };
                gate.install(Family::V4, vrid(), Duration::ZERO).unwrap();
                log
            });
            netns::output("ip", &["addr", "add", "10.9.0.1/24", "dev", near.name.as_str()]).unwrap();
            let mut ports = vec![];
            for port in [81, 82] {
                let nobody = TcpStream::connect_timeout(&(VIPS[0], port).into(), Duration::from_millis(100));
                assert!(nobody.is_err());
                log.read(100, |packet| ports.push(u16::from_be_bytes([packet[22], packet[23]]))).unwrap();
            }
            assert_eq!(ports, [82]);
        });
    }

    #[test]
    fn adverts_keep_it_open_and_silence_closes_it() {
        netns::with("adverts_keep_it_open_and_silence_closes_it", || {
            netns::loopback_up();
            let Some((near, far)) = netns::veth() else { return };
            // The far end is the node: its address, its listener, its gate, its adverts.
            let (listener, adverts) = netns::far_end(&near, &far, |link| {
                netns::output("ip", &["addr", "add", "10.9.0.99/24", "dev", link.name.as_str()]).unwrap();
                let listener = TcpListener::bind("0.0.0.0:80").unwrap();
                gate(&VIPS[..1], 200, vec![]).install(Family::V4, vrid(), Duration::ZERO).unwrap();
                (listener, VrrpSocket::open(&link.name, link.index, Family::V4, false).unwrap())
            });
            netns::output("ip", &["addr", "add", "10.9.0.1/24", "dev", near.name.as_str()]).unwrap();
            let advertise = |vrid: u8| {
                let advert = [0x31, vrid, 100, 1, 0, 2, 0, 0, 10, 9, 0, 99];
                adverts.send([10, 9, 0, 99].into(), [10, 9, 0, 1].into(), &advert).unwrap();
            };
            assert!(becomes(VIPS[0], false), "no advert has left");
            advertise(52);
            assert!(becomes(VIPS[0], false), "another virtual router's");
            // For much longer than one advert opens it.
            let until = Instant::now() + Duration::from_secs(1);
            advertise(51);
            let mut accepted = 0;
            while Instant::now() < until {
                advertise(51);
                accepted += u32::from(becomes(VIPS[0], true));
            }
            assert!(accepted > 0);
            assert!(becomes(VIPS[0], false), "silence");
            // Each advert opens it, also right after it has run out.
            listener.set_nonblocking(true).unwrap();
            let mut opened = 0;
            for _ in 0..12 {
                // Its queue is short.
                while listener.accept().is_ok() {}
                advertise(51);
                opened += u32::from(
                    TcpStream::connect_timeout(&(VIPS[0], 80).into(), Duration::from_millis(100)).is_ok(),
                );
                assert!(becomes(VIPS[0], false));
            }
            assert!(opened >= 6, "{opened} of 12 late adverts opened the gate");
        });
    }
}
