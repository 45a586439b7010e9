//! Path replacement and upgrades beside nginx (and HAProxy, where it has them).

use std::net::SocketAddr;

use crate::differ::{Case, Stage};
use crate::support::among_others;

fn document(listen: SocketAddr, [a, b, _]: [SocketAddr; 3]) -> String {
    format!(
        r#"node: node-1
workers: 1
upstreams:
  a: {{servers: ["{a}"]}}
  b: {{servers: ["{b}"]}}
servers:
  - listen: ["{listen}"]
    routes:
      - {{path: /, proxy: {{upstream: a}}}}
      - {{path: /v/, proxy: {{upstream: b, uri: /v1/}}}}
      - {{path: /noslash, proxy: {{upstream: b, uri: /}}}}
      - {{path: /deep/er/, proxy: {{upstream: b, uri: /}}}}
      - {{path: /to/, proxy: {{upstream: b, uri: /at}}}}
      - {{exact: /one, proxy: {{upstream: b, uri: /other/echo}}}}
"#
    )
}

/// nginx's `proxy_pass` with a path: what the route matched is replaced in the path as it was compared, and the rest is
/// written anew.
#[test]
fn paths_are_replaced() {
    let _turn = among_others();
    let paths = [
        "/v/",
        "/v",
        "/v?x=/y",
        "/v/echo",
        "/v/echo?a=%2F&b=/v/",
        "/v//echo",
        "/v/./a/../echo",
        "/./v/echo",
        "/x/../v/echo",
        "/%76/echo",
        "/v/a%20b",
        "/v/%41",
        "/v/%2e%2e/x",
        "/v/a%2fb",
        "/v/a%3Fb",
        "/v/a%23b",
        "/v/a%25b",
        "/v/a%0d%0aX:%20y",
        "/v/%C3%A4",
        "/v/a;b=c",
        "/v/a+b~!$&'()*,:@=",
        "/v/a\"b",
        "/v/a<b>",
        "/v/a|b",
        "/v/a\\b",
        "/noslash",
        "/noslash/",
        "/noslash/v1",
        "/noslashed",
        "/deep/er/",
        "/deep/er",
        "/deep/er/x",
        "/to/",
        "/to/x",
        "/one",
        "/one?x=1",
        "/one/",
        // No replacement: as it came.
        "/x//y/../%41",
    ];
    let case =
        |path: &&str| Case::new(format!("path {path}")).get(path).apart(&["haproxy"], "it has no such thing");
    let mut cases: Vec<_> = paths.iter().map(case).collect();
    let empty = "a query that is empty is one; nginx drops its question mark";
    cases.push(case(&"/v/?").differs("nginx", "request 1 line", "GET /v1/? HTTP/1.1 at b", empty));
    Stage::set(document).compare(&cases);
}

const KEY: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn upgrade(line: &str, fields: &str) -> String {
    format!("{line}\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{KEY}{fields}\r\n")
}

#[test]
fn upgrades() {
    let _turn = among_others();
    let ask = "GET /socket HTTP/1.1";
    const KEEPS: &str = "a refusal leaves the connection as it was (RFC 9110 section 7.8)";
    Stage::set(document).compare(&[
        // "welcome" comes with the 101; what is sent comes back in capitals; the dot ends it.
        Case::new("WebSocket").send(upgrade(ask, "")).answer("GET").bytes(7).send("hello.").bytes(6),
        Case::new("WebSocket, sent piecemeal")
            .send(upgrade(ask, ""))
            .answer("GET")
            .bytes(7)
            .send("he")
            .bytes(2)
            .send("llo")
            .bytes(3)
            .send(".")
            .bytes(1),
        Case::new("first bytes with the request").send(upgrade(ask, "") + "hello.").answer("GET").bytes(13),
        Case::new("refused with 426")
            .send(upgrade("GET /refused HTTP/1.1", ""))
            .answer("GET")
            .get("/length")
            .differs("all", "answer 1 status", "426", KEEPS)
            .differs("all", "answer 2 status", "200", KEEPS)
            .differs("all", "then", "goes on", KEEPS)
            .apart(&["nginx", "haproxy"], "1.22 and 2.6 pass on the Upgrade of an answer without 101"),
        Case::new("ignored").send(upgrade("GET /length HTTP/1.1", "")).answer("GET").get("/length"),
    ]);
}

/// Whoever passes bytes on before the 101 hands the client a way around every rule.
#[test]
fn what_is_no_upgrade_stays_http() {
    let _turn = among_others();
    const STRICT: &str = "an upgrade is asked for with GET, in HTTP/1.1, and named in Connection";
    let both = &["nginx", "haproxy"];
    let not_asked = |name: &str, text: String| {
        Case::new(name)
            .send(text)
            .answer("GET")
            .apart(both, STRICT)
            .differs("", "answer 1 status", "200", STRICT)
            .differs("", "request 1 field upgrade", "", STRICT)
            .differs("", "requests", "1", STRICT)
    };
    Stage::set(document).compare(&[
        not_asked(
            "upgrade in HTTP/1.0",
            format!("GET /socket HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{KEY}\r\n"),
        ),
        not_asked(
            "upgrade not named in Connection",
            format!("GET /socket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n{KEY}\r\n"),
        ),
        not_asked("upgrade with POST", upgrade("POST /socket HTTP/1.1", "Content-Length: 0\r\n")),
        not_asked(
            "h2c",
            "GET /length HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
                .into(),
        ),
        Case::new("requests behind a refused upgrade are requests")
            .send(upgrade("GET /length HTTP/1.1", "") + "GET /404 HTTP/1.1\r\nHost: a\r\n\r\n")
            .answer("GET")
            .answer("GET")
            .apart(&["nginx", "haproxy"], "what they do with the bytes behind depends on their version")
            .differs("", "answer 1 status", "200", "RFC 9110 section 7.8")
            .differs("", "answer 2 status", "404", "RFC 9110 section 7.8")
            .differs("", "requests", "2", "RFC 9110 section 7.8"),
    ]);
}
