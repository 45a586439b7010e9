//! The expressions that rules are made of, each appended to a list.

use std::net::IpAddr;

use crate::net::Family;
use crate::os::netlink::Message;

const REGISTER_VERDICT: u32 = 0;
const REGISTER_1: u32 = 1;
const REGISTER_2: u32 = 2;

/// Where in a packet something is: which header, offset and length in bytes.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) base: Base,
    pub(super) offset: u32,
    pub(super) length: u32,
}

impl Field {
    const fn network(offset: u32, length: u32) -> Self {
        Self { base: Base::Network, offset, length }
    }

    /// Of an IP packet (RFC 791, RFC 8200).
    pub(super) const fn source(family: Family) -> Self {
        match family {
            Family::V4 => Self::network(12, 4),
            Family::V6 => Self::network(8, 16),
        }
    }

    pub(super) const fn destination(family: Family) -> Self {
        match family {
            Family::V4 => Self::network(16, 4),
            Family::V6 => Self::network(24, 16),
        }
    }

    /// What follows the header.
    pub(super) const fn next(family: Family) -> Self {
        match family {
            Family::V4 => Self::network(9, 1),
            Family::V6 => Self::network(6, 1),
        }
    }
}

/// As it is in a packet.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[derive(Clone, Copy)]
pub(super) enum Base {
    Link = 0,
    Network = 1,
    Transport = 2,
}

#[derive(Clone, Copy)]
pub(super) enum Verdict<'a> {
    Drop,
    Accept,
    Jump(&'a str),
    Goto(&'a str),
}

impl Verdict<'_> {
    const fn code(self) -> i32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Jump(_) => -3,
            Self::Goto(_) => -4,
        }
    }
}

/// What `socket` tells of the local socket that a packet belongs to; without one the rule ends.
#[derive(Clone, Copy)]
pub(super) enum SocketKey {
    Transparent = 0,
    /// Bound to no address of its own: a listener on 0.0.0.0.
    Wildcard = 2,
}

/// Goes on with the rule only if the field has this value.
pub(super) fn compare(list: Message, field: Field, value: &[u8]) -> Message {
    equals(load(list, field), EQUAL, value)
}

/// Goes on with the rule only if the one-byte field, masked, is this value.
pub(super) fn masked(list: Message, field: Field, mask: u8, value: u8) -> Message {
    equals(mask_of(list, field, mask), EQUAL, &[value])
}

/// Goes on with the rule only if it is not.
pub(super) fn masked_differs(list: Message, field: Field, mask: u8, value: u8) -> Message {
    equals(mask_of(list, field, mask), DIFFERS, &[value])
}

fn mask_of(list: Message, field: Field, mask: u8) -> Message {
    const NFTA_BITWISE_SREG: u16 = 1;
    const NFTA_BITWISE_DREG: u16 = 2;
    const NFTA_BITWISE_LEN: u16 = 3;
    const NFTA_BITWISE_MASK: u16 = 4;
    const NFTA_BITWISE_XOR: u16 = 5;
    expression(load(list, field), "bitwise", |m| {
        let m = be32(be32(m, NFTA_BITWISE_SREG, REGISTER_1), NFTA_BITWISE_DREG, REGISTER_1);
        let m = be32(m, NFTA_BITWISE_LEN, field.length);
        value_of(value_of(m, NFTA_BITWISE_MASK, &[mask]), NFTA_BITWISE_XOR, &[0])
    })
}

/// Goes on with the rule only for this protocol above IP.
pub(super) fn protocol(list: Message, number: u8) -> Message {
    const NFT_META_L4PROTO: u32 = 16;
    equals(meta(list, NFT_META_L4PROTO), EQUAL, &[number])
}

/// Goes on with the rule only if the frame came over Ethernet from this station.
pub(super) fn from_station(list: Message, address: [u8; 6]) -> Message {
    const NFT_META_IIFTYPE: u32 = 8;
    const ARPHRD_ETHER: u16 = 1;
    const SOURCE: Field = Field { base: Base::Link, offset: 6, length: 6 };
    let list = equals(meta(list, NFT_META_IIFTYPE), EQUAL, &ARPHRD_ETHER.to_ne_bytes());
    compare(list, SOURCE, &address)
}

