//! A response head from an upstream: as strictly read as a request, because its framing decides where the next
//! response on that connection begins, and whose it is.

use super::fields::{Fields, Span};
use super::framing::Framing;
use super::head::{ResponseError, Version};
use super::limits::FIELDS_MAX;
use super::request::{Method, keep_alive};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    pub length: usize,
    pub status: u16,
    pub reason: Span,
    pub version: Version,
    pub framing: Framing,
    /// The upstream lets the connection be used again.
    pub keep_alive: bool,
    pub fields: Fields,
}

impl ResponseHead {
    /// `head` is what `HeadScan` found complete; `method` that of the request; `reuse` lends its memory.
    pub fn parse(head: &[u8], method: Method, reuse: Fields) -> Result<Self, ResponseError> {
        let mut headers = [const { httparse::EMPTY_HEADER }; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        match parsed.parse(head) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => (),
            Ok(_) => return Err(ResponseError::Bad("head ends somewhere else")),
            Err(httparse::Error::TooManyHeaders) => return Err(ResponseError::TooLarge),
            Err(_) => return Err(ResponseError::Bad("head")),
        }
        let version = Version::of(parsed.version).ok_or(ResponseError::Bad("version"))?;
        let status =
            parsed.code.filter(|code| (100..=999).contains(code)).ok_or(ResponseError::Bad("status"))?;
        let reason = match parsed.reason {
            Some(reason) if !reason.is_empty() => {
                Span::within(head, reason.as_bytes()).ok_or(ResponseError::Bad("reason"))?
            }
            _ => Span::default(),
        };
        let fields = reuse.fill(head, parsed.headers).ok_or(ResponseError::TooLarge)?;
        // RFC 9112 section 6.3 rule 1.
        let bodiless = method == Method::Head || matches!(status, 100..=199 | 204 | 304);
        let framing = Framing::of_response(head, &fields, version, bodiless)?;
        let keep_alive = framing != Framing::Close && keep_alive(head, &fields, version);
        Ok(Self { length: head.len(), status, reason, version, framing, keep_alive, fields })
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
}
