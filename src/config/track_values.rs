//! The scalars that only a track has: a signed weight, and where a check of this node's own asks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value as Json, json};

use super::field::{Fault, Scalar, typed_schema};
use super::problem::shown;
use super::values::Listen;

/// Priorities have no more than this between them; one more than keepalived's scripts, as its files have.
const WEIGHT_MAX: i16 = 254;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight(pub(super) i16);

impl Scalar for Weight {
    fn words() -> String {
        format!("a whole number from -{WEIGHT_MAX} to {WEIGHT_MAX}")
    }
    fn schema() -> Json {
        typed_schema(
            json!({ "type": "integer", "minimum": -WEIGHT_MAX, "maximum": WEIGHT_MAX }),
            "[+-]?[0-9]+",
        )
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        let weight = text.parse().ok().filter(|weight| (-WEIGHT_MAX..=WEIGHT_MAX).contains(weight));
        weight.map(Self).ok_or_else(|| {
            Fault::new(
                format!("{} is not {}", shown(text), Self::words()),
                format!("write {}", Self::words()),
            )
        })
    }
}

/// A port alone is the loopback address's: what is checked mostly shares this node's network.
pub(super) struct CheckAddress(pub(super) SocketAddr);

impl Scalar for CheckAddress {
    fn words() -> String {
        "a port of the loopback address, or an address with a port such as \"10.0.0.2:5432\"".into()
    }
    fn schema() -> Json {
        Listen::schema()
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        let is_port = text.bytes().all(|byte| byte.is_ascii_digit());
        let fault = || {
            Fault::new(
                format!("{} is not an address with a port", shown(text)),
                format!("write {}; names are not resolved here", Self::words()),
            )
        };
        let Listen(address) = Listen::parse(text).map_err(|_| fault())?;
        match address.ip() {
            _ if is_port => Ok(Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()))),
            ip if ip.is_unspecified() || ip.is_multicast() => Err(fault()),
            _ => Ok(Self(address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_has_a_sign_and_a_bound() {
        for (text, expect) in [
            ("0", Some(0)),
            ("-254", Some(-254)),
            ("+20", Some(20)),
            ("254", Some(254)),
            ("255", None),
            ("-255", None),
            ("1.5", None),
            ("", None),
            ("ten", None),
        ] {
            assert_eq!(Weight::parse(text).ok().map(|weight| weight.0), expect, "{text}");
        }
    }

    #[test]
    fn a_port_alone_is_the_loopback_address_s() {
        for (text, expect) in [
            ("80", Some("127.0.0.1:80")),
            ("10.0.0.2:81", Some("10.0.0.2:81")),
            ("[::1]:82", Some("[::1]:82")),
            ("0.0.0.0:80", None),
            ("224.0.0.1:80", None),
            ("app:80", None),
            ("0", None),
        ] {
            let parsed = CheckAddress::parse(text).ok().map(|address| address.0.to_string());
            assert_eq!(parsed.as_deref(), expect, "{text}");
        }
    }
}
