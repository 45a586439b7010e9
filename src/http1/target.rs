//! The request target (RFC 9112 section 3.2) and the authority in it or in Host.

use super::fields::Span;
use super::head::HeadError;
use super::request::Method;

/// Where a request goes, as it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Of an absolute-form target: host and port, checked as Host is.
    pub authority: Option<Span>,
    /// Path and query; `*` in asterisk-form; empty for an absolute-form target that ends with its authority.
    pub path_and_query: Span,
    /// The path alone.
    pub path: Span,
}

impl Target {
    pub(super) fn parse(head: &[u8], target: &[u8], method: Method) -> Result<Self, HeadError> {
        if !target.iter().all(|b| matches!(b, 0x21..=0x7e) && *b != b'#') {
            return Err(HeadError::Bad("target with a byte outside printable ASCII, or with a fragment"));
        }
        let (authority, path_and_query) = match target {
            [b'/', ..] => (None, target),
            b"*" if method == Method::Options => (None, target),
            _ => {
                let rest =
                    strip_scheme(target).ok_or(HeadError::Bad("target is neither a path nor a URL"))?;
                let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
                let (authority, path) = rest.split_at_checked(end).unwrap_or_default();
                if path.starts_with(b"?") {
                    return Err(HeadError::Bad("target URL without a path"));
                }
                (Some(checked_authority(authority)?), path)
            }
        };
        let end = memchr::memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
        let path = path_and_query.get(..end).unwrap_or_default();
        let span = |part| Span::within(head, part).ok_or(HeadError::TooLarge);
        Ok(Self {
            authority: authority.map(span).transpose()?,
            path_and_query: span(path_and_query)?,
            path: span(path)?,
        })
    }

    /// With its question mark; empty if there is none. `head` is what the target was parsed from.
    pub fn query<'h>(&self, head: &'h [u8]) -> &'h [u8] {
        let path = self.path.of(head).len();
        self.path_and_query.of(head).get(path..).unwrap_or_default()
    }
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// `uri-host [":" port]` (RFC 9110 section 7.2) without user information, lists, or an empty host. The comma, which
/// RFC 3986 allows in a registered name, is refused: some recipients read a list.
pub(super) fn checked_authority(text: &[u8]) -> Result<&[u8], HeadError> {
    let error = Err(HeadError::Bad("Host is not a name or address with an optional port"));
    let (host_end, legal) = match text {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return error };
            let inside = rest.get(..end).unwrap_or_default();
            (end + 2, inside.contains(&b':') && inside.iter().all(|b| is_ipv6_byte(*b)))
        }
        _ => {
            let end = memchr::memchr(b':', text).unwrap_or(text.len());
            (end, end > 0 && text.get(..end).unwrap_or_default().iter().all(|b| is_name_byte(*b)))
        }
    };
    let legal_port = match text.get(host_end..).unwrap_or_default() {
        [] => true,
        // An empty port is legal (RFC 3986 section 3.2.3).
        [b':', port @ ..] => {
            port.len() <= 5
                && port.iter().all(u8::is_ascii_digit)
                && port.iter().fold(0, |n, b| n * 10 + u32::from(b - b'0')) <= u32::from(u16::MAX)
        }
        _ => false,
    };
    if legal && legal_port { Ok(text) } else { error }
}

/// Whether an absolute-form target and Host name the same place: case and the port 80 make no difference.
pub(super) fn same_authority(a: &[u8], b: &[u8]) -> bool {
    fn bare(text: &[u8]) -> &[u8] {
        text.strip_suffix(b":80").or_else(|| text.strip_suffix(b":")).unwrap_or(text)
    }
    bare(a).eq_ignore_ascii_case(bare(b))
}

/// Unreserved, percent, sub-delims without the comma (RFC 3986 section 3.2.2).
const fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b';'
                | b'='
        )
}

const fn is_ipv6_byte(b: u8) -> bool {
    b.is_ascii_hexdigit() || matches!(b, b':' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_in_their_four_forms() {
        /// Authority, path with query, path.
        type Parts = (Option<&'static str>, &'static str, &'static str);
        let table: [(&str, Option<Parts>); 19] = [
            ("/", Some((None, "/", "/"))),
            ("/a?b=/c?d", Some((None, "/a?b=/c?d", "/a"))),
            ("/a|b{c}", Some((None, "/a|b{c}", "/a|b{c}"))),
            ("//evil/x", Some((None, "//evil/x", "//evil/x"))),
            ("http://h/p?q", Some((Some("h"), "/p?q", "/p"))),
            ("HTTPS://h:8443/", Some((Some("h:8443"), "/", "/"))),
            ("http://h", Some((Some("h"), "", ""))),
            ("http://[::1]:80/x", Some((Some("[::1]:80"), "/x", "/x"))),
            ("*", None),
            ("a", None),
            ("h:443", None),
            ("http://", None),
            ("http:///x", None),
            ("http://u@h/", None),
            ("http://h?x", None),
            ("ftp://h/", None),
            ("/a#b", None),
            ("/\u{e4}", None),
            ("/a\x7f", None),
        ];
        for (text, expect) in table {
            let text = text.as_bytes();
            let got = Target::parse(text, text, Method::Get).ok();
            let got =
                got.map(|t| (t.authority.map(|a| a.of(text)), t.path_and_query.of(text), t.path.of(text)));
            let expect = expect.map(|(a, pq, p)| (a.map(str::as_bytes), pq.as_bytes(), p.as_bytes()));
            assert_eq!(got, expect, "{}", String::from_utf8_lossy(text));
        }
        assert!(Target::parse(b"*", b"*", Method::Options).is_ok());
    }

    #[test]
    fn authorities() {
        for good in ["a", "A-b.c_d", "1.2.3.4:80", "[::1]", "[::ffff:1.2.3.4]:65535", "a:", "a:0080"] {
            assert!(checked_authority(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "", ":80", "a b", "a,b", "a@b", "a/b", "a?b", "a:x", "a:65536", "a:123456", "a:1:2", "[::1",
            "[]", "[a]", "[::1]x", "::1", "a\\b", "\u{e4}", "a\tb", "<a>",
        ] {
            assert!(checked_authority(bad.as_bytes()).is_err(), "{bad}");
        }
        let table = [
            ("a", "A", true),
            ("a:80", "a", true),
            ("a:", "a", true),
            ("a", "b", false),
            ("a:81", "a", false),
        ];
        for (a, b, expect) in table {
            assert_eq!(same_authority(a.as_bytes(), b.as_bytes()), expect, "{a} {b}");
        }
    }
}