/// Goes on with the rule only if the packet did not come over the interface with this index.
pub(super) fn not_over(list: Message, interface: u32) -> Message {
    const NFT_META_IIF: u32 = 4;
    equals(meta(list, NFT_META_IIF), DIFFERS, &interface.to_ne_bytes())
}

/// Goes on with the rule only if the set does not have the field's value.
pub(super) fn not_in(list: Message, field: Field, set: &str) -> Message {
    const NFTA_LOOKUP_SET: u16 = 1;
    const NFTA_LOOKUP_SREG: u16 = 2;
    const NFTA_LOOKUP_FLAGS: u16 = 5;
    const NFT_LOOKUP_F_INV: u32 = 1;
    expression(load(list, field), "lookup", |m| {
        let m = be32(m.text(NFTA_LOOKUP_SET, set), NFTA_LOOKUP_SREG, REGISTER_1);
        be32(m, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV)
    })
}

/// Puts the value into the set, or begins its timeout anew.
pub(super) fn refresh(list: Message, value: &[u8], set: &str) -> Message {
    const NFTA_DYNSET_SET_NAME: u16 = 1;
    const NFTA_DYNSET_OP: u16 = 3;
    const NFTA_DYNSET_SREG_KEY: u16 = 4;
    const NFT_DYNSET_OP_UPDATE: u32 = 1;
    let list = immediate(list, REGISTER_1, |m, data| value_of(m, data, value));
    expression(list, "dynset", |m| {
        let m = be32(m.text(NFTA_DYNSET_SET_NAME, set), NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
        be32(m, NFTA_DYNSET_SREG_KEY, REGISTER_1)
    })
}

/// Goes on with the rule only if the packet has a local socket of which `key` is this.
pub(super) fn socket(list: Message, key: SocketKey, value: u8) -> Message {
    const NFTA_SOCKET_KEY: u16 = 1;
    const NFTA_SOCKET_DREG: u16 = 2;
    let list = expression(list, "socket", |m| {
        be32(be32(m, NFTA_SOCKET_KEY, key as u32), NFTA_SOCKET_DREG, REGISTER_1)
    });
    equals(list, EQUAL, &[value])
}

/// Sends a copy to this neighbour, as if it were the next router.
pub(super) fn duplicate_to(list: Message, address: IpAddr, interface: u32) -> Message {
    const NFTA_DUP_SREG_ADDR: u16 = 1;
    const NFTA_DUP_SREG_DEV: u16 = 2;
    let list = immediate(list, REGISTER_1, |m, data| value_of(m, data, &octets(address)));
    let list = immediate(list, REGISTER_2, |m, data| value_of(m, data, &interface.to_ne_bytes()));
    expression(list, "dup", |m| be32(be32(m, NFTA_DUP_SREG_ADDR, REGISTER_1), NFTA_DUP_SREG_DEV, REGISTER_2))
}

/// Overwrites the field; meant for packets without a checksum to mend.
pub(super) fn write_field(list: Message, field: Field, value: &[u8]) -> Message {
    const NFTA_PAYLOAD_SREG: u16 = 5;
    let list = immediate(list, REGISTER_1, |m, data| value_of(m, data, value));
    expression(list, "payload", |m| place(be32(m, NFTA_PAYLOAD_SREG, REGISTER_1), field))
}

/// Overwrites an address of an IPv6 packet, and mends the checksum that it is part of.
pub(super) fn write_address(list: Message, field: Field, address: IpAddr) -> Message {
    const NFTA_PAYLOAD_SREG: u16 = 5;
    const NFTA_PAYLOAD_CSUM_TYPE: u16 = 6;
    const NFTA_PAYLOAD_CSUM_OFFSET: u16 = 7;
    const NFTA_PAYLOAD_CSUM_FLAGS: u16 = 8;
    const NFT_PAYLOAD_L4CSUM_PSEUDOHDR: u32 = 1;
    let list = immediate(list, REGISTER_1, |m, data| value_of(m, data, &octets(address)));
    expression(list, "payload", |m| {
        let m = place(be32(m, NFTA_PAYLOAD_SREG, REGISTER_1), field);
        let m = be32(be32(m, NFTA_PAYLOAD_CSUM_TYPE, 0), NFTA_PAYLOAD_CSUM_OFFSET, 0);
        be32(m, NFTA_PAYLOAD_CSUM_FLAGS, NFT_PAYLOAD_L4CSUM_PSEUDOHDR)
    })
}

/// Hands a copy to whoever listens to this group of nfnetlink_log.
pub(super) fn log(list: Message, group: u16) -> Message {
    const NFTA_LOG_GROUP: u16 = 1;
    expression(list, "log", |m| m.attribute(NFTA_LOG_GROUP, &group.to_be_bytes()))
}

pub(super) fn counter(list: Message) -> Message {
    expression(list, "counter", |m| m)
}

pub(super) fn verdict(list: Message, verdict: Verdict<'_>) -> Message {
    const NFTA_DATA_VERDICT: u16 = 2;
    const NFTA_VERDICT_CODE: u16 = 1;
    const NFTA_VERDICT_CHAIN: u16 = 2;
    immediate(list, REGISTER_VERDICT, |m, data| {
        m.nested(data, |m| {
            m.nested(NFTA_DATA_VERDICT, |m| {
                let m = be32(m, NFTA_VERDICT_CODE, verdict.code().cast_unsigned());
                match verdict {
                    Verdict::Jump(chain) | Verdict::Goto(chain) => m.text(NFTA_VERDICT_CHAIN, chain),
                    Verdict::Drop | Verdict::Accept => m,
                }
            })
        })
    })
}

const EQUAL: u32 = 0;
const DIFFERS: u32 = 1;

fn equals(list: Message, operator: u32, value: &[u8]) -> Message {
    const NFTA_CMP_SREG: u16 = 1;
    const NFTA_CMP_OP: u16 = 2;
    const NFTA_CMP_DATA: u16 = 3;
    expression(list, "cmp", |m| {
        value_of(be32(be32(m, NFTA_CMP_SREG, REGISTER_1), NFTA_CMP_OP, operator), NFTA_CMP_DATA, value)
    })
}

fn meta(list: Message, key: u32) -> Message {
    const NFTA_META_DREG: u16 = 1;
    const NFTA_META_KEY: u16 = 2;
    expression(list, "meta", |m| be32(be32(m, NFTA_META_DREG, REGISTER_1), NFTA_META_KEY, key))
}

fn load(list: Message, field: Field) -> Message {
    const NFTA_PAYLOAD_DREG: u16 = 1;
    expression(list, "payload", |m| place(be32(m, NFTA_PAYLOAD_DREG, REGISTER_1), field))
}

fn place(m: Message, field: Field) -> Message {
    const NFTA_PAYLOAD_BASE: u16 = 2;
    const NFTA_PAYLOAD_OFFSET: u16 = 3;
    const NFTA_PAYLOAD_LEN: u16 = 4;
    let m = be32(m, NFTA_PAYLOAD_BASE, field.base as u32);
    be32(be32(m, NFTA_PAYLOAD_OFFSET, field.offset), NFTA_PAYLOAD_LEN, field.length)
}

fn expression(list: Message, name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    const NFTA_LIST_ELEM: u16 = 1;
    const NFTA_EXPR_NAME: u16 = 1;
    const NFTA_EXPR_DATA: u16 = 2;
    list.nested(NFTA_LIST_ELEM, |m| m.text(NFTA_EXPR_NAME, name).nested(NFTA_EXPR_DATA, data))
}

fn immediate(list: Message, register: u32, data: impl FnOnce(Message, u16) -> Message) -> Message {
    const NFTA_IMMEDIATE_DREG: u16 = 1;
    const NFTA_IMMEDIATE_DATA: u16 = 2;
    expression(list, "immediate", |m| data(be32(m, NFTA_IMMEDIATE_DREG, register), NFTA_IMMEDIATE_DATA))
}

pub(super) fn value_of(m: Message, kind: u16, value: &[u8]) -> Message {
    const NFTA_DATA_VALUE: u16 = 1;
    m.nested(kind, |m| m.attribute(NFTA_DATA_VALUE, value))
}

/// Milliseconds, as nf_tables counts a timeout.
pub(super) fn milliseconds(m: Message, kind: u16, time: std::time::Duration) -> Message {
    m.attribute(kind, &u64::try_from(time.as_millis()).unwrap_or(u64::MAX).to_be_bytes())
}

/// nf_tables wants its numbers in network order.
pub(super) fn be32(m: Message, kind: u16, value: u32) -> Message {
    m.attribute(kind, &value.to_be_bytes())
}
