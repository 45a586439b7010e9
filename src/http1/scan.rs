//! Finds the end of a head in bytes that arrive in pieces, each byte looked at once.
//!
//! Lines end in CRLF: a bare LF is refused as soon as it is seen, because a recipient that takes it for a line end
//! and one that does not read two different heads (RFC 9112 section 2.2 leaves the choice open).

use super::fields::is_token_byte;
use super::head::{HeadError, ResponseError};
use super::lanes::{BareLf, empty_line};
use super::limits::{LEADING_EMPTY_LINES_MAX, REQUEST_HEAD_MAX, REQUEST_LINE_MAX, RESPONSE_HEAD_MAX};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    Incomplete,
    /// The head, its final empty line included, has this many bytes.
    Complete(usize),
}

/// Give it the same growing buffer again and again.
#[derive(Clone, Debug, Default)]
pub struct HeadScan {
    /// Bytes that have been looked at.
    seen: usize,
    /// Where the current line starts, until the first one with content has ended.
    line: usize,
    leading_empty: usize,
    /// The request or status line has been seen to its end.
    in_fields: bool,
}

impl HeadScan {
    pub fn request(&mut self, bytes: &[u8]) -> Result<Scanned, HeadError> {
        while !self.in_fields {
            self.check_first_byte(bytes)?;
            let Some(end) = self.next_line(bytes, REQUEST_HEAD_MAX) else {
                // Where the limit is passed must not depend on how the bytes were cut: all of them count, also those
                // behind the limit that came along.
                if bytes.len() - self.line > REQUEST_LINE_MAX + 1 {
                    return Err(HeadError::LineTooLong);
                }
                return Ok(Scanned::Incomplete);
            };
            let line = bytes.get(self.line..end).unwrap_or_default();
            if line.len() > REQUEST_LINE_MAX + 2 {
                return Err(HeadError::LineTooLong);
            }
            let Some(content) = line.strip_suffix(b"\r\n") else {
                return Err(HeadError::Bad("line ends in a bare LF"));
            };
            self.line = end;
            if content.is_empty() {
                self.leading_empty += 1;
                if self.leading_empty > LEADING_EMPTY_LINES_MAX {
                    return Err(HeadError::Bad("empty lines before the request line"));
                }
                continue;
            }
            // Said now: a client of HTTP/0.9 or of another protocol sends no empty line to wait for.
            if !content.ends_with(b" HTTP/1.1") && !content.ends_with(b" HTTP/1.0") {
                return Err(HeadError::Bad("request line does not end in HTTP/1.1 or HTTP/1.0"));
            }
            self.in_fields = true;
        }
        match self.fields(bytes, REQUEST_HEAD_MAX) {
            Ok(Scanned::Incomplete) if bytes.len() >= REQUEST_HEAD_MAX => Err(HeadError::TooLarge),
            Ok(scanned) => Ok(scanned),
            Err(BareLf) => Err(HeadError::Bad("line ends in a bare LF")),
        }
    }

    pub fn response(&mut self, bytes: &[u8]) -> Result<Scanned, ResponseError> {
        if !self.in_fields {
            let Some(end) = self.next_line(bytes, RESPONSE_HEAD_MAX) else {
                if bytes.len() >= RESPONSE_HEAD_MAX {
                    return Err(ResponseError::TooLarge);
                }
                return Ok(Scanned::Incomplete);
            };
            let line = bytes.get(..end).unwrap_or_default();
            if !line.ends_with(b"\r\n") {
                return Err(ResponseError::Bad("line ends in a bare LF"));
            }
            if !line.starts_with(b"HTTP/1.") {
                return Err(ResponseError::Bad("status line does not start with HTTP/1."));
            }
            self.in_fields = true;
        }
        match self.fields(bytes, RESPONSE_HEAD_MAX) {
            Ok(Scanned::Incomplete) if bytes.len() >= RESPONSE_HEAD_MAX => Err(ResponseError::TooLarge),
            Ok(scanned) => Ok(scanned),
            Err(BareLf) => Err(ResponseError::Bad("line ends in a bare LF")),
        }
    }

    /// It has not looked at anything.
    pub(super) fn is_fresh(&self) -> bool {
        self.seen == 0
    }

    /// Looks for the empty line behind the fields.
    fn fields(&mut self, bytes: &[u8], limit: usize) -> Result<Scanned, BareLf> {
        let window = bytes.get(..limit).unwrap_or(bytes);
        let found = empty_line(window, self.seen)?;
        self.seen = window.len();
        Ok(found.map_or(Scanned::Incomplete, Scanned::Complete))
    }

