//! The greeting: whoever has dialled speaks first, the other one answers, and each has then shown that it has a key,
//! now, for these two addresses. No socket, no random number.
//!
//! ```text
//!  0                   4         6      7                23               55               87
//!  +-------------------+---------+------+----------------+----------------+----------------+
//!  | "vpgl"            | versions| side | node           | nonce          | signature      |
//!  +-------------------+---------+------+----------------+----------------+----------------+
//! ```
//! The signature of the answer covers the question, so that neither can be used again, and the side, so that none comes
//! back to its sender. The dialler is not known to live before its first frame: a question can be repeated by anybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hmac::Mac;

use super::frame::{Opener, Sealer, Session};
use super::key::{Key, Keys, SIGNATURE, Signature};
use super::refusal::Refusal;

const MAGIC: [u8; 4] = *b"vpgl";
/// The lowest and the highest version that is spoken here.
const VERSIONS: [u8; 2] = [1, 1];
const SIGNED: usize = 4 + 2 + 1 + 16 + 32;
/// Bytes of a greeting, in every version.
pub const HELLO: usize = SIGNED + SIGNATURE;

const PURPOSE_HELLO: &[u8] = b"vipgate link hello";
const PURPOSE_FRAMES: &[u8] = b"vipgate link frames";

/// Random, drawn anew for each connection.
pub type Nonce = [u8; 32];
/// Random, drawn once by each process.
pub type Node = [u8; 16];

/// Whose turn it was to speak first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Dialler = 0,
    Listener = 1,
}

/// The addresses of a connection. There is no translation between nodes of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub dialler: IpAddr,
    pub listener: IpAddr,
}

impl Ends {
    /// Eight bytes of IPv4, 32 of IPv6.
    fn bytes(self) -> Vec<u8> {
        let octets = |address| match address {
            IpAddr::V4(address) => Ipv4Addr::octets(&address).to_vec(),
            IpAddr::V6(address) => Ipv6Addr::octets(&address).to_vec(),
        };
        [octets(self.dialler), octets(self.listener)].concat()
    }
}

/// What one side brings to a greeting.
#[derive(Clone, Copy, Debug)]
pub struct Secret<'a> {
    pub keys: &'a Keys,
    pub node: Node,
    pub nonce: Nonce,
}

/// A greeting as it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hello {
    bytes: [u8; HELLO],
}

impl Hello {
    fn new(side: Side, ours: &Secret<'_>, ends: Ends, question: Option<&Self>) -> Option<Self> {
        let mut bytes = [0; HELLO];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSIONS);
        bytes[6] = side as u8;
        bytes[7..23].copy_from_slice(&ours.node);
        bytes[23..SIGNED].copy_from_slice(&ours.nonce);
        let mut hello = Self { bytes };
        let signature = hello.sign(ours.keys.signing(), ends, question)?.finalize().into_bytes();
        hello.bytes[SIGNED..].copy_from_slice(&signature);
        Some(hello)
    }

    fn sign(&self, key: &Key, ends: Ends, question: Option<&Self>) -> Option<Signature> {
        let mut signature = key.derive(&[], &[PURPOSE_HELLO])?;
        signature.update(&ends.bytes());
        if let Some(question) = question {
            signature.update(&question.bytes);
        }
        signature.update(&self.bytes[..SIGNED]);
        Some(signature)
    }

    fn nonce(&self) -> &[u8] {
        &self.bytes[23..SIGNED]
    }

    fn node(&self) -> Node {
        let mut node = [0; 16];
        node.copy_from_slice(&self.bytes[7..23]);
        node
    }

    /// The key that it is signed with. In the order in which a refusal says most.
    fn check(
        &self,
        side: Side,
        ours: &Secret<'_>,
        ends: Ends,
        question: Option<&Self>,
    ) -> Result<Key, Refusal> {
        if self.bytes[..4] != MAGIC || self.bytes[6] != side as u8 {
            return Err(Refusal::Greeting);
        }
        let is_signed_with = |key: &&Key| {
            let signature = self.sign(key, ends, question);
            signature.is_some_and(|s| s.verify_slice(&self.bytes[SIGNED..]).is_ok())
        };
        let key = ours.keys.accepted().find(is_signed_with).ok_or(Refusal::Key)?;
        if self.node() == ours.node {
            return Err(Refusal::Own);
        }
        // Both sides come to the same: the highest of both, unless that is below the lowest of one.
        let (lowest, highest) = (self.bytes[4].max(VERSIONS[0]), self.bytes[5].min(VERSIONS[1]));
        if lowest > highest { Err(Refusal::Version) } else { Ok(key.clone()) }
    }
}

