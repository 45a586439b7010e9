//! Heads written anew: no head is ever copied raw from one side to the other.
//!
//! What belongs to one connection stays on it (RFC 9110 section 7.6.1); framing is stated once, by whoever frames.

use super::fields::{Fields, Known, members};
use super::framing::Framing;
use super::head::Version;
use super::request::{Method, RequestHead};
use super::response::ResponseHead;

/// What an upstream is told about the client, and how the body follows.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// The client's address.
    pub client: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host for a client of HTTP/1.0 that named none.
    pub default_host: &'a str,
    /// The upstream connection may be used again.
    pub keep_alive: bool,
}

/// Appends the head of `request`, which was parsed from `head`, as an upstream gets it: HTTP/1.1, origin-form, Host as
/// the client wrote it (nginx's `proxy_set_header Host $http_host`). The body, if there is one, follows with the
/// framing it came with. Expect stays here, because the 100 is ours to send.
pub fn write_request(out: &mut Vec<u8>, head: &[u8], request: &RequestHead, forwarded: &Forwarded<'_>) {
    out.extend_from_slice(request.method_name.of(head));
    out.push(b' ');
    match (request.target.path_and_query.of(head), request.method) {
        // RFC 9112 sections 3.2.1 and 3.2.4: an absolute-form target without a path.
        (b"", Method::Options) => out.push(b'*'),
        (b"", _) => out.push(b'/'),
        (target, _) => out.extend_from_slice(target),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = request.host.map(|h| h.of(head)).unwrap_or(forwarded.default_host.as_bytes());
    line(out, b"Host", host);
    let named = has_named(head, &request.fields);
    for field in request.fields.iter() {
        let name = field.name.of(head);
        let keep = match field.known {
            Known::Host | Known::ContentLength | Known::Expect => false,
            Known::XForwardedFor | Known::XForwardedHost | Known::XForwardedProto | Known::XRealIp => false,
            known => !(is_hop_by_hop(known) || named && is_named(head, &request.fields, name)),
        };
        if keep {
            line(out, name, field.value.of(head));
        }
    }
    // One line with the whole chain, as nginx's `$proxy_add_x_forwarded_for`.
    out.extend_from_slice(b"X-Forwarded-For: ");
    if !(named && is_named(head, &request.fields, b"X-Forwarded-For")) {
        for value in request.fields.values(Known::XForwardedFor).filter(|v| !v.is_empty()) {
            out.extend_from_slice(value.of(head));
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(forwarded.client.as_bytes());
    out.extend_from_slice(b"\r\n");
    line(out, b"X-Forwarded-Proto", forwarded.scheme.as_bytes());
    line(out, b"X-Forwarded-Host", host);
    line(out, b"X-Real-IP", forwarded.client.as_bytes());
    framing_line(out, request.framing);
    if !forwarded.keep_alive {
        line(out, b"Connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
}

/// How a response reaches the client.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub version: Version,
    /// The connection ends with this response.
    pub close: bool,
    /// How the body is framed for the client.
    pub framing: Framing,
    /// Whole lines to add, each with its CRLF.
    pub add: &'a [u8],
}

impl Delivery<'_> {
    fn connection_line(&self, out: &mut Vec<u8>) {
        match (self.close, self.version) {
            (true, _) => line(out, b"Connection", b"close"),
            // A client of HTTP/1.0 has to be told that its wish was granted.
            (false, Version::Http10) => line(out, b"Connection", b"keep-alive"),
            (false, Version::Http11) => (),
        }
    }
}

/// Appends the head of `response`, which was parsed from `head`, as the client gets it.
pub fn write_response(out: &mut Vec<u8>, head: &[u8], response: &ResponseHead, delivery: &Delivery<'_>) {
    status_line(out, response.status, response.reason.of(head));
    end_to_end_fields(out, head, &response.fields);
    match (delivery.framing, response.status) {
        // RFC 9110 section 8.6: the length that a GET would have had.
        (Framing::None, status) if !matches!(status, 100..=199 | 204) => {
            if let Some(length) = response.fields.only(Known::ContentLength) {
                line(out, b"Content-Length", length.of(head));
            }
        }
        (framing, _) => framing_line(out, framing),
    }
    out.extend_from_slice(delivery.add);
    delivery.connection_line(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends an informational response. Never for a client of HTTP/1.0 (RFC 9110 section 15.2).
pub fn write_interim(out: &mut Vec<u8>, head: &[u8], response: &ResponseHead) {
    status_line(out, response.status, response.reason.of(head));
    end_to_end_fields(out, head, &response.fields);
    out.extend_from_slice(b"\r\n");
}

/// The head of an answer that no upstream gave.
#[derive(Clone, Copy, Debug)]
pub struct OwnHead<'a> {
    pub status: u16,
    pub content_type: Option<&'a str>,
    /// Not for 1xx, 204 and 304.
    pub content_length: Option<u64>,
    /// Date in the form of RFC 9110 section 5.6.7.
    pub date: &'a str,
    /// Whole lines, each with its CRLF: validators, Location, Allow.
    pub lines: &'a [u8],
}

pub fn write_own(out: &mut Vec<u8>, own: &OwnHead<'_>, delivery: &Delivery<'_>) {
    status_line(out, own.status, super::reason(own.status).as_bytes());
    line(out, b"Server", b"vipgate");
    line(out, b"Date", own.date.as_bytes());
    if let Some(content_type) = own.content_type {
        line(out, b"Content-Type", content_type.as_bytes());
    }
    if let Some(length) = own.content_length {
        framing_line(out, Framing::Length(length));
    }
    out.extend_from_slice(own.lines);
    out.extend_from_slice(delivery.add);
    delivery.connection_line(out);
    out.extend_from_slice(b"\r\n");
}

fn end_to_end_fields(out: &mut Vec<u8>, head: &[u8], fields: &Fields) {
    let named = has_named(head, fields);
    for field in fields.iter() {
        let name = field.name.of(head);
        let keep = field.known != Known::ContentLength
            && !is_hop_by_hop(field.known)
            && !(named && is_named(head, fields, name));
        if keep {
            line(out, name, field.value.of(head));
        }
    }
}

/// Ends at this hop whether or not Connection names it (RFC 9110 section 7.6.1). TE and Trailer go because trailers
/// are dropped.
fn is_hop_by_hop(known: Known) -> bool {
    match known {
        Known::Connection
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::Te
        | Known::Trailer
        | Known::TransferEncoding
        | Known::Upgrade => true,
        Known::ContentLength
        | Known::Date
        | Known::Expect
        | Known::Host
        | Known::IfMatch
        | Known::IfModifiedSince
        | Known::IfNoneMatch
        | Known::IfRange
        | Known::IfUnmodifiedSince
        | Known::Range
        | Known::Server
        | Known::XForwardedFor
        | Known::XForwardedHost
        | Known::XForwardedProto
        | Known::XRealIp
        | Known::Other => false,
    }
}

/// Connection has options that may be field names, so that the fields have to be compared with them.
fn has_named(head: &[u8], fields: &Fields) -> bool {
    options(head, fields).any(|o| !o.eq_ignore_ascii_case(b"close") && !o.eq_ignore_ascii_case(b"keep-alive"))
}

fn is_named(head: &[u8], fields: &Fields, name: &[u8]) -> bool {
    options(head, fields).any(|o| o.eq_ignore_ascii_case(name))
}

fn options<'a>(head: &'a [u8], fields: &'a Fields) -> impl Iterator<Item = &'a [u8]> {
    fields.values(Known::Connection).flat_map(move |v| members(v.of(head)))
}

fn status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    number(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

fn framing_line(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(n) => {
            out.extend_from_slice(b"Content-Length: ");
            number(out, n);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => line(out, b"Transfer-Encoding", b"chunked"),
        Framing::None | Framing::Close => (),
    }
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, n: u64) {
    let mut digits = [0; 20];
    let mut rest = n;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORWARDED: Forwarded<'static> =
        Forwarded { client: "192.0.2.7", scheme: "http", default_host: "fallback", keep_alive: true };

    fn request(lines: &str) -> String {
        let text = format!("{lines}\r\n\r\n");
        let head = RequestHead::parse(text.as_bytes(), Fields::default()).unwrap();
        let mut out = vec![];
        write_request(&mut out, text.as_bytes(), &head, &FORWARDED);
        String::from_utf8(out).unwrap()
    }

    /// Without the lines that every forwarded request ends with.
    fn check_request(lines: &str, expect: &str) {
        let host = expect.split("Host: ").nth(1).and_then(|h| h.split("\r\n").next()).unwrap();
        let tail = format!("X-Forwarded-Proto: http\r\nX-Forwarded-Host: {host}\r\nX-Real-IP: 192.0.2.7\r\n");
        assert_eq!(request(lines).replacen(&tail, "", 1), format!("{expect}\r\n"), "{lines:?}");
    }

    #[test]
    fn requests_as_an_upstream_gets_them() {
        let xff = "X-Forwarded-For: 192.0.2.7\r\n";
        check_request(
            "GET /a?b HTTP/1.1\r\nhost: A:8000",
            &format!("GET /a?b HTTP/1.1\r\nHost: A:8000\r\n{xff}"),
        );
        check_request("GET / HTTP/1.0", &format!("GET / HTTP/1.1\r\nHost: fallback\r\n{xff}"));
        check_request("GET http://b/x HTTP/1.1\r\nHost: b", &format!("GET /x HTTP/1.1\r\nHost: b\r\n{xff}"));
        check_request("GET http://b HTTP/1.1\r\nHost: b:80", &format!("GET / HTTP/1.1\r\nHost: b\r\n{xff}"));
        check_request(
            "OPTIONS http://b HTTP/1.1\r\nHost: b",
            &format!("OPTIONS * HTTP/1.1\r\nHost: b\r\n{xff}"),
        );
        check_request(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 03\r\nExpect: 100-continue\r\nA:  b ",
            &format!("POST / HTTP/1.1\r\nHost: a\r\nA: b\r\n{xff}Content-Length: 3\r\n"),
        );
        check_request(
            "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked",
            &format!("POST / HTTP/1.1\r\nHost: a\r\n{xff}Transfer-Encoding: chunked\r\n"),
        );
    }

    #[test]
    fn what_belongs_to_one_hop_stays_there() {
        let xff = "X-Forwarded-For: 192.0.2.7\r\n";
        check_request(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-A,Host\r\nKeep-Alive: 5\r\nX-A: 1\r\nx-b: 2\r\n\
             Proxy-Connection: x\r\nTE: trailers\r\nTrailer: y\r\nUpgrade: websocket",
            &format!("GET / HTTP/1.1\r\nHost: a\r\nx-b: 2\r\n{xff}"),
        );
        // A client cannot make this proxy hide where the request came from, nor unframe it.
        check_request(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For, Content-Length, X-Real-IP\r\n\
             X-Forwarded-For: 1.1.1.1\r\nContent-Length: 1",
            &format!("POST / HTTP/1.1\r\nHost: a\r\n{xff}Content-Length: 1\r\n"),
        );
    }

    #[test]
    fn the_chain_of_clients_grows_by_one() {
        check_request(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Real-IP: 6.6.6.6\r\n\
             X-Forwarded-For: 2.2.2.2, 3.3.3.3\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil",
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7\r\n",
        );
    }

    fn response(lines: &str, method: Method, delivery: Delivery<'_>) -> String {
        let text = format!("{lines}\r\n\r\n");
        let head = ResponseHead::parse(text.as_bytes(), method, Fields::default()).unwrap();
        let mut out = vec![];
        write_response(&mut out, text.as_bytes(), &head, &delivery);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn responses_as_a_client_gets_them() {
        let kept = Delivery { version: Version::Http11, close: false, framing: Framing::None, add: b"" };
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
        let delivery =
            Delivery { version: Version::Http11, close: true, framing: Framing::None, add: b"A: b\r\n" };
        let mut out = vec![];
        write_own(&mut out, &own, &delivery);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 404 Not Found\r\nServer: vipgate\r\nDate: D\r\nContent-Type: text/html\r\n\
             Content-Length: 12345678901234567890\r\nAllow: GET\r\nA: b\r\nConnection: close\r\n\r\n"
        );
    }
}
