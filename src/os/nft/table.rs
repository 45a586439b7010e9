//! One table: its messages, and the batch that puts it in place of whatever has its name.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use super::error::Error;
use super::expression::{be32, milliseconds, value_of};
use crate::net::{self, Vrid};
use crate::os::netlink::{Message, Socket};

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const NEW_SET: u16 = SUBSYSTEM << 8 | 9;
const NEW_ELEMENT: u16 = SUBSYSTEM << 8 | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM << 8 | 14;

const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// The address families of nf_tables (NFPROTO_*).
#[derive(Clone, Copy, Debug)]
pub(super) enum Family {
    Ipv4 = 2,
    Arp = 3,
    Ipv6 = 10,
}

impl Family {
    /// For the packets of a virtual router of this family.
    pub(super) const fn of(family: net::Family) -> Self {
        match family {
            net::Family::V4 => Self::Ipv4,
            net::Family::V6 => Self::Ipv6,
        }
    }
}

pub(super) struct Table {
    family: Family,
    name: String,
    messages: Vec<Message>,
}

impl Table {
    /// The families use one name for one virtual router: the kernel keeps them apart.
    pub(super) fn new(family: Family, vrid: Vrid) -> Self {
        Self { family, name: format!("vipgate-{vrid}"), messages: Vec::new() }
    }

    /// A second table of the same family has a word behind its name.
    pub(super) fn second(family: Family, vrid: Vrid, word: &str) -> Self {
        Self { name: format!("vipgate-{vrid}-{word}"), ..Self::new(family, vrid) }
    }

    /// A set of addresses that rules may add to, each of which stays for `timeout`.
    pub(super) fn set_of_addresses(&mut self, name: &str, size: u32, timeout: Duration) {
        const NFTA_SET_FLAGS: u16 = 3;
        const NFTA_SET_KEY_TYPE: u16 = 4;
        const NFTA_SET_KEY_LEN: u16 = 5;
        const NFTA_SET_DESC: u16 = 9;
        const NFTA_SET_DESC_SIZE: u16 = 1;
        const NFTA_SET_ID: u16 = 10;
        const NFTA_SET_TIMEOUT: u16 = 11;
        const NFT_SET_TIMEOUT: u32 = 0x10;
        const NFT_SET_EVAL: u32 = 0x20;
        /// How nft itself calls its data types `ipv4_addr` and `ipv6_addr`.
        const IPV4_ADDRESS: u32 = 7;
        const IPV6_ADDRESS: u32 = 8;
        let (kind, length) = match self.family {
            Family::Ipv4 | Family::Arp => (IPV4_ADDRESS, 4),
            Family::Ipv6 => (IPV6_ADDRESS, 16),
        };
        let set = be32(self.of_set(NEW_SET, CREATE, name), NFTA_SET_FLAGS, NFT_SET_TIMEOUT | NFT_SET_EVAL);
        let set = be32(be32(set, NFTA_SET_KEY_TYPE, kind), NFTA_SET_KEY_LEN, length);
        let set = set.nested(NFTA_SET_DESC, |m| be32(m, NFTA_SET_DESC_SIZE, size));
        self.messages.push(milliseconds(be32(set, NFTA_SET_ID, 1), NFTA_SET_TIMEOUT, timeout));
    }

