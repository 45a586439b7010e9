//! Where an address is, asked and told on the link: ARP for IPv4, neighbour discovery for IPv6. No socket.

use std::net::IpAddr;

use super::output::AnnounceForm;
use super::refusal::Refusal;
use super::{arp, ndp};
use crate::net::{Family, MacAddr, Vrid};

/// What a frame says to one who may hold an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Our own frame came back.
    Own,
    /// Somebody asks for a virtual address; `asker` is the unspecified address in a probe.
    Request {
        address: IpAddr,
        asker_mac: MacAddr,
        asker: IpAddr,
    },
    /// Somebody else says that a virtual address is at its MAC address.
    Claim {
        address: IpAddr,
        mac: MacAddr,
    },
    Nothing,
}

/// `bytes` start at the Ethernet header, and have come to a socket for this family.
pub fn read(
    family: Family,
    bytes: &[u8],
    own_mac: MacAddr,
    addresses: &[IpAddr],
) -> Result<Meaning, Refusal> {
    match family {
        Family::V4 => arp::Frame::parse(bytes).map(|frame| frame.meaning(own_mac, addresses)),
        Family::V6 => ndp::Frame::parse(bytes).map(|frame| frame.meaning(own_mac, addresses)),
    }
}

/// The answer to a `Meaning::Request`; `None`: its two addresses are of two families, which no request's are.
pub fn reply(own_mac: MacAddr, address: IpAddr, asker_mac: MacAddr, asker: IpAddr) -> Option<Vec<u8>> {
    match (address, asker) {
        (IpAddr::V4(address), IpAddr::V4(asker)) => {
            Some(arp::Frame::reply(own_mac, address, asker_mac, asker).emit())
        }
        (IpAddr::V6(address), IpAddr::V6(asker)) => {
            Some(ndp::Frame::reply(own_mac, address, asker_mac, asker).emit())
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// The address is here, to everybody. IPv6 has one form.
pub fn announcement(own_mac: MacAddr, address: IpAddr, form: AnnounceForm) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp::Frame::announcement(own_mac, address, form).emit(),
        IpAddr::V6(address) => ndp::Frame::announcement(own_mac, address).emit(),
    }
}

/// Who has it?
pub fn probe(own_mac: MacAddr, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp::Frame::probe(own_mac, address).emit(),
        IpAddr::V6(address) => ndp::Frame::probe(own_mac, address).emit(),
    }
}

/// The virtual router's own MAC address (RFC 9568 section 7.3), which a peer may use.
pub const fn virtual_mac(family: Family, vrid: Vrid) -> MacAddr {
    let family = match family {
        Family::V4 => 1,
        Family::V6 => 2,
    };
    MacAddr([0, 0, 0x5e, 0, family, vrid.get()])
}
