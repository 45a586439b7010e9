//! A response head from an upstream: as strictly read as a request, because its framing decides where the next
//! response on that connection begins, and whose it is.

use super::connection::upgrade;
use super::fields::{FieldFault, Fields, Span};
use super::framing::Framing;
use super::head::{ENDS_BEFORE, ResponseError, Version};
use super::limits::RESPONSE_HEAD_MAX;
use super::lines::Lines;
use super::request::Method;
use super::scan::{HeadScan, Scanned};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    pub length: usize,
    pub status: u16,
    pub reason: Span,
    pub version: Version,
    pub framing: Framing,
    /// The upstream lets the connection be used again.
    pub keep_alive: bool,
    /// Of a 101 that says properly what the connection is from here on (RFC 9110 section 15.2.2): the value of Upgrade.
    /// Whether anybody asked for it is for the caller to know. Any other 101 is malformed.
    pub upgrade: Option<Span>,
    pub fields: Fields,
}

impl ResponseHead {
    /// The head at the start of `bytes`, what `scan` and `parse` would give one after the other, mostly in one pass.
    /// `None`: not whole; to be given the same bytes again, and more, with the same scan. `spare` lends its memory.
    pub fn read(
        bytes: &[u8],
        method: Method,
        scan: &mut HeadScan,
        spare: &mut Fields,
    ) -> Result<Option<Self>, ResponseError> {
        if scan.is_fresh()
            && let Ok(head) = Self::parse_start(bytes, method, spare)
        {
            return Ok(Some(head));
        }
        // What exactly is wrong, or missing.
        match scan.response(bytes)? {
            Scanned::Incomplete => Ok(None),
            Scanned::Complete(length) => {
                Self::parse(bytes.get(..length).unwrap_or_default(), method, std::mem::take(spare)).map(Some)
            }
        }
    }

    /// `head` is what `HeadScan` found complete; `method` that of the request; `reuse` lends its memory.
    pub fn parse(head: &[u8], method: Method, mut reuse: Fields) -> Result<Self, ResponseError> {
        let parsed = Self::parse_start(head, method, &mut reuse)?;
        if parsed.length == head.len() { Ok(parsed) } else { Err(ResponseError::Bad(ENDS_BEFORE)) }
    }

    /// The head that `bytes` begin with. The memory of `spare` is taken only if there is one.
    fn parse_start(bytes: &[u8], method: Method, spare: &mut Fields) -> Result<Self, ResponseError> {
        let head = bytes.get(..RESPONSE_HEAD_MAX).unwrap_or(bytes);
        let mut lines = Lines::new(head);
        let (start, end) =
            lines.next().map_err(|fault| ResponseError::Bad(FieldFault::Line(fault).text()))?;
        let line = head.get(start..end).unwrap_or_default();
        let version = Version::prefix(line).ok_or(ResponseError::Bad("version"))?;
        let (status, has_reason) = match line.get(Version::SUFFIX..).unwrap_or_default() {
            // RFC 9112 section 4 wants a space even before an empty phrase; some leave it out.
            [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..]
                if matches!(rest, [] | [b' ', ..]) =>
            {
                let digit = |b: &u8| u16::from(b - b'0');
                (digit(a) * 100 + digit(b) * 10 + digit(c), rest.len() > 1)
            }
            _ => return Err(ResponseError::Bad("status")),
        };
        // A phrase in a character set that nobody knows says nothing.
        let reason = match has_reason && line.is_ascii() {
            true => Span::new(start + Version::SUFFIX + 4, end),
            false => Span::default(),
        };
        let length = spare.read(head, &mut lines).map_err(|fault| match fault {
            FieldFault::TooMany => ResponseError::TooLarge,
            fault => ResponseError::Bad(fault.text()),
        })?;
        // RFC 9112 section 6.3 rule 1.
        let bodiless = method == Method::Head || matches!(status, 100..=199 | 204 | 304);
        let framing = Framing::of_response(head, spare, version, bodiless)?;
        let keep_alive = framing != Framing::Close && spare.options.persists(version);
        let upgrade = if status == 101 { upgrade(head, spare, version) } else { None };
        let fields = std::mem::take(spare);
        Ok(Self { length, status, reason, version, framing, keep_alive, upgrade, fields })
    }