    pub(super) fn element(&mut self, set: &str, value: &[u8], timeout: Duration) {
        const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
        const NFTA_LIST_ELEM: u16 = 1;
        const NFTA_SET_ELEM_KEY: u16 = 1;
        const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
        let element = self.of_set(NEW_ELEMENT, CREATE, set).nested(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
            m.nested(NFTA_LIST_ELEM, |m| {
                milliseconds(value_of(m, NFTA_SET_ELEM_KEY, value), NFTA_SET_ELEM_TIMEOUT, timeout)
            })
        });
        self.messages.push(element);
    }

    /// Takes everything out of the set.
    pub(super) fn flush(self, set: &str) -> Result<(), Error> {
        let flush = self.of_set(DELETE_ELEMENT, 0, set);
        commit(vec![flush])
    }

    /// A chain that the kernel enters at `hook` with `priority`, policy accept.
    pub(super) fn base_chain(&mut self, name: &str, hook: u32, priority: i32) {
        const NFTA_CHAIN_HOOK: u16 = 4;
        const NFTA_CHAIN_TYPE: u16 = 7;
        const NFTA_HOOK_HOOKNUM: u16 = 1;
        const NFTA_HOOK_PRIORITY: u16 = 2;
        let chain = self.new_chain(name).nested(NFTA_CHAIN_HOOK, |m| {
            be32(be32(m, NFTA_HOOK_HOOKNUM, hook), NFTA_HOOK_PRIORITY, priority.cast_unsigned())
        });
        self.messages.push(chain.text(NFTA_CHAIN_TYPE, "filter"));
    }

    /// A chain that only rules jump to.
    pub(super) fn chain(&mut self, name: &str) {
        let chain = self.new_chain(name);
        self.messages.push(chain);
    }

    pub(super) fn rule(&mut self, chain: &str, expressions: impl FnOnce(Message) -> Message) {
        const NFTA_RULE_TABLE: u16 = 1;
        const NFTA_RULE_CHAIN: u16 = 2;
        const NFTA_RULE_EXPRESSIONS: u16 = 4;
        let rule = self
            .message(NEW_RULE, CREATE | APPEND)
            .text(NFTA_RULE_TABLE, &self.name)
            .text(NFTA_RULE_CHAIN, chain)
            .nested(NFTA_RULE_EXPRESSIONS, expressions);
        self.messages.push(rule);
    }

    /// In one step: at no moment is there half a table, or none where one was.
    pub(super) fn replace(self) -> Result<(), Error> {
        let mut messages = self.removal();
        messages.push(self.named(NEW_TABLE, CREATE));
        messages.extend(self.messages);
        commit(messages)
    }

    /// It need not be there.
    pub(super) fn remove(self) -> Result<(), Error> {
        commit(self.removal())
    }

    /// Whether a table of this name is there.
    pub(super) fn present(self) -> Result<bool, Error> {
        match with_socket(|socket| socket.execute(self.named(GET_TABLE, 0))) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn removal(&self) -> Vec<Message> {
        vec![self.named(NEW_TABLE, CREATE), self.named(DELETE_TABLE, 0)]
    }

    fn named(&self, kind: u16, flags: u16) -> Message {
        const NFTA_TABLE_NAME: u16 = 1;
        self.message(kind, flags).text(NFTA_TABLE_NAME, &self.name)
    }

    fn new_chain(&self, name: &str) -> Message {
        const NFTA_CHAIN_TABLE: u16 = 1;
        const NFTA_CHAIN_NAME: u16 = 3;
        self.message(NEW_CHAIN, CREATE).text(NFTA_CHAIN_TABLE, &self.name).text(NFTA_CHAIN_NAME, name)
    }

    fn of_set(&self, kind: u16, flags: u16, name: &str) -> Message {
        const TABLE: u16 = 1;
        const NAME: u16 = 2;
        self.message(kind, flags).text(TABLE, &self.name).text(NAME, name)
    }

    fn message(&self, kind: u16, flags: u16) -> Message {
        Message::new(kind, flags, &[self.family as u8, 0, 0, 0])
    }
}

fn commit(messages: Vec<Message>) -> Result<(), Error> {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    let bound = |kind| Message::new(kind, 0, &[0, 0, high, low]);
    Ok(with_socket(|socket| socket.execute_batch(bound(BATCH_BEGIN), messages, bound(BATCH_END)))?)
}

/// The thread's own, which stays open: to close one after a batch takes until the kernel has freed what the batch has
/// replaced, 10 to 20 ms on an idle machine, and more than 80 ms were seen while Docker made another container's network.
fn with_socket<T>(work: impl FnOnce(&mut Socket) -> io::Result<T>) -> io::Result<T> {
    thread_local! {
        static SOCKET: RefCell<Option<Socket>> = const { RefCell::new(None) };
    }
    SOCKET.with_borrow_mut(|kept| {
        let socket = match kept {
            Some(socket) => socket,
            None => kept.insert(Socket::open(SockProtocol::NetlinkNetFilter)?),
        };
        socket.forget_answers();
        work(socket)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::os::netns;

    /// Of this namespace, the kernel's own among them.
    fn open_sockets() -> usize {
        const NETFILTER: &str = "12";
        let all = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
        all.lines().filter(|line| line.split_whitespace().nth(1) == Some(NETFILTER)).count()
    }

    #[test]
    fn a_batch_that_is_refused_a_thousand_times_is_in_nobodys_way() {
        netns::with("a_batch_that_is_refused_a_thousand_times_is_in_nobodys_way", || {
            let table = || Table::new(Family::Ipv4, Vrid::try_from(51).unwrap());
            let mut refused = table();
            // There is no such chain.
            (0..1000).for_each(|_| refused.rule("none", |list| list));
            refused.replace().unwrap_err();
            let begun = Instant::now();
            assert!(!table().present().unwrap());
            // An answer that is lost is waited for for a second.
            assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
        });
    }

    #[test]
    fn one_socket_serves_them_all_and_stays_open() {
        netns::with("one_socket_serves_them_all_and_stays_open", || {
            let before = open_sockets();
            let table = || Table::new(Family::Ipv4, Vrid::try_from(51).unwrap());
            for _ in 0..3 {
                table().replace().unwrap();
                assert!(table().present().unwrap());
                table().remove().unwrap();
                assert!(!table().present().unwrap());
                assert_eq!(open_sockets(), before + 1);
            }
        });
    }
}
