//! What RFC 9568 section 7.1 (and RFC 3768 section 7.1) checks before an advert reaches the state machine. No socket, no
//! clock, no state: the same datagram always gets the same answer.

use std::net::Ipv4Addr;

use pnet_packet::ipv4::Ipv4Packet;

use crate::config::VrrpVersion;
use crate::net::{Centiseconds, Vrid};

use super::advert::{Advert, ChecksumForm, Password};
use super::packet_v3::{GROUP, TTL};
use super::refusal::Refusal;
use super::{packet_v2, packet_v3};

/// A datagram as a raw socket hands it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub ttl: u8,
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// From the IP header on. A payload shorter than the header says is refused; padding behind it is cut off.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let packet = Ipv4Packet::new(bytes).ok_or(Refusal::IpHeader)?;
        let header = usize::from(packet.get_header_length()) * 4;
        let total = usize::from(packet.get_total_length());
        if packet.get_version() != 4 || header < Ipv4Packet::minimum_packet_size() {
            return Err(Refusal::IpHeader);
        }
        let payload = bytes.get(header..total).ok_or(Refusal::IpHeader)?;
        Ok(Self {
            source: packet.get_source(),
            destination: packet.get_destination(),
            ttl: packet.get_ttl(),
            payload,
        })
    }

    /// The virtual router that it is about, if it is VRRP of any version: for choosing whose checks it shall pass.
    pub fn vrid(&self) -> Option<u8> {
        self.payload.get(1).copied()
    }
}

/// Who may be heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Senders {
    /// Anybody on the link, through the group.
    Multicast,
    /// These peers only, at our own address.
    Unicast(Vec<Ipv4Addr>),
}

/// What one virtual router expects of an advert.
#[derive(Clone, Debug)]
pub struct Expectation {
    pub version: VrrpVersion,
    pub vrid: Vrid,
    pub interval: Centiseconds,
    pub addresses: Vec<Ipv4Addr>,
    pub password: Option<Password>,
    pub senders: Senders,
    /// The interface's own address, from which this node sends.
    pub own: Option<Ipv4Addr>,
}

/// An advert that passed, and what is worth counting about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub advert: Advert,
    /// Version 3 only: to be learnt, so that the peer is answered in its own form.
    pub checksum: Option<ChecksumForm>,
    /// Version 3 only, where this is a remark and no refusal (RFC 9568 section 7.1, erratum 8298).
    pub other_addresses: bool,
    /// Version 3 only: the peer's interval is not the one configured here.
    pub other_interval: bool,
}

impl Received {
    pub const COUNT_OTHER_ADDRESSES: &'static str = "advert_other_addresses";
    pub const COUNT_OTHER_INTERVAL: &'static str = "advert_other_interval";
}

/// Every check in the order of the RFC, behind those that keep strangers out of the arithmetic.
pub fn check(datagram: &Datagram<'_>, expect: &Expectation) -> Result<Received, Refusal> {
    if Some(datagram.source) == expect.own {
        return Err(Refusal::Own);
    }
    match &expect.senders {
        Senders::Multicast if datagram.destination != GROUP => return Err(Refusal::Destination),
        Senders::Unicast(_) if datagram.destination.is_multicast() => return Err(Refusal::Destination),
        Senders::Unicast(peers) if !peers.contains(&datagram.source) => return Err(Refusal::Sender),
        Senders::Multicast | Senders::Unicast(_) => {}
    }
    // "MUST verify that the IPv4 TTL/IPv6 Hop Limit is 255": for unicast too, or a routed packet could be a peer's.
    if datagram.ttl != TTL {
        return Err(Refusal::Ttl);
    }
    match expect.version {
        VrrpVersion::V3 => check_v3(datagram, expect),
        VrrpVersion::V2 => check_v2(datagram, expect),
    }
}

fn check_v3(datagram: &Datagram<'_>, expect: &Expectation) -> Result<Received, Refusal> {
    let view = packet_v3::View::parse(datagram.payload)?;
    let form = view.checksum_form(datagram.source, datagram.destination).ok_or(Refusal::Checksum)?;
    if view.vrid() != expect.vrid.get() {
        return Err(Refusal::Vrid);
    }
    let interval = Centiseconds::try_from(view.interval()).map_err(|_| Refusal::IntervalZero)?;
    let addresses: Vec<_> = view.addresses().collect();
    if addresses.is_empty() {
        return Err(Refusal::NoAddress);
    }
    Ok(Received {
        checksum: Some(form),
        // "SHOULD NOT" drop for either: both routers would be master then.
        other_addresses: !same_addresses(&addresses, &expect.addresses),
        other_interval: interval != expect.interval,
        advert: Advert {
            version: VrrpVersion::V3,
            vrid: expect.vrid,
            priority: view.priority(),
            interval,
            addresses,
        },
    })
}

fn check_v2(datagram: &Datagram<'_>, expect: &Expectation) -> Result<Received, Refusal> {
    let view = packet_v2::View::parse(datagram.payload)?;
    if view.vrid() != expect.vrid.get() {
        return Err(Refusal::Vrid);
    }
    view.authenticate(expect.password.as_ref())?;
    let addresses: Vec<_> = view.addresses().collect();
    if addresses.is_empty() {
        return Err(Refusal::NoAddress);
    }
    // "If the packet was not generated by the address owner .. the receiver MUST drop the packet".
    if view.priority() != crate::net::Priority::OWNER.get() && !same_addresses(&addresses, &expect.addresses)
    {
        return Err(Refusal::AddressList);
    }
    // "MUST verify that the Adver Interval in the packet is the same as the locally configured".
    if view.interval_seconds() == 0 {
        return Err(Refusal::IntervalZero);
    }
    if u16::from(view.interval_seconds()) * 100 != expect.interval.get() {
        return Err(Refusal::IntervalMismatch);
    }
    Ok(Received {
        checksum: None,
        other_addresses: false,
        other_interval: false,
        advert: Advert {
            version: VrrpVersion::V2,
            vrid: expect.vrid,
            priority: view.priority(),
            interval: expect.interval,
            addresses,
        },
    })
}

/// Their order means nothing.
fn same_addresses(a: &[Ipv4Addr], b: &[Ipv4Addr]) -> bool {
    let sorted = |list: &[Ipv4Addr]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list.dedup();
        list
    };
    sorted(a) == sorted(b)
}
