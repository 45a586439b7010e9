//! What a frame says. Every value is bounded; what a later version adds is passed over. No socket.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clients::Change;
use super::frame::MAX_PAYLOAD;
use super::refusal::Refusal;
use crate::net::Family;

/// Characters of a text that a peer says.
const MAX_TEXT: usize = 200;
/// There are no more virtual router identifiers.
const MAX_ROUTERS: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Does your event loop turn? At once, please.
    Ask {
        id: u64,
    },
    /// It does, and this node is master of these virtual routers.
    Alive {
        id: u64,
        masters: Vec<u8>,
    },
    /// What there is to know about the sender; when something of it changes, and every second.
    State(Box<State>),
    /// The answer to the state of that number: how long the sender waits, at least, before it takes over each virtual
    /// router from its receiver.
    Patience {
        id: u64,
        bounds: Vec<(u8, Duration)>,
    },
    /// The link ends in good order, and this is why.
    Farewell(Farewell),
    /// Once a master gave that virtual router up in good order, and has no connection left.
    Drained {
        vrid: u8,
    },
    /// Open connections of clients, as they come and go.
    Clients(Change),
    /// What somebody wants who is no peer, as the first word on a connection of his own, answered by a `State` or an
    /// `Outcome`.
    Order(Order),
    Outcome(Outcome),
}

/// What a drill asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// How are you?
    Look,
    /// Hand this virtual router, of which you are master, over to a peer.
    HandOver { vrid: u8 },
    /// Stand still for so long, as if you were frozen.
    Freeze { length: Duration },
    /// A later version has more of them.
    Other,
}

/// What became of an order, ready to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub done: bool,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The process ends.
    Stopping,
    /// There is another connection between the two.
    Duplicate,
    /// The configuration does not have the link, the peer or the key any more.
    Settings,
    /// A later version has more reasons.
    Other,
}

/// A peer's word about itself, obeyed by nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Counts the states of a connection.
    pub id: u64,
    pub node: String,
    pub version: String,
    /// Of its configuration's text.
    pub digest: String,
    /// Its worst lateness of the last seconds, in nanoseconds.
    pub late_ns: u64,
    /// The period of its CPU quota, in nanoseconds; 0: it has none.
    pub quota_ns: u64,
    /// Every advert that it has signed up to this number is old; 0: it says nothing about that.
    pub adverts_void: u64,
    pub routers: Vec<Router>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Router {
    pub vrid: u8,
    /// The other family has the same numbers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ipv6: bool,
    /// "master", "backup", "fault".
    pub state: String,
    pub priority: u8,
    /// Why it may not be master; `None`: it may.
    pub ineligible: Option<String>,
    /// It reads the trailers of adverts that are signed with a key derived from the link's.
    pub reads_hmac: bool,
    /// Its own to the receiver of this have one.
    pub signs_hmac: bool,
}

const ASK: u8 = 1;
const ALIVE: u8 = 2;
const STATE: u8 = 3;
const PATIENCE: u8 = 4;
const FAREWELL: u8 = 5;
const DRAINED: u8 = 6;
const CLIENTS: u8 = 7;
const ORDER: u8 = 8;
const OUTCOME: u8 = 9;
const CLIENTS_V6: u8 = 10;

impl Message {
    /// Kind and payload of its frame.
    pub fn emit(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Ask { id } => (ASK, id.to_be_bytes().to_vec()),
            Self::Alive { id, masters } => {
                (ALIVE, id.to_be_bytes().iter().chain(masters.iter().take(MAX_ROUTERS)).copied().collect())
            }
            Self::State(state) => (STATE, state.emit()),
            Self::Patience { id, bounds } => {
                let mut bytes = id.to_be_bytes().to_vec();
                for (vrid, bound) in bounds.iter().take(MAX_ROUTERS) {
                    bytes.push(*vrid);
                    bytes.extend_from_slice(&saturated(bound.as_micros()).to_be_bytes());
                }
                (PATIENCE, bytes)
            }
            Self::Farewell(why) => (FAREWELL, vec![why.code()]),
            Self::Drained { vrid } => (DRAINED, vec![*vrid]),
            Self::Clients(change) => match change.family() {
                Family::V4 => (CLIENTS, change.emit()),
                Family::V6 => (CLIENTS_V6, change.emit()),
            },
            Self::Order(order) => (ORDER, order.emit()),
            Self::Outcome(outcome) => (OUTCOME, outcome.emit()),
        }
    }

    /// `None`: of a kind that a later version has.
    pub fn parse(kind: u8, payload: &[u8]) -> Result<Option<Self>, Refusal> {
        Ok(Some(match kind {
            ASK => Self::Ask { id: number(payload)?.0 },
            ALIVE => {
                let (id, masters) = number(payload)?;
                Self::Alive { id, masters: masters.iter().copied().take(MAX_ROUTERS).collect() }
            }
            STATE => Self::State(Box::new(State::parse(payload)?)),
            PATIENCE => {
                let (id, bounds) = number(payload)?;
                let (bounds, rest) = bounds.as_chunks::<5>();
                if !rest.is_empty() {
                    return Err(Refusal::Malformed);
                }
                let bound = |[vrid, micros @ ..]: &[u8; 5]| {
                    (*vrid, Duration::from_micros(u32::from_be_bytes(*micros).into()))
                };
                Self::Patience { id, bounds: bounds.iter().take(MAX_ROUTERS).map(bound).collect() }
            }
            FAREWELL => Self::Farewell(Farewell::from_code(*payload.first().ok_or(Refusal::Malformed)?)),
            DRAINED => Self::Drained { vrid: *payload.first().ok_or(Refusal::Malformed)? },
            CLIENTS => Self::Clients(Change::parse(Family::V4, payload)?),
            CLIENTS_V6 => Self::Clients(Change::parse(Family::V6, payload)?),
            ORDER => Self::Order(Order::parse(payload)?),
            OUTCOME => Self::Outcome(Outcome::parse(payload)?),
            _ => return Ok(None),
        }))
    }
}

