//! Neighbour discovery over Ethernet (RFC 4861): what a frame means for one who may hold an address, and the frames that
//! this program sends. No socket, no policy: whether a solicitation is answered is the machine's business.
//!
//! ```text
//!  | Ethernet, 14 | IPv6, 40 | type | 0 | checksum | flags, 4 | target, 16 | options: 8 each for an Ethernet address |
//! ```

use std::net::{IpAddr, Ipv6Addr};

use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::util;

use super::neighbour::Meaning;
use super::refusal::Refusal;
use crate::net::MacAddr;

const ETHERNET: usize = 14;
const IP: usize = 40;
/// Type, code, checksum, flags and target.
const BODY: usize = 24;
/// An option with an Ethernet address.
const LINK_OPTION: usize = 8;
/// What this program sends has one option at most.
pub const FRAME: usize = ETHERNET + IP + BODY + LINK_OPTION;

const ETHERTYPE: [u8; 2] = [0x86, 0xdd];
const ICMPV6: u8 = 58;
const HOP_LIMIT: u8 = 255;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const CHECKSUM_WORD: usize = 1;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// RFC 4861 section 4.6.1.
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Where those listen who have this address (RFC 4291 section 2.7.1).
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    const PREFIX: u128 = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).to_bits();
    Ipv6Addr::from_bits(PREFIX | address.to_bits() & 0x00ff_ffff)
}

/// RFC 2464 section 7.
const fn multicast_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// The meaning of one frame. `emit` and `parse` are each other's inverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The Ethernet header's.
    pub destination_mac: MacAddr,
    pub source_mac: MacAddr,
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub target: Ipv6Addr,
    /// The sender's in a solicitation, the target's in an advertisement.
    pub link_address: Option<MacAddr>,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Solicitation,
    Advertisement(Flags),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    pub router: bool,
    pub solicited: bool,
    pub overrides: bool,
}

impl Flags {
    const fn byte(self) -> u8 {
        (self.router as u8 * ROUTER) | (self.solicited as u8 * SOLICITED) | (self.overrides as u8 * OVERRIDE)
    }
}

