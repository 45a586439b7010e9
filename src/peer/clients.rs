//! Open connections of clients: which of them a peer is told of, which a peer has told of, and the pace at which they are
//! ended after its master fell silent. No socket, no clock.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::frame::MAX_PAYLOAD;
use super::message::Message;
use super::refusal::Refusal;
use crate::net::Family;

/// Connections that the peers are told of, and that are remembered of all of them together.
pub const MAX_CLIENTS: usize = 65_536;
/// Bytes of a client in a frame: two addresses and two ports.
const fn client_bytes(family: Family) -> usize {
    2 * (family.bits() as usize / 8 + 2)
}

/// Ahead of the clients of a frame: whether what was told before is void, and how many of them have come.
const HEAD: usize = 3;

/// Two thousand a second.
const BATCH: usize = 10;
const BATCH_EVERY: Duration = Duration::from_millis(5);

/// A look takes at most this part of the time; and this where connections neither come nor go.
const PART: u32 = 100;
const PART_IDLE: u32 = 1000;
/// A look is not repeated earlier, however cheap it was.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(50);
/// A look that was held up has cost less than it took; and whoever comes to an idle node is to be seen soon.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(10);
const LOOK_AT_LEAST_EVERY_IDLE: Duration = Duration::from_secs(1);

/// A TCP connection at a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    pub virtual_address: IpAddr,
    pub port: u16,
    pub address: IpAddr,
    pub client_port: u16,
}

impl Client {
    fn emit(&self, bytes: &mut Vec<u8>) {
        for (address, port) in [(self.virtual_address, self.port), (self.address, self.client_port)] {
            match address {
                IpAddr::V4(address) => bytes.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => bytes.extend_from_slice(&address.octets()),
            }
            bytes.extend_from_slice(&port.to_be_bytes());
        }
    }

    /// The halves of as many bytes as a client of the family has.
    fn parse(family: Family, bytes: &[u8]) -> Option<Self> {
        let end = |bytes: &[u8]| {
            let (address, port) = bytes.split_last_chunk::<2>()?;
            let address = match family {
                Family::V4 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
                Family::V6 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
            };
            Some((address, u16::from_be_bytes(*port)))
        };
        let (near, far) = bytes.split_at_checked(bytes.len() / 2)?;
        let ((virtual_address, port), (address, client_port)) = (end(near)?, end(far)?);
        Some(Self { virtual_address, port, address, client_port })
    }

    fn is_of(&self, family: Family) -> bool {
        [self.virtual_address, self.address].into_iter().all(|address| Family::of(address) == family)
    }
}

/// What has changed since it was last told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What was told before is void.
    pub anew: bool,
    pub opened: Vec<Client>,
    pub closed: Vec<Client>,
}

impl Change {
    /// Clients of one frame.
    pub const fn max_clients(family: Family) -> usize {
        (MAX_PAYLOAD - HEAD) / client_bytes(family)
    }

    /// A frame has clients of one family; what has none is as good for either.
    pub(super) fn family(&self) -> Family {
        let first = self.opened.first().or_else(|| self.closed.first());
        first.map_or(Family::V4, |client| Family::of(client.virtual_address))
    }

    /// What closed goes first, so that there is room for what has opened.
    pub fn messages(self) -> Vec<Message> {
        let mut messages = vec![];
        let mut anew = self.anew;
        let mut say = |opened: &[Client], closed: &[Client]| {
            let (opened, closed) = (opened.to_vec(), closed.to_vec());
            messages.push(Message::Clients(Self { anew: std::mem::take(&mut anew), opened, closed }));
        };
        if self.anew && self.opened.is_empty() {
            say(&[], &[]);
        }
        for family in [Family::V4, Family::V6] {
            let of_family = |clients: &[Client]| -> Vec<Client> {
                clients.iter().filter(|client| client.is_of(family)).copied().collect()
            };
            let most = Self::max_clients(family);
            of_family(&self.closed).chunks(most).for_each(|closed| say(&[], closed));
            of_family(&self.opened).chunks(most).for_each(|opened| say(opened, &[]));
        }
        messages
    }

    pub(super) fn emit(&self) -> Vec<u8> {
        let family = self.family();
        let most = Self::max_clients(family);
        let of_family = |client: &&Client| client.is_of(family);
        let opened: Vec<&Client> = self.opened.iter().filter(of_family).take(most).collect();
        let closed = self.closed.iter().filter(of_family).take(most - opened.len());
        let mut bytes = vec![u8::from(self.anew)];
        bytes.extend_from_slice(&u16::try_from(opened.len()).unwrap_or(u16::MAX).to_be_bytes());
        opened.into_iter().chain(closed).for_each(|client| client.emit(&mut bytes));
        bytes
    }

