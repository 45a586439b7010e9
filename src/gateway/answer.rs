//! Bodies and fields of the answers that this node gives by itself.

use crate::http1::reason;

/// An error page: the status, and which node says so.
pub fn page(status: u16, node: &str) -> String {
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
pub fn escaped_path(path: &[u8]) -> Vec<u8> {
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
