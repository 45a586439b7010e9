//! The checklist of RFC 9110 and 9112 for what a proxy receives, as tables.

use super::*;
use crate::http1::FIELDS_MAX;
use crate::http1::{HeadScan, Scanned};

fn parse(bytes: &[u8]) -> Result<RequestHead, HeadError> {
    match HeadScan::default().request(bytes)? {
        Scanned::Complete(n) => RequestHead::parse(&bytes[..n], Fields::default()),
        Scanned::Incomplete => panic!("incomplete: {}", String::from_utf8_lossy(bytes)),
    }
}

/// Status of the refusal, or 200.
fn status(bytes: &[u8]) -> u16 {
    parse(bytes).map_or_else(HeadError::status, |_| 200)
}

fn check_lines(table: &[(&str, u16)]) {
    for (lines, expect) in table {
        let text = format!("{lines}\r\n\r\n");
        assert_eq!(status(text.as_bytes()), *expect, "{text:?}");
    }
}

#[test]
fn request_lines() {
    check_lines(&[
        ("GET / HTTP/1.1\r\nHost: a", 200),
        ("GET / HTTP/1.0", 200),
        ("get / HTTP/1.0", 200),
        ("M-SEARCH / HTTP/1.0", 200),
        ("\r\nGET / HTTP/1.0", 200),
        ("GET  / HTTP/1.0", 400),
        ("GET /  HTTP/1.0", 400),
        ("GET\t/ HTTP/1.0", 400),
        ("GET / HTTP/1.0 ", 400),
        (" GET / HTTP/1.0", 400),
        ("GET / HTTP/1.2", 400),
        ("GET / HTTP/2.0", 400),
        ("GET / HTTP/0.9", 400),
        ("GET / HTTP/11", 400),
        ("GET / http/1.1", 400),
        ("GET / HTTP/1.1 HTTP/1.1\r\nHost: a", 400),
        ("GET HTTP/1.1\r\nHost: a", 400),
        ("GET /", 400),
        ("GE(T / HTTP/1.0", 400),
        ("GET /a#b HTTP/1.0", 400),
        ("GET /\u{e4} HTTP/1.0", 400),
        ("GET /a\0b HTTP/1.0", 400),
        ("GET /a\rb HTTP/1.0", 400),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443", 405),
        ("TRACE / HTTP/1.1\r\nHost: a", 405),
        ("OPTIONS * HTTP/1.1\r\nHost: a", 200),
        ("GET * HTTP/1.1\r\nHost: a", 400),
        ("GET a HTTP/1.1\r\nHost: a", 400),
    ]);
}

#[test]
fn host_must_be_one_and_valid() {
    check_lines(&[
        ("GET / HTTP/1.1", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nhost: b", 400),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a", 400),
        ("GET / HTTP/1.1\r\nHost:", 400),
        ("GET / HTTP/1.1\r\nHost: ", 400),
        ("GET / HTTP/1.1\r\nHost: a, b", 400),
        ("GET / HTTP/1.1\r\nHost: u@a", 400),
        ("GET / HTTP/1.1\r\nHost: a/b", 400),
        ("GET / HTTP/1.1\r\nHost: a:99999", 400),
        ("GET / HTTP/1.1\r\nHost: [::1]:8000", 200),
        ("GET / HTTP/1.1\r\nHost:\ta:8000 ", 200),
        ("GET http://a/ HTTP/1.1\r\nHost: A:80", 200),
        ("GET http://a/ HTTP/1.1\r\nHost: b", 400),
        ("GET http://a/ HTTP/1.1", 400),
        ("GET http://a/ HTTP/1.0", 200),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a", 400),
    ]);
}