/// What a dialler waits with.
#[derive(Debug)]
pub struct Opening {
    question: Hello,
    ends: Ends,
}

/// Both sides have shown what they have.
#[derive(Debug)]
pub struct Greeted {
    pub session: Session,
    /// The peer's process: another one after each of its starts.
    pub node: Node,
    /// The keys that the session hangs on: ours, and that of the peer.
    pub keys: [Key; 2],
}

/// What a listener answers.
#[derive(Debug)]
pub struct Accepted {
    pub answer: [u8; HELLO],
    pub greeted: Greeted,
}

/// The first bytes of whoever dials.
pub fn greet(ours: &Secret<'_>, ends: Ends) -> Option<([u8; HELLO], Opening)> {
    let question = Hello::new(Side::Dialler, ours, ends, None)?;
    Some((question.bytes, Opening { question, ends }))
}

/// What the listener says to them.
pub fn accept(ours: &Secret<'_>, ends: Ends, bytes: &[u8; HELLO]) -> Result<Accepted, Refusal> {
    let question = Hello { bytes: *bytes };
    let theirs = question.check(Side::Dialler, ours, ends, None)?;
    let answer = Hello::new(Side::Listener, ours, ends, Some(&question)).ok_or(Refusal::Key)?;
    let keys = [ours.keys.signing().clone(), theirs];
    let session = session(Side::Listener, &keys, ends, &question, &answer).ok_or(Refusal::Key)?;
    Ok(Accepted { answer: answer.bytes, greeted: Greeted { session, node: question.node(), keys } })
}

impl Opening {
    /// What the dialler makes of the answer.
    pub fn finish(self, ours: &Secret<'_>, bytes: &[u8; HELLO]) -> Result<Greeted, Refusal> {
        let answer = Hello { bytes: *bytes };
        let theirs = answer.check(Side::Listener, ours, self.ends, Some(&self.question))?;
        let keys = [ours.keys.signing().clone(), theirs];
        let session =
            session(Side::Dialler, &keys, self.ends, &self.question, &answer).ok_or(Refusal::Key)?;
        Ok(Greeted { session, node: answer.node(), keys })
    }
}

