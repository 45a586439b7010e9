//! A request head (RFC 9112 section 3), read as strictly as its sections allow.

use super::connection::{accepts_trailers, upgrade};
use super::fields::{FieldFault, Fields, Span};
use super::framing::Framing;
use super::head::{ENDS_BEFORE, HeadError, Version};
use super::known::Known;
use super::lanes::token;
use super::limits::{REQUEST_HEAD_MAX, REQUEST_LINE_MAX};
use super::lines::Lines;
use super::scan::{HeadScan, Scanned};
use super::target::{Target, check_authority, same_authority};

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
    /// The protocols that the client would rather speak on this connection: the value of Upgrade. Only for a GET of
    /// HTTP/1.1 without a body; what else asks for it is answered as if it had not (RFC 9110 section 7.8).
    pub upgrade: Option<Span>,
    /// The client reads trailers.
    pub accepts_trailers: bool,
    pub fields: Fields,
}

impl RequestHead {
    /// The head at the start of `bytes`, what `scan` and `parse` would give one after the other, mostly in one pass.
    /// `None`: not whole; to be given the same bytes again, and more, with the same scan. `spare` lends its memory.
    pub fn read(bytes: &[u8], scan: &mut HeadScan, spare: &mut Fields) -> Result<Option<Self>, HeadError> {
        if scan.is_fresh()
            && let Ok(head) = Self::parse_start(bytes, spare)
        {
            return Ok(Some(head));
        }
        // What exactly is wrong, or missing.
        match scan.request(bytes)? {
            Scanned::Incomplete => Ok(None),
            Scanned::Complete(length) => {
                Self::parse(bytes.get(..length).unwrap_or_default(), std::mem::take(spare)).map(Some)
            }
        }
    }

    /// `head` is what `HeadScan` found complete; `reuse` lends its memory.
    pub fn parse(head: &[u8], mut reuse: Fields) -> Result<Self, HeadError> {
        let parsed = Self::parse_start(head, &mut reuse)?;
        if parsed.length == head.len() { Ok(parsed) } else { Err(HeadError::Bad(ENDS_BEFORE)) }
    }

    /// The head that `bytes` begin with. The memory of `spare` is taken only if there is one.
    fn parse_start(bytes: &[u8], spare: &mut Fields) -> Result<Self, HeadError> {
        let head = bytes.get(..REQUEST_HEAD_MAX).unwrap_or(bytes);
        let mut lines = Lines::new(head);
        let mut next = || lines.next().map_err(|fault| HeadError::Bad(FieldFault::Line(fault).text()));
        let (mut start, mut end) = next()?;
        // RFC 9112 section 2.2: one empty line in front is ignored.
        if start == end {
            (start, end) = next()?;
        }
        let line = head.get(start..end).unwrap_or_default();
        let version = Version::suffix(line).ok_or(HeadError::Bad("version"))?;
        if line.len() > REQUEST_LINE_MAX {
            return Err(HeadError::LineTooLong);
        }
        let method_end = start + token(head, start, end);
        let target_end = end - Version::SUFFIX;
        if method_end == start || method_end >= target_end || head.get(method_end) != Some(&b' ') {
            return Err(HeadError::Bad("request line"));
        }
        let length = spare.read(head, &mut lines).map_err(|fault| match fault {
            FieldFault::TooMany => HeadError::TooLarge,
            fault => HeadError::Bad(fault.text()),
        })?;
        let method = Method::of(head.get(start..method_end).unwrap_or_default())?;
        let target = Target::parse(head, method_end + 1, target_end, method)?;
        let framing = Framing::of_request(head, spare, version)?;
        let upgrade = match (method, framing) {
            (Method::Get, Framing::None | Framing::Length(0)) => upgrade(head, spare, version),
            _ => None,
        };
        Ok(Self {
            length,
            method,
            method_name: Span::new(start, method_end),
            target,
            version,
            host: host(head, spare, &target, version)?,
            framing,
            keep_alive: spare.options.persists(version),
            expects_continue: expects_continue(head, spare, version)?,
            upgrade,
            accepts_trailers: accepts_trailers(head, spare, version),
            fields: std::mem::take(spare),
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
    if fields.is_repeated(Known::Host) {
        return Err(HeadError::Bad("repeated Host"));
    }
    let host = fields.only(Known::Host);
    match (host, version) {
        (None, Version::Http11) => return Err(HeadError::Bad("no Host")),
        (None, Version::Http10) => (),
        (Some(host), _) => check_authority(head, host)?,
    }
    match (target.authority, host) {
        (Some(authority), Some(host)) if !same_authority(authority.of(head), host.of(head)) => {
            Err(HeadError::Bad("target and Host disagree"))
        }
        (Some(authority), _) => Ok(Some(authority)),
        (None, host) => Ok(host),
    }
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

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