#[test]
fn fields_are_whole_lines_without_controls() {
    check_lines(&[
        ("GET / HTTP/1.0\r\nA: b", 200),
        ("GET / HTTP/1.0\r\nA:", 200),
        ("GET / HTTP/1.0\r\nA: \u{e4}\tb", 200),
        ("GET / HTTP/1.0\r\nA : b", 400),
        ("GET / HTTP/1.0\r\nA\t: b", 400),
        ("GET / HTTP/1.0\r\n A: b", 400),
        ("GET / HTTP/1.0\r\n: b", 400),
        ("GET / HTTP/1.0\r\nA", 400),
        ("GET / HTTP/1.0\r\nA B: c", 400),
        ("GET / HTTP/1.0\r\nA(: c", 400),
        ("GET / HTTP/1.0\r\n\u{e4}: c", 400),
        ("GET / HTTP/1.0\r\nA: b\r\n c", 400),
        ("GET / HTTP/1.0\r\nA: b\r\n\tc", 400),
        ("GET / HTTP/1.0\r\nA: b\rc", 400),
        ("GET / HTTP/1.0\r\nA: b\r\r\nC: d", 400),
        ("GET / HTTP/1.0\r\nA: b\nC: d", 400),
        ("GET / HTTP/1.0\r\nA: b\0", 400),
        ("GET / HTTP/1.0\r\nA: \x01", 400),
        ("GET / HTTP/1.0\r\nA: \x7f", 400),
        ("GET / HTTP/1.0\r\nA: b\x0b", 400),
    ]);
    let many = |n| format!("GET / HTTP/1.0\r\n{}", vec!["A: b"; n].join("\r\n"));
    check_lines(&[(&many(FIELDS_MAX), 200), (&many(FIELDS_MAX + 1), 431)]);
    check_lines(&[(&format!("GET / HTTP/1.0\r\nA: {}", "b".repeat(40_000)), 431)]);
    check_lines(&[(&format!("GET /{} HTTP/1.0", "b".repeat(9_000)), 414)]);
}