    /// Informational: another head follows (RFC 9110 section 15.2).
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100..=199)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{HeadScan, Scanned};

    fn parse(lines: &str, method: Method) -> Result<ResponseHead, ResponseError> {
        let text = format!("{lines}\r\n\r\n");
        match HeadScan::default().response(text.as_bytes())? {
            Scanned::Complete(n) => ResponseHead::parse(&text.as_bytes()[..n], method, Fields::default()),
            Scanned::Incomplete => panic!("{text:?}"),
        }
    }

    #[test]
    fn framing_and_persistence() {
        type Row = (&'static str, Method, Option<(Framing, bool)>);
        let table: &[Row] = &[
            ("HTTP/1.1 200 OK\r\nContent-Length: 3", Method::Get, Some((Framing::Length(3), true))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3", Method::Head, Some((Framing::None, true))),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", Method::Get, Some((Framing::Chunked, true))),
            ("HTTP/1.1 200 OK", Method::Get, Some((Framing::Close, false))),
            ("HTTP/1.1 200", Method::Head, Some((Framing::None, true))),
            ("HTTP/1.1 204 x", Method::Get, Some((Framing::None, true))),
            ("HTTP/1.1 204 x\r\nContent-Length: 3", Method::Get, Some((Framing::None, true))),
            ("HTTP/1.1 304 x\r\nContent-Length: 3", Method::Get, Some((Framing::None, true))),
            ("HTTP/1.1 100 Continue", Method::Post, Some((Framing::None, true))),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close",
                Method::Get,
                Some((Framing::Length(0), false)),
            ),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0", Method::Get, Some((Framing::Length(0), false))),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive",
                Method::Get,
                Some((Framing::Length(0), true)),
            ),
            ("HTTP/1.1 999 x\r\nContent-Length: 0", Method::Get, Some((Framing::Length(0), true))),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked", Method::Get, None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4", Method::Get, None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3, 4", Method::Get, None),
            ("HTTP/1.1 200 OK\r\nContent-Length: x", Method::Head, None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", Method::Get, None),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", Method::Get, None),
            ("HTTP/1.1 099 OK", Method::Get, None),
            ("HTTP/1.1 20 OK", Method::Get, None),
            ("HTTP/1.1 2000 OK", Method::Get, None),
            ("HTTP/1.2 200 OK", Method::Get, None),
            ("HTTP/2 200", Method::Get, None),
            ("HTTP/1.1 200 OK\r\nA : b", Method::Get, None),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c", Method::Get, None),
            ("HTTP/1.1 200 OK\r\nA: b\0", Method::Get, None),
            ("HTTP/1.1 200 OK\r\nA: b\rc", Method::Get, None),
            ("HTTP/1.1 200 O\0K", Method::Get, None),
        ];
        for (lines, method, expect) in table {
            let got = parse(lines, *method).ok().map(|h| (h.framing, h.keep_alive));
            assert_eq!(got, *expect, "{lines:?}");
        }
    }

    #[test]
    fn a_101_says_what_follows() {
        let table = [
            ("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket", true),
            ("HTTP/1.1 101 S\r\nConnection: upgrade", false),
            ("HTTP/1.1 101 S\r\nUpgrade: websocket", false),
            ("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: h2c", false),
            ("HTTP/1.0 101 S\r\nConnection: upgrade\r\nUpgrade: websocket", false),
            ("HTTP/1.1 426 S\r\nConnection: upgrade\r\nUpgrade: websocket", false),
        ];
        for (lines, expect) in table {
            let head = parse(lines, Method::Get).unwrap();
            assert_eq!(head.upgrade.is_some(), expect, "{lines:?}");
        }
    }
}