impl Farewell {
    const fn code(self) -> u8 {
        match self {
            Self::Stopping => 1,
            Self::Duplicate => 2,
            Self::Settings => 3,
            Self::Other => 0,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Stopping,
            2 => Self::Duplicate,
            3 => Self::Settings,
            _ => Self::Other,
        }
    }
}

impl Order {
    /// Longer shows nothing more, and has to be over before anybody loses patience.
    pub const FREEZE_MOST: Duration = Duration::from_secs(10);
    /// The kernel and the peer need a part of it to notice.
    pub const FREEZE_LEAST: Duration = Duration::from_millis(200);

    fn emit(self) -> Vec<u8> {
        match self {
            Self::Look => vec![1],
            Self::HandOver { vrid } => vec![2, vrid],
            Self::Freeze { length } => [&[3], &saturated(length.as_millis()).to_be_bytes()[..]].concat(),
            Self::Other => vec![0],
        }
    }

    fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        Ok(match payload {
            [] => return Err(Refusal::Malformed),
            [1, ..] => Self::Look,
            [2, vrid, ..] => Self::HandOver { vrid: *vrid },
            [3, a, b, c, d, ..] => {
                Self::Freeze { length: Duration::from_millis(u32::from_be_bytes([*a, *b, *c, *d]).into()) }
            }
            [2 | 3, ..] => return Err(Refusal::Malformed),
            [..] => Self::Other,
        })
    }
}

impl Outcome {
    /// A reason may name every peer.
    const MAX_TEXT: usize = 1000;

    fn emit(&self) -> Vec<u8> {
        let text: String = self.text.chars().take(Self::MAX_TEXT).collect();
        [&[u8::from(self.done)], text.as_bytes()].concat()
    }

    fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        let (done, text) = payload.split_first().ok_or(Refusal::Malformed)?;
        let text = std::str::from_utf8(text).map_err(|_| Refusal::Malformed)?;
        Ok(Self { done: *done == 1, text: printable(text, Self::MAX_TEXT) })
    }
}

/// A terminal must not obey what somebody else says.
fn printable(text: &str, limit: usize) -> String {
    let clean = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(limit).map(clean).collect()
}

impl State {
    /// What does not fit is left out: reasons first, then virtual routers.
    fn emit(&self) -> Vec<u8> {
        let mut state = self.clone();
        state.shorten();
        loop {
            // Numbers and texts: there is nothing that JSON could not say.
            let bytes = serde_json::to_vec(&state).unwrap_or_default();
            if bytes.len() <= MAX_PAYLOAD {
                return bytes;
            }
            if state.routers.iter().any(|router| router.ineligible.as_ref().is_some_and(|r| !r.is_empty())) {
                state
                    .routers
                    .iter_mut()
                    .filter_map(|router| router.ineligible.as_mut())
                    .for_each(String::clear);
            } else {
                state.routers.truncate(state.routers.len() / 2);
            }
        }
    }

    fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        let mut state: Self = serde_json::from_slice(payload).map_err(|_| Refusal::Malformed)?;
        state.shorten();
        Ok(state)
    }

    fn shorten(&mut self) {
        self.routers.truncate(MAX_ROUTERS);
        let texts = [&mut self.node, &mut self.version, &mut self.digest].into_iter();
        let routers = self.routers.iter_mut();
        for text in texts.chain(routers.flat_map(|r| [&mut r.state].into_iter().chain(&mut r.ineligible))) {
            if text.chars().any(char::is_control) || text.len() > MAX_TEXT {
                *text = printable(text, MAX_TEXT);
            }
        }
    }
}

/// The number at the start, and what follows.
fn number(payload: &[u8]) -> Result<(u64, &[u8]), Refusal> {
    let (number, rest) = payload.split_first_chunk::<8>().ok_or(Refusal::Malformed)?;
    Ok((u64::from_be_bytes(*number), rest))
}

