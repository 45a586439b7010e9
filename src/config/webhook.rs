//! Where news are posted to. What may be a secret in it is in no message.

use std::net::IpAddr;

use serde_json::{Value as Json, json};

use super::field::{Fault, List, Map, Scalar, object};
use super::names::{self, host_name};
use super::values::{FilePath, Time, Whole};

object! {
    /// A webhook: each change of state of a virtual router is posted to it as JSON. Any 2xx is success; redirects are
    /// not followed. `status` and the log name it by its host only, since the rest may be a secret.
    WebhookEntry, "a webhook" {
        /// `https://` or `http://`, a host, and what is asked for.
        url: WebhookUrl,
        /// Sent with it, such as `Authorization: Bearer ${TOKEN}`.
        headers: Map<SecretHeader> = "{}",
        /// For one try.
        timeout: Time<100, 60_000> = "5s",
        /// How often it is tried in all: again after 1s, 2s, 4s .. up to 1m. Then it counts as failed.
        tries: Whole<1, 20> = "5",
        /// PEM certificates of the authorities that are trusted, absolute or relative to the config file's folder. Left
        /// out: those that Mozilla trusts, as of the release of vipgate.
        ca_file: Option<FilePath>,
    }
}

pub(super) type Webhooks = List<WebhookEntry>;

/// The parts of a URL.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WebhookUrl {
    pub(super) tls: bool,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) target: String,
}

impl Scalar for WebhookUrl {
    fn words() -> String {
        "a URL such as https://example.org/hook".into()
    }
    fn schema() -> Json {
        json!({ "type": "string" })
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        let fault = |what: &str, remedy: &str| Err(Fault::new(format!("the URL {what}"), remedy));
        let remedy = "write https://host/path, or http:// inside of your own network";
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return fault("begins neither with https:// nor with http://", remedy),
        };
        if !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return fault("contains a space or a character that is not ASCII", "percent-encode it");
        }
        if rest.contains('#') {
            return fault("has a fragment, which no server gets to see", "remove \"#\" and what follows");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return fault("contains a user", "send it as a header: Authorization: Basic ..");
        }
        let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, port) = match (bracketed, authority.split_once(':')) {
            (Some((host, port)), _) => (host, port.strip_prefix(':').or(port.is_empty().then_some(""))),
            (None, Some((host, port))) => (host, Some(port)),
            (None, None) => (authority, Some("")),
        };
        let port = match port {
            Some("") => Some(if tls { 443 } else { 80 }),
            Some(port) => port.parse().ok().filter(|port| *port != 0),
            None => None,
        };
        let host = host.parse::<IpAddr>().map(|ip| ip.to_string()).ok().or_else(|| host_name(host));
        let (Some(host), Some(port)) = (host, port) else {
            return fault("has no usable host or port", remedy);
        };
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { tls, host, port, target })
    }
}

/// A header field's value that no message repeats.
pub(super) struct SecretHeader(pub(super) String);

impl Scalar for SecretHeader {
    fn words() -> String {
        "a header value".into()
    }
    fn schema() -> Json {
        json!({ "type": ["string", "number"] })
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        names::header_value(text)
            .map(Self)
            .map_err(|fault| Fault::new("the header contains a control character", fault.remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let table = [
            ("https://example.org", Some((true, "example.org", 443, "/"))),
            ("http://Hooks:8080/a?b=c", Some((false, "hooks", 8080, "/a?b=c"))),
            ("https://example.org?x=1", Some((true, "example.org", 443, "/?x=1"))),
            ("https://[::1]:8443/", Some((true, "::1", 8443, "/"))),
            ("http://[::1]", Some((false, "::1", 80, "/"))),
            ("http://10.0.0.1/a:b@c", Some((false, "10.0.0.1", 80, "/a:b@c"))),
            ("ftp://example.org/", None),
            ("example.org/hook", None),
            ("https://user:word@example.org/", None),
            ("https://example.org:0/", None),
            ("https://example.org:x/", None),
            ("https://[::1]x/", None),
            ("https:///path", None),
            ("https://example.org/a b", None),
            ("https://example.org/#a", None),
        ];
        for (text, expect) in table {
            let got = WebhookUrl::parse(text);
            if let Err(fault) = &got {
                assert!(!fault.what.contains("example"), "{fault:?} repeats what may be a secret");
            }
            let got = got.ok();
            let got = got.as_ref().map(|url| (url.tls, url.host.as_str(), url.port, url.target.as_str()));
            assert_eq!(got, expect, "{text}");
        }
    }
}
