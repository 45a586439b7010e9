//! What a client gets, as tables.

use super::*;
use crate::http1::{Fields, Method};

fn response(lines: &str, method: Method, delivery: Delivery<'_>) -> String {
    let text = format!("{lines}\r\n\r\n");
    let head = ResponseHead::parse(text.as_bytes(), method, Fields::default()).unwrap();
    let mut out = vec![];
    write_response(&mut out, text.as_bytes(), &head, &delivery);
    String::from_utf8(out).unwrap()
}

#[test]
fn responses_as_a_client_gets_them() {
    let hide = Names::from_iter(["x-powered-by"]);
    let kept = Delivery::default();
    let length = Delivery { framing: Framing::Length(3), ..kept };
    let table = [
        (
            "HTTP/1.0 200 Fine\r\nContent-Length: 3\r\nConnection: keep-alive, x\r\nX: y\r\nServer: s",
            Method::Get,
            length,
            "HTTP/1.1 200 Fine\r\nServer: s\r\nContent-Length: 3\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3",
            Method::Get,
            Delivery { close: true, add: b"A: b\r\n", ..length },
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nA: b\r\nConnection: close\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3",
            Method::Get,
            Delivery { version: Version::Http10, ..length },
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK",
            Method::Get,
            Delivery { framing: Framing::Chunked, ..kept },
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 7",
            Method::Head,
            kept,
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
        ),
        ("HTTP/1.1 204 x\r\nContent-Length: 7", Method::Get, kept, "HTTP/1.1 204 x\r\n\r\n"),
        (
            "HTTP/1.1 304 x\r\nContent-Length: 7\r\nETag: \"a\"",
            Method::Get,
            kept,
            "HTTP/1.1 304 x\r\nETag: \"a\"\r\nContent-Length: 7\r\n\r\n",
        ),
        (
            "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\nUpgrade: h2c",
            Method::Head,
            kept,
            "HTTP/1.1 200 \r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nTrailer: a\r\nTransfer-Encoding: chunked\r\nX-Powered-By: x\r\nA:b",
            Method::Get,
            Delivery { framing: Framing::Chunked, hide: &hide, via: Some("gate"), ..kept },
            "HTTP/1.1 200 OK\r\nTrailer: a\r\nA: b\r\nTransfer-Encoding: chunked\r\nVia: 1.1 gate\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 \u{e4}\r\nContent-Length: 0",
            Method::Head,
            kept,
            "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
        ),
    ];
    for (lines, method, delivery, expect) in table {
        assert_eq!(response(lines, method, delivery), expect, "{lines:?}");
    }
}

#[test]
fn own_answers_say_who_answers() {
    let own = OwnHead {
        status: 404,
        content_type: Some("text/html"),
        content_length: Some(12345678901234567890),
        date: "D",
        lines: b"Allow: GET\r\n",
    };
    let delivery = Delivery { close: true, add: b"A: b\r\n", ..Delivery::default() };
    let mut out = vec![];
    write_own(&mut out, &own, &delivery);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 404 Not Found\r\nServer: vipgate\r\nDate: D\r\nContent-Type: text/html\r\n\
         Content-Length: 12345678901234567890\r\nAllow: GET\r\nA: b\r\nConnection: close\r\n\r\n"
    );
}

#[test]
fn a_switch_of_protocols_says_so_and_nothing_of_a_body() {
    let lines = "HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\
                 Content-Length: 0\r\nTrailer: a\r\nX: y\r\n\r\n";
    let head = ResponseHead::parse(lines.as_bytes(), Method::Get, Fields::default()).unwrap();
    let hide = Names::from_iter(["x"]);
    let delivery =
        Delivery { hide: &hide, add: b"A: b\r\n", framing: Framing::Chunked, ..Delivery::default() };
    let mut out = vec![];
    write_switching(&mut out, lines.as_bytes(), &head, &delivery);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: x\r\nA: b\r\nUpgrade: websocket\r\n\
         Connection: upgrade\r\n\r\n"
    );
}
