//! What an upstream gets, as tables.

use super::*;
use crate::http1::{Fields, Names};

fn forwarded() -> Forwarded<'static> {
    Forwarded {
        client: "192.0.2.7",
        scheme: "http",
        default_host: "fallback",
        keep_alive: true,
        ..Forwarded::default()
    }
}

fn request_with(lines: &str, forwarded: &Forwarded<'_>) -> String {
    let text = format!("{lines}\r\n\r\n");
    let head = RequestHead::parse(text.as_bytes(), Fields::default()).unwrap();
    let mut out = vec![];
    write_request(&mut out, text.as_bytes(), &head, forwarded);
    String::from_utf8(out).unwrap()
}

fn request(lines: &str) -> String {
    request_with(lines, &forwarded())
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
    check_request("OPTIONS http://b HTTP/1.1\r\nHost: b", &format!("OPTIONS * HTTP/1.1\r\nHost: b\r\n{xff}"));
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
         Proxy-Connection: x\r\nTE: gzip\r\nTrailer: y\r\nUpgrade: websocket",
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

#[test]
fn trailers_are_wanted_and_told_of_only_if_the_client_said_so() {
    let xff = "X-Forwarded-For: 192.0.2.7\r\n";
    let table = [
        ("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers", "TE: trailers\r\nConnection: TE\r\n"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: gzip;q=1, Trailers",
            "TE: trailers\r\nConnection: TE\r\n",
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nTE: trailersx", ""),
        ("GET / HTTP/1.0\r\nHost: a\r\nTE: trailers", ""),
    ];
    for (lines, end) in table {
        check_request(lines, &format!("GET / HTTP/1.1\r\nHost: a\r\n{xff}{end}"));
    }
    check_request(
        "POST / HTTP/1.1\r\nHost: a\r\nTrailer: x\r\nTransfer-Encoding: chunked",
        &format!("POST / HTTP/1.1\r\nHost: a\r\nTrailer: x\r\n{xff}Transfer-Encoding: chunked\r\n"),
    );
    let closing = Forwarded { keep_alive: false, ..forwarded() };
    let got = request_with("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers", &closing);
    assert!(got.ends_with("TE: trailers\r\nConnection: close, TE\r\n\r\n"), "{got}");
}

#[test]
fn an_upgrade_is_passed_on_only_if_it_is_one_and_shall_be() {
    let wish = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket";
    let told = Forwarded { upgrade: true, ..forwarded() };
    assert!(request_with(wish, &told).ends_with("Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"));
    let closing = Forwarded { keep_alive: false, ..told };
    assert!(request_with(wish, &closing).ends_with("Upgrade: websocket\r\nConnection: upgrade\r\n\r\n"));
    let both = format!("{wish}\r\nTE: trailers");
    assert!(
        request_with(&both, &told)
            .ends_with("Upgrade: websocket\r\nTE: trailers\r\nConnection: upgrade, TE\r\n\r\n")
    );
    let refused = wish.replace("websocket", "h2c");
    for text in [request(wish), request_with(&refused, &told)] {
        assert!(!text.contains("pgrade") && !text.contains("Connection"), "{text}");
    }
}

#[test]
fn rules_replace_what_is_said_by_default() {
    let drop = Names::from_iter(["x-secret", "Cookie", "host", "x-real-ip"]);
    let rules = Rules { drop: &drop, add: b"X-Tenant: 7\r\n", ..Rules::default() };
    let lines = "GET / HTTP/1.1\r\nhost: a\r\nX-Secret: 1\r\nA: b\r\ncookie: c\r\nX-SECRETS: d";
    check_request_with(
        lines,
        &Forwarded { rules, ..forwarded() },
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nX-SECRETS: d\r\nX-Tenant: 7\r\nX-Forwarded-For: 192.0.2.7\r\n\
         X-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\nX-Real-IP: 192.0.2.7\r\n\r\n",
    );
    let rules = Rules {
        host: Some(b"backend:81"),
        forwarded_for: Some(b"1.2.3.4"),
        forwarded_proto: Some(b"https"),
        forwarded_host: Some(b""),
        real_ip: Some(b"bad\r\nX: y"),
        ..Rules::default()
    };
    check_request_with(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9",
        &Forwarded { rules, ..forwarded() },
        "GET / HTTP/1.1\r\nHost: backend:81\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
         X-Real-IP: 192.0.2.7\r\n\r\n",
    );
    let rules = Rules { host: Some(b""), ..Rules::default() };
    assert!(request_with(lines, &Forwarded { rules, ..forwarded() }).contains("\r\nHost: a\r\n"));
}

fn check_request_with(lines: &str, forwarded: &Forwarded<'_>, expect: &str) {
    assert_eq!(request_with(lines, forwarded), expect, "{lines:?}");
}

#[test]
fn a_target_can_be_replaced_and_never_ends_the_line() {
    let table = [
        ("/new?x=%20", "/new?x=%20"),
        ("/a b\r\nX: y", "/a%20b%0D%0AX:%20y"),
        ("/\u{e4}#", "/%C3%A4%23"),
        ("", "/"),
        ("x", "/x"),
    ];
    for (target, expect) in table {
        let with = Forwarded { target: Some(target.as_bytes()), ..forwarded() };
        for lines in ["GET /old HTTP/1.1\r\nHost: a", "GET http://a/old HTTP/1.0"] {
            let got = request_with(lines, &with);
            assert!(got.starts_with(&format!("GET {expect} HTTP/1.1\r\nHost: a\r\n")), "{got}");
        }
    }
    let mut out = vec![];
    append_path(&mut out, "/a b/%2f?c#\u{e4}".as_bytes());
    assert_eq!(out, b"/a%20b/%252f%3Fc%23%C3%A4");
}

#[test]
fn forwarded_and_via_are_added_to_what_the_client_wrote() {
    let with = |client| Forwarded { forwarded: true, via: Some("gate"), client, ..forwarded() };
    let table = [
        ("192.0.2.7", "Host: a", "for=192.0.2.7;proto=http;host=a"),
        ("2001:db8::1", "Host: a:80", "for=\"[2001:db8::1]\";proto=http;host=\"a:80\""),
        ("unix:", "Host: [::1]", "for=unknown;proto=http;host=\"[::1]\""),
        (
            "192.0.2.7",
            "Host: a\r\nForwarded: for=1.1.1.1\r\nforwarded: for=\"a\\\"b\"",
            "for=1.1.1.1, for=\"a\\\"b\", for=192.0.2.7;proto=http;host=a",
        ),
        // A quoted string that does not end would swallow what is added.
        ("192.0.2.7", "Host: a\r\nForwarded: for=\"", "for=192.0.2.7;proto=http;host=a"),
        ("192.0.2.7", "Host: a\r\nForwarded: for=\"a\\\"", "for=192.0.2.7;proto=http;host=a"),
        (
            "192.0.2.7",
            "Host: a\r\nConnection: forwarded\r\nForwarded: for=b",
            "for=192.0.2.7;proto=http;host=a",
        ),
    ];
    for (client, lines, expect) in table {
        let got = request_with(&format!("GET / HTTP/1.1\r\n{lines}"), &with(client));
        assert!(got.ends_with(&format!("\r\nForwarded: {expect}\r\nVia: 1.1 gate\r\n\r\n")), "{got}");
        assert_eq!(got.matches("orwarded: ").count(), 1, "{got}");
    }
    assert!(request_with("GET / HTTP/1.0\r\nHost: a", &with("1.1.1.1")).contains("Via: 1.0 gate\r\n"));
    check_request(
        "GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=b",
        "GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=b\r\nX-Forwarded-For: 192.0.2.7\r\n",
    );
}
