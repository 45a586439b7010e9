//! The nftables table that keeps this kernel silent about virtual addresses in ARP: requests for them are not
//! answered, and requests that the kernel itself sends name another sender. What this machine sends through a packet
//! socket passes neither chain. Needs NET_ADMIN.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use super::netlink::{Message, Socket};
use crate::net::Vrid;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;

const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

const FAMILY_ARP: u8 = 3;
const HOOK_INPUT: u32 = 0;
const HOOK_OUTPUT: u32 = 1;
const VERDICT_DROP: u32 = 0;
const REGISTER_VERDICT: u32 = 0;
const REGISTER_1: u32 = 1;
const NETWORK_HEADER: u32 = 1;

/// Where the fields of an ARP packet for IPv4 over Ethernet are (RFC 826): offset and length.
const OPERATION: (u32, u32) = (6, 2);
const SENDER_ADDRESS: (u32, u32) = (14, 4);
const TARGET_ADDRESS: (u32, u32) = (24, 4);
const ARP_REQUEST: [u8; 2] = [0, 1];

/// Each address is a rule in each chain; a VRRP advert carries at most as many.
pub const MAX_ADDRESSES: usize = 255;

#[derive(Debug)]
pub enum Error {
    /// This kernel has no nf_tables, or none for ARP.
    Unsupported(io::Error),
    /// NET_ADMIN is missing.
    Forbidden(io::Error),
    TooManyAddresses(usize),
    Other(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(_) => {
                f.write_str("this kernel has no nf_tables for arp (CONFIG_NF_TABLES_ARP)")
            }
            Self::Forbidden(_) => f.write_str("nf_tables needs the capability NET_ADMIN"),
            Self::TooManyAddresses(n) => {
                write!(f, "at most {MAX_ADDRESSES} addresses fit one fence, not {n}")
            }
            Self::Other(_) => f.write_str("the kernel refused the nf_tables batch"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unsupported(error) | Self::Forbidden(error) | Self::Other(error) => Some(error),
            Self::TooManyAddresses(_) => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM | Errno::EACCES) => Self::Forbidden(error),
            Some(
                Errno::EPROTONOSUPPORT
                | Errno::EAFNOSUPPORT
                | Errno::EOPNOTSUPP
                | Errno::EINVAL
                | Errno::ENOENT
                | Errno::ENOSYS,
            ) => Self::Unsupported(error),
            _ => Self::Other(error),
        }
    }
}

/// Puts the table in place of whatever has its name, in one step: at no moment does the kernel answer for an address
/// that was fenced and stays so. `own`: the sender that takes the virtual address's place in the kernel's requests.
pub fn install(vrid: Vrid, addresses: &[Ipv4Addr], own: Ipv4Addr) -> Result<(), Error> {
    if addresses.len() > MAX_ADDRESSES {
        return Err(Error::TooManyAddresses(addresses.len()));
    }
    let table = table_name(vrid);
    let mut messages = vec![
        named(NEW_TABLE, CREATE, &table),
        named(DELETE_TABLE, 0, &table),
        named(NEW_TABLE, CREATE, &table),
        base_chain(&table, "input", HOOK_INPUT),
        base_chain(&table, "output", HOOK_OUTPUT),
    ];
    for address in addresses {
        messages.push(rule(&table, "input", |list| {
            let list = compare(list, OPERATION, &ARP_REQUEST);
            let list = compare(list, TARGET_ADDRESS, &address.octets());
            drop_packet(counter(list))
        }));
        messages.push(rule(&table, "output", |list| {
            let list = compare(list, SENDER_ADDRESS, &address.octets());
            write_field(counter(list), SENDER_ADDRESS, &own.octets())
        }));
    }
    commit(messages)
}

/// Takes the table away; it need not be there.
pub fn remove(vrid: Vrid) -> Result<(), Error> {
    let table = table_name(vrid);
    commit(vec![named(NEW_TABLE, CREATE, &table), named(DELETE_TABLE, 0, &table)])
}

