//! The scalars of the document: what may stand for a vrid, a duration, a host .. and what to write where it may not.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::auth_hmac::{AntiReplay, AuthMode};
use super::field::{Fault, Scalar, choice, text_schema, typed_schema};
use super::model::{Host, LogFormat, LogLevel, VrrpVersion};
use super::names::{self, host_name};
use super::problem::shown;
use super::units;
use crate::net::{Centiseconds, Cidr, InterfaceName, Priority, ValueError, Vrid};

impl Scalar for String {
    fn words() -> String {
        "a text".into()
    }
    fn schema() -> Json {
        json!({ "type": ["string", "number", "boolean"] })
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        Ok(text.to_owned())
    }
}

impl Scalar for bool {
    fn words() -> String {
        "true or false".into()
    }
    fn schema() -> Json {
        typed_schema(json!({ "type": "boolean" }), "true|false")
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => {
                let remedy = match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "true" | "1" => "write true",
                    "no" | "off" | "false" | "0" => "write false",
                    _ => "write true or false",
                };
                Err(Fault::new(format!("expected true or false, found {}", shown(text)), remedy))
            }
        }
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole<const MIN: u32, const MAX: u32>(pub(super) u32);

impl<const MIN: u32, const MAX: u32> Scalar for Whole<MIN, MAX> {
    fn words() -> String {
        format!("a whole number from {MIN} to {MAX}")
    }
    fn schema() -> Json {
        typed_schema(json!({ "type": "integer", "minimum": MIN, "maximum": MAX }), "[0-9]+")
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        let n = whole(text, &Self::words())?;
        u32::try_from(n).ok().filter(|n| (MIN..=MAX).contains(n)).map(Self).ok_or_else(|| {
            Fault::new(format!("{n} is not {}", Self::words()), format!("write {}", Self::words()))
        })
    }
}

/// Decimal digits only: what YAML 1.1 reads as octal, hexadecimal or base 60 is refused.
fn whole(text: &str, words: &str) -> Result<i64, Fault> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (digits.len() == 1 || !digits.starts_with('0'));
    text.parse()
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| Fault::new(format!("{} is not a whole number", shown(text)), format!("write {words}")))
}

fn net_fault(error: &ValueError, words: String) -> Fault {
    Fault::new(error.to_string(), format!("write {words}"))
}

impl Scalar for Vrid {
    fn words() -> String {
        "a whole number from 1 to 255".into()
    }
    fn schema() -> Json {
        typed_schema(json!({ "type": "integer", "minimum": 1, "maximum": 255 }), "[0-9]+")
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        Self::try_from(whole(text, &Self::words())?).map_err(|e| net_fault(&e, Self::words()))
    }
}

impl Scalar for Priority {
    fn words() -> String {
        "a whole number from 1 to 255".into()
    }
    fn schema() -> Json {
        typed_schema(json!({ "type": "integer", "minimum": 1, "maximum": 255 }), "[0-9]+")
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        Self::try_from(whole(text, &Self::words())?).map_err(|e| net_fault(&e, Self::words()))
    }
}

impl Scalar for Centiseconds {
    fn words() -> String {
        "a duration from 10ms to 40950ms in steps of 10ms".into()
    }
    fn schema() -> Json {
        text_schema(units::DURATION_PATTERN)
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        Self::from_duration(units::duration(text)?).map_err(|e| net_fault(&e, Self::words()))
    }
}

impl Scalar for Cidr {
    fn words() -> String {
        "an address such as 172.20.128.4 or 2001:db8::4, with a prefix length or without".into()
    }
    fn schema() -> Json {
        text_schema(r"([0-9]+(\.[0-9]+){3}|[0-9a-fA-F]*:[0-9a-fA-F:.]*)(/[0-9]+)?")
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        text.parse().map_err(|_: ValueError| {
            Fault::new(format!("{} is not an IP address", shown(text)), format!("write {}", Self::words()))
        })
    }
}

impl Scalar for InterfaceName {
    fn words() -> String {
        "the name of an interface such as eth0".into()
    }
    fn schema() -> Json {
        json!({ "type": "string" })
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        Self::try_from(text.to_owned()).map_err(|_| {
            Fault::new(
                format!("{} cannot be the name of an interface", shown(text)),
                "write 1 to 15 characters without \"/\" or white space, such as eth0",
            )
        })
    }
}

/// A duration within bounds, both in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time<const MIN: u64, const MAX: u64>(pub(super) Duration);

