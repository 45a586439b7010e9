//! Network values as the RFCs name them, impossible to build wrong. No socket, no clock.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a text or number is not the value it was meant to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("virtual router id must be between 1 and 255 (RFC 9568 section 6.1), not {0}")]
    Vrid(i64),
    #[error(
        "priority must be between 1 and 255; 255 is the address owner, 0 is reserved for release (RFC 9568 section 5.2.4), not {0}"
    )]
    Priority(i64),
    #[error(
        "advertisement interval must be between 10ms and 40950ms in steps of 10ms (RFC 9568 section 5.2.7), not {0:?}"
    )]
    AdvertInterval(Duration),
    #[error("interface name must have 1 to 15 bytes without '/' or white space, not {0:?}")]
    InterfaceName(String),
    #[error("{0:?} is not an IP address with a prefix length, such as 172.20.0.0/16 or 2001:db8::/64")]
    Cidr(String),
}

/// Virtual router identifier, 1-255 (RFC 9568 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "u8")]
pub struct Vrid(u8);

impl Vrid {
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<i64> for Vrid {
    type Error = ValueError;
    fn try_from(n: i64) -> Result<Self, ValueError> {
        u8::try_from(n).ok().filter(|n| *n != 0).map(Self).ok_or(ValueError::Vrid(n))
    }
}

impl From<Vrid> for u8 {
    fn from(v: Vrid) -> u8 {
        v.0
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A router's priority, 1-255 (RFC 9568 section 5.2.4). The 0 that releases a VIP exists on the wire only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// The router that owns the address (RFC 9568 section 5.2.4).
    pub const OWNER: Self = Self(255);
    pub const DEFAULT: Self = Self(100);

    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<i64> for Priority {
    type Error = ValueError;
    fn try_from(n: i64) -> Result<Self, ValueError> {
        u8::try_from(n).ok().filter(|n| *n != 0).map(Self).ok_or(ValueError::Priority(n))
    }
}

impl From<Priority> for u8 {
    fn from(p: Priority) -> u8 {
        p.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Hundredths of a second, 1-4095: the unit of VRRPv3's Max Advertise Interval (RFC 9568 section 5.2.7, erratum 8301).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Centiseconds(u16);

impl Centiseconds {
    pub const MAX: u16 = 4095;

    pub const fn get(self) -> u16 {
        self.0
    }

    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0 as u64 * 10)
    }

    /// Exact conversion: a duration between the 10 ms steps is refused, never rounded.
    pub fn from_duration(d: Duration) -> Result<Self, ValueError> {
        let error = ValueError::AdvertInterval(d);
        if !d.subsec_nanos().is_multiple_of(10_000_000) {
            return Err(error);
        }
        u16::try_from(d.as_millis() / 10).ok().and_then(|n| Self::try_from(n).ok()).ok_or(error)
    }
}

impl TryFrom<u16> for Centiseconds {
    type Error = ValueError;
    fn try_from(n: u16) -> Result<Self, ValueError> {
        if (1..=Self::MAX).contains(&n) {
            Ok(Self(n))
        } else {
            Err(ValueError::AdvertInterval(Duration::from_millis(u64::from(n) * 10)))
        }
    }
}

impl From<Centiseconds> for u16 {
    fn from(c: Centiseconds) -> u16 {
        c.0
    }
}

/// IPv4 or IPv6: a virtual router is of one of them, and has nothing to do with those of the other (RFC 9568 section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Bits of an address.
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Of IPv6, and known to its own link only (RFC 4291 section 2.5.6).
pub const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// An IP address with the length of its network prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    pub fn try_new(address: IpAddr, prefix: u8) -> Result<Self, ValueError> {
        if prefix > Family::of(address).bits() {
            return Err(ValueError::Cidr(format!("{address}/{prefix}")));
        }
        Ok(Self { address, prefix })
    }

    pub const fn host(address: IpAddr) -> Self {
        Self { address, prefix: Family::of(address).bits() }
    }

    pub const fn address(self) -> IpAddr {
        self.address
    }

    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    pub fn contains(self, other: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = ValueError;
    fn from_str(s: &str) -> Result<Self, ValueError> {
        let error = || ValueError::Cidr(s.to_owned());
        match s.split_once('/') {
            Some((address, prefix)) => {
                let prefix = prefix.parse().map_err(|_| error())?;
                Self::try_new(address.parse().map_err(|_| error())?, prefix).map_err(|_| error())
            }
            None => Ok(Self::host(s.parse().map_err(|_| error())?)),
        }
    }
}

impl TryFrom<String> for Cidr {
    type Error = ValueError;
    fn try_from(s: String) -> Result<Self, ValueError> {
        s.parse()
    }
}

impl From<Cidr> for String {
    fn from(c: Cidr) -> String {
        c.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    pub const BROADCAST: Self = Self([0xff; 6]);
    pub const ZERO: Self = Self([0; 6]);
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A name that the kernel accepts for an interface (IFNAMSIZ is 16 with the final NUL).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

impl InterfaceName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = ValueError;
    fn try_from(s: String) -> Result<Self, ValueError> {
        let legal = (1..=15).contains(&s.len())
            && s != "."
            && s != ".."
            && !s.bytes().any(|b| b == b'/' || b == 0 || b.is_ascii_whitespace());
        if legal { Ok(Self(s)) } else { Err(ValueError::InterfaceName(s)) }
    }
}

impl From<InterfaceName> for String {
    fn from(n: InterfaceName) -> String {
        n.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for n in [-1, 0, 256] {
            assert!(Vrid::try_from(n).is_err(), "vrid {n}");
            assert!(Priority::try_from(n).is_err(), "priority {n}");
        }
        assert_eq!(Vrid::try_from(255).map(Vrid::get), Ok(255));
        assert_eq!(Priority::try_from(1).map(Priority::get), Ok(1));
    }

    #[test]
    fn an_interval_is_exact_or_refused() {
        let table =
            [(10, Some(1)), (100, Some(10)), (40_950, Some(4095)), (0, None), (15, None), (40_960, None)];
        for (ms, expect) in table {
            let got = Centiseconds::from_duration(Duration::from_millis(ms)).ok().map(Centiseconds::get);
            assert_eq!(got, expect, "{ms} ms");
        }
    }

    #[test]
    fn a_prefix_contains_what_its_mask_says() {
        let table = [
            ("172.20.0.0/16", "172.20.128.4", true),
            ("172.20.0.0/16", "172.21.0.1", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("2001:db8::/64", "2001:db8::ffff:1", true),
            ("2001:db8::/64", "2001:db8:0:1::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("0.0.0.0/0", "::1", false),
            ("fe80::1", "fe80::1", true),
            ("fe80::1", "fe80::2", false),
        ];
        for (cidr, address, expect) in table {
            let cidr: Cidr = cidr.parse().unwrap();
            assert_eq!(cidr.contains(address.parse().unwrap()), expect, "{cidr} {address}");
        }
        for bad in ["", "10.0.0.1/33", "10.0.0/8", "10.0.0.1/", "::1/129", "::1/", "fe80::1%eth0"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn interface_names_are_the_kernels() {
        for (name, ok) in [
            ("eth0", true),
            ("a23456789012345", true),
            ("a234567890123456", false),
            ("", false),
            ("a/b", false),
            ("..", false),
            ("a b", false),
        ] {
            assert_eq!(InterfaceName::try_from(name.to_owned()).is_ok(), ok, "{name:?}");
        }
    }
}
