//! A SYN that the gate has turned away, made ready to be let in after all: bytes only, no socket.
//!
//! What a neighbour on the same host sends has no checksum yet, only the part that covers the addresses, since it was
//! never to be on a wire.

use std::net::IpAddr;

use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::util;

use crate::net::is_link_local;

const TCP: u8 = 6;
/// FIN, SYN, RST and ACK (RFC 9293 section 3.1).
const FLAGS: u8 = 0x17;
const SYN: u8 = 0x02;
const CHECKSUM_AT: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syn {
    pub to: IpAddr,
    /// With its IP header.
    pub packet: Vec<u8>,
}

impl Syn {
    /// `packet`: as it came. `None`: no whole SYN for one of `addresses`, or one that was damaged on its way.
    pub fn read(packet: &[u8], addresses: &[IpAddr]) -> Option<Self> {
        let Header { from, to, length } = header(packet)?;
        let segment = packet.get(length..)?;
        let is_syn = segment.get(13)? & FLAGS == SYN;
        // The answer to a link-local one would go the way that it came, over `lo`.
        let is_local = [from, to].into_iter().any(is_link_local);
        if !is_syn || segment.len() < 20 || !addresses.contains(&to) || is_local {
            return None;
        }
        let came = segment.get(CHECKSUM_AT..CHECKSUM_AT + 2)?;
        let came = u16::from_be_bytes(came.try_into().ok()?);
        let whole = checksum(segment, from, to)?;
        if came != whole && came != partial(segment.len(), from, to)? {
            return None;
        }
        let mut packet = packet.to_vec();
        packet.get_mut(length + CHECKSUM_AT..)?.get_mut(..2)?.copy_from_slice(&whole.to_be_bytes());
        Some(Self { to, packet })
    }
}

struct Header {
    from: IpAddr,
    to: IpAddr,
    length: usize,
}

/// Of a whole TCP packet without extension headers, which the gate hands to nobody (RFC 791, RFC 8200).
fn header(packet: &[u8]) -> Option<Header> {
    let number = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    let first = *packet.first()?;
    match first >> 4 {
        4 => {
            let length = usize::from(first & 0x0f) * 4;
            // More fragments, or an offset.
            let is_fragment = number(6)? & 0x3fff != 0;
            let is_whole = length >= 20 && usize::from(number(2)?) == packet.len() && !is_fragment;
            let address = |at: usize| <[u8; 4]>::try_from(packet.get(at..at + 4)?).ok();
            let (from, to) = (address(12)?.into(), address(16)?.into());
            (is_whole && *packet.get(9)? == TCP).then_some(Header { from, to, length })
        }
        6 => {
            let length = 40;
            let is_whole = usize::from(number(4)?) + length == packet.len();
            let address = |at: usize| <[u8; 16]>::try_from(packet.get(at..at + 16)?).ok();
            let (from, to) = (address(8)?.into(), address(24)?.into());
            (is_whole && *packet.get(6)? == TCP).then_some(Header { from, to, length })
        }
        _ => None,
    }
}

/// Of the segment with its pseudo-header, without the checksum in it (RFC 9293 section 3.1).
fn checksum(segment: &[u8], from: IpAddr, to: IpAddr) -> Option<u16> {
    const WORD: usize = CHECKSUM_AT / 2;
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            Some(util::ipv4_checksum(segment, WORD, &[], &from, &to, IpNextHeaderProtocols::Tcp))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            Some(util::ipv6_checksum(segment, WORD, &[], &from, &to, IpNextHeaderProtocols::Tcp))
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// The sum of the pseudo-header alone, which Linux leaves there for a network card to go on with.
fn partial(length: usize, from: IpAddr, to: IpAddr) -> Option<u16> {
    checksum(&vec![0; length], from, to).map(|sum| !sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10.9.0.1:40000 to 10.9.0.99:80, with a maximum segment size of 1460.
    const V4: [u8; 44] = [
        0x45, 0, 0, 44, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 9, 0, 99, // IP
        0x9c, 0x40, 0, 80, 0, 0, 0, 7, 0, 0, 0, 0, 0x60, 0x02, 0xfa, 0xf0, 0xec, 0x28, 0, 0, // TCP
        2, 4, 5, 0xb4,
    ];
    /// The same from 2001:db8::1 to 2001:db8::99, without options.
    const V6: [u8; 60] = [
        0x60, 0, 0, 0, 0, 20, 6, 64, // IP
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // from
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x99, // to
        0x9c, 0x40, 0, 80, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 0x02, 0xfa, 0xf0, 0xbc, 0x4e, 0, 0, // TCP
    ];

    fn vips() -> [IpAddr; 2] {
        [[10, 9, 0, 99].into(), "2001:db8::99".parse().unwrap()]
    }

    fn read(packet: &[u8]) -> Option<Syn> {
        Syn::read(packet, &vips())
    }

    fn with(packet: &[u8], changes: &[(usize, u8)]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        changes.iter().for_each(|(at, value)| packet[*at] = *value);
        packet
    }

    #[test]
    fn a_whole_syn_for_one_of_the_addresses_is_let_in_as_it_came() {
        for (packet, to) in [(&V4[..], vips()[0]), (&V6[..], vips()[1])] {
            assert_eq!(read(packet), Some(Syn { to, packet: packet.to_vec() }));
            let others: Vec<IpAddr> = vips().into_iter().filter(|address| *address != to).collect();
            assert_eq!(Syn::read(packet, &others), None, "another address");
        }
    }

    #[test]
    fn one_that_never_was_on_a_wire_gets_its_checksum() {
        let v4 = partial(24, [10, 9, 0, 1].into(), vips()[0]).unwrap().to_be_bytes();
        let v6 = partial(20, "2001:db8::1".parse().unwrap(), vips()[1]).unwrap().to_be_bytes();
        for (packet, at, [high, low]) in [(&V4[..], 36, v4), (&V6[..], 56, v6)] {
            assert_eq!(read(&with(packet, &[(at, high), (at + 1, low)])).unwrap().packet, packet);
        }
    }

    #[test]
    fn nothing_else_is() {
        let check = |packet: &[u8], what: &str| assert_eq!(read(packet), None, "{what}");
        for packet in [&V4[..], &V6[..]] {
            for length in 0..packet.len() {
                check(&packet[..length], &format!("cut to {length}"));
            }
            check(&[packet, &[0]].concat(), "longer than it says");
        }
        // The checksum would be right: 0x10 more here, 0x10 less in the window.
        check(&with(&V4, &[(33, 0x12), (35, 0xe0)]), "SYN and ACK");
        check(&with(&V4, &[(33, 0x10), (35, 0xe2)]), "no SYN");
        check(&with(&V4, &[(27, 8)]), "damaged");
        check(&with(&V4, &[(6, 0x20)]), "a fragment");
        check(&with(&V4, &[(7, 1)]), "a later fragment");
        check(&with(&V4, &[(9, 17)]), "UDP");
        check(&with(&V4, &[(0, 0x44)]), "a header that is too short");
        check(&with(&V4, &[(0, 0x55)]), "another version");
        check(&with(&V6, &[(6, 0)]), "extension headers");
        // fe80:: for 2001:db8::, and what is missing in the sequence number.
        let local = with(&V6, &[(8, 0xfe), (9, 0x80), (10, 0), (11, 0)]);
        let sum = checksum(&local[40..], "fe80::1".parse().unwrap(), vips()[1]).unwrap();
        let [high, low] = sum.to_be_bytes();
        check(&with(&local, &[(56, high), (57, low)]), "a link-local client");
    }
}
