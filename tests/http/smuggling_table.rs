//! Requests that two recipients might read differently, and what may come of each.

/// What may come of an attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    /// One answer that refuses, then the end of the connection; no whole request reaches the origin.
    Refused,
    /// Exactly these reach the origin: method, `/` for the path of the attempt or `/smuggled` for the one within,
    /// and the body. Each has its answer, and the connection goes on.
    Seen(&'static [&'static str]),
}

use Verdict::{Refused, Seen};

/// Stands for the name of the attempt: as many bytes, so that no length changes.
pub(crate) const MARK: &str = "@@@@@@@@";

pub(crate) struct Attempt {
    pub(crate) text: Vec<u8>,
    pub(crate) verdict: Verdict,
}

fn inner() -> String {
    format!("GET /smuggled/{MARK} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// What follows an attempt that is not refused, to end its connection.
pub(crate) const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

pub(crate) fn attempts() -> Vec<Attempt> {
    let mut all = Vec::new();
    lengths(&mut |text, verdict| all.push(Attempt { text, verdict }));
    codings(&mut |text, verdict| all.push(Attempt { text, verdict }));
    chunks(&mut |text, verdict| all.push(Attempt { text, verdict }));
    lines(&mut |text, verdict| all.push(Attempt { text, verdict }));
    targets(&mut |text, verdict| all.push(Attempt { text, verdict }));
    others(&mut |text, verdict| all.push(Attempt { text, verdict }));
    all
}

type Add<'a> = &'a mut dyn FnMut(Vec<u8>, Verdict);

/// RFC 9112 section 6.3.
fn lengths(add: Add<'_>) {
    let inner = inner();
    let n = inner.len();
    let mut post = |fields: String, body: &str, verdict| {
        add(format!("POST /{MARK} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}").into_bytes(), verdict);
    };
    let chunked_end = format!("0\r\n\r\n{inner}");
    let in_chunk = format!("{n:x}\r\n{inner}\r\n0\r\n\r\n");
    // Both; which of the two counts differs from recipient to recipient.
    for (length, body) in
        [(n + 5, &chunked_end), (0, &chunked_end), (4, &in_chunk), (in_chunk.len(), &in_chunk)]
    {
        post(format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"), body, Refused);
        post(format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"), body, Refused);
    }
    post(format!("Transfer-Encoding: xchunked\r\nContent-Length: {n}\r\n"), &inner, Refused);
    post(format!("Content-Length: 0\r\nContent-Length: {n}\r\n"), &inner, Refused);
    post(format!("Content-Length: {n}\r\nContent-Length: 0\r\n"), &inner, Refused);
    post(format!("Content-Length: {n}\r\ncontent-length: {n}\r\n"), &inner, Refused);
    for value in [
        format!("0, {n}"),
        format!("{n}, {n}"),
        format!("{n},"),
        format!("+{n}"),
        format!("-{n}"),
        "-0".into(),
        format!("0x{n:x}"),
        format!("{n:x}h"),
        format!("{n}.0"),
        "1_0".into(),
        "1e1".into(),
        "1 0".into(),
        format!("0 {n}"),
        "0\0".into(),
        "0\x0b".into(),
        "0;".into(),
        "\"0\"".into(),
        String::new(),
        "18446744073709551616".into(),
        "99999999999999999999999999999999".into(),
    ] {
        post(format!("Content-Length: {value}\r\n"), &inner, Refused);
    }
    post(format!("Content-Length : {n}\r\n"), &inner, Refused);
    post(format!("Content-Length\t: {n}\r\n"), &inner, Refused);
    post(format!("X: y\nContent-Length: {n}\r\n"), &inner, Refused);
    post(format!("X: y\rContent-Length: {n}\r\n"), &inner, Refused);
    post(format!("X: y\r\n Content-Length: {n}\r\n"), &inner, Refused);
    // One reading only.
    post("Content-Length: 5\r\n".into(), "hello", Seen(&["POST / hello"]));
    post("Content-Length: \t5 \r\n".into(), "hello", Seen(&["POST / hello"]));
    post("Content-Length:5\r\n".into(), "hello", Seen(&["POST / hello"]));
    post("Content-Length: 005\r\n".into(), "hello", Seen(&["POST / hello"]));
    post("Content-Length: 0\r\n".into(), &inner, Seen(&["POST / ", "GET /smuggled "]));
    post(String::new(), &inner, Seen(&["POST / ", "GET /smuggled "]));
    post("Content-Length: 33\r\n".into(), "GET /smuggled HTTP/1.1\r\nHost: a\r\n", Seen(&[WITHIN]));
}

const WITHIN: &str = "POST / GET /smuggled HTTP/1.1\r\nHost: a\r\n";

/// RFC 9112 sections 6.1 and 7.
fn codings(add: Add<'_>) {
    let inner = inner();
    let mut post = |field: &str, verdict| {
        let text = format!("POST /{MARK} HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n0\r\n\r\n{inner}");
        add(text.into_bytes(), verdict);
    };
    for field in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: [chunked]",
        "Transfer-Encoding:",
        "Transfer-Encoding: ,",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: x\r\ntransfer-encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding\r\n: chunked",
        "Transfer-Encoding\0: chunked",
        "Transfer-Encoding: chunked\0",
        "Transfer-Encoding: chu\0nked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding:\x0cchunked",
        "Transfer-Encoding: \x7fchunked",
        "Transfer-Encoding: \u{a0}chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\r\n\tchunked",
        "Transfer-Encoding: chunked\r\n ",
        "Transfer-Encoding:\nchunked",
        "Transfer-Encoding: chunked\r",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "X: y\r\rTransfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "X:\r\n Transfer-Encoding: chunked",
        "\nTransfer-Encoding: chunked",
    ] {
        post(field, Refused);
    }
    for field in [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding:chunked",
        "Transfer-Encoding: \t chunked\t ",
        "TRANSFER-ENCODING: CHUNKED",
        "transfer-encoding: Chunked",
    ] {
        post(field, Seen(&["POST / ", "GET /smuggled "]));
    }
    // The first field must not begin with a blank (section 2.2).
    for blank in [" ", "\t"] {
        let start = format!("POST /{MARK} HTTP/1.1\r\n{blank}");
        add(
            format!("{start}Transfer-Encoding: chunked\r\nHost: a\r\n\r\n0\r\n\r\n{inner}").into_bytes(),
            Refused,
        );
        add(format!("{start}Host: a\r\nHost: a\r\n\r\n").into_bytes(), Refused);
    }
    // HTTP/1.0 knows no codings.
    for fields in ["Transfer-Encoding: chunked", "Connection: keep-alive\r\nTransfer-Encoding: chunked"] {
        let text = format!("POST /{MARK} HTTP/1.0\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n{inner}");
        add(text.into_bytes(), Refused);
    }
    let text = format!(
        "POST /{MARK} HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"
    );
    add(text.into_bytes(), Refused);
}

/// RFC 9112 section 7.1.
fn chunks(add: Add<'_>) {
    let inner = inner();
    let n = inner.len();
    let mut post = |body: String, verdict| {
        let head = format!("POST /{MARK} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        add(format!("{head}{body}").into_bytes(), verdict);
    };
    for body in [
        "0\n\n",
        "0\r\n\n",
        "0\n\r\n",
        "0\r\r\n",
        "0\r\n\r\r\n",
        "0;\n\r\n",
        "0;a\n\r\n",
        "0;a=\"\n\"\r\n\r\n",
        "0;a=\"\r\"\r\n\r\n",
        "0;a\rb\r\n\r\n",
        "0;a=\0\r\n\r\n",
        "0x0\r\n\r\n",
        "0X0\r\n\r\n",
        "+0\r\n\r\n",
        "-0\r\n\r\n",
        "-1\r\n\r\n",
        " 0\r\n\r\n",
        "\t0\r\n\r\n",
        "0_0\r\n\r\n",
        "0.0\r\n\r\n",
        "0,0\r\n\r\n",
        "\r\n",
        ";\r\n\r\n",
        "g\r\n\r\n",
        "\u{ff10}\r\n\r\n",
        "10000000000000000\r\n",
        "ffffffffffffffff\r\n",
        "fffffffffffffffe\r\nx",
        // A chunk that is longer or shorter than it says.
        "1\r\nx0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "1\r\nx\n0\r\n\r\n",
        "1\r\nx\r0\r\n\r\n",
        "1\r\nx\r\r\n0\r\n\r\n",
        "1\r\n\r\n0\r\n\r\n",
        "1\rx\r\n0\r\n\r\n",
        "1\nx\r\n0\r\n\r\n",
        // Trailers that are none.
        "0\r\nX: y\n\r\n",
        "0\r\nX: y\r\r\n\r\n",
        "0\r\nX: y\0\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nX: y\r\n z\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\n: y\r\n\r\n",
    ] {
        post(format!("{body}{inner}"), Refused);
    }
    let both = &["POST / ", "GET /smuggled "];
    for body in [
        "0\r\n\r\n",
        "000\r\n\r\n",
        "0;a\r\n\r\n",
        "0;a=b\r\n\r\n",
        "0;a=\"b;c\"\r\n\r\n",
        "0\r\nX: y\r\n\r\n",
    ] {
        post(format!("{body}{inner}"), Seen(both));
    }
    // Whatever trailers say of framing and routing, it is too late.
    for trailer in [
        "Content-Length: 50",
        "Transfer-Encoding: chunked",
        "Host: b",
        "Connection: close",
        "Content-Length: 0\r\nX: y",
    ] {
        post(format!("0\r\n{trailer}\r\n\r\n{inner}"), Seen(both));
    }
    post(format!("{n:x}\r\n{inner}\r\n0\r\n\r\n").replace(MARK, "xxxxxxxx"), Seen(&[CHUNKED_WITHIN]));
    post("2\r\nhe\r\n03;x=y\r\nllo\r\n0\r\n\r\n".into(), Seen(&["POST / hello"]));
}

const CHUNKED_WITHIN: &str = "POST / GET /smuggled/xxxxxxxx HTTP/1.1\r\nHost: a\r\n\r\n";

/// RFC 9112 sections 2.2, 3 and 5.
fn lines(add: Add<'_>) {
    let inner = inner();
    let start = format!("GET /{MARK}");
    for head in [
        format!("{start} HTTP/1.1\nHost: a\n\n"),
        format!("{start} HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\nX: y\n\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\nX: y\n\r\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\n\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\n\r\r\n"),
        format!("{start} HTTP/1.1\rHost: a\r\r"),
        format!("{start} HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\nX: y\x01z\r\n\r\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\nX y: z\r\n\r\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\nX\0: z\r\n\r\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\nX(y): z\r\n\r\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\n: z\r\n\r\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        format!("{start} HTTP/1.1\r\nHost: a\r\n\u{e4}: z\r\n\r\n"),
        format!("{start} HTTP/1.1 \r\nHost: a\r\n\r\n"),
        format!("{start}  HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("{start}\tHTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("{start}\x0bHTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET  /{MARK} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET\t/{MARK} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!(" GET /{MARK} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("\tGET /{MARK} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("\0GET /{MARK} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("G(T /{MARK} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET: /{MARK} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("\nGET /{MARK} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("\rGET /{MARK} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("{start}\r\n\r\n"),
        format!("{start} \r\n\r\n"),
        format!("{start} http/1.1\r\nHost: a\r\n\r\n"),
        format!("{start} HTTP/1.2\r\nHost: a\r\n\r\n"),
        format!("{start} HTTP/2.0\r\nHost: a\r\n\r\n"),
        format!("{start} HTTP/0.9\r\nHost: a\r\n\r\n"),
        format!("{start} HTTP/1\r\nHost: a\r\n\r\n"),
        format!("{start} HTTP/01.1\r\nHost: a\r\n\r\n"),
        format!("{start} HTTP/1.01\r\nHost: a\r\n\r\n"),
        format!("{start} HTTP/1,1\r\nHost: a\r\n\r\n"),
        format!("{start} XTTP/1.1\r\nHost: a\r\n\r\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
    ] {
        add(format!("{head}{inner}").into_bytes(), Refused);
    }
    // The rest of a line that is not over reads like a request to some.
    add(format!("{start} HTTP/1.1 {inner}").into_bytes(), Refused);
    add(format!("{start}\n{inner}").into_bytes(), Refused);
    add(
        format!("{start} HTTP/1.1\r\nHost: a\r\nX: \nGET /smuggled/{MARK} HTTP/1.1\r\nHost: a\r\n\r\n")
            .into_bytes(),
        Refused,
    );
    let mut bytes = format!("{start} HTTP/1.1\r\nHost: a\r\n").into_bytes();
    bytes.extend_from_slice(b"\xff: y\r\n\r\n");
    add(bytes, Refused);
    // One empty line in front is a habit of old clients (section 2.2).
    add(
        format!("\r\n{start} HTTP/1.1\r\nHost: a\r\n\r\n{inner}").into_bytes(),
        Seen(&["GET / ", "GET /smuggled "]),
    );
}

/// RFC 9112 section 3.2.
fn targets(add: Add<'_>) {
    let inner = inner();
    for (line, fields) in [
        (format!("GET /{MARK} HTTP/1.1"), ""),
        (format!("GET /{MARK} HTTP/1.1"), "Host: a\r\nHost: a\r\n"),
        (format!("GET /{MARK} HTTP/1.1"), "Host: a\r\nHost: b\r\n"),
        (format!("GET /{MARK} HTTP/1.1"), "Host: a, b\r\n"),
        (format!("GET /{MARK} HTTP/1.1"), "Host: a b\r\n"),
        (format!("GET /{MARK} HTTP/1.1"), "Host: a/b\r\n"),
        (format!("GET /{MARK} HTTP/1.1"), "Host: a?b\r\n"),
        (format!("GET /{MARK} HTTP/1.1"), "Host: a#b\r\n"),
        (format!("GET /{MARK} HTTP/1.1"), "Host: u@a\r\n"),
        (format!("GET /{MARK} HTTP/1.1"), "Host: a:port\r\n"),
        (format!("GET /{MARK} HTTP/1.1"), "Host: a:80:80\r\n"),
        (format!("GET /{MARK} HTTP/1.1"), "Host: a:99999\r\n"),
        (format!("GET /{MARK} HTTP/1.1"), "Host: [::1\r\n"),
        (format!("GET /{MARK} HTTP/1.1"), "Host: [a]\r\n"),
        (format!("GET /{MARK} HTTP/1.1"), "Host : a\r\n"),
        (format!("GET /{MARK} HTTP/1.0"), "Host: a\r\nHost: b\r\n"),
        (format!("GET http://b/{MARK} HTTP/1.1"), "Host: a\r\n"),
        (format!("GET http://a:81/{MARK} HTTP/1.1"), "Host: a\r\n"),
        (format!("GET http://a@b/{MARK} HTTP/1.1"), "Host: b\r\n"),
        (format!("GET http://u@a/{MARK} HTTP/1.1"), "Host: a\r\n"),
        (format!("GET http:///{MARK} HTTP/1.1"), "Host: a\r\n"),
        (format!("GET http://a,b/{MARK} HTTP/1.1"), "Host: a\r\n"),
        (format!("GET http://a?{MARK} HTTP/1.1"), "Host: a\r\n"),
        (format!("GET http://a/{MARK} HTTP/1.1"), ""),
        (format!("GET ftp://a/{MARK} HTTP/1.1"), "Host: a\r\n"),
        (format!("GET {MARK} HTTP/1.1"), "Host: a\r\n"),
        (format!("GET ../{MARK} HTTP/1.1"), "Host: a\r\n"),
        (format!("GET /../{MARK} HTTP/1.1"), "Host: a\r\n"),
        (format!("GET /%2e%2e/{MARK} HTTP/1.1"), "Host: a\r\n"),
        (format!("GET /{MARK}/%00 HTTP/1.1"), "Host: a\r\n"),
        (format!("GET /{MARK}/%zz HTTP/1.1"), "Host: a\r\n"),
        (format!("GET /{MARK}/%4 HTTP/1.1"), "Host: a\r\n"),
        (format!("GET /{MARK}#x HTTP/1.1"), "Host: a\r\n"),
        (format!("GET /{MARK}\0 HTTP/1.1"), "Host: a\r\n"),
        (format!("GET /{MARK}\x7f HTTP/1.1"), "Host: a\r\n"),
        (format!("GET /{MARK}\u{e4} HTTP/1.1"), "Host: a\r\n"),
        (format!("GET /{MARK} x HTTP/1.1"), "Host: a\r\n"),
        ("GET * HTTP/1.1".into(), "Host: a\r\n"),
        ("CONNECT a:80 HTTP/1.1".into(), "Host: a:80\r\n"),
        (format!("CONNECT /{MARK} HTTP/1.1"), "Host: a\r\n"),
        (format!("TRACE /{MARK} HTTP/1.1"), "Host: a\r\n"),
    ] {
        add(format!("{line}\r\n{fields}\r\n{inner}").into_bytes(), Refused);
    }
    let one = &["GET / ", "GET /smuggled "];
    for (target, host) in [
        (format!("http://a/{MARK}"), "a"),
        (format!("HTTP://A/{MARK}"), "a"),
        (format!("http://a:80/{MARK}"), "a"),
        (format!("http://a/{MARK}"), "a:80"),
        (format!("/{MARK}?%0d%0aX:%20y"), "a"),
        (format!("/{MARK}?http://b/"), "a"),
    ] {
        add(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n{inner}").into_bytes(), Seen(one));
    }
}

/// Bodies where none is usual, other protocols, Expect.
fn others(add: Add<'_>) {
    let inner = inner();
    let start = format!("GET /{MARK} HTTP/1.1\r\nHost: a\r\n");
    let both = &["GET / ", "GET /smuggled "];
    // Whoever leaves the body of a GET unread answers its bytes as a request.
    add(
        format!("{start}Content-Length: 5\r\n\r\nhello{inner}").into_bytes(),
        Seen(&["GET / hello", "GET /smuggled "]),
    );
    add(
        format!("{start}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{inner}").into_bytes(),
        Seen(&["GET / hello", "GET /smuggled "]),
    );
    add(
        format!("DELETE /{MARK} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi{inner}").into_bytes(),
        Seen(&["DELETE / hi", "GET /smuggled "]),
    );
    // The framing fields cannot be taken away by Connection.
    add(
        format!("POST /{MARK} HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nhello{inner}")
            .into_bytes(),
        Seen(&["POST / hello", "GET /smuggled "]),
    );
    add(
        format!(
            "POST /{MARK} HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding, Host\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\n\r\n{inner}"
        )
        .into_bytes(),
        Seen(&["POST / hello", "GET /smuggled "]),
    );
    // Bytes after a request for another protocol are a request until a 101 says otherwise; this origin never does.
    for fields in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Upgrade: h2c\r\n",
        "Connection: Upgrade\r\n",
        "Connection: upgrade\r\nUpgrade: TLS/1.0\r\n",
    ] {
        add(format!("{start}{fields}\r\n{inner}").into_bytes(), Seen(both));
    }
    add(
        format!("POST /{MARK} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello{inner}").into_bytes(),
        Seen(&["POST / hello", "GET /smuggled "]),
    );
    add(
        format!(
            "POST /{MARK} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n{inner}"
        )
        .into_bytes(),
        Seen(&["POST / ", "GET /smuggled "]),
    );
    for value in ["x", "100-continue, x", "100-continue\r\nExpect: x"] {
        let text = format!(
            "POST /{MARK} HTTP/1.1\r\nHost: a\r\nExpect: {value}\r\nContent-Length: 0\r\n\r\n{inner}"
        );
        add(text.into_bytes(), Refused);
    }
}
