//! VRRPv2 on the wire (RFC 3768 section 5.3; the simple text password is RFC 2338's): a checked view of bytes, and an
//! advert that can always be emitted. No socket, no policy.
//!
//! ```text
//!  0                   1                   2                   3
//! |Version| Type  | Virtual Rtr ID|   Priority    | Count IP Addrs|
//! |   Auth Type   |   Adver Int   |          Checksum             |
//! |                     IP addresses, 4 bytes each                 |
//! |                 authentication data, always 8 bytes            |
//! ```

use std::net::{IpAddr, Ipv4Addr};

use pnet_packet::util;

use super::advert::{Advert, Password};
use super::refusal::Refusal;

const VERSION: u8 = 2;
const TYPE_ADVERTISEMENT: u8 = 1;
const HEADER: usize = 8;
const AUTH_DATA: usize = 8;
const CHECKSUM_WORD: usize = 3;
const CENTISECONDS_PER_SECOND: u16 = 100;

/// RFC 2338 section 5.3.6. RFC 3768 keeps only the first; keepalived sends the second.
const AUTH_NONE: u8 = 0;
const AUTH_SIMPLE: u8 = 1;

/// Bytes that are a complete VRRPv2 ADVERTISEMENT with the right checksum.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    header: [u8; HEADER],
    addresses: &'a [u8],
    auth_data: [u8; AUTH_DATA],
}

impl<'a> View<'a> {
    /// RFC 3768 section 7.1: version, type, complete length, checksum over the whole message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(Refusal::Length)?;
        let [version_type, _, _, count, ..] = *header;
        if version_type >> 4 != VERSION {
            return Err(Refusal::Version);
        }
        if version_type & 0x0f != TYPE_ADVERTISEMENT {
            return Err(Refusal::Type);
        }
        let (addresses, auth_data) = rest.split_last_chunk::<AUTH_DATA>().ok_or(Refusal::Length)?;
        if addresses.len() != usize::from(count) * 4 {
            return Err(Refusal::Length);
        }
        let view = Self { header: *header, addresses, auth_data: *auth_data };
        if util::checksum(bytes, CHECKSUM_WORD) == u16::from_be_bytes([header[6], header[7]]) {
            Ok(view)
        } else {
            Err(Refusal::Checksum)
        }
    }

    pub fn vrid(&self) -> u8 {
        self.header[1]
    }

    pub fn priority(&self) -> u8 {
        self.header[2]
    }

    /// Advertisement interval in whole seconds, 0-255.
    pub fn interval_seconds(&self) -> u8 {
        self.header[5]
    }

    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + 'a {
        let (addresses, _) = self.addresses.as_chunks::<4>();
        addresses.iter().map(|octets| IpAddr::from(*octets))
    }

    /// RFC 2338 section 7.1: the authentication type must be the configured one, and the password must match. The data
    /// field of type 0 is ignored (RFC 3768 section 5.3.6.1).
    pub fn authenticate(&self, password: Option<&Password>) -> Result<(), Refusal> {
        match (self.header[4], password) {
            (AUTH_NONE, None) => Ok(()),
            (AUTH_SIMPLE, Some(password)) if password.matches(self.auth_data) => Ok(()),
            (AUTH_SIMPLE, Some(_)) => Err(Refusal::Password),
            (_, None | Some(_)) => Err(Refusal::AuthType),
        }
    }
}

/// The interval is sent in whole seconds, as version 2 has it; less than one is sent as one.
pub fn emit(advert: &Advert, password: Option<&Password>) -> Vec<u8> {
    let addresses = || advert.addresses.iter().filter_map(version_2_has).take(Advert::MAX_ADDRESSES);
    let count = addresses().fold(0_u8, |n, _| n.saturating_add(1));
    let seconds = u8::try_from(advert.interval.get() / CENTISECONDS_PER_SECOND).unwrap_or(u8::MAX).max(1);
    let (auth_type, auth_data) = match password {
        None => (AUTH_NONE, [0; AUTH_DATA]),
        Some(password) => (AUTH_SIMPLE, password.bytes()),
    };
    let head =
        [VERSION << 4 | TYPE_ADVERTISEMENT, advert.vrid.get(), advert.priority, count, auth_type, seconds];
    let tail: Vec<u8> = addresses().flat_map(|address| address.octets()).chain(auth_data).collect();
    let message = |sum: [u8; 2]| [head.as_slice(), sum.as_slice(), tail.as_slice()].concat();
    let sum = util::checksum(&message([0, 0]), CHECKSUM_WORD);
    message(sum.to_be_bytes())
}

