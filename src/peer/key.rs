//! The keys that the nodes of a group share, as their file holds them, and what is derived from one. No file.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::vrrp::{AuthKey, AuthKeys};

pub(super) type Signature = Hmac<Sha256>;
/// Bytes of a signature.
pub(super) const SIGNATURE: usize = 32;

/// What SHA-256 can make use of (RFC 2104 section 3: less than its output is "strongly discouraged").
const MIN_KEY: usize = 32;
/// A key that is longer is another file.
const MAX_KEY: usize = 1024;
/// The longest file in bytes: two keys and some white space.
pub const MAX_KEY_FILE: usize = 4096;

/// Purposes of the derivation.
const ADVERTS: &[u8] = b"vipgate adverts";
const ADVERTS_NUMBER: &[u8] = b"vipgate adverts key id";

/// Never shown: neither `Debug` nor any message has a part of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// A key of its own for each purpose (RFC 5869), so that what is signed for one says nothing in another.
    pub(super) fn derive(&self, salt: &[u8], purpose: &[&[u8]]) -> Option<Signature> {
        let mut derived = [0; SIGNATURE];
        Hkdf::<Sha256>::new(Some(salt), &self.0).expand_multi_info(purpose, &mut derived).ok()?;
        Signature::new_from_slice(&derived).ok()
    }

    /// For adverts; and a number for it, which says nothing about the key and is the same on every node, whatever the
    /// order of the keys there.
    fn for_adverts(&self) -> Option<AuthKey> {
        let (mut derived, mut number) = ([0; SIGNATURE], [0; 1]);
        let derivation = Hkdf::<Sha256>::new(None, &self.0);
        derivation.expand(ADVERTS, &mut derived).ok()?;
        derivation.expand(ADVERTS_NUMBER, &mut number).ok()?;
        let [number] = number;
        AuthKey::try_new(number.max(1), &derived).ok()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The first signs, all are accepted: a new key is added as the second one on every node, then put first, then left
/// alone, and at no moment does a node meet a key that it does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    first: Key,
    second: Option<Key>,
}

impl Keys {
    /// One key or two, with white space between and around them.
    pub fn parse(text: &[u8]) -> Result<Self, KeyFault> {
        if text.len() > MAX_KEY_FILE {
            return Err(KeyFault::TooMuch);
        }
        let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let mut keys = words.enumerate().map(|(index, word)| key(index + 1, word));
        let first = keys.next().ok_or(KeyFault::Empty)??;
        let second = keys.next().transpose()?;
        match keys.next() {
            Some(_) => Err(KeyFault::TooMany),
            None if second.as_ref() == Some(&first) => Err(KeyFault::Twice),
            None => Ok(Self { first, second }),
        }
    }

    pub(super) fn signing(&self) -> &Key {
        &self.first
    }

    pub(super) fn accepted(&self) -> impl Iterator<Item = &Key> {
        [&self.first].into_iter().chain(&self.second)
    }

    /// What adverts are signed with, by those who have a link.
    pub fn for_adverts(&self) -> Option<AuthKeys> {
        let others = self.second.iter().filter_map(Key::for_adverts);
        self.first.for_adverts().map(|first| AuthKeys::new(first, others))
    }

    pub fn accepts(&self, key: &Key) -> bool {
        self.accepted().any(|accepted| accepted == key)
    }
}

fn key(number: usize, word: &[u8]) -> Result<Key, KeyFault> {
    match word.len() {
        length if length < MIN_KEY => Err(KeyFault::Short { number, length }),
        length if length > MAX_KEY => Err(KeyFault::Long { number, length }),
        _ => Ok(Key(word.to_vec())),
    }
}

/// Says where, and never what is written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("there is no key in it")]
    Empty,
    #[error("key {number} has {length} bytes, and needs at least {MIN_KEY}")]
    Short { number: usize, length: usize },
    #[error("key {number} has {length} bytes, and may have {MAX_KEY}")]
    Long { number: usize, length: usize },
    #[error("it holds more than two keys; white space separates them, and a key has none inside")]
    TooMany,
    #[error("it holds the same key twice")]
    Twice,
    #[error("it is longer than {MAX_KEY_FILE} bytes")]
    TooMuch,
}