    /// A client that speaks TLS, or anything else binary, gets its answer at once.
    fn check_first_byte(&self, bytes: &[u8]) -> Result<(), HeadError> {
        match bytes.get(self.line) {
            None | Some(b'\r' | b'\n') => Ok(()),
            Some(b) if is_token_byte(*b) => Ok(()),
            Some(_) => Err(HeadError::Bad("request line does not start with a method")),
        }
    }

    /// One past the LF of the current line, if it has arrived within `limit`.
    fn next_line(&mut self, bytes: &[u8], limit: usize) -> Option<usize> {
        let window = bytes.get(self.seen..bytes.len().min(limit))?;
        match memchr::memchr(b'\n', window) {
            Some(n) => {
                self.seen += n + 1;
                Some(self.seen)
            }
            None => {
                self.seen += window.len();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Result<Scanned, HeadError> {
        HeadScan::default().request(bytes)
    }

    /// The verdict over the growing prefixes of `bytes`, `step` at a time.
    fn cut(bytes: &[u8], step: usize) -> Result<Scanned, HeadError> {
        let mut scan = HeadScan::default();
        let mut end = 0;
        loop {
            end = (end + step).min(bytes.len());
            match scan.request(&bytes[..end])? {
                Scanned::Incomplete if end < bytes.len() => (),
                verdict => return Ok(verdict),
            }
        }
    }

    #[test]
    fn the_end_is_found_however_the_bytes_are_cut() {
        let bad = |text| Err(HeadError::Bad(text));
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(REQUEST_LINE_MAX));
        let fits = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(REQUEST_LINE_MAX - 14));
        let wide = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "a".repeat(REQUEST_HEAD_MAX));
        let table: Vec<(&[u8], Result<Scanned, HeadError>)> = vec![
            (b"", Ok(Scanned::Incomplete)),
            (b"GET / HTTP/1.1\r\n", Ok(Scanned::Incomplete)),
            (b"GET / HTTP/1.1\r\n\r\nrest", Ok(Scanned::Complete(18))),
            (b"\r\nGET / HTTP/1.1\r\n\r\n", Ok(Scanned::Complete(20))),
            (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", bad("empty lines before the request line")),
            (b"GET / HTTP/1.1\nHost: a\n\n", bad("line ends in a bare LF")),
            (b"GET / HTTP/1.1\r\nHost: a\n\r\n", bad("line ends in a bare LF")),
            (b"\nGET / HTTP/1.1\r\n\r\n", bad("line ends in a bare LF")),
            (b"GET /\r\n", bad("request line does not end in HTTP/1.1 or HTTP/1.0")),
            (b"GET / HTTP/2.0\r\n", bad("request line does not end in HTTP/1.1 or HTTP/1.0")),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bad("request line does not end in HTTP/1.1 or HTTP/1.0")),
            (b"\x16\x03\x01", bad("request line does not start with a method")),
            (b" GET / HTTP/1.1\r\n", bad("request line does not start with a method")),
            (long.as_bytes(), Err(HeadError::LineTooLong)),
            (fits.as_bytes(), Ok(Scanned::Complete(fits.len()))),
            (wide.as_bytes(), Err(HeadError::TooLarge)),
        ];
        for (bytes, expect) in table {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            assert_eq!(whole(bytes), expect, "{shown:?}");
            if !bytes.is_empty() {
                for step in [1, 2, 3, 7, 1000] {
                    assert_eq!(cut(bytes, step), expect, "{shown:?} in steps of {step}");
                }
            }
        }
    }

    #[test]
    fn a_response_needs_its_status_line_and_whole_lines() {
        let table: [(&[u8], Result<Scanned, ResponseError>); 5] = [
            (b"HTTP/1.1 200 OK\r\n\r\nx", Ok(Scanned::Complete(19))),
            (b"HTTP/1.1 200 OK\r\n", Ok(Scanned::Incomplete)),
            (b"\r\n", Err(ResponseError::Bad("status line does not start with HTTP/1."))),
            (b"HTTP/1.1 200 OK\n\n", Err(ResponseError::Bad("line ends in a bare LF"))),
            (b"SSH-2.0-x\r\n", Err(ResponseError::Bad("status line does not start with HTTP/1."))),
        ];
        for (bytes, expect) in table {
            assert_eq!(HeadScan::default().response(bytes), expect, "{}", String::from_utf8_lossy(bytes));
        }
        let huge = vec![b'a'; RESPONSE_HEAD_MAX];
        assert_eq!(HeadScan::default().response(&huge), Err(ResponseError::TooLarge));
    }
}