/// Version 2 knows IPv4 only, and no configuration has another one.
const fn version_2_has(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::VrrpVersion;
    use crate::net::{Centiseconds, Vrid};

    const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 20, 128, 4));

    fn advert(priority: u8, seconds: u16, addresses: Vec<IpAddr>) -> Advert {
        Advert {
            version: VrrpVersion::V2,
            vrid: Vrid::try_from(51).unwrap(),
            priority,
            interval: Centiseconds::try_from(seconds * CENTISECONDS_PER_SECOND).unwrap(),
            addresses,
        }
    }

    fn password() -> Option<Password> {
        Password::try_new("1234")
    }

    #[test]
    fn bytes_are_those_of_the_rfc() {
        // By hand: words 2133 6401 0001 ac14 8004 sum to 1 b14d, folded b14e, complement 4eb1;
        // with type 1 and "1234": 2133 6401 0101 ac14 8004 3132 3334 sum to 2 16b3, folded 16b5, complement e94a.
        let table = [(None, 0, [0x4e, 0xb1], [0; 8]), (password(), 1, [0xe9, 0x4a], *b"1234\0\0\0\0")];
        for (password, auth_type, [high, low], auth_data) in table {
            let head = [0x21, 51, 100, 1, auth_type, 1, high, low, 172, 20, 128, 4];
            let got = emit(&advert(100, 1, vec![VIP]), password.as_ref());
            assert_eq!(got, [head.as_slice(), &auth_data].concat());
            assert_eq!(View::parse(&got).unwrap().authenticate(password.as_ref()), Ok(()));
        }
    }

    #[test]
    fn what_is_not_a_whole_advertisement_is_refused() {
        let good = emit(&advert(100, 1, vec![VIP]), None);
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            bytes
        };
        let table = [
            ("empty", Vec::new(), Refusal::Length),
            ("no authentication data", good[..12].to_vec(), Refusal::Length),
            ("a byte less", good[..19].to_vec(), Refusal::Length),
            ("a byte more", [good.as_slice(), &[0]].concat(), Refusal::Length),
            ("count says two", changed(3, 2), Refusal::Length),
            ("version 3", changed(0, 0x31), Refusal::Version),
            ("type 2", changed(0, 0x22), Refusal::Type),
            ("another priority", changed(2, 101), Refusal::Checksum),
            ("another password", changed(19, 1), Refusal::Checksum),
        ];
        for (case, bytes, expect) in table {
            assert_eq!(View::parse(&bytes).err(), Some(expect), "{case}");
        }
    }

    #[test]
    fn authentication_is_that_of_the_configuration() {
        let with = |password: Option<Password>| emit(&advert(100, 1, vec![VIP]), password.as_ref());
        let of_type = |auth_type: u8, mut bytes: Vec<u8>| {
            bytes[4] = auth_type;
            bytes[6..8].fill(0);
            let sum = util::checksum(&bytes, CHECKSUM_WORD).to_be_bytes();
            bytes[6..8].copy_from_slice(&sum);
            bytes
        };
        let table = [
            (with(None), None, Ok(())),
            (with(password()), password(), Ok(())),
            (with(None), password(), Err(Refusal::AuthType)),
            (with(password()), None, Err(Refusal::AuthType)),
            (with(Password::try_new("1235")), password(), Err(Refusal::Password)),
            (of_type(2, with(password())), password(), Err(Refusal::AuthType)),
            // "It SHOULD be set to zero on transmission and ignored on reception" (RFC 3768 section 5.3.10).
            (of_type(0, with(password())), None, Ok(())),
        ];
        for (bytes, configured, expect) in table {
            assert_eq!(
                View::parse(&bytes).unwrap().authenticate(configured.as_ref()),
                expect,
                "{bytes:02x?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(view) = View::parse(&bytes) {
                prop_assert_eq!(view.addresses().count() * 4 + HEADER + AUTH_DATA, bytes.len());
            }
        }

        #[test]
        fn what_is_emitted_is_read_back(
            vrid in 1..=255_i64, priority: u8, seconds in 1..=40_u16, text in "[a-z]{0,8}",
            addresses in proptest::collection::vec(any::<[u8; 4]>().prop_map(IpAddr::from), 0..=255),
        ) {
            let sent = Advert { vrid: Vrid::try_from(vrid).unwrap(), ..advert(priority, seconds, addresses) };
            let password = Password::try_new(&text);
            let bytes = emit(&sent, password.as_ref());
            let view = View::parse(&bytes).unwrap();
            prop_assert_eq!((i64::from(view.vrid()), view.priority()), (vrid, priority));
            prop_assert_eq!(u16::from(view.interval_seconds()), seconds);
            prop_assert_eq!(view.addresses().collect::<Vec<_>>(), sent.addresses.clone());
            prop_assert_eq!(view.authenticate(password.as_ref()), Ok(()));
        }
    }
}