impl Frame {
    /// `bytes` start at the Ethernet header; what follows the IPv6 packet is ignored. Valid is what RFC 4861 sections
    /// 7.1.1 and 7.1.2 call so.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let (ethernet, rest) = bytes.split_first_chunk::<ETHERNET>().ok_or(Refusal::NdpLength)?;
        if ethernet[12..] != ETHERTYPE {
            return Err(Refusal::NotNdp);
        }
        let (ip, rest) = rest.split_first_chunk::<IP>().ok_or(Refusal::NdpLength)?;
        if ip[0] >> 4 != 6 || ip[6] != ICMPV6 {
            return Err(Refusal::NotNdp);
        }
        let length = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
        let icmp = rest.get(..length).ok_or(Refusal::NdpLength)?;
        let (body, options) = icmp.split_first_chunk::<BODY>().ok_or(Refusal::NdpLength)?;
        let wanted_option = match body[0] {
            SOLICITATION => SOURCE_LINK_ADDRESS,
            ADVERTISEMENT => TARGET_LINK_ADDRESS,
            _ => return Err(Refusal::NotNdp),
        };
        if ip[7] != HOP_LIMIT {
            return Err(Refusal::NdpHopLimit);
        }
        let [source, destination] = [address(ip, 8), address(ip, 24)];
        if checksum(icmp, source, destination) != u16::from_be_bytes([body[2], body[3]]) {
            return Err(Refusal::NdpChecksum);
        }
        let frame = Self {
            destination_mac: mac(ethernet, 0),
            source_mac: mac(ethernet, 6),
            source,
            destination,
            target: address(body, 8),
            link_address: link_address(options, wanted_option)?,
            kind: match body[0] {
                SOLICITATION => Kind::Solicitation,
                _ => Kind::Advertisement(Flags {
                    router: body[4] & ROUTER != 0,
                    solicited: body[4] & SOLICITED != 0,
                    overrides: body[4] & OVERRIDE != 0,
                }),
            },
        };
        if body[1] == 0 && frame.is_valid() { Ok(frame) } else { Err(Refusal::NdpInvalid) }
    }

    fn is_valid(&self) -> bool {
        let others = match self.kind {
            // "If the IP source address is the unspecified address, the IP destination address is a solicited-node
            // multicast address, [and] there is no source link-layer address option".
            Kind::Solicitation if self.source.is_unspecified() => {
                self.destination == solicited_node(self.destination) && self.link_address.is_none()
            }
            Kind::Solicitation => true,
            // "If the IP Destination Address is a multicast address the Solicited flag is zero".
            Kind::Advertisement(flags) => !(self.destination.is_multicast() && flags.solicited),
        };
        others && !self.target.is_multicast()
    }

    pub fn emit(&self) -> Vec<u8> {
        let (kind, flags, option) = match self.kind {
            Kind::Solicitation => (SOLICITATION, 0, SOURCE_LINK_ADDRESS),
            Kind::Advertisement(flags) => (ADVERTISEMENT, flags.byte(), TARGET_LINK_ADDRESS),
        };
        let mut icmp = vec![kind, 0, 0, 0, flags, 0, 0, 0];
        icmp.extend(self.target.octets());
        if let Some(MacAddr(mac)) = self.link_address {
            icmp.extend([option, 1]);
            icmp.extend(mac);
        }
        let sum = checksum(&icmp, self.source, self.destination).to_be_bytes();
        icmp.splice(2..4, sum).for_each(drop);
        // One option at most: it fits a byte.
        let length = u8::try_from(icmp.len()).unwrap_or(u8::MAX);
        [
            &self.destination_mac.0[..],
            &self.source_mac.0,
            &ETHERTYPE,
            &[0x60, 0, 0, 0, 0, length, ICMPV6, HOP_LIMIT],
            &self.source.octets(),
            &self.destination.octets(),
            &icmp,
        ]
        .concat()
    }

    /// The answer to a `Meaning::Request`. One who asks without an address of its own wants to know whether it may take
    /// this one, and is answered so that everybody hears it (RFC 4861 section 7.2.4).
    pub fn reply(own_mac: MacAddr, address: Ipv6Addr, asker_mac: MacAddr, asker: Ipv6Addr) -> Self {
        let solicited = !asker.is_unspecified();
        let (destination_mac, destination) =
            if solicited { (asker_mac, asker) } else { (multicast_mac(ALL_NODES), ALL_NODES) };
        Self { destination_mac, destination, ..Self::advertisement(own_mac, address, solicited) }
    }

    /// Unsolicited, with R and O set and S clear (RFC 9568 section 6.4.1).
    pub fn announcement(own_mac: MacAddr, address: Ipv6Addr) -> Self {
        Self::advertisement(own_mac, address, false)
    }

    fn advertisement(own_mac: MacAddr, address: Ipv6Addr, solicited: bool) -> Self {
        Self {
            destination_mac: multicast_mac(ALL_NODES),
            source_mac: own_mac,
            source: address,
            destination: ALL_NODES,
            target: address,
            link_address: Some(own_mac),
            kind: Kind::Advertisement(Flags { router: true, solicited, overrides: true }),
        }
    }

    /// "Who has it?" without claiming it, as duplicate address detection asks (RFC 4862 section 5.4.2).
    pub fn probe(own_mac: MacAddr, address: Ipv6Addr) -> Self {
        let destination = solicited_node(address);
        Self {
            destination_mac: multicast_mac(destination),
            source_mac: own_mac,
            source: Ipv6Addr::UNSPECIFIED,
            destination,
            target: address,
            link_address: None,
            kind: Kind::Solicitation,
        }
    }

    /// What it says to one with this MAC address and these virtual addresses.
    pub fn meaning(&self, own_mac: MacAddr, addresses: &[IpAddr]) -> Meaning {
        let ours = |address: Ipv6Addr| addresses.contains(&IpAddr::V6(address));
        let mac = self.link_address.unwrap_or(self.source_mac);
        if self.source_mac == own_mac {
            return Meaning::Own;
        }
        match self.kind {
            Kind::Advertisement(_) if ours(self.target) && mac != own_mac => {
                Meaning::Claim { address: self.target.into(), mac }
            }
            // Who asks from it has it, or thinks so.
            Kind::Solicitation if ours(self.source) => Meaning::Claim { address: self.source.into(), mac },
            Kind::Solicitation if ours(self.target) => {
                Meaning::Request { address: self.target.into(), asker_mac: mac, asker: self.source.into() }
            }
            Kind::Advertisement(_) | Kind::Solicitation => Meaning::Nothing,
        }
    }
}

fn address(bytes: &[u8], at: usize) -> Ipv6Addr {
    let octets = bytes.get(at..at + 16).and_then(|octets| <[u8; 16]>::try_from(octets).ok());
    octets.map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from)
}

fn mac(bytes: &[u8], at: usize) -> MacAddr {
    let octets = bytes.get(at..at + 6).and_then(|octets| <[u8; 6]>::try_from(octets).ok());
    octets.map_or(MacAddr::ZERO, MacAddr)
}

/// The first of this kind that an Ethernet address fits. "All included options have a length that is greater than zero".
fn link_address(mut options: &[u8], wanted: u8) -> Result<Option<MacAddr>, Refusal> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * LINK_OPTION;
        if length == 0 {
            return Err(Refusal::NdpInvalid);
        }
        let option = options.get(..length).ok_or(Refusal::NdpLength)?;
        if kind == wanted && length == LINK_OPTION && found.is_none() {
            found = Some(mac(option, 2));
        }
        options = options.get(length..).unwrap_or_default();
    }
    if options.is_empty() { Ok(found) } else { Err(Refusal::NdpLength) }
}

fn checksum(icmp: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> u16 {
    util::ipv6_checksum(icmp, CHECKSUM_WORD, &[], &source, &destination, IpNextHeaderProtocols::Icmpv6)
}

#[cfg(test)]
#[path = "ndp_tests.rs"]
mod tests;
