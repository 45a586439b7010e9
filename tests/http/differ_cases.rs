//! What goes through the three proxies, and where vipgate's way is another one.

use std::net::SocketAddr;

use crate::differ::{Case, Stage};
use crate::support::among_others;

fn document(listen: SocketAddr, [a, b, c]: [SocketAddr; 3]) -> String {
    format!(
        r#"node: node-1
workers: 1
upstreams:
  a: {{servers: ["{a}"]}}
  b: {{servers: ["{b}"]}}
  c: {{servers: ["{c}"]}}
servers:
  - listen: ["{listen}"]
    routes:
      - {{path: /, proxy: {{upstream: a}}}}
      - {{exact: /exact, proxy: {{upstream: b}}}}
      - {{path: /pre/, proxy: {{upstream: b}}}}
      - {{path: /pre/long/, proxy: {{upstream: c}}}}
  - listen: ["{listen}"]
    server_names: [b.example]
    routes: [{{path: /, proxy: {{upstream: b}}}}]
  - listen: ["{listen}"]
    server_names: [c.example]
    routes: [{{path: /, proxy: {{upstream: c}}}}]
"#
    )
}

#[test]
fn servers_and_routes() {
    let _turn = among_others();
    let host =
        |host: &str| Case::new("virtual hosts").ask("GET /echo HTTP/1.1", &format!("Host: {host}\r\n"));
    let path = |path: &str| Case::new("routes").get(path);
    Stage::set(document).compare(&[
        host("b.example"),
        host("c.example"),
        host("B.Example"),
        host("b.example:8080"),
        host("sub.b.example"),
        host("other.example"),
        host("127.0.0.1"),
        path("/exact"),
        path("/exact?x=/y"),
        path("/exact/"),
        path("/exactly"),
        path("/pre/echo"),
        path("/pre/long/echo"),
        path("/pre/longer/echo"),
        path("/pre/long/../echo").without("haproxy"),
        path("/pre/./long/echo").without("haproxy"),
        path("/%70re/echo").without("haproxy"),
        path("//pre//echo").without("haproxy"),
        path("/pre%2flong/echo").without("haproxy"),
        path("/prefix"),
        path("/pre").without("haproxy"),
        path("/pre?x=/y").without("haproxy"),
        path("/pre/long").without("haproxy"),
        path("/?x=%2F/../y"),
        path("/echo?"),
        path("/a%20b/echo;p=1?c=%C3%A4&d=<\"|\\^`{}>"),
        path("/%41/echo"),
    ]);
}

