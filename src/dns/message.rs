//! A question for the addresses of a name, and what an answer says to it (RFC 1035 section 4, RFC 3596).
//!
//! No EDNS (RFC 6891): what does not fit into 512 bytes, 28 addresses or so, is asked for again over TCP.

use std::fmt;
use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::{Message, MessageBuilder, Name, ParsedName, Rtype, ToName};
use domain::rdata::{A, Aaaa, Cname};

/// Addresses taken from one answer: each is a server of its own, in every worker.
pub const ADDRESSES_MAX: usize = 64;
/// Records looked at; whoever sends more does not mean well.
const RECORDS_MAX: u16 = 512;
/// Aliases followed. Name servers give up at about as many.
const ALIASES_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    fn rtype(self) -> Rtype {
        match self {
            Self::V4 => Rtype::A,
            Self::V6 => Rtype::AAAA,
        }
    }
}

/// A label of more than 63 bytes, or more than 255 in all (RFC 1035 section 2.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no name that a name server can be asked for")]
pub struct BadName;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    name: Name<Vec<u8>>,
    family: Family,
}

impl Question {
    pub fn try_new(name: &str, family: Family) -> Result<Self, BadName> {
        Ok(Self { name: Name::vec_from_str(name).map_err(|_| BadName)?, family })
    }

    /// A recursive query under the number `id`.
    pub fn encode(&self, id: u16) -> Vec<u8> {
        let mut builder = MessageBuilder::new_vec();
        builder.header_mut().set_id(id);
        builder.header_mut().set_rd(true);
        let mut builder = builder.question();
        // Fails only when the buffer cannot grow, which a Vec always can.
        let _ = builder.push((&self.name, self.family.rtype()));
        builder.finish()
    }
}

/// What a name server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// In order, each once, at least one; `ttl`: seconds for which all that led there is said to stay true.
    Addresses { addresses: Vec<IpAddr>, ttl: u32 },
    /// The name exists and has no address of this family.
    NoAddress,
    /// NXDOMAIN.
    NoSuchName,
    /// Ask again over TCP.
    Truncated,
    /// The server cannot or will not say.
    Failed(String),
}

/// Not an answer to the question: as if it had not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ignored(pub &'static str);

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Reads `bytes` as an answer to `question`, which went out under the number `id`.
pub fn read(bytes: &[u8], id: u16, question: &Question) -> Result<Answer, Ignored> {
    let message = Message::from_slice(bytes).map_err(|_| Ignored("too short"))?;
    let header = message.header();
    if header.id() != id {
        return Err(Ignored("another id"));
    }
    if !header.qr() || header.opcode() != Opcode::QUERY {
        return Err(Ignored("no answer"));
    }
    // RFC 5452 section 9.1: the question has to match as well.
    let asked = message.sole_question().map_err(|_| Ignored("not one question"))?;
    let matches = asked.qname().name_eq(&question.name)
        && asked.qtype() == question.family.rtype()
        && asked.qclass() == Class::IN;
    if !matches {
        return Err(Ignored("another question"));
    }
    if header.tc() {
        return Ok(Answer::Truncated);
    }
    match header.rcode() {
        Rcode::NOERROR => addresses(message, question),
        Rcode::NXDOMAIN => Ok(Answer::NoSuchName),
        other => Ok(Answer::Failed(format!("the name server says {other}"))),
    }
}

fn addresses(message: &Message<[u8]>, question: &Question) -> Result<Answer, Ignored> {
    const MALFORMED: Ignored = Ignored("malformed");
    if message.header_counts().ancount() > RECORDS_MAX {
        return Err(Ignored("too many records"));
    }
    let mut aliases: Vec<Owned<'_, ParsedName<&[u8]>>> = vec![];
    let mut found: Vec<Owned<'_, IpAddr>> = vec![];
    for record in message.answer().map_err(|_| MALFORMED)? {
        let record = record.map_err(|_| MALFORMED)?;
        if record.class() != Class::IN {
            continue;
        }
        let (owner, ttl) = (record.owner(), seconds(record.ttl().as_secs()));
        let address = match (record.rtype(), question.family) {
            (Rtype::CNAME, _) => {
                let record = record.into_record::<Cname<_>>().map_err(|_| MALFORMED)?;
                aliases.extend(record.map(|r| (owner, r.into_data().into_cname(), ttl)));
                None
            }
            (Rtype::A, Family::V4) => {
                let record = record.into_record::<A>().map_err(|_| MALFORMED)?;
                record.map(|r| IpAddr::V4(r.data().addr()))
            }
            (Rtype::AAAA, Family::V6) => {
                let record = record.into_record::<Aaaa>().map_err(|_| MALFORMED)?;
                record.map(|r| IpAddr::V6(r.data().addr()))
            }
            _ => None,
        };
        found.extend(address.map(|address| (owner, address, ttl)));
    }
    Ok(follow(question, &aliases, &found))
}

/// RFC 2181 section 8: with the top bit set, it is zero.
fn seconds(ttl: u32) -> u32 {
    i32::try_from(ttl).map_or(0, i32::cast_unsigned)
}

/// A record's owner, what it says, and its time to live.
type Owned<'a, T> = (ParsedName<&'a [u8]>, T, u32);

/// From the name that was asked for, along its aliases, to the addresses.
fn follow(
    question: &Question,
    aliases: &[Owned<'_, ParsedName<&[u8]>>],
    found: &[Owned<'_, IpAddr>],
) -> Answer {
    let mut least = u32::MAX;
    let mut alias = None;
    for _ in 0..=ALIASES_MAX {
        let is_here = |owner: &ParsedName<&[u8]>| match alias {
            None => owner.name_eq(&question.name),
            Some(name) => owner.name_eq(name),
        };
        let mut addresses = vec![];
        for (_, address, ttl) in found.iter().filter(|(owner, ..)| is_here(owner)) {
            least = least.min(*ttl);
            // "Block this name" in the dialect of filtering name servers; connecting to it would reach this node.
            if !address.is_unspecified() && !address.is_multicast() {
                addresses.push(*address);
            }
        }
        if !addresses.is_empty() {
            addresses.sort_unstable();
            addresses.dedup();
            addresses.truncate(ADDRESSES_MAX);
            return Answer::Addresses { addresses, ttl: least };
        }
        let Some((_, target, ttl)) = aliases.iter().find(|(owner, ..)| is_here(owner)) else {
            return Answer::NoAddress;
        };
        least = least.min(*ttl);
        alias = Some(target);
    }
    Answer::Failed("too long a chain of aliases".into())
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
