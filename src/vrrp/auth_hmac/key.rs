//! The keys that adverts are signed with, and how a file holds one.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// "32 to 64 bytes": beyond that SHA-256 would hash the key first, and keepalived refuses it.
const LENGTH: std::ops::RangeInclusive<usize> = 32..=64;

/// Never shown: neither `Debug` nor any message has a part of it.
#[derive(Clone)]
pub struct AuthKey {
    id: u8,
    mac: Hmac<Sha256>,
}

impl AuthKey {
    /// The content of a key's file, as keepalived reads it: `hex:` with digits, or the key itself, with white space
    /// around it.
    pub fn parse(id: u8, text: &[u8]) -> Result<Self, AuthKeyFault> {
        let text = text.trim_ascii();
        match text.strip_prefix(b"hex:") {
            Some(digits) => Self::try_new(id, &unhex(digits).ok_or(AuthKeyFault::Digits)?),
            None => Self::try_new(id, text),
        }
    }

    pub fn try_new(id: u8, key: &[u8]) -> Result<Self, AuthKeyFault> {
        if !LENGTH.contains(&key.len()) {
            return Err(AuthKeyFault::Length(key.len()));
        }
        let mac = Hmac::new_from_slice(key).map_err(|_| AuthKeyFault::Length(key.len()))?;
        Ok(Self { id, mac })
    }

    pub const fn id(&self) -> u8 {
        self.id
    }

    pub(super) fn mac(&self) -> Hmac<Sha256> {
        self.mac.clone()
    }
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthKey({}, ..)", self.id)
    }
}

/// Says where, and never what is written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthKeyFault {
    #[error("the key has {0} bytes, and needs 32 to 64")]
    Length(usize),
    #[error("what follows \"hex:\" are not pairs of hexadecimal digits")]
    Digits,
}

impl AuthKeyFault {
    pub const REMEDY: &'static str =
        "write \"hex:\" and what openssl rand -hex 32 prints, the same on every node";
}

/// The first signs, each is accepted.
#[derive(Clone, Debug)]
pub struct AuthKeys(Vec<AuthKey>);

impl AuthKeys {
    pub fn new(active: AuthKey, others: impl IntoIterator<Item = AuthKey>) -> Self {
        Self([active].into_iter().chain(others).collect())
    }

    pub(super) fn active(&self) -> Option<&AuthKey> {
        self.0.first()
    }

    /// Those that are derived have their numbers by chance, so that two may share one.
    pub(super) fn with_id(&self, id: u8) -> impl Iterator<Item = &AuthKey> {
        self.0.iter().filter(move |key| key.id == id)
    }
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}
