//! The answers that this node gives by itself.

use std::borrow::Cow;

use crate::http1::{Delivery, Method, OwnHead, reason, write_own};

/// A whole answer that fits in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    pub status: u16,
    pub content_type: &'a str,
    /// Whole lines for the head, each with its CRLF.
    pub lines: Cow<'a, [u8]>,
    pub body: Cow<'a, [u8]>,
}

impl<'a> Answer<'a> {
    /// An error page.
    pub fn error(status: u16, node: &str) -> Self {
        // RFC 9110 section 15.5.6 asks for Allow. Files refuse all other methods; what every resource refuses,
        // CONNECT and TRACE, is not in it.
        let lines: &[u8] = if status == 405 { b"Allow: GET, HEAD\r\n" } else { b"" };
        Self {
            status,
            content_type: "text/html",
            lines: lines.into(),
            body: page(status, node).into_bytes().into(),
        }
    }

    /// An error page that also says where to go.
    pub fn redirect(status: u16, node: &str, lines: Vec<u8>) -> Self {
        Self { lines: lines.into(), ..Self::error(status, node) }
    }

    /// An error page for whoever asked for bytes that are not there, with `lines` that say which are.
    pub fn unsatisfiable(node: &str, lines: Vec<u8>) -> Self {
        Self { lines: lines.into(), ..Self::error(416, node) }
    }

    /// An error page for what may be had in a moment (RFC 9110 section 10.2.3).
    pub fn retry_soon(node: &str) -> Self {
        Self { lines: Cow::Borrowed(b"Retry-After: 1\r\n"), ..Self::error(503, node) }
    }

    /// For a client that has the same already.
    pub fn not_modified(lines: String) -> Self {
        Self { status: 304, content_type: "", lines: lines.into_bytes().into(), body: Cow::Borrowed(b"") }
    }

    /// What `Action::Respond` says.
    pub fn respond(status: u16, content_type: &'a str, body: &'a str) -> Self {
        Self { status, content_type, lines: Cow::Borrowed(b""), body: body.as_bytes().into() }
    }

    /// Appends the answer to a request with `method`. `date` in the form of RFC 9110 section 5.6.7.
    pub fn write(&self, out: &mut Vec<u8>, method: Method, date: &str, delivery: &Delivery<'_>) {
        let (content_type, length, body): (_, _, &[u8]) = match self.status {
            // RFC 9110 section 8.6: these say no length.
            100..=199 | 204 | 304 => (None, None, b""),
            // Section 15.3.6: no content, and the length that says so.
            205 => (None, Some(0), b""),
            _ => (Some(self.content_type), Some(self.body.len() as u64), &self.body),
        };
        let own =
            OwnHead { status: self.status, content_type, content_length: length, date, lines: &self.lines };
        write_own(out, &own, delivery);
        if method != Method::Head {
            out.extend_from_slice(body);
        }
    }
}

/// An error page: the status, and which node says so.
fn page(status: u16, node: &str) -> String {
    let title = format!("{status} {}", reason(status));
    let title = title.trim_end();
    let mut node_text = String::with_capacity(node.len());
    for c in node.chars() {
        match c {
            '<' => node_text.push_str("&lt;"),
            '>' => node_text.push_str("&gt;"),
            '&' => node_text.push_str("&amp;"),
            c => node_text.push(c),
        }
    }
    format!(
        "<!doctype html>\n<html>\n<head><title>{title}</title></head>\n<body>\n<center><h1>{title}</h1></center>\n\
         <hr><center>vipgate on {node_text}</center>\n</body>\n</html>\n"
    )
}

/// Where a directory without its slash is to be asked for again. Relative, because only the client knows through
/// which scheme, name and port it came.
pub fn redirect_lines(path: &[u8], query: &[u8]) -> Vec<u8> {
    let mut lines = b"Location: ".to_vec();
    lines.extend_from_slice(&escaped_path(path));
    lines.push(b'/');
    lines.extend_from_slice(query);
    lines.extend_from_slice(b"\r\n");
    lines
}