#[test]
fn bodies() {
    let _turn = among_others();
    let post = |name, fields: &str, body: &str| {
        Case::new(name).send(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")).answer("POST")
    };
    let get = |path: &str| Case::new("response bodies").get(path).get("/length");
    let old =
        |path: &str| Case::new("clients of HTTP/1.0").ask(&format!("GET {path} HTTP/1.0"), "Host: a\r\n");
    let old_kept = |path: &str| {
        Case::new("clients of HTTP/1.0 that stay")
            .ask(&format!("GET {path} HTTP/1.0"), "Host: a\r\nConnection: keep-alive\r\n")
    };
    Stage::set(document).compare(&[
        post("body by length", "Content-Length: 5\r\n", "hello"),
        post("empty body by length", "Content-Length: 0\r\n", ""),
        post("no body", "", ""),
        post("chunked body", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
        post("chunked body with extensions", "Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0;c\r\n\r\n"),
        post("empty chunked body", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        post("request trailers", "Trailer: X-T\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"),
        Case::new("body of GET").send("GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").answer("GET"),
        Case::new("body of an unknown method")
            .send("FROB /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .answer("GET"),
        get("/length"),
        get("/chunked"),
        get("/trailers"),
        get("/close"),
        get("/old-close"),
        get("/old-kept"),
        get("/nothing"),
        get("/204"),
        get("/304"),
        Case::new("HEAD").ask("HEAD /length HTTP/1.1", "Host: a\r\n").get("/length"),
        Case::new("HEAD of chunked").ask("HEAD /nothing HTTP/1.1", "Host: a\r\n").get("/length"),
        old("/length"),
        old("/chunked"),
        old("/close"),
        old("/old-close"),
        old("/hints"),
        old("/204"),
        old_kept("/length"),
        old_kept("/chunked"),
        old_kept("/close"),
        old_kept("/old-kept"),
        Case::new("HTTP/1.0 without Host").ask("GET /length HTTP/1.0", ""),
        Case::new("keep-alive").get("/length").get("/length").get("/chunked").get("/length"),
        Case::new("the client closes").ask("GET /length HTTP/1.1", "Host: a\r\nConnection: close\r\n"),
        Case::new("pipelined")
            .send("GET /length HTTP/1.1\r\nHost: a\r\n\r\nGET /chunked HTTP/1.1\r\nHost: a\r\n\r\nGET /404 HTTP/1.1\r\nHost: a\r\n\r\n")
            .answer("GET")
            .answer("GET")
            .answer("GET"),
    ]);
}

#[test]
fn informational_and_early_answers() {
    let _turn = among_others();
    let expecting = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    Stage::set(document).compare(&[
        Case::new("early hints").send("GET /hints HTTP/1.1\r\nHost: a\r\n\r\n").answer("GET").answer("GET"),
        Case::new("a 100 that nobody asked for").get("/continue"),
        Case::new("100-continue").send(expecting).answer("POST").send("hello").answer("POST"),
        Case::new("100-continue and the body at once").send(format!("{expecting}hello")).answer("POST"),
        Case::new("early answer")
            .send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nhello")
            .answer("POST"),
    ]);
}

#[test]
fn fields_end_to_end() {
    let _turn = among_others();
    let fields =
        |name, fields: &str| Case::new(name).ask("GET /length HTTP/1.1", &format!("Host: a\r\n{fields}"));
    Stage::set(document).compare(&[
        fields("plain fields", "Accept: */*\r\nCookie: a=1; b=2\r\nAccept-Encoding: gzip\r\nX-Empty:\r\nAuthorization: Basic eA==\r\n"),
        fields("fields twice", "X-A: 1\r\nX-B: 2\r\nX-A: 3\r\nAccept: a\r\nAccept: b\r\n"),
        fields("hop by hop", "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n"),
        fields("Upgrade without Connection", "Upgrade: h2c\r\n"),
        fields("X-Forwarded-For", "X-Forwarded-For: 192.0.2.1\r\n"),
        fields("X-Forwarded-For as a list", "X-Forwarded-For: 192.0.2.1, 192.0.2.2\r\n"),
        fields("X-Forwarded-For twice", "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n"),
        fields("other forwarding fields", "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Real-IP: 192.0.2.9\r\nForwarded: for=192.0.2.1\r\n"),
        fields("names with underscores", "X_A: 1\r\n"),
        Case::new("Host with port").ask("GET /length HTTP/1.1", "Host: Example.org:8080\r\n"),
        Case::new("hop-by-hop fields of a response").get("/hop").get("/length"),
        Case::new("odd fields of a response").get("/cookies"),
        Case::new("redirect").get("/redirect"),
        Case::new("errors pass").get("/404").get("/500"),
    ]);
}

#[test]
fn refusals() {
    let _turn = among_others();
    let bad = |name, text: &str| Case::new(name).send(text).answer("GET");
    let long = "x".repeat(9_000);
    let many = "A: b\r\n".repeat(20_000);
    Stage::set(document).compare(&[
        bad("no Host", "GET /length HTTP/1.1\r\n\r\n"),
        bad("two Hosts", "GET /length HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        bad("CL and TE", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        bad("two lengths", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        bad("the same length twice", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
        bad("no number", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
        bad("unknown coding", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
        bad("bare LF", "GET /length HTTP/1.1\nHost: a\n\n"),
        bad("space before the colon", "GET /length HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"),
        bad("folded", "GET /length HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n"),
        bad("NUL", "GET /length HTTP/1.1\r\nHost: a\r\nX: y\0\r\n\r\n"),
        bad("two spaces", "GET  /length HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("version", "GET /length HTTP/3.0\r\nHost: a\r\n\r\n"),
        bad("above the root", "GET /../length HTTP/1.1\r\nHost: a\r\n\r\n").without("haproxy"),
        bad("CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
        bad("TRACE", "TRACE /length HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("absolute form", "GET http://a/length HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("absolute form of another host", "GET http://b.example/length HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("an empty line first", "\r\nGET /length HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("414", &format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        bad("431", &format!("GET /length HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
        bad("413", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n").without("haproxy"),
        bad("bad chunk", "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    ]);
}