/// Each direction has a key of its own, out of the key of who sends, both nonces, both addresses and both processes.
fn session(
    own: Side,
    [ours, theirs]: &[Key; 2],
    ends: Ends,
    question: &Hello,
    answer: &Hello,
) -> Option<Session> {
    let salt = [question.nonce(), answer.nonce()].concat();
    let addresses = ends.bytes();
    let (asker, answerer) = (question.node(), answer.node());
    let direction = |key: &Key, side: Side| {
        key.derive(&salt, &[PURPOSE_FRAMES, &[side as u8], &addresses, &asker, &answerer])
    };
    let other = match own {
        Side::Dialler => Side::Listener,
        Side::Listener => Side::Dialler,
    };
    Some(Session {
        sealer: Sealer::new(direction(ours, own)?),
        opener: Opener::new(direction(theirs, other)?),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::key::tests::keys;
    use super::*;

    pub(crate) const ENDS: Ends = Ends {
        dialler: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
        listener: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3)),
    };

    fn secret(keys: &Keys, number: u8) -> Secret<'_> {
        Secret { keys, node: [number; 16], nonce: [number ^ 0x80; 32] }
    }

    /// Both sides of a connection, or what one of them says against it.
    pub(crate) fn meet(dialler: &Keys, listener: &Keys) -> Result<(Session, Session), Refusal> {
        let (a, b) = (secret(dialler, 1), secret(listener, 2));
        let (question, opening) = greet(&a, ENDS).unwrap();
        let accepted = accept(&b, ENDS, &question)?;
        let greeted = opening.finish(&a, &accepted.answer)?;
        assert_eq!((greeted.node, accepted.greeted.node), ([2; 16], [1; 16]));
        Ok((greeted.session, accepted.greeted.session))
    }

    #[test]
    fn keys_may_differ_as_long_as_each_knows_what_the_other_signs_with() {
        let table = [
            ("a", "a", Ok(())),
            ("a", "b", Err(Refusal::Key)),
            // A change of keys, node by node.
            ("a", "a b", Ok(())),
            ("a b", "a b", Ok(())),
            ("b a", "a b", Ok(())),
            ("b a", "b a", Ok(())),
            ("b", "b a", Ok(())),
            // One that was hurried.
            ("b", "a b", Err(Refusal::Key)),
            ("a", "b a", Err(Refusal::Key)),
        ];
        for (dialler, listener, expect) in table {
            for (one, other) in [(dialler, listener), (listener, dialler)] {
                let met = meet(&keys(one), &keys(other));
                assert_eq!(met.map(drop), expect, "{one} and {other}");
            }
        }
    }

    #[test]
    fn a_greeting_serves_once_and_there() {
        let both = keys("a");
        let (a, b) = (secret(&both, 1), secret(&both, 2));
        let (question, opening) = greet(&a, ENDS).unwrap();
        let answer = accept(&b, ENDS, &question).unwrap().answer;

        let other = Ends { listener: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 4)), ..ENDS };
        assert_eq!(accept(&b, other, &question).unwrap_err(), Refusal::Key, "meant for another node");
        assert_eq!(accept(&a, ENDS, &question).unwrap_err(), Refusal::Own);
        assert_eq!(accept(&b, ENDS, &answer).unwrap_err(), Refusal::Greeting, "an answer is no question");
        assert_eq!(opening.finish(&a, &question).unwrap_err(), Refusal::Greeting, "it came back");

        let again = Secret { nonce: [9; 32], ..a };
        let (_, opening) = greet(&again, ENDS).unwrap();
        assert_eq!(opening.finish(&again, &answer).unwrap_err(), Refusal::Key, "an old answer");
    }

    #[test]
    fn a_repeated_question_leads_to_a_session_that_its_repeater_cannot_speak_in() {
        let both = keys("a");
        let (a, b) = (secret(&both, 1), secret(&both, 2));
        let (question, opening) = greet(&a, ENDS).unwrap();
        let first = accept(&b, ENDS, &question).unwrap();
        let mut dialler = opening.finish(&a, &first.answer).unwrap().session;
        let frame = dialler.sealer.seal(3, b"state").unwrap();

        let later = Secret { nonce: [77; 32], ..b };
        let mut repeated = accept(&later, ENDS, &question).unwrap().greeted.session;
        assert_eq!(repeated.opener.open(&frame[2..]).unwrap_err(), Refusal::Forged);
    }

    #[test]
    fn one_flipped_bit_never_passes() {
        let both = keys("a");
        let (a, b) = (secret(&both, 1), secret(&both, 2));
        let (question, _) = greet(&a, ENDS).unwrap();
        let accepted = accept(&b, ENDS, &question).unwrap();
        for bit in 0..HELLO * 8 {
            let flip = |bytes: &[u8; HELLO]| {
                let mut bytes = *bytes;
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            };
            assert!(accept(&b, ENDS, &flip(&question)).is_err(), "bit {bit} of the question");
            let (_, opening) = greet(&a, ENDS).unwrap();
            assert!(opening.finish(&a, &flip(&accepted.answer)).is_err(), "bit {bit} of the answer");
        }
    }

    #[test]
    fn versions_that_do_not_meet_are_said() {
        let both = keys("a");
        let (a, b) = (secret(&both, 1), secret(&both, 2));
        for (versions, expect) in
            [([1, 1], true), ([1, 9], true), ([0, 1], true), ([2, 9], false), ([0, 0], false)]
        {
            let (mut question, _) = greet(&a, ENDS).unwrap();
            question[4..6].copy_from_slice(&versions);
            let mut hello = Hello { bytes: question };
            let signature = hello.sign(both.signing(), ENDS, None).unwrap().finalize().into_bytes();
            hello.bytes[SIGNED..].copy_from_slice(&signature);
            let got = accept(&b, ENDS, &hello.bytes).map(drop);
            assert_eq!(got, if expect { Ok(()) } else { Err(Refusal::Version) }, "{versions:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_harm(bytes in proptest::collection::vec(any::<u8>(), HELLO)) {
            let (both, bytes) = (keys("a"), <[u8; HELLO]>::try_from(bytes).unwrap());
            let (a, b) = (secret(&both, 1), secret(&both, 2));
            prop_assert!(accept(&b, ENDS, &bytes).is_err());
            let (_, opening) = greet(&a, ENDS).unwrap();
            prop_assert!(opening.finish(&a, &bytes).is_err());
        }
    }
}
