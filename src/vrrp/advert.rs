//! What an advertisement means, whatever its version, and what is agreed beside it: the password of version 2 and the
//! checksum form of version 3. No bytes of the wire: see `packet_v2` and `packet_v3`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::IpAddr;

use crate::config::VrrpVersion;
use crate::net::{Centiseconds, Vrid};

/// One ADVERTISEMENT (RFC 9568 section 5.2, RFC 3768 section 5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    pub version: VrrpVersion,
    pub vrid: Vrid,
    /// 255: the address owner; 0: the sender gives its mastership up (RFC 9568 section 5.2.4).
    pub priority: u8,
    /// Version 2 carries its whole seconds (RFC 3768 section 5.3.7).
    pub interval: Centiseconds,
    /// At most `MAX_ADDRESSES` of them fit.
    pub addresses: Vec<IpAddr>,
}

impl Advert {
    /// "IPvX Addr Count" is one byte (RFC 9568 section 5.2.5).
    pub const MAX_ADDRESSES: usize = 255;
    /// The priority that says "I give it up".
    pub const RELEASE: u8 = 0;

    pub fn releases(&self) -> bool {
        self.priority == Self::RELEASE
    }
}

/// Version 2's simple text password: 8 bytes, NUL padded (RFC 2338 section 5.3.6.2, as keepalived sends it).
#[derive(Clone, PartialEq, Eq)]
pub struct Password([u8; 8]);

impl Password {
    /// `None`: empty, or longer than the 8 bytes of the field.
    pub fn try_new(text: &str) -> Option<Self> {
        let mut bytes = [0; 8];
        if text.is_empty() {
            return None;
        }
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self(bytes))
    }

    pub const fn bytes(&self) -> [u8; 8] {
        self.0
    }

    /// Takes as long for a wrong password as for the right one.
    pub fn matches(&self, received: [u8; 8]) -> bool {
        let difference = self.0.iter().zip(received).fold(0, |sum, (a, b)| sum | black_box(a ^ b));
        black_box(difference) == 0
    }
}

/// A password has no place in a log.
impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What version 3 over IPv4 sums: RFC 5798 left it open, and the field has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ChecksumForm {
    /// Message and pseudo-header, as RFC 5798 is read by keepalived and FRR.
    #[default]
    PseudoHeader,
    /// The message alone (RFC 9568 section 5.2.8).
    Plain,
}

/// Which form each peer sends: it is answered in its own.
#[derive(Clone, Debug, Default)]
pub struct ChecksumForms {
    learnt: BTreeMap<IpAddr, ChecksumForm>,
}

impl ChecksumForms {
    /// A virtual router has a handful of peers; more senders than this are forgotten, not stored.
    pub const MAX_PEERS: usize = 64;

    /// Called with accepted adverts only. True if the peer's form is news.
    pub fn learn(&mut self, peer: IpAddr, form: ChecksumForm) -> bool {
        if !self.learnt.contains_key(&peer) && self.learnt.len() >= Self::MAX_PEERS {
            return false;
        }
        self.learnt.insert(peer, form) != Some(form)
    }

    pub fn for_peer(&self, peer: IpAddr) -> ChecksumForm {
        self.learnt.get(&peer).copied().unwrap_or_default()
    }

    /// A multicast reaches every peer at once: plain only if all that were heard send it plain.
    pub fn for_group(&self) -> ChecksumForm {
        if !self.learnt.is_empty() && self.learnt.values().all(|form| *form == ChecksumForm::Plain) {
            ChecksumForm::Plain
        } else {
            ChecksumForm::PseudoHeader
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_password_is_padded_and_compared_whole() {
        for (configured, received, expect) in [
            ("secret12", *b"secret12", true),
            ("abc", *b"abc\0\0\0\0\0", true),
            ("abc", *b"abc\0\0\0\0x", false),
            ("abc", *b"abd\0\0\0\0\0", false),
            ("abc", [0; 8], false),
        ] {
            assert_eq!(Password::try_new(configured).unwrap().matches(received), expect, "{configured}");
        }
        assert_eq!(Password::try_new(""), None);
        assert_eq!(Password::try_new("123456789"), None);
        assert_eq!(format!("{:?}", Password::try_new("abc").unwrap()), "Password(..)");
    }

    #[test]
    fn each_peer_is_answered_in_its_own_form() {
        use ChecksumForm::{Plain, PseudoHeader};
        let [a, b] = [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))];
        let mut forms = ChecksumForms::default();
        assert_eq!((forms.for_peer(a), forms.for_group()), (PseudoHeader, PseudoHeader));
        assert!(forms.learn(a, Plain));
        assert!(!forms.learn(a, Plain));
        assert_eq!((forms.for_peer(a), forms.for_peer(b), forms.for_group()), (Plain, PseudoHeader, Plain));
        assert!(forms.learn(b, PseudoHeader));
        assert_eq!(forms.for_group(), PseudoHeader);
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let mut forms = ChecksumForms::default();
        for n in 0..1000 {
            forms.learn(IpAddr::V4(Ipv4Addr::from_bits(n)), ChecksumForm::Plain);
        }
        assert_eq!(forms.learnt.len(), ChecksumForms::MAX_PEERS);
    }
}
