//! Trailer fields: kept apart from the head, line by line, without those that a recipient may act on.

use super::copy::line;
use super::fields::trim;
use super::rules::Names;

/// What must not come behind a body (RFC 9110 section 6.5.1), because recipients merge trailers into the head after
/// they, or somebody before them, decided by the head: framing (`Content-Length`, `Transfer-Encoding`), routing (`Host`),
/// request modifiers (section 10.1 and others), authentication (section 11, cookies), response control data, the
/// content's form (section 8), what belongs to one connection (section 7.6.1), and what proxies say about the client.
const FORBIDDEN: [&[u8]; 54] = [
    b"accept-ranges",
    b"age",
    b"allow",
    b"alt-svc",
    b"authentication-info",
    b"authorization",
    b"cache-control",
    b"cdn-loop",
    b"clear-site-data",
    b"connection",
    b"content-disposition",
    b"content-encoding",
    b"content-language",
    b"content-length",
    b"content-location",
    b"content-range",
    b"content-security-policy",
    b"content-type",
    b"cookie",
    b"date",
    b"early-data",
    b"etag",
    b"expect",
    b"expires",
    b"forwarded",
    b"from",
    b"host",
    b"http2-settings",
    b"keep-alive",
    b"last-modified",
    b"link",
    b"location",
    b"max-forwards",
    b"origin",
    b"pragma",
    b"priority",
    b"range",
    b"referer",
    b"refresh",
    b"retry-after",
    b"set-cookie",
    b"status",
    b"strict-transport-security",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"user-agent",
    b"vary",
    b"via",
    b"warning",
    b"www-authenticate",
    b"x-http-method-override",
    b"x-real-ip",
];

/// The same, for all names that begin so.
const FORBIDDEN_STARTS: [&[u8]; 8] = [
    b"access-control-",
    b"if-",
    b"proxy-",
    b"sec-",
    b"x-accel-",
    b"x-forwarded-",
    b"x-original-",
    b"x-sendfile",
];

fn is_forbidden(name: &[u8]) -> bool {
    let starts = |start: &[u8]| {
        name.split_at_checked(start.len()).is_some_and(|(first, _)| first.eq_ignore_ascii_case(start))
    };
    FORBIDDEN.iter().any(|forbidden| forbidden.eq_ignore_ascii_case(name))
        || FORBIDDEN_STARTS.iter().any(|start| starts(start))
}

/// The lines that may go on. They come byte by byte, and are held to the grammar by whoever hands them over.
#[derive(Clone, Debug, Default)]
pub(super) struct Trailers {
    kept: Vec<u8>,
    /// The line that has begun.
    line: Vec<u8>,
}

impl Trailers {
    pub(super) fn push(&mut self, byte: u8) {
        self.line.push(byte);
    }

    pub(super) fn end_line(&mut self) {
        let (name, value) = parts(&self.line);
        if !is_forbidden(name) {
            line(&mut self.kept, name, value);
        }
        self.line.clear();
    }

    /// Whole lines, each with its CRLF; without those that are hidden here.
    pub(super) fn into_lines(self, hide: &Names) -> Vec<u8> {
        if hide.is_empty() {
            return self.kept;
        }
        let mut lines = vec![];
        for kept in self.kept.split_inclusive(|b| *b == b'\n') {
            if !hide.has(parts(kept).0) {
                lines.extend_from_slice(kept);
            }
        }
        lines
    }
}

/// Name and value.
fn parts(line: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b':', line).unwrap_or(line.len());
    let (name, rest) = line.split_at_checked(end).unwrap_or_default();
    (name, trim(rest.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_by_the_head_is_dropped() {
        assert!(FORBIDDEN.is_sorted());
        for (name, expect) in [
            ("Content-LENGTH", true),
            ("X-Forwarded-Anything", true),
            ("IF-None-Match", true),
            ("Proxy-Authorization", true),
            ("TE", true),
            ("Grpc-Status", false),
            ("Digest", false),
            ("Content-Digest", false),
            ("Server-Timing", false),
            ("X-Checksum", false),
            ("X", false),
        ] {
            assert_eq!(is_forbidden(name.as_bytes()), expect, "{name}");
        }
    }
}