/// A normalised path as it may stand in a URL. It starts with one slash, so that it cannot be read as a host.
fn escaped_path(path: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => escaped.push(*byte),
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' => {
                escaped.push(*byte);
            }
            byte => escaped.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::Version;

    #[test]
    fn answers_as_a_client_gets_them() {
        const START: &str = "Server: vipgate\r\nDate: D\r\n";
        let kept = Delivery { version: Version::Http11, add: b"A: b\r\n", ..Delivery::default() };
        let closed = Delivery { close: true, ..kept };
        let text = Answer::respond(200, "text/plain", "hello");
        let typed = "Content-Type: text/plain\r\nContent-Length: 5\r\nA: b\r\n";
        let table = [
            (text.clone(), Method::Get, kept, format!("200 OK\r\n{START}{typed}\r\nhello")),
            (text.clone(), Method::Head, kept, format!("200 OK\r\n{START}{typed}\r\n")),
            (text, Method::Post, closed, format!("200 OK\r\n{START}{typed}Connection: close\r\n\r\nhello")),
            (
                Answer::respond(200, "text/plain", ""),
                Method::Get,
                kept,
                format!("200 OK\r\n{START}Content-Type: text/plain\r\nContent-Length: 0\r\nA: b\r\n\r\n"),
            ),
            (
                Answer::not_modified("ETag: x\r\n".into()),
                Method::Get,
                kept,
                format!("304 Not Modified\r\n{START}ETag: x\r\nA: b\r\n\r\n"),
            ),
            (
                Answer::respond(204, "text/plain", "lost"),
                Method::Get,
                kept,
                format!("204 No Content\r\n{START}A: b\r\n\r\n"),
            ),
            (
                Answer::respond(205, "text/plain", "lost"),
                Method::Get,
                kept,
                format!("205 Reset Content\r\n{START}Content-Length: 0\r\nA: b\r\n\r\n"),
            ),
        ];
        for (answer, method, delivery, expect) in table {
            let mut out = b"before".to_vec();
            answer.write(&mut out, method, "D", &delivery);
            assert_eq!(String::from_utf8(out).unwrap(), format!("beforeHTTP/1.1 {expect}"), "{answer:?}");
        }
    }

    #[test]
    fn errors_are_pages_with_what_belongs_to_them() {
        let refused = Answer::error(405, "n");
        assert_eq!(refused.lines, &b"Allow: GET, HEAD\r\n"[..]);
        assert_eq!(refused.body, page(405, "n").as_bytes());
        assert!(Answer::error(502, "n").lines.is_empty());
        assert_eq!(Answer::redirect(301, "n", b"Location: /\r\n".to_vec()).lines, &b"Location: /\r\n"[..]);
        let unsatisfiable = Answer::unsatisfiable("n", b"Content-Range: bytes */1\r\n".to_vec());
        assert_eq!(unsatisfiable.status, 416);
        assert_eq!(unsatisfiable.lines, &b"Content-Range: bytes */1\r\n"[..]);
        let busy = Answer::retry_soon("n");
        assert_eq!((busy.status, &*busy.lines), (503, &b"Retry-After: 1\r\n"[..]));
    }

    #[test]
    fn a_page_names_status_and_node() {
        let text = page(502, "a<b&c>");
        assert!(
            text.contains("<h1>502 Bad Gateway</h1>") && text.contains("vipgate on a&lt;b&amp;c&gt;"),
            "{text}"
        );
        assert!(page(599, "n").contains("<h1>599</h1>"));
    }

    #[test]
    fn a_redirect_cannot_leave_the_site_or_its_line() {
        let table: [(&[u8], &[u8], &str); 4] = [
            (b"/a", b"", "Location: /a/\r\n"),
            (b"/a b/\xc3\xa4%", b"?x=1", "Location: /a%20b/%C3%A4%25/?x=1\r\n"),
            (b"/a\r\nX: y", b"", "Location: /a%0D%0AX:%20y/\r\n"),
            (b"/a?b#c", b"", "Location: /a%3Fb%23c/\r\n"),
        ];
        for (path, query, expect) in table {
            assert_eq!(String::from_utf8(redirect_lines(path, query)).unwrap(), expect);
        }
    }
}