#[test]
fn framing_is_never_guessed() {
    let table: &[(&str, Result<Framing, u16>)] = &[
        ("", Ok(Framing::None)),
        ("Content-Length: 0", Ok(Framing::Length(0))),
        ("Content-Length: 10", Ok(Framing::Length(10))),
        ("Content-Length:\t007 ", Ok(Framing::Length(7))),
        ("Content-Length: 18446744073709551615", Ok(Framing::Length(u64::MAX))),
        ("Content-Length: 18446744073709551616", Err(400)),
        ("Content-Length:", Err(400)),
        ("Content-Length: +5", Err(400)),
        ("Content-Length: -5", Err(400)),
        ("Content-Length: 0x5", Err(400)),
        ("Content-Length: 1_0", Err(400)),
        ("Content-Length: 1 0", Err(400)),
        ("Content-Length: 5.0", Err(400)),
        ("Content-Length: 5, 5", Err(400)),
        ("Content-Length: 5\r\nContent-Length: 5", Err(400)),
        ("Content-Length: 5\r\nContent-Length: 6", Err(400)),
        ("Content-Length : 5", Err(400)),
        ("Transfer-Encoding: chunked", Ok(Framing::Chunked)),
        ("transfer-encoding:\tCHUNKED ", Ok(Framing::Chunked)),
        ("Transfer-Encoding: , chunked", Err(400)),
        ("Transfer-Encoding:", Err(400)),
        ("Transfer-Encoding: chunked, chunked", Err(400)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Err(400)),
        ("Transfer-Encoding: gzip", Err(501)),
        ("Transfer-Encoding: gzip, chunked", Err(501)),
        ("Transfer-Encoding: chunked, gzip", Err(501)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", Err(501)),
        ("Transfer-Encoding: identity", Err(501)),
        ("Transfer-Encoding: xchunked", Err(501)),
        ("Transfer-Encoding: \"chunked\"", Err(501)),
        ("Transfer-Encoding: chunked;a=b", Err(501)),
        ("Transfer-Encoding: \x0bchunked", Err(400)),
        ("Transfer-Encoding : chunked", Err(400)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", Err(400)),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", Err(400)),
        ("Content-Length: 0\r\nTransfer-Encoding: identity", Err(400)),
    ];
    for (lines, expect) in table {
        let line = if lines.is_empty() { String::new() } else { format!("{lines}\r\n") };
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
        let got = parse(text.as_bytes()).map(|h| h.framing).map_err(HeadError::status);
        assert_eq!(got, *expect, "{lines:?}");
    }
    check_lines(&[("POST / HTTP/1.0\r\nTransfer-Encoding: chunked", 400)]);
}

#[test]
fn connection_and_expectation() {
    let table = [
        ("HTTP/1.1", "", true, false),
        ("HTTP/1.1", "Connection: close", false, false),
        ("HTTP/1.1", "Connection: x, CLOSE", false, false),
        ("HTTP/1.1", "Connection: keep-alive\r\nConnection: close", false, false),
        ("HTTP/1.0", "", false, false),
        ("HTTP/1.0", "Connection: Keep-Alive", true, false),
        ("HTTP/1.0", "Connection: keep-alive, close", false, false),
        ("HTTP/1.0", "Expect: 100-continue", false, false),
        ("HTTP/1.1", "Expect: 100-Continue", true, true),
    ];
    for (version, line, keep_alive, expects_continue) in table {
        let line = if line.is_empty() { String::new() } else { format!("{line}\r\n") };
        let head = parse(format!("GET / {version}\r\nHost: a\r\n{line}\r\n").as_bytes()).unwrap();
        assert_eq!(
            (head.keep_alive, head.expects_continue),
            (keep_alive, expects_continue),
            "{version} {line}"
        );
    }
    check_lines(&[("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok", 417)]);
}

#[test]
fn only_what_can_be_done_twice_is_repeatable() {
    let table = [
        ("GET", "", true),
        ("HEAD", "", true),
        ("PUT", "Content-Length: 0\r\n", true),
        ("DELETE", "", true),
        ("GET", "Content-Length: 1\r\n", false),
        ("GET", "Transfer-Encoding: chunked\r\n", false),
        ("POST", "", false),
        ("PATCH", "", false),
        ("get", "", false),
    ];
    for (method, line, expect) in table {
        let head = parse(format!("{method} / HTTP/1.1\r\nHost: a\r\n{line}\r\n").as_bytes()).unwrap();
        assert_eq!(head.is_repeatable(), expect, "{method} {line}");
    }
}

#[test]
fn only_a_whole_wish_for_another_protocol_counts() {
    let wish = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let with = |value: &str| format!("Connection: keep-alive, upgrade\r\nUpgrade: {value}\r\n");
    let table = [
        ("GET", "HTTP/1.1", wish.to_owned(), Some("websocket")),
        ("GET", "HTTP/1.1", format!("{wish}Content-Length: 0\r\n"), Some("websocket")),
        ("GET", "HTTP/1.1", with("foo/2, websocket"), Some("foo/2, websocket")),
        ("get", "HTTP/1.1", wish.to_owned(), None),
        ("HEAD", "HTTP/1.1", wish.to_owned(), None),
        ("POST", "HTTP/1.1", wish.to_owned(), None),
        ("GET", "HTTP/1.0", wish.to_owned(), None),
        ("GET", "HTTP/1.1", format!("{wish}Content-Length: 1\r\n"), None),
        ("GET", "HTTP/1.1", format!("{wish}Transfer-Encoding: chunked\r\n"), None),
        ("GET", "HTTP/1.1", format!("{wish}Upgrade: b\r\n"), None),
        ("GET", "HTTP/1.1", "Upgrade: websocket\r\n".to_owned(), None),
        ("GET", "HTTP/1.1", "Connection: upgrade\r\n".to_owned(), None),
        ("GET", "HTTP/1.1", "Connection: x-upgrade\r\nUpgrade: websocket\r\n".to_owned(), None),
        ("GET", "HTTP/1.1", with(""), None),
        ("GET", "HTTP/1.1", with(" , "), None),
        ("GET", "HTTP/1.1", with("a;b"), None),
        // Frames of HTTP/2 would carry requests that nobody here reads.
        ("GET", "HTTP/1.1", with("h2c"), None),
        ("GET", "HTTP/1.1", with("websocket, H2C"), None),
        ("GET", "HTTP/1.1", with("h2c/1"), None),
        ("GET", "HTTP/1.1", with("h2"), None),
    ];
    for (method, version, lines, expect) in table {
        let text = format!("{method} / {version}\r\nHost: a\r\n{lines}\r\n");
        let head = parse(text.as_bytes()).unwrap();
        assert_eq!(head.upgrade.map(|u| u.of(text.as_bytes())), expect.map(str::as_bytes), "{text:?}");
    }
}