fn saturated(count: u128) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::clients::Client;
    use super::*;

    fn client(n: u16) -> Client {
        Client {
            virtual_address: [10, 0, 0, 99].into(),
            port: 80,
            address: [10, 1, 0, 1].into(),
            client_port: n,
        }
    }

    #[test]
    fn every_message_arrives_as_it_was_sent() {
        let state = State {
            id: 7,
            node: "master".into(),
            version: "0.1.0".into(),
            digest: "ab".repeat(32),
            late_ns: 1_500_000,
            quota_ns: 100_000_000,
            adverts_void: u64::MAX,
            routers: vec![Router {
                vrid: 51,
                ipv6: true,
                state: "fault".into(),
                priority: 100,
                ineligible: Some("the proxy is down".into()),
                reads_hmac: true,
                signs_hmac: true,
            }],
        };
        let table = [
            Message::Ask { id: u64::MAX },
            Message::Alive { id: 1, masters: vec![] },
            Message::Alive { id: 1, masters: vec![51, 52] },
            Message::State(Box::new(state)),
            Message::Patience {
                id: 7,
                bounds: vec![(51, Duration::from_micros(60_001)), (2, Duration::ZERO)],
            },
            Message::Farewell(Farewell::Stopping),
            Message::Farewell(Farewell::Duplicate),
            Message::Farewell(Farewell::Settings),
            Message::Drained { vrid: 51 },
            Message::Clients(Change {
                anew: true,
                opened: vec![client(1), client(2)],
                closed: vec![client(3)],
            }),
            Message::Clients(Change::default()),
            Message::Order(Order::Look),
            Message::Order(Order::HandOver { vrid: 51 }),
            Message::Order(Order::Freeze { length: Duration::from_millis(2_500) }),
            Message::Order(Order::Other),
            Message::Outcome(Outcome { done: true, text: "node 3 has taken over".into() }),
            Message::Outcome(Outcome { done: false, text: String::new() }),
            Message::Clients(Change {
                anew: false,
                opened: vec![Client {
                    virtual_address: [0x2001_u16, 0xdb8, 0, 0, 0, 0, 0, 0x99].into(),
                    address: [0x2001_u16, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
                    ..client(4)
                }],
                closed: vec![],
            }),
        ];
        for message in table {
            let (kind, payload) = message.emit();
            assert_eq!(Message::parse(kind, &payload), Ok(Some(message)));
        }
    }

    #[test]
    fn what_is_no_message_is_refused_and_what_is_new_is_passed_over() {
        let refused: [(u8, &[u8]); 17] = [
            (ASK, b"1234567"),
            (ALIVE, b""),
            (STATE, b"{"),
            (STATE, b"7"),
            (STATE, b"{\"routers\": [{\"vrid\": 256}]}"),
            (PATIENCE, b"12345678123456"),
            (FAREWELL, b""),
            (CLIENTS, &[0, 0]),
            (CLIENTS, &[0, 0, 1]),
            (CLIENTS, &[2, 0, 0]),
            (ORDER, b""),
            (ORDER, &[2]),
            (ORDER, &[3, 0, 0, 7]),
            (OUTCOME, b""),
            (OUTCOME, &[1, 0xff]),
            (CLIENTS_V6, &[0, 0, 1]),
            (CLIENTS_V6, &[0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ];
        for (kind, payload) in refused {
            assert_eq!(Message::parse(kind, payload), Err(Refusal::Malformed), "{kind} {payload:?}");
        }
        assert_eq!(Message::parse(200, b"whatever"), Ok(None));
        assert_eq!(Message::parse(FAREWELL, &[99]), Ok(Some(Message::Farewell(Farewell::Other))));
        assert_eq!(Message::parse(ORDER, &[99, 1]), Ok(Some(Message::Order(Order::Other))));
        let shown = Message::parse(OUTCOME, b"\x00red: \x1b[31m").unwrap().unwrap();
        assert_eq!(shown, Message::Outcome(Outcome { done: false, text: "red: \u{fffd}[31m".into() }));
        let later = Message::parse(STATE, b"{\"node\": \"a\", \"mood\": 3}").unwrap().unwrap();
        assert_eq!(later, Message::State(Box::new(State { node: "a".into(), ..State::default() })));
    }

    #[test]
    fn what_is_too_much_for_a_frame_is_left_out() {
        let router =
            |vrid| Router { vrid, ineligible: Some("\u{1b}[31m".repeat(1_000)), ..Router::default() };
        let state = State { routers: (1..=255).map(router).collect(), ..State::default() };
        let (kind, payload) = Message::State(Box::new(state)).emit();
        assert!(payload.len() <= MAX_PAYLOAD);
        let Ok(Some(Message::State(state))) = Message::parse(kind, &payload) else { panic!() };
        assert!(state.routers.len() > 100);
        assert!(state.routers.iter().all(|router| router.ineligible.is_some()), "still not eligible");
    }

    proptest! {
        #[test]
        fn any_payload_is_judged_without_harm(
            kind in 0_u8..12,
            payload in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            if let Ok(Some(message)) = Message::parse(kind, &payload) {
                let (kind, again) = message.emit();
                prop_assert_eq!(Message::parse(kind, &again), Ok(Some(message)));
            }
        }
    }
}