impl<const MIN: u64, const MAX: u64> Scalar for Time<MIN, MAX> {
    fn words() -> String {
        let [min, max] = [MIN, MAX].map(|ms| units::written(Duration::from_millis(ms)));
        format!("a duration from {min} to {max}")
    }
    fn schema() -> Json {
        text_schema(units::DURATION_PATTERN)
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        let duration = units::duration(text)?;
        if duration < Duration::from_millis(MIN) || duration > Duration::from_millis(MAX) {
            return Err(Fault::new(
                format!("{text} is not {}", Self::words()),
                format!("write {}", Self::words()),
            ));
        }
        Ok(Self(duration))
    }
}

/// A duration within bounds, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeOrNone<const MIN: u64, const MAX: u64>(pub(super) Option<Duration>);

impl<const MIN: u64, const MAX: u64> Scalar for TimeOrNone<MIN, MAX> {
    fn words() -> String {
        format!("{}, or none", Time::<MIN, MAX>::words())
    }
    fn schema() -> Json {
        text_schema(&format!("none|{}", units::DURATION_PATTERN))
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        if text == "none" { Ok(Self(None)) } else { Time::<MIN, MAX>::parse(text).map(|t| Self(Some(t.0))) }
    }
}

/// `None`: one per usable CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Workers(pub(super) Option<usize>);

impl Scalar for Workers {
    fn words() -> String {
        "auto, or a whole number from 1 to 64".into()
    }
    fn schema() -> Json {
        typed_schema(json!({ "type": "integer", "minimum": 1, "maximum": 64 }), "auto|[0-9]+")
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        if text == "auto" {
            return Ok(Self(None));
        }
        let fault = || Fault::new(format!("expected {}, found {}", Self::words(), shown(text)), "write auto");
        let n = Whole::<1, 64>::parse(text).map_err(|_| fault())?;
        Ok(Self(Some(usize::try_from(n.0).map_err(|_| fault())?)))
    }
}

choice!(LogLevel {
    "error" => Self::Error,
    "warn" => Self::Warn,
    "info" => Self::Info,
    "debug" => Self::Debug,
    "trace" => Self::Trace,
});
choice!(LogFormat { "text" => Self::Text, "json" => Self::Json });
choice!(VrrpVersion { "3" => Self::V3, "2" => Self::V2 });

/// How often a master speaks whose interval is not written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    Normal,
    Fast,
}
choice!(Profile { "normal" => Self::Normal, "fast" => Self::Fast });

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthenticationType {
    Pass,
}
choice!(AuthenticationType { "pass" => Self::Pass });

choice!(AntiReplay { "time" => Self::Time, "monotonic" => Self::Monotonic });

/// keepalived's modes, and none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthModeChoice {
    On(AuthMode),
    Off,
}
choice!(AuthModeChoice {
    "enforce" => Self::On(AuthMode::Enforce),
    "permissive" => Self::On(AuthMode::Permissive),
    "receive-only" => Self::On(AuthMode::ReceiveOnly),
    "off" => Self::Off,
});

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckType {
    Tcp,
    Http,
}
choice!(CheckType { "tcp" => Self::Tcp, "http" => Self::Http });

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryReason {
    ConnFailure,
    EmptyResponse,
    ResponseTimeout,
}
choice!(RetryReason {
    "conn_failure" => Self::ConnFailure,
    "empty_response" => Self::EmptyResponse,
    "response_timeout" => Self::ResponseTimeout,
});

/// Authentication data of VRRP version 2, 1-8 bytes (RFC 2338 section 5.3.6.2).
pub(super) struct Password(pub(super) String);

impl Scalar for Password {
    fn words() -> String {
        "a password of 1 to 8 bytes".into()
    }
    fn schema() -> Json {
        json!({ "type": ["string", "number", "boolean"] })
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        match text.len() {
            // Not repeated in the message: logs are no place for it.
            9.. => Err(Fault::new(
                format!("the password has {} bytes, the packet has room for 8", text.len()),
                "use 8 bytes; keepalived would silently cut it there, so its first 8 are what such a peer uses",
            )),
            1.. if !text.contains('\0') => Ok(Self(text.to_owned())),
            _ => Err(Fault::new("the password is empty or contains a NUL", "write 1 to 8 bytes")),
        }
    }
}

/// Another node of the group: an address or a name, without a port.
pub(super) struct Peer(pub(super) Host);

impl Scalar for Peer {
    fn words() -> String {
        "an IP address or a service name".into()
    }
    fn schema() -> Json {
        json!({ "type": "string" })
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        let fault = |what: &str| {
            Err(Fault::new(format!("{} {what}", shown(text)), format!("write {}", Self::words())))
        };
        match text.parse() {
            Ok(address) if is_node(address) => Ok(Self(Host::Address(address))),
            Ok(_) => fault("is not the address of one node"),
            Err(_) => match host_name(text) {
                Some(name) => Ok(Self(Host::Name(name))),
                None => fault("is neither an IP address nor a name"),
            },
        }
    }
}

