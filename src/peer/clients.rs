//! Open connections of clients: which of them a peer is told of, which a peer has told of, and the pace at which they are
//! ended after its master fell silent. No socket, no clock.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::frame::MAX_PAYLOAD;
use super::message::Message;
use super::refusal::Refusal;

/// Connections that the peers are told of, and that are remembered of all of them together.
pub const MAX_CLIENTS: usize = 65_536;
/// Bytes of a client in a frame.
const CLIENT: usize = 12;
/// Ahead of the clients of a frame: whether what was told before is void, and how many of them have come.
const HEAD: usize = 3;

/// Two thousand a second.
const BATCH: usize = 10;
const BATCH_EVERY: Duration = Duration::from_millis(5);

/// A look takes at most this part of the time.
const PART: u32 = 100;
/// A look is not repeated earlier, however cheap it was.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(50);

/// A TCP connection at a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    pub virtual_address: Ipv4Addr,
    pub port: u16,
    pub address: Ipv4Addr,
    pub client_port: u16,
}

impl Client {
    fn emit(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.virtual_address.octets());
        bytes.extend_from_slice(&self.port.to_be_bytes());
        bytes.extend_from_slice(&self.address.octets());
        bytes.extend_from_slice(&self.client_port.to_be_bytes());
    }

    fn parse([a, b, c, d, e, f, g, h, i, j, k, l]: [u8; CLIENT]) -> Self {
        Self {
            virtual_address: Ipv4Addr::new(a, b, c, d),
            port: u16::from_be_bytes([e, f]),
            address: Ipv4Addr::new(g, h, i, j),
            client_port: u16::from_be_bytes([k, l]),
        }
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
    pub const MAX_CLIENTS: usize = (MAX_PAYLOAD - HEAD) / CLIENT;

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
        self.closed.chunks(Self::MAX_CLIENTS).for_each(|closed| say(&[], closed));
        self.opened.chunks(Self::MAX_CLIENTS).for_each(|opened| say(opened, &[]));
        messages
    }

    pub(super) fn emit(&self) -> Vec<u8> {
        let opened = self.opened.iter().take(Self::MAX_CLIENTS);
        let count = u16::try_from(opened.len()).unwrap_or(u16::MAX);
        let closed = self.closed.iter().take(Self::MAX_CLIENTS - opened.len());
        let mut bytes = vec![u8::from(self.anew)];
        bytes.extend_from_slice(&count.to_be_bytes());
        opened.chain(closed).for_each(|client| client.emit(&mut bytes));
        bytes
    }

    pub(super) fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        let ([anew, count @ ..], clients) = payload.split_first_chunk::<HEAD>().ok_or(Refusal::Malformed)?;
        let (clients, rest) = clients.as_chunks::<CLIENT>();
        let opened = usize::from(u16::from_be_bytes(*count));
        if !rest.is_empty() || opened > clients.len() || *anew > 1 {
            return Err(Refusal::Malformed);
        }
        let (opened, closed) = clients.split_at(opened);
        let parse = |clients: &[[u8; CLIENT]]| clients.iter().map(|bytes| Client::parse(*bytes)).collect();
        Ok(Self { anew: *anew == 1, opened: parse(opened), closed: parse(closed) })
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
}

/// How long not to look again after a look that took so long.
pub fn pause_after(spent: Duration) -> Duration {
    spent.saturating_mul(PART - 1).max(LOOK_AT_MOST_EVERY)
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
    pub fn take(&mut self, addresses: &[Ipv4Addr]) -> BTreeSet<Client> {
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
fn all_of(virtual_address: Ipv4Addr) -> RangeInclusive<Client> {
    let first = Client { virtual_address, port: 0, address: Ipv4Addr::UNSPECIFIED, client_port: 0 };
    let last =
        Client { virtual_address, port: u16::MAX, address: Ipv4Addr::BROADCAST, client_port: u16::MAX };
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
    pub fn forget(&mut self, address: Ipv4Addr) {
        self.waiting.retain(|client| client.virtual_address != address);
    }
}

#[cfg(test)]
#[path = "clients_tests.rs"]
mod tests;