    pub(super) fn parse(family: Family, payload: &[u8]) -> Result<Self, Refusal> {
        let ([anew, count @ ..], clients) = payload.split_first_chunk::<HEAD>().ok_or(Refusal::Malformed)?;
        let length = client_bytes(family);
        let opened = usize::from(u16::from_be_bytes(*count));
        if clients.len() % length != 0 || opened > clients.len() / length || *anew > 1 {
            return Err(Refusal::Malformed);
        }
        let parse = |bytes: &[u8]| -> Result<Vec<Client>, Refusal> {
            let clients = bytes.chunks_exact(length);
            clients.map(|bytes| Client::parse(family, bytes).ok_or(Refusal::Malformed)).collect()
        };
        let (opened, closed) = clients.split_at_checked(opened * length).ok_or(Refusal::Malformed)?;
        Ok(Self { anew: *anew == 1, opened: parse(opened)?, closed: parse(closed)? })
    }
}

/// A master's side: what it has seen, and what of it was told.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    told: BTreeSet<Client>,
    /// Seen by the last look only. Most connections of a busy proxy never get older than that.
    young: BTreeSet<Client>,
}

impl Watched {
    /// All connections that are open now. Those are told of that two looks have seen.
    pub fn look(&mut self, seen: &BTreeSet<Client>) -> Change {
        let closed: Vec<Client> = self.told.difference(seen).copied().collect();
        for client in &closed {
            self.told.remove(client);
        }
        let room = MAX_CLIENTS - self.told.len();
        let grown = self.young.intersection(seen).filter(|client| !self.told.contains(client));
        let opened: Vec<Client> = grown.take(room).copied().collect();
        self.told.extend(&opened);
        self.young = seen.difference(&self.told).take(MAX_CLIENTS).copied().collect();
        Change { anew: false, opened, closed }
    }

    /// Everything, for one who was told of nothing.
    pub fn all(&self) -> Change {
        Change { anew: true, opened: self.told.iter().copied().collect(), closed: vec![] }
    }

    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// The last look, which has found this change, has found nothing that is to be looked at again soon.
    pub fn is_idle(&self, change: &Change) -> bool {
        self.young.is_empty() && change.opened.is_empty() && change.closed.is_empty()
    }
}

/// How long not to look again after a look that took so long.
pub fn pause_after(spent: Duration, is_idle: bool) -> Duration {
    let pause = |part: u32, most| spent.saturating_mul(part - 1).clamp(LOOK_AT_MOST_EVERY, most);
    let busy = pause(PART, LOOK_AT_LEAST_EVERY);
    if is_idle { pause(PART_IDLE, LOOK_AT_LEAST_EVERY_IDLE).max(busy) } else { busy }
}

/// A backup's side: what one peer has told of.
#[derive(Debug, Default)]
pub struct Remembered {
    clients: BTreeSet<Client>,
}

impl Remembered {
    /// `room`: for so many more. `is_shared`: one of an address that the peer may speak of.
    pub fn apply(&mut self, change: &Change, room: usize, is_shared: impl Fn(&Client) -> bool) {
        let room = if change.anew { room + self.clients.len() } else { room };
        if change.anew {
            self.clients.clear();
        }
        let before = self.clients.len();
        for client in &change.closed {
            self.clients.remove(client);
        }
        let most = (before + room).min(MAX_CLIENTS);
        for client in change.opened.iter().filter(|client| is_shared(client)) {
            if self.clients.len() < most {
                self.clients.insert(*client);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    pub fn clear(&mut self) {
        self.clients.clear();
    }

    /// Those of these addresses, which are forgotten here.
    pub fn take(&mut self, addresses: &[IpAddr]) -> BTreeSet<Client> {
        let found: BTreeSet<Client> =
            addresses.iter().flat_map(|address| self.clients.range(all_of(*address))).copied().collect();
        if found.len() == self.clients.len() {
            return std::mem::take(&mut self.clients);
        }
        for client in &found {
            self.clients.remove(client);
        }
        found
    }
}

/// In the order of clients those of an address are together.
fn all_of(virtual_address: IpAddr) -> RangeInclusive<Client> {
    let (lowest, highest) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::from_bits(u128::MAX).into());
    let first = Client { virtual_address, port: 0, address: lowest, client_port: 0 };
    let last = Client { virtual_address, port: u16::MAX, address: highest, client_port: u16::MAX };
    first..=last
}

/// A new master's side: connections that are to be ended, in their time.
#[derive(Debug, Default)]
pub struct Bereaved {
    waiting: BTreeSet<Client>,
    /// No batch leaves earlier.
    next: Option<Instant>,
}

impl Bereaved {
    pub fn add(&mut self, mut clients: BTreeSet<Client>, now: Instant) {
        self.waiting.append(&mut clients);
        self.next.get_or_insert(now);
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next.filter(|_| !self.waiting.is_empty())
    }

    /// Those whose turn it is. A late turn is not made good.
    pub fn due(&mut self, now: Instant) -> Vec<Client> {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return vec![];
        }
        self.next = Some(now + BATCH_EVERY);
        std::iter::from_fn(|| self.waiting.pop_first()).take(BATCH).collect()
    }

    /// The address is not this node's any more.
    pub fn forget(&mut self, address: IpAddr) {
        self.waiting.retain(|client| client.virtual_address != address);
    }
}

#[cfg(test)]
#[path = "clients_tests.rs"]
mod tests;
