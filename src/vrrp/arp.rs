//! ARP over Ethernet (RFC 826, RFC 5227): what a frame means for one who may hold an address, and the frames that this
//! program sends. No socket, no policy: whether a request is answered is the machine's business.

use std::net::Ipv4Addr;

use pnet_packet::Packet;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};

use crate::net::MacAddr;

use super::output::AnnounceForm;
use super::refusal::Refusal;

const ETHERNET_HEADER: usize = 14;
const ARP_BODY: usize = 28;
/// An Ethernet header and an ARP body for IPv4; the driver pads it to what the link demands.
pub const FRAME: usize = ETHERNET_HEADER + ARP_BODY;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Request,
    Reply,
}

/// The meaning of one ARP frame. `emit` and `parse` are each other's inverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The Ethernet header's.
    pub destination: MacAddr,
    pub operation: Operation,
    /// Also the Ethernet header's source in what this program sends.
    pub sender_mac: MacAddr,
    pub sender: Ipv4Addr,
    pub target_mac: MacAddr,
    pub target: Ipv4Addr,
}

impl Frame {
    /// `bytes` start at the Ethernet header. Padding behind the body is ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let ethernet = EthernetPacket::new(bytes).ok_or(Refusal::ArpLength)?;
        if ethernet.get_ethertype() != EtherTypes::Arp {
            return Err(Refusal::NotArp);
        }
        let arp = ArpPacket::new(ethernet.payload()).ok_or(Refusal::ArpLength)?;
        if arp.get_hardware_type() != ArpHardwareTypes::Ethernet
            || arp.get_protocol_type() != EtherTypes::Ipv4
            || (arp.get_hw_addr_len(), arp.get_proto_addr_len()) != (6, 4)
        {
            return Err(Refusal::NotArp);
        }
        let operation = match arp.get_operation() {
            ArpOperations::Request => Operation::Request,
            ArpOperations::Reply => Operation::Reply,
            _ => return Err(Refusal::ArpOperation),
        };
        Ok(Self {
            destination: MacAddr(ethernet.get_destination().octets()),
            operation,
            sender_mac: MacAddr(arp.get_sender_hw_addr().octets()),
            sender: arp.get_sender_proto_addr(),
            target_mac: MacAddr(arp.get_target_hw_addr().octets()),
            target: arp.get_target_proto_addr(),
        })
    }

    /// Always `FRAME` bytes.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = vec![0; FRAME];
        let (header, body) = bytes.split_at_mut(ETHERNET_HEADER);
        if let Some(mut ethernet) = MutableEthernetPacket::new(header) {
            ethernet.set_destination(self.destination.0.into());
            ethernet.set_source(self.sender_mac.0.into());
            ethernet.set_ethertype(EtherTypes::Arp);
        }
        if let Some(mut arp) = MutableArpPacket::new(body) {
            arp.set_hardware_type(ArpHardwareTypes::Ethernet);
            arp.set_protocol_type(EtherTypes::Ipv4);
            arp.set_hw_addr_len(6);
            arp.set_proto_addr_len(4);
            arp.set_operation(match self.operation {
                Operation::Request => ArpOperations::Request,
                Operation::Reply => ArpOperations::Reply,
            });
            arp.set_sender_hw_addr(self.sender_mac.0.into());
            arp.set_sender_proto_addr(self.sender);
            arp.set_target_hw_addr(self.target_mac.0.into());
            arp.set_target_proto_addr(self.target);
        }
        bytes
    }

    /// The answer to a `Meaning::Request`.
    pub fn reply(own_mac: MacAddr, address: Ipv4Addr, to_mac: MacAddr, to: Ipv4Addr) -> Self {
        Self {
            destination: to_mac,
            operation: Operation::Reply,
            sender_mac: own_mac,
            sender: address,
            target_mac: to_mac,
            target: to,
        }
    }

    /// Gratuitous ARP (RFC 5227 section 3; sent as RFC 9568 section 6.4 demands of a new master): sender and target are both the address.
    pub fn announcement(own_mac: MacAddr, address: Ipv4Addr, form: AnnounceForm) -> Self {
        let (operation, target_mac) = match form {
            // As keepalived sends it; nobody reads the target's MAC address in a request.
            AnnounceForm::Request => (Operation::Request, MacAddr::BROADCAST),
            // Linux takes a reply for gratuitous only if the target's MAC address is the sender's.
            AnnounceForm::Reply => (Operation::Reply, own_mac),
        };
        Self {
            destination: MacAddr::BROADCAST,
            operation,
            sender_mac: own_mac,
            sender: address,
            target_mac,
            target: address,
        }
    }

    /// "Who has it?" without claiming it (RFC 5227 section 2.1.1): no neighbour's cache changes.
    pub fn probe(own_mac: MacAddr, address: Ipv4Addr) -> Self {
        Self {
            destination: MacAddr::BROADCAST,
            operation: Operation::Request,
            sender_mac: own_mac,
            sender: Ipv4Addr::UNSPECIFIED,
            target_mac: MacAddr::ZERO,
            target: address,
        }
    }

    /// What it says to one with this MAC address and these virtual addresses.
    pub fn meaning(&self, own_mac: MacAddr, addresses: &[Ipv4Addr]) -> Meaning {
        if self.sender_mac == own_mac {
            return Meaning::Own;
        }
        // RFC 5227 section 2.4: request or reply, its sender address is what it claims.
        if addresses.contains(&self.sender) {
            return Meaning::Claim { address: self.sender, mac: self.sender_mac };
        }
        match self.operation {
            Operation::Request if addresses.contains(&self.target) => {
                Meaning::Request { address: self.target, asker_mac: self.sender_mac, asker: self.sender }
            }
            Operation::Request | Operation::Reply => Meaning::Nothing,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Our own frame came back.
    Own,
    /// Somebody asks for a virtual address; `asker` is 0.0.0.0 in a probe.
    Request {
        address: Ipv4Addr,
        asker_mac: MacAddr,
        asker: Ipv4Addr,
    },
    /// Somebody else says that a virtual address is at its MAC address.
    Claim {
        address: Ipv4Addr,
        mac: MacAddr,
    },
    Nothing,
}