/// An address that one machine can have for itself.
pub(super) fn is_node(address: IpAddr) -> bool {
    let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    // One of IPv4 in the clothes of IPv6 is on no link.
    let is_mapped = address.to_canonical() != address;
    let is_none = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    !(is_none || is_broadcast || is_mapped)
}

/// Where an upstream server listens.
pub(super) struct HostPort {
    pub(super) host: Host,
    pub(super) port: u16,
}

impl Scalar for HostPort {
    fn words() -> String {
        "an address or service name with a port, such as app:8080".into()
    }
    fn schema() -> Json {
        json!({ "type": "string" })
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        let fault = |what: &str, remedy: &str| Err(Fault::new(format!("{} {what}", shown(text)), remedy));
        if let Some((_, rest)) = text.split_once("://") {
            let rest = rest.trim_end_matches('/');
            return fault("is a URL", &format!("write {} without a scheme", shown(rest)));
        }
        if matches!(text.parse(), Ok(IpAddr::V6(_))) {
            return fault("has no port", &format!("write \"[{text}]:80\""));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port),
            None => return fault("has no port", &format!("write {}", shown(&format!("{text}:80")))),
        };
        let Some(port) = port_number(port) else {
            return fault("has no usable port", "write a port from 1 to 65535 after the \":\"");
        };
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).and_then(|h| h.parse().ok());
        let address = bracketed.map(IpAddr::V6).or_else(|| host.parse().ok().map(IpAddr::V4));
        match address.map(Host::Address).or_else(|| host_name(host).map(Host::Name)) {
            Some(host) => Ok(Self { host, port }),
            None => fault(
                "has neither an address nor a name before the port",
                &format!("write {}", Self::words()),
            ),
        }
    }
}

fn port_number(text: &str) -> Option<u16> {
    Whole::<1, 65535>::parse(text).ok().and_then(|n| u16::try_from(n.0).ok())
}

/// Where a server accepts connections.
pub(super) struct Listen(pub(super) SocketAddr);

impl Scalar for Listen {
    fn words() -> String {
        "an address with a port such as \"0.0.0.0:80\", or a port".into()
    }
    fn schema() -> Json {
        let port = json!({ "type": "integer", "minimum": 1, "maximum": 65535 });
        json!({ "anyOf": [port, { "type": "string" }] })
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        if let Some(port) = port_number(text) {
            return Ok(Self(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Ok(Self(address)),
            _ => {
                let remedy = match text.rsplit_once(':').and_then(|(_, port)| port_number(port)) {
                    Some(port) => format!("write an address and not a name, or {port} for every address"),
                    None => format!("write {}", Self::words()),
                };
                Err(Fault::new(format!("{} is not an address with a port", shown(text)), remedy))
            }
        }
    }
}

/// A text that must match a rule of `names`.
macro_rules! ruled {
    ($( $(#[doc = $doc:literal])+ $name:ident, $rule:path, $words:literal; )+) => {
        $(
            $(#[doc = $doc])+
            pub(super) struct $name(pub(super) String);

            impl Scalar for $name {
                fn words() -> String {
                    $words.into()
                }
                fn schema() -> Json {
                    json!({ "type": ["string", "number"] })
                }
                fn parse(text: &str) -> Result<Self, Fault> {
                    $rule(text).map(Self)
                }
            }
        )+
    };
}

ruled! {
    /// The name of this node.
    NodeName, names::node, "a name of 1 to 64 visible ASCII characters";
    /// A virtual host's name, lower-case.
    ServerName, names::server, "a host name such as example.org";
    /// What a route calls an upstream.
    UpstreamName, names::label, "the name of an upstream";
    /// A member of a sync group.
    RouterName, names::label, "the name of a virtual router";
    /// A header field to drop.
    HeaderName, names::header_name, "the name of a header such as X-Powered-By";
    /// A file, relative to the config's folder or absolute.
    FilePath, names::folder, "the path of a file";
    /// What follows the colon of a header field.
    HeaderValue, names::header_value, "a header value";
    /// A request's path, as routes compare it.
    RoutePath, names::path, "a path that starts with \"/\"";
    /// A request's target.
    Target, names::target, "a path that starts with \"/\"";
    /// A request's method.
    Method, names::method, "a method such as GET or HEAD";
    /// The `Host` field of a request.
    Authority, names::authority, "a host name, with a port or without";
    /// A folder, relative to the config's own or absolute.
    Folder, names::folder, "a folder";
    /// One file's name.
    FileName, names::file, "the name of a file such as index.html";
}
