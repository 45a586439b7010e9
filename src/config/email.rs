//! Mails about changes of state: keepalived's keys.

use serde_json::{Value as Json, json};

use super::field::{Fault, List, Scalar, choice, object};
use super::model::MailTls;
use super::names::host_name;
use super::problem::shown;
use super::values::{FilePath, NodeName, Time};

object! {
    /// Mails: each change of state of the virtual routers that have `smtp_alert` is sent to all recipients.
    EmailEntry, "mail settings" {
        /// The mail server, with a port or without.
        smtp_server: SmtpServer,
        /// none (port 25), starttls (port 587) or tls from the first byte (port 465). Where it cannot be had, nothing
        /// is sent.
        smtp_tls: MailTls = "none",
        /// Whom the mails are for.
        notification_email: List<MailAddress>,
        /// Whom they are from.
        notification_email_from: MailAddress,
        /// What this node calls itself. Left out: the node's name.
        smtp_helo_name: Option<NodeName>,
        /// For one try, from the connection to the end.
        smtp_connect_timeout: Time<100, 300_000> = "30s",
        /// For servers that want to know who sends. Not without TLS.
        smtp_user: Option<String>,
        /// See `smtp_user`.
        smtp_password: Option<String>,
        /// As for webhooks.
        ca_file: Option<FilePath>,
    }
}

choice!(MailTls { "none" => Self::None, "starttls" => Self::StartTls, "tls" => Self::Tls });

/// A host, and a port if there is one.
pub(super) struct SmtpServer(pub(super) String, pub(super) Option<u16>);

impl Scalar for SmtpServer {
    fn words() -> String {
        "an address or a name, with a port or without, such as mail.example.org:25".into()
    }
    fn schema() -> Json {
        json!({ "type": "string" })
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok().filter(|port: &u16| *port != 0))),
            None => (text, None),
        };
        let is_address = host.parse::<std::net::Ipv4Addr>().is_ok();
        match (host_name(host).or_else(|| is_address.then(|| host.to_owned())), port) {
            (Some(host), None) => Ok(Self(host, None)),
            (Some(host), Some(Some(port))) => Ok(Self(host, Some(port))),
            (None, _) | (_, Some(None)) => Err(Fault::new(
                format!("{} is no mail server", shown(text)),
                format!("write {}", Self::words()),
            )),
        }
    }
}

/// `name@host`.
pub(super) struct MailAddress(pub(super) String);

impl Scalar for MailAddress {
    fn words() -> String {
        "a mail address such as ops@example.org".into()
    }
    fn schema() -> Json {
        json!({ "type": "string" })
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        let is_address = text.rsplit_once('@').is_some_and(|(name, host)| {
            let legal = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b);
            let dots = name.split('.').all(|part| !part.is_empty());
            name.len() <= 64 && dots && name.bytes().all(legal) && host_name(host).is_some()
        });
        if is_address {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new(format!("{} is not a mail address", shown(text)), "write name@host and nothing else"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_servers_are_what_they_should_be() {
        let addresses = [
            ("ops@example.org", true),
            ("first.last+tag@localhost", true),
            ("Ops <ops@example.org>", false),
            ("ops", false),
            ("@example.org", false),
            ("a..b@example.org", false),
            ("ops@example.org\r\nBcc: x@y", false),
            ("ops@10.0.0.1", false),
        ];
        for (text, expect) in addresses {
            assert_eq!(MailAddress::parse(text).is_ok(), expect, "{text}");
        }
        let servers = [
            ("mail", Some(("mail", None))),
            ("Mail.example.org:2525", Some(("mail.example.org", Some(2525)))),
            ("10.0.0.1", Some(("10.0.0.1", None))),
            ("10.0.0.1:25", Some(("10.0.0.1", Some(25)))),
            ("mail:0", None),
            ("smtp://mail", None),
        ];
        for (text, expect) in servers {
            let got = SmtpServer::parse(text).ok();
            assert_eq!(got.as_ref().map(|server| (server.0.as_str(), server.1)), expect, "{text}");
        }
    }
}
