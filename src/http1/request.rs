//! A request head: parsed by httparse, then held to the rules of RFC 9112 that httparse does not know.

use super::fields::{Fields, Known, Span, members};
use super::framing::Framing;
use super::head::{HeadError, Version};
use super::limits::FIELDS_MAX;
use super::target::{Target, checked_authority, same_authority};

/// Method names are case-sensitive (RFC 9110 section 9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Options,
    Put,
    Delete,
    Post,
    Other,
}

impl Method {
    fn of(name: &[u8]) -> Result<Self, HeadError> {
        Ok(match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"OPTIONS" => Self::Options,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"POST" => Self::Post,
            // CONNECT makes a tunnel to anywhere, TRACE shows what proxies added: neither is a gateway's to serve.
            b"CONNECT" | b"TRACE" => return Err(HeadError::Method),
            _ => Self::Other,
        })
    }

    /// Doing it twice has the effect of doing it once (RFC 9110 section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Options | Self::Put | Self::Delete => true,
            Self::Post | Self::Other => false,
        }
    }

    /// GET and HEAD: asks for a representation and nothing else.
    pub fn is_retrieval(self) -> bool {
        match self {
            Self::Get | Self::Head => true,
            Self::Options | Self::Put | Self::Delete | Self::Post | Self::Other => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Bytes of the head in the buffer; the body follows.
    pub length: usize,
    pub method: Method,
    pub method_name: Span,
    pub target: Target,
    pub version: Version,
    /// Host and port that the client asked for: of an absolute-form target, else of Host. HTTP/1.0 may have none.
    pub host: Option<Span>,
    pub framing: Framing,
    /// The client wants to go on using the connection.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    pub fields: Fields,
}

impl RequestHead {
    /// `head` is what `HeadScan` found complete; `reuse` lends its memory.
    pub fn parse(head: &[u8], reuse: Fields) -> Result<Self, HeadError> {
        let mut headers = [const { httparse::EMPTY_HEADER }; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => (),
            Ok(_) => return Err(HeadError::Bad("head ends somewhere else")),
            Err(error) => return Err(head_error(error)),
        }
        let bad = HeadError::Bad;
        let method_name = parsed.method.ok_or(bad("no method"))?.as_bytes();
        let method = Method::of(method_name)?;
        let version = Version::of(parsed.version).ok_or(bad("version"))?;
        let target = parsed.path.ok_or(bad("no target"))?.as_bytes();
        let target = Target::parse(head, target, method)?;
        let fields = reuse.fill(head, parsed.headers).ok_or(HeadError::TooLarge)?;
        let framing = Framing::of_request(head, &fields, version)?;
        Ok(Self {
            length: head.len(),
            method,
            method_name: Span::within(head, method_name).ok_or(HeadError::TooLarge)?,
            target,
            version,
            host: host(head, &fields, &target, version)?,
            framing,
            keep_alive: keep_alive(head, &fields, version),
            expects_continue: expects_continue(head, &fields, version)?,
            fields,
        })
    }

    /// Without a body, and twice is as good as once.
    pub fn is_repeatable(&self) -> bool {
        self.method.is_idempotent() && matches!(self.framing, Framing::None | Framing::Length(0))
    }
}

/// RFC 9112 section 3.2: exactly one in HTTP/1.1. An absolute-form target overrides it (section 3.2.2), and one that
/// disagrees is refused, because whoever looks at Host alone would route the request elsewhere.
fn host(head: &[u8], fields: &Fields, target: &Target, version: Version) -> Result<Option<Span>, HeadError> {
    let mut values = fields.values(Known::Host);
    let host = values.next();
    if values.next().is_some() {
        return Err(HeadError::Bad("repeated Host"));
    }
    match (host, version) {
        (None, Version::Http11) => return Err(HeadError::Bad("no Host")),
        (None, Version::Http10) => (),
        (Some(host), _) => _ = checked_authority(host.of(head))?,
    }
    match (target.authority, host) {
        (Some(authority), Some(host)) if !same_authority(authority.of(head), host.of(head)) => {
            Err(HeadError::Bad("target and Host disagree"))
        }
        (Some(authority), _) => Ok(Some(authority)),
        (None, host) => Ok(host),
    }
}

/// RFC 9112 section 9.3.
pub(super) fn keep_alive(head: &[u8], fields: &Fields, version: Version) -> bool {
    let mut keep_alive = version == Version::Http11;
    for value in fields.values(Known::Connection) {
        for option in members(value.of(head)) {
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
    keep_alive
}

/// RFC 9110 section 10.1.1: ignored in HTTP/1.0.
fn expects_continue(head: &[u8], fields: &Fields, version: Version) -> Result<bool, HeadError> {
    let mut expected = false;
    if version == Version::Http11 {
        for value in fields.values(Known::Expect) {
            if !value.of(head).eq_ignore_ascii_case(b"100-continue") {
                return Err(HeadError::Expectation);
            }
            expected = true;
        }
    }
    Ok(expected)
}

fn head_error(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooLarge,
        httparse::Error::HeaderName => HeadError::Bad("field name"),
        httparse::Error::HeaderValue => HeadError::Bad("field value"),
        httparse::Error::NewLine => HeadError::Bad("line end"),
        httparse::Error::Status => HeadError::Bad("status"),
        httparse::Error::Token => HeadError::Bad("request line"),
        httparse::Error::Version => HeadError::Bad("version"),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
