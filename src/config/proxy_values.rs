//! The scalars that only the proxy's part of the document has: sizes, texts with a request's variables, log formats,
//! reasons to ask another server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Value as Json, json};

use super::field::{Fault, Scalar, choice, text_schema, typed_schema};
use super::model::{AccessLog, Balance};
use super::names;
use super::problem::shown;
use super::values::Listen;
use crate::gateway::{COMBINED, Moment, Template, TemplateError};

choice!(Balance {
    "round_robin" => Self::RoundRobin,
    "least_conn" => Self::LeastConn,
    "random" => Self::Random,
    "ip_hash" => Self::IpHash,
});

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextReason {
    Off,
    Error,
    Timeout,
    InvalidHeader,
    NonIdempotent,
    Status(u16),
}
impl NextReason {
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(*status),
            Self::Off | Self::Error | Self::Timeout | Self::InvalidHeader | Self::NonIdempotent => None,
        }
    }
}

choice!(NextReason {
    "off" => Self::Off,
    "error" => Self::Error,
    "timeout" => Self::Timeout,
    "invalid_header" => Self::InvalidHeader,
    "http_500" => Self::Status(500),
    "http_502" => Self::Status(502),
    "http_503" => Self::Status(503),
    "http_504" => Self::Status(504),
    "http_403" => Self::Status(403),
    "http_404" => Self::Status(404),
    "http_429" => Self::Status(429),
    "non_idempotent" => Self::NonIdempotent,
});

/// Bytes, as nginx writes them. `None`: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) Option<u64>);

impl Scalar for Size {
    fn words() -> String {
        "a number of bytes such as 512k, 1m or 2g, or 0 for no limit".into()
    }
    fn schema() -> Json {
        typed_schema(json!({ "type": "integer", "minimum": 0 }), "[0-9]+[kKmMgG]?")
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        let fault =
            || Fault::new(format!("{} is not a size", shown(text)), format!("write {}", Self::words()));
        let (digits, shift) = match text.char_indices().next_back() {
            Some((at, 'k' | 'K')) => (text.get(..at), 10),
            Some((at, 'm' | 'M')) => (text.get(..at), 20),
            Some((at, 'g' | 'G')) => (text.get(..at), 30),
            _ => (Some(text), 0),
        };
        let digits = digits.filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
        let bytes: u64 = digits.and_then(|d| d.parse().ok()).ok_or_else(fault)?;
        match bytes.checked_mul(1 << shift).ok_or_else(fault)? {
            0 => Ok(Self(None)),
            bytes => Ok(Self(Some(bytes))),
        }
    }
}

fn template(text: &str, until: Moment) -> Result<Template, Fault> {
    names::header_value(text)?;
    Template::parse(text, until)
        .map_err(|TemplateError { what, remedy }| Fault::new(format!("{}: {what}", shown(text)), remedy))
}

/// The value of a request's field.
pub(super) struct RequestTemplate(pub(super) Template);

impl Scalar for RequestTemplate {
    fn words() -> String {
        "a header value, which may contain variables of the request such as $$remote_addr".into()
    }
    fn schema() -> Json {
        json!({ "type": ["string", "number", "boolean"] })
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        template(text, Moment::Request).map(Self)
    }
}

/// The value of a response's field.
pub(super) struct ResponseTemplate(pub(super) Template);

impl Scalar for ResponseTemplate {
    fn words() -> String {
        "a header value, which may contain variables such as $$upstream_addr".into()
    }
    fn schema() -> Json {
        json!({ "type": ["string", "number", "boolean"] })
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        template(text, Moment::Response).map(Self)
    }
}

impl Scalar for AccessLog {
    fn words() -> String {
        "combined, json, off, or a text with variables".into()
    }
    fn schema() -> Json {
        json!({ "type": ["string", "boolean"] })
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            // An editor that rewrites YAML 1.1 makes false out of off.
            "off" | "false" => Ok(Self::Off),
            "json" => Ok(Self::Json),
            "combined" => template(COMBINED, Moment::End).map(Self::Text),
            _ => {
                let template = template(text, Moment::End)?;
                if template.constant().is_some() {
                    return Err(Fault::new(
                        format!("{} would be the same line for every request", shown(text)),
                        "write combined, json, off, or a text with variables such as \"$$remote_addr $$status\"",
                    ));
                }
                Ok(Self::Text(template))
            }
        }
    }
}

/// Where the admin endpoint listens.
pub(super) struct AdminListen(pub(super) SocketAddr);

impl Scalar for AdminListen {
    fn words() -> String {
        "a port of the loopback address, or an address with a port such as \"0.0.0.0:9127\"".into()
    }
    fn schema() -> Json {
        Listen::schema()
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        let Listen(address) = Listen::parse(text)?;
        // A port alone means every address elsewhere; what `status` says is not for everybody.
        let port_alone = !text.contains(':');
        let ip = if port_alone { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
        Ok(Self(SocketAddr::new(ip, address.port())))
    }
}

/// A name server.
pub(super) struct Resolver(pub(super) SocketAddr);

/// RFC 1035 section 4.2.
const DNS_PORT: u16 = 53;

impl Scalar for Resolver {
    fn words() -> String {
        "the address of a name server, with a port or without".into()
    }
    fn schema() -> Json {
        text_schema(r"[0-9A-Fa-f:.\[\]]+")
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
        let address = bare.ok().or_else(|| text.parse().ok()).filter(|a| a.port() != 0);
        address.map(Self).ok_or_else(|| {
            let remedy =
                "write an address such as 127.0.0.11, or 10.0.0.2:5353; a name would have to be resolved";
            Fault::new(format!("{} is not the address of a name server", shown(text)), remedy)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_nginx_s() {
        let table = [
            ("0", Some(None)),
            ("1", Some(Some(1))),
            ("8k", Some(Some(8 << 10))),
            ("1M", Some(Some(1 << 20))),
            ("2g", Some(Some(2 << 30))),
            ("", None),
            ("k", None),
            ("1.5m", None),
            ("-1", None),
            ("1mb", None),
            ("18446744073709551615g", None),
        ];
        for (text, expect) in table {
            assert_eq!(Size::parse(text).ok().map(|size| size.0), expect, "{text:?}");
        }
    }

    #[test]
    fn a_port_alone_is_loopback_for_the_admin_endpoint_only() {
        for (text, expect) in [("9127", "127.0.0.1:9127"), ("0.0.0.0:1", "0.0.0.0:1"), ("[::1]:2", "[::1]:2")]
        {
            assert_eq!(AdminListen::parse(text).ok().map(|l| l.0.to_string()).as_deref(), Some(expect));
        }
        for (text, expect) in [
            ("127.0.0.11", Some("127.0.0.11:53")),
            ("::1", Some("[::1]:53")),
            ("10.0.0.2:5353", Some("10.0.0.2:5353")),
            ("dns", None),
            ("1.1.1.1:0", None),
        ] {
            assert_eq!(Resolver::parse(text).ok().map(|r| r.0.to_string()).as_deref(), expect, "{text}");
        }
    }
}