impl KeyFault {
    pub const REMEDY: &'static str = "write 64 random characters, the same on every node: openssl rand -hex 32. For a \
                                      change of keys two of them, of which the first signs";
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::{AuthHmac, VrrpVersion};
    use crate::net::Vrid;
    use crate::vrrp::{Authenticator, Bound, split};

    pub(crate) fn keys(text: &str) -> Keys {
        let long = |word: &str| word.repeat(MIN_KEY);
        Keys::parse(text.split(' ').map(long).collect::<Vec<_>>().join("\n").as_bytes()).unwrap()
    }

    #[test]
    fn one_key_or_two() {
        let (a, b) = ("a".repeat(32), "b".repeat(1024));
        let table = [
            (a.clone(), Ok(1)),
            (format!("\n {a}\r\n\n"), Ok(1)),
            (format!("{a}\n{b}\n"), Ok(2)),
            (format!("{a} {b}"), Ok(2)),
            (String::new(), Err(KeyFault::Empty)),
            (" \n\t\r\n".into(), Err(KeyFault::Empty)),
            ("a".repeat(31), Err(KeyFault::Short { number: 1, length: 31 })),
            (format!("{a}\nshort"), Err(KeyFault::Short { number: 2, length: 5 })),
            ("a".repeat(1025), Err(KeyFault::Long { number: 1, length: 1025 })),
            (format!("{a} {a}"), Err(KeyFault::Twice)),
            (format!("{a} {b} {a}"), Err(KeyFault::TooMany)),
            (" ".repeat(4097), Err(KeyFault::TooMuch)),
        ];
        for (text, expect) in table {
            let got = Keys::parse(text.as_bytes());
            assert_eq!(got.as_ref().map(|keys| keys.accepted().count()).map_err(|e| *e), expect, "{text:?}");
        }
    }

    #[test]
    fn no_key_is_ever_shown() {
        let secret = "secret".repeat(6);
        let shown = format!("{:?}", Keys::parse(secret.as_bytes()).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
        let faults = [format!("{secret} short"), format!("{secret} {secret}"), format!("{secret} a b")];
        for text in faults {
            let fault = Keys::parse(text.as_bytes()).unwrap_err();
            assert!(!format!("{fault} {fault:?} {}", KeyFault::REMEDY).contains("secret"), "{fault}");
        }
    }

    #[test]
    fn adverts_have_a_key_of_their_own_that_every_node_finds() {
        // Derived and summed with Python's hmac: the draft's advert, under the key of 32 times "a".
        let advert = *b"\x31\x33\xc8\x01\x00\x64\x44\x02\xc0\x00\x02\x64";
        let trailer = *b"\x01\x35\0\0\x68\0\0\0\x80\0\0\0\xa2\x15\xd5\xe4\x08\x87\x5d\xca\x32\x71\x0f\xcf\x95\xdb\x5d\x12";
        let bound = Bound {
            source: [198, 51, 100, 10].into(),
            version: VrrpVersion::V3,
            vrid: Vrid::try_from(51).unwrap(),
        };
        let wall = Duration::new(0x6800_0000, 500_000_000);
        let node = |letters: &str| {
            let mut node = Authenticator::new(AuthHmac::Linked);
            node.set_keys(Some(Arc::new(keys(letters).for_adverts().unwrap())));
            node
        };
        assert_eq!(node("a").sign(&advert, &bound, wall), Some(trailer));
        let bytes = [advert.as_slice(), &trailer].concat();
        let (advert, trailer) = split(&bytes, VrrpVersion::V3, bound.source);
        let take = |letters| node(letters).check(advert, trailer, &bound, Instant::now(), wall);
        assert_eq!((take("b a"), take("a b")), (Ok(true), Ok(true)), "whichever signs");
        assert_eq!(take("b"), Err(crate::vrrp::Refusal::AuthExtUnknownKey));
    }

    #[test]
    fn each_purpose_has_a_key_of_its_own() {
        let keys = keys("a b");
        let mut made = std::collections::BTreeSet::new();
        for key in keys.accepted() {
            for salt in [&[][..], b"one", b"two"] {
                for purpose in [&b"hello"[..], b"frames"] {
                    let signature = key.derive(salt, &[purpose]).unwrap().chain_update("x").finalize();
                    assert!(made.insert(signature.into_bytes()));
                }
            }
        }
    }
}
