//! What Connection and Upgrade say about one hop.

use super::fields::{Fields, Span, is_token_byte, members};
use super::head::Version;
use super::known::Known;

/// The connection options of a head (RFC 9110 section 7.6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// Others, which may be names of fields.
    pub(super) named: bool,
}

impl Options {
    pub(super) fn of(head: &[u8], fields: &Fields) -> Self {
        let mut options = Self::default();
        for option in list(head, fields) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => options.close = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => options.keep_alive = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => options.upgrade = true,
                // That field is looked at by itself.
                2 if option.eq_ignore_ascii_case(b"te") => (),
                _ => options.named = true,
            }
        }
        options
    }

    /// RFC 9112 section 9.3.
    pub(super) fn persists(self, version: Version) -> bool {
        !self.close && (self.keep_alive || version == Version::Http11)
    }
}

/// The members of all Connection fields.
fn list<'a>(head: &'a [u8], fields: &'a Fields) -> impl Iterator<Item = &'a [u8]> {
    fields.values(Known::Connection).flat_map(move |v| members(v.of(head)))
}

/// Connection names the field.
pub(super) fn is_named(head: &[u8], fields: &Fields, name: &[u8]) -> bool {
    fields.options.named && list(head, fields).any(|option| option.eq_ignore_ascii_case(name))
}

/// The value of Upgrade, where the message says properly that it is one (RFC 9110 section 7.8): HTTP/1.1, the
/// connection option, one field that is a list of protocols. Never h2c: its frames would carry requests that nobody
/// here reads, past every rule.
pub(super) fn upgrade(head: &[u8], fields: &Fields, version: Version) -> Option<Span> {
    if !fields.options.upgrade || version != Version::Http11 {
        return None;
    }
    let value = fields.only(Known::Upgrade)?;
    let protocols = value.of(head);
    let legal = protocols.iter().all(|b| is_token_byte(*b) || matches!(b, b'/' | b',' | b' ' | b'\t'));
    let http2 = members(protocols).any(|protocol| {
        let name = protocol.split(|b| *b == b'/').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"h2c") || name.eq_ignore_ascii_case(b"h2")
    });
    (legal && !http2 && members(protocols).next().is_some()).then_some(value)
}

/// The client reads trailers (RFC 9110 section 10.1.4). In HTTP/1.0 there are none.
pub(super) fn accepts_trailers(head: &[u8], fields: &Fields, version: Version) -> bool {
    version == Version::Http11
        && fields
            .values(Known::Te)
            .flat_map(|v| members(v.of(head)))
            .any(|m| m.eq_ignore_ascii_case(b"trailers"))
}
