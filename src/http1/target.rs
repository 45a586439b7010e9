//! The request target (RFC 9112 section 3.2) and the authority in it or in Host.

use super::fields::Span;
use super::head::HeadError;
use super::lanes;
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
    /// It lies at `head[start..end]`.
    pub(super) fn parse(head: &[u8], start: usize, end: usize, method: Method) -> Result<Self, HeadError> {
        if lanes::target(head, start, end) != end - start {
            return Err(HeadError::Bad("target with a byte outside printable ASCII, or with a fragment"));
        }
        let (authority, start) = match head.get(start..end).unwrap_or_default() {
            [b'/', ..] => (None, start),
            b"*" if method == Method::Options => (None, start),
            target => {
                let scheme = scheme(target).ok_or(HeadError::Bad("target is neither a path nor a URL"))?;
                let rest = target.get(scheme..).unwrap_or_default();
                let length = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
                if rest.get(length) == Some(&b'?') {
                    return Err(HeadError::Bad("target URL without a path"));
                }
                let authority = Span::new(start + scheme, start + scheme + length);
                check_authority(head, authority)?;
                (Some(authority), authority.end())
            }
        };
        let path_and_query = head.get(start..end).unwrap_or_default();
        let length = memchr::memchr(b'?', path_and_query).unwrap_or(path_and_query.len());
        Ok(Self { authority, path_and_query: Span::new(start, end), path: Span::new(start, start + length) })
    }

    /// With its question mark; empty if there is none. `head` is what the target was parsed from.
    pub fn query<'h>(&self, head: &'h [u8]) -> &'h [u8] {
        let path = self.path.of(head).len();
        self.path_and_query.of(head).get(path..).unwrap_or_default()
    }
}

/// Bytes of `http://` or `https://`.
fn scheme(target: &[u8]) -> Option<usize> {
    let starts =
        |scheme: &[u8]| target.get(..scheme.len())?.eq_ignore_ascii_case(scheme).then_some(scheme.len());
    starts(b"http://").or_else(|| starts(b"https://"))
}

/// `uri-host [":" port]` (RFC 9110 section 7.2) without user information, lists, or an empty host. The comma, which
/// RFC 3986 allows in a registered name, is refused: some recipients read a list.
pub(super) fn check_authority(head: &[u8], authority: Span) -> Result<(), HeadError> {
    let error = Err(HeadError::Bad("Host is not a name or address with an optional port"));
    let text = authority.of(head);
    let (host_end, legal) = match text {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return error };
            let inside = rest.get(..end).unwrap_or_default();
            (end + 2, inside.contains(&b':') && inside.iter().all(|b| is_ipv6_byte(*b)))
        }
        _ => {
            let end = lanes::host_name(head, authority.start(), authority.end());
            (end, end > 0)
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
    if legal && legal_port { Ok(()) } else { error }
}

/// Whether an absolute-form target and Host name the same place: case and the port 80 make no difference.
pub(super) fn same_authority(a: &[u8], b: &[u8]) -> bool {
    fn bare(text: &[u8]) -> &[u8] {
        text.strip_suffix(b":80").or_else(|| text.strip_suffix(b":")).unwrap_or(text)
    }
    bare(a).eq_ignore_ascii_case(bare(b))
}

/// Printable ASCII without the fragment's mark.
pub(super) const fn is_target_byte(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut at = 0x21;
        while at <= 0x7e {
            table[at] = at != b'#' as usize;
            at += 1;
        }
        table
    };
    TABLE[byte as usize]
}

/// Unreserved, percent, sub-delims without the comma (RFC 3986 section 3.2.2).
pub(super) const fn is_name_byte(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let mut at = 0;
        while at < 128 {
            let byte = at as u8;
            let mark = matches!(
                byte,
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
            );
            table[at] = byte.is_ascii_alphanumeric() || mark;
            at += 1;
        }
        table
    };
    TABLE[byte as usize]
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
            let got = Target::parse(text, 0, text.len(), Method::Get).ok();
            let got =
                got.map(|t| (t.authority.map(|a| a.of(text)), t.path_and_query.of(text), t.path.of(text)));
            let expect = expect.map(|(a, pq, p)| (a.map(str::as_bytes), pq.as_bytes(), p.as_bytes()));
            assert_eq!(got, expect, "{}", String::from_utf8_lossy(text));
        }
        assert!(Target::parse(b"*", 0, 1, Method::Options).is_ok());
    }

    #[test]
    fn authorities() {
        let check = |text: &str| check_authority(text.as_bytes(), Span::new(0, text.len()));
        for good in ["a", "A-b.c_d", "1.2.3.4:80", "[::1]", "[::ffff:1.2.3.4]:65535", "a:", "a:0080"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "", ":80", "a b", "a,b", "a@b", "a/b", "a?b", "a:x", "a:65536", "a:123456", "a:1:2", "[::1",
            "[]", "[a]", "[::1]x", "::1", "a\\b", "\u{e4}", "a\tb", "<a>",
        ] {
            assert!(check(bad).is_err(), "{bad}");
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