/// Whether the table is still there: a foreign `flush ruleset` takes it away without a word.
pub fn present(vrid: Vrid) -> Result<bool, Error> {
    let mut socket = Socket::open(SockProtocol::NetlinkNetFilter)?;
    match socket.execute(named(GET_TABLE, 0, &table_name(vrid))) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub fn table_name(vrid: Vrid) -> String {
    format!("vipgate-{vrid}")
}

fn commit(messages: Vec<Message>) -> Result<(), Error> {
    let mut socket = Socket::open(SockProtocol::NetlinkNetFilter)?;
    let [high, low] = SUBSYSTEM.to_be_bytes();
    let bound = |kind| Message::new(kind, 0, &[0, 0, high, low]);
    Ok(socket.execute_batch(bound(BATCH_BEGIN), messages, bound(BATCH_END))?)
}

fn message(kind: u16, flags: u16) -> Message {
    Message::new(kind, flags, &[FAMILY_ARP, 0, 0, 0])
}

fn named(kind: u16, flags: u16, table: &str) -> Message {
    const NFTA_TABLE_NAME: u16 = 1;
    message(kind, flags).text(NFTA_TABLE_NAME, table)
}

fn base_chain(table: &str, name: &str, hook: u32) -> Message {
    const NFTA_CHAIN_TABLE: u16 = 1;
    const NFTA_CHAIN_NAME: u16 = 3;
    const NFTA_CHAIN_HOOK: u16 = 4;
    const NFTA_CHAIN_TYPE: u16 = 7;
    const NFTA_HOOK_HOOKNUM: u16 = 1;
    const NFTA_HOOK_PRIORITY: u16 = 2;
    message(NEW_CHAIN, CREATE)
        .text(NFTA_CHAIN_TABLE, table)
        .text(NFTA_CHAIN_NAME, name)
        .nested(NFTA_CHAIN_HOOK, |m| be32(be32(m, NFTA_HOOK_HOOKNUM, hook), NFTA_HOOK_PRIORITY, 0))
        .text(NFTA_CHAIN_TYPE, "filter")
}

fn rule(table: &str, chain: &str, expressions: impl FnOnce(Message) -> Message) -> Message {
    const NFTA_RULE_TABLE: u16 = 1;
    const NFTA_RULE_CHAIN: u16 = 2;
    const NFTA_RULE_EXPRESSIONS: u16 = 4;
    message(NEW_RULE, CREATE | APPEND)
        .text(NFTA_RULE_TABLE, table)
        .text(NFTA_RULE_CHAIN, chain)
        .nested(NFTA_RULE_EXPRESSIONS, expressions)
}

fn expression(list: Message, name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    const NFTA_LIST_ELEM: u16 = 1;
    const NFTA_EXPR_NAME: u16 = 1;
    const NFTA_EXPR_DATA: u16 = 2;
    list.nested(NFTA_LIST_ELEM, |m| m.text(NFTA_EXPR_NAME, name).nested(NFTA_EXPR_DATA, data))
}

/// Goes on with the rule only if the field has this value.
fn compare(list: Message, field: (u32, u32), value: &[u8]) -> Message {
    const NFTA_PAYLOAD_DREG: u16 = 1;
    const NFTA_PAYLOAD_BASE: u16 = 2;
    const NFTA_PAYLOAD_OFFSET: u16 = 3;
    const NFTA_PAYLOAD_LEN: u16 = 4;
    const NFTA_CMP_SREG: u16 = 1;
    const NFTA_CMP_OP: u16 = 2;
    const NFTA_CMP_DATA: u16 = 3;
    const EQUAL: u32 = 0;
    let list = expression(list, "payload", |m| {
        let m = be32(be32(m, NFTA_PAYLOAD_DREG, REGISTER_1), NFTA_PAYLOAD_BASE, NETWORK_HEADER);
        be32(be32(m, NFTA_PAYLOAD_OFFSET, field.0), NFTA_PAYLOAD_LEN, field.1)
    });
    expression(list, "cmp", |m| {
        value_of(be32(be32(m, NFTA_CMP_SREG, REGISTER_1), NFTA_CMP_OP, EQUAL), NFTA_CMP_DATA, value)
    })
}

/// Overwrites the field; an ARP packet has no checksum to mend.
fn write_field(list: Message, field: (u32, u32), value: &[u8]) -> Message {
    const NFTA_PAYLOAD_BASE: u16 = 2;
    const NFTA_PAYLOAD_OFFSET: u16 = 3;
    const NFTA_PAYLOAD_LEN: u16 = 4;
    const NFTA_PAYLOAD_SREG: u16 = 5;
    let list = immediate(list, REGISTER_1, |m, data| value_of(m, data, value));
    expression(list, "payload", |m| {
        let m = be32(be32(m, NFTA_PAYLOAD_SREG, REGISTER_1), NFTA_PAYLOAD_BASE, NETWORK_HEADER);
        be32(be32(m, NFTA_PAYLOAD_OFFSET, field.0), NFTA_PAYLOAD_LEN, field.1)
    })
}

fn counter(list: Message) -> Message {
    expression(list, "counter", |m| m)
}

fn drop_packet(list: Message) -> Message {
    const NFTA_DATA_VERDICT: u16 = 2;
    const NFTA_VERDICT_CODE: u16 = 1;
    immediate(list, REGISTER_VERDICT, |m, data| {
        m.nested(data, |m| m.nested(NFTA_DATA_VERDICT, |m| be32(m, NFTA_VERDICT_CODE, VERDICT_DROP)))
    })
}

fn immediate(list: Message, register: u32, data: impl FnOnce(Message, u16) -> Message) -> Message {
    const NFTA_IMMEDIATE_DREG: u16 = 1;
    const NFTA_IMMEDIATE_DATA: u16 = 2;
    expression(list, "immediate", |m| data(be32(m, NFTA_IMMEDIATE_DREG, register), NFTA_IMMEDIATE_DATA))
}

fn value_of(m: Message, kind: u16, value: &[u8]) -> Message {
    const NFTA_DATA_VALUE: u16 = 1;
    m.nested(kind, |m| m.attribute(NFTA_DATA_VALUE, value))
}

/// nf_tables wants its numbers in network order.
fn be32(m: Message, kind: u16, value: u32) -> Message {
    m.attribute(kind, &value.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::netns;

    const VIPS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 9, 0, 99), Ipv4Addr::new(10, 9, 0, 98)];

    /// The fence as nft prints it, without counts.
    fn printed() -> Option<String> {
        let text = netns::output("nft", &["list", "ruleset"])?;
        Some(text.replace("packets 0 bytes 0 ", "").replace("packets 0 bytes 0", ""))
    }

    #[test]
    fn the_table_is_the_one_that_nft_itself_would_write() {
        netns::with("the_table_is_the_one_that_nft_itself_would_write", || {
            let vrid = Vrid::try_from(51).unwrap();
            let own = Ipv4Addr::new(10, 9, 0, 2);
            install(vrid, &VIPS[..1], own).unwrap();
            install(vrid, &VIPS, own).unwrap();
            let Some(ours) = printed() else { return };
            assert!(present(vrid).unwrap());
            remove(vrid).unwrap();
            assert!(!present(vrid).unwrap());
            assert_eq!(printed().as_deref(), Some(""));
            remove(vrid).unwrap();
            let script = "table arp vipgate-51 {
                chain input { type filter hook input priority 0; policy accept;
                    arp operation request arp daddr ip 10.9.0.99 counter drop
                    arp operation request arp daddr ip 10.9.0.98 counter drop
                }
                chain output { type filter hook output priority 0; policy accept;
                    arp saddr ip 10.9.0.99 counter arp saddr ip set 10.9.0.2
                    arp saddr ip 10.9.0.98 counter arp saddr ip set 10.9.0.2
                }
            }";
            netns::output("nft", &[script]).unwrap();
            assert_eq!(Some(ours), printed());
        });
    }

    #[test]
    fn without_net_admin_it_says_so() {
        netns::without_capabilities("without_net_admin_it_says_so", || {
            let refused = install(Vrid::try_from(51).unwrap(), &VIPS, Ipv4Addr::LOCALHOST);
            assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
        });
    }

    #[test]
    fn as_many_addresses_as_an_advert_holds_and_no_more() {
        netns::with("as_many_addresses_as_an_advert_holds_and_no_more", || {
            let vrid = Vrid::try_from(1).unwrap();
            let many: Vec<Ipv4Addr> = (0..256u32).map(|n| Ipv4Addr::from_bits(0x0a00_0001 + n)).collect();
            install(vrid, &many[..255], Ipv4Addr::LOCALHOST).unwrap();
            let refused = install(vrid, &many, Ipv4Addr::LOCALHOST);
            assert!(matches!(refused, Err(Error::TooManyAddresses(256))), "{refused:?}");
            let Some(text) = printed() else { return };
            assert_eq!(text.matches("drop").count(), 255);
        });
    }
}
