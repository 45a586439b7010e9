//! The bytes behind an advert.
//!
//! ```text
//!  0                   1                   2                   3
//! |     Type      |    Key ID     |           Reserved            |
//! |                            Seconds                            |
//! |           Fraction            |            Counter            |
//! |                 HMAC-SHA256, its first 16 bytes               |
//! ```
//!
//! Signed are a pseudo-header, which binds the advert to its sender and its virtual router, the advert with its checksum
//! read as zero, and the trailer up to the HMAC, behind which 16 zeros follow.

use std::net::IpAddr;

use hmac::Mac;

use super::key::AuthKey;
use super::sequence::Sequence;
use crate::config::VrrpVersion;
use crate::net::Vrid;
use crate::vrrp::refusal::Refusal;

pub const TRAILER: usize = 28;

const TYPE_SHA256: u8 = 1;
const PREFIX: usize = 12;
const TAG: usize = 16;
const HEADER: usize = 8;
/// Where every version has it.
const CHECKSUM: std::ops::Range<usize> = 6..8;
/// Behind version 2's addresses (RFC 3768 section 5.3.10).
const AUTH_DATA: usize = 8;

/// What an advert is bound to beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub source: IpAddr,
    pub version: VrrpVersion,
    pub vrid: Vrid,
}

impl Bound {
    fn pseudo_header(&self) -> [u8; 20] {
        let mut bytes = [0; 20];
        let (fixed, source) = bytes.split_at_mut(4);
        let version = match self.version {
            VrrpVersion::V2 => 2,
            VrrpVersion::V3 => 3,
        };
        let (family, address): (u8, &[u8]) = match &self.source {
            IpAddr::V4(address) => (4, &address.octets()),
            IpAddr::V6(address) => (6, &address.octets()),
        };
        fixed.copy_from_slice(&[family, version, self.vrid.get(), 0]);
        source.iter_mut().zip(address).for_each(|(to, from)| *to = *from);
        bytes
    }
}

/// The advert and what follows it, if that has a trailer's length. Whether the advert is whole is not asked here.
pub fn split(payload: &[u8], version: VrrpVersion, family: IpAddr) -> (&[u8], Option<Trailer<'_>>) {
    let address = match family {
        IpAddr::V4(_) => 4,
        IpAddr::V6(_) => 16,
    };
    let auth_data = match version {
        VrrpVersion::V2 => AUTH_DATA,
        VrrpVersion::V3 => 0,
    };
    let advert = payload.get(3).map(|count| HEADER + usize::from(*count) * address + auth_data);
    match advert.and_then(|length| payload.split_at_checked(length)) {
        Some((advert, rest)) => match rest.try_into() {
            Ok(trailer) => (advert, Some(Trailer(trailer))),
            Err(_) => (payload, None),
        },
        None => (payload, None),
    }
}

/// As it came; nothing of it is known to be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer<'a>(&'a [u8; TRAILER]);

impl Trailer<'_> {
    /// Of a type that is known, and reserved bits are none.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        match self.0 {
            [TYPE_SHA256, _, 0, 0, ..] => Ok(()),
            _ => Err(Refusal::AuthExtMalformed),
        }
    }

    pub(super) fn key_id(&self) -> u8 {
        let [_, id, ..] = self.0;
        *id
    }

    pub(super) fn sequence(&self) -> Sequence {
        let [_, _, _, _, bits @ ..] = self.0;
        Sequence::from_bits(bits.iter().take(8).fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    /// Takes as long for a wrong HMAC as for the right one.
    pub(super) fn is_signed_with(&self, key: &AuthKey, advert: &[u8], bound: &Bound) -> bool {
        let (prefix, tag) = self.0.split_at(PREFIX);
        sum(key, advert, prefix, bound).verify_truncated_left(tag).is_ok()
    }
}

/// The trailer for this advert. It says nothing about the destination: one serves for every peer.
pub(super) fn sign(key: &AuthKey, advert: &[u8], sequence: Sequence, bound: &Bound) -> [u8; TRAILER] {
    let mut trailer = [0; TRAILER];
    let (prefix, tag) = trailer.split_at_mut(PREFIX);
    let (head, number) = prefix.split_at_mut(4);
    head.copy_from_slice(&[TYPE_SHA256, key.id(), 0, 0]);
    number.copy_from_slice(&sequence.bits().to_be_bytes());
    let full = sum(key, advert, prefix, bound).finalize().into_bytes();
    tag.iter_mut().zip(full).for_each(|(to, from)| *to = from);
    trailer
}

/// IPv6 only: there the kernels of others sum all that is sent, so that the advert's checksum covers the trailer and its
/// length.
pub fn cover(advert: &[u8], trailer: &[u8; TRAILER]) -> Vec<u8> {
    let adds = |sum, word| fold(sum + u32::from(word));
    with_sum(advert, |sum| words(trailer).fold(sum, adds))
}

/// The advert as it would be without its trailer.
pub fn uncover(advert: &[u8], trailer: &Trailer<'_>) -> Vec<u8> {
    let takes = |sum, word: u16| fold(sum + u32::from(!word));
    with_sum(advert, |sum| words(trailer.0).fold(sum, takes))
}

/// The trailer's own, and what it adds to the length in the pseudo-header.
fn words(trailer: &[u8; TRAILER]) -> impl Iterator<Item = u16> {
    let (pairs, _) = trailer.as_chunks::<2>();
    pairs.iter().map(|pair| u16::from_be_bytes(*pair)).chain([TRAILER as u16])
}

/// RFC 1071: a checksum is the complement of a sum, which is never zero for what is not all zeros.
fn with_sum(advert: &[u8], change: impl Fn(u32) -> u32) -> Vec<u8> {
    let mut advert = advert.to_vec();
    if let Some([high, low]) = advert.get_mut(CHECKSUM) {
        let sum = change(u32::from(!u16::from_be_bytes([*high, *low])));
        let sum = u16::try_from(sum).unwrap_or(u16::MAX);
        [*high, *low] = (!if sum == 0 { u16::MAX } else { sum }).to_be_bytes();
    }
    advert
}

const fn fold(sum: u32) -> u32 {
    (sum >> 16) + (sum & 0xffff)
}

fn sum(key: &AuthKey, advert: &[u8], prefix: &[u8], bound: &Bound) -> impl Mac + use<> {
    let (before, rest) = advert.split_at_checked(CHECKSUM.start).unwrap_or((advert, &[]));
    let after = rest.get(CHECKSUM.len()..).unwrap_or(&[]);
    let zeros = [0; TAG];
    [bound.pseudo_header().as_slice(), before, &zeros[..CHECKSUM.len()], after, prefix, &zeros]
        .into_iter()
        .fold(key.mac(), Mac::chain_update)
}
