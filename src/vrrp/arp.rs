//! ARP over Ethernet (RFC 826, RFC 5227): what a frame means for one who may hold an address, and the frames that this
//! program sends. No socket, no policy: whether a request is answered is the machine's business.

use std::net::{IpAddr, Ipv4Addr};

use pnet_packet::Packet;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperations, ArpPacket, MutableArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket};

use crate::net::MacAddr;

use super::neighbour::Meaning;
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
    pub fn meaning(&self, own_mac: MacAddr, addresses: &[IpAddr]) -> Meaning {
        let ours = |address: Ipv4Addr| addresses.contains(&IpAddr::V4(address));
        if self.sender_mac == own_mac {
            return Meaning::Own;
        }
        // RFC 5227 section 2.4: request or reply, its sender address is what it claims.
        if ours(self.sender) {
            return Meaning::Claim { address: self.sender.into(), mac: self.sender_mac };
        }
        match self.operation {
            Operation::Request if ours(self.target) => Meaning::Request {
                address: self.target.into(),
                asker_mac: self.sender_mac,
                asker: self.sender.into(),
            },
            Operation::Request | Operation::Reply => Meaning::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 1]);
    const OTHER: MacAddr = MacAddr([0xd6, 0x8e, 0xe8, 0x22, 0xcb, 0x6d]);
    const VIP: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 9);
    const ASKER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 7);

    /// keepalived 2.2.7's gratuitous ARP for 10.99.0.9, taken with tcpdump.
    const KEEPALIVED: [u8; FRAME] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xd6, 0x8e, 0xe8, 0x22, 0xcb, 0x6d, 0x08, 0x06, 0x00, 0x01, 0x08,
        0x00, 0x06, 0x04, 0x00, 0x01, 0xd6, 0x8e, 0xe8, 0x22, 0xcb, 0x6d, 0x0a, 0x63, 0x00, 0x09, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0x0a, 0x63, 0x00, 0x09,
    ];

    #[test]
    fn keepalived_announces_as_we_do() {
        let frame = Frame::parse(&KEEPALIVED).unwrap();
        assert_eq!(frame, Frame::announcement(OTHER, VIP, AnnounceForm::Request));
        assert_eq!(frame.emit(), KEEPALIVED);
        assert_eq!(frame.meaning(OWN, &[VIP.into()]), Meaning::Claim { address: VIP.into(), mac: OTHER });
    }

    #[test]
    fn a_frame_means_what_its_sender_and_target_say() {
        let request = Frame {
            destination: MacAddr::BROADCAST,
            operation: Operation::Request,
            sender_mac: OTHER,
            sender: ASKER,
            target_mac: MacAddr::ZERO,
            target: VIP,
        };
        let asked =
            |asker: Ipv4Addr| Meaning::Request { address: VIP.into(), asker_mac: OTHER, asker: asker.into() };
        let claim = Meaning::Claim { address: VIP.into(), mac: OTHER };
        let table = [
            ("who has", request, asked(ASKER)),
            ("unicast refresh", Frame { destination: OWN, ..request }, asked(ASKER)),
            ("probe", Frame::probe(OTHER, VIP), asked(Ipv4Addr::UNSPECIFIED)),
            ("who has another", Frame { target: ASKER, ..request }, Meaning::Nothing),
            ("a request by one who thinks it has it", Frame { sender: VIP, target: ASKER, ..request }, claim),
            ("its reply", Frame::reply(OTHER, VIP, OWN, ASKER), claim),
            ("gratuitous reply", Frame::announcement(OTHER, VIP, AnnounceForm::Reply), claim),
            ("another's reply", Frame::reply(OTHER, ASKER, OWN, VIP), Meaning::Nothing),
            ("our own announcement", Frame::announcement(OWN, VIP, AnnounceForm::Reply), Meaning::Own),
            ("our own probe", Frame::probe(OWN, VIP), Meaning::Own),
        ];
        for (case, frame, expect) in table {
            let read = Frame::parse(&frame.emit()).unwrap();
            assert_eq!(read, frame, "{case}");
            assert_eq!(read.meaning(OWN, &[VIP.into()]), expect, "{case}");
        }
    }

    #[test]
    fn linux_takes_both_forms_for_gratuitous() {
        // arp_is_garp: sender and target address are the same; in a reply the MAC addresses too.
        for form in [AnnounceForm::Request, AnnounceForm::Reply] {
            let frame = Frame::announcement(OWN, VIP, form);
            assert_eq!((frame.sender, frame.target), (VIP, VIP));
            if form == AnnounceForm::Reply {
                assert_eq!((frame.sender_mac, frame.target_mac), (OWN, OWN));
            }
        }
    }

    #[test]
    fn what_is_not_arp_for_ipv4_is_refused() {
        let changed = |at: usize, to: u8| {
            let mut bytes = KEEPALIVED.to_vec();
            bytes[at] = to;
            bytes
        };
        let table = [
            ("empty", Vec::new(), Some(Refusal::ArpLength)),
            ("Ethernet header only", KEEPALIVED[..14].to_vec(), Some(Refusal::ArpLength)),
            ("a byte less", KEEPALIVED[..41].to_vec(), Some(Refusal::ArpLength)),
            ("padded to 60", [KEEPALIVED.as_slice(), &[0; 18]].concat(), None),
            ("IPv4", changed(13, 0), Some(Refusal::NotArp)),
            ("another hardware", changed(15, 6), Some(Refusal::NotArp)),
            ("another protocol", changed(17, 6), Some(Refusal::NotArp)),
            ("hardware length 8", changed(18, 8), Some(Refusal::NotArp)),
            ("protocol length 16", changed(19, 16), Some(Refusal::NotArp)),
            ("reverse request", changed(21, 3), Some(Refusal::ArpOperation)),
        ];
        for (case, bytes, expect) in table {
            assert_eq!(Frame::parse(&bytes).err(), expect, "{case}");
        }
    }

    fn mac() -> impl Strategy<Value = MacAddr> {
        any::<[u8; 6]>().prop_map(MacAddr)
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(frame) = Frame::parse(&bytes) {
                prop_assert_eq!(Frame::parse(&frame.emit()), Ok(frame));
            }
        }

        #[test]
        fn what_is_emitted_is_read_back(
            destination in mac(), reply: bool, sender_mac in mac(), sender: u32, target_mac in mac(), target: u32,
        ) {
            let operation = if reply { Operation::Reply } else { Operation::Request };
            let (sender, target) = (sender.into(), target.into());
            let frame = Frame { destination, operation, sender_mac, sender, target_mac, target };
            prop_assert_eq!(Frame::parse(&frame.emit()), Ok(frame));
        }
    }
}
