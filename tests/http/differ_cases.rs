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

const H: &[&str] = &["haproxy"];
const N: &[&str] = &["nginx"];
const BOTH: &[&str] = &["nginx", "haproxy"];
const RAW_PATHS: &str = "HAProxy compares paths as they are written, and redirects nobody by itself";

#[test]
fn servers_and_routes() {
    let _turn = among_others();
    let host = |host: &str| {
        Case::new(format!("host {host}")).ask("GET /echo HTTP/1.1", &format!("Host: {host}\r\n"))
    };
    let path = |path: &str| Case::new(format!("path {path}")).get(path);
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
        path("/pre/long/../echo").apart(H, RAW_PATHS),
        path("/pre/./long/echo").apart(H, RAW_PATHS),
        path("/%70re/echo").apart(H, RAW_PATHS),
        path("//pre//echo").apart(H, RAW_PATHS),
        path("/pre%2flong/echo").apart(H, RAW_PATHS),
        path("/prefix"),
        path("/pre").apart(H, RAW_PATHS),
        path("/pre?x=/y").apart(H, RAW_PATHS),
        path("/pre/long").apart(H, RAW_PATHS),
        path("/?x=%2F/../y"),
        path("/echo?"),
        path("/a%20b/echo;p=1?c=%C3%A4&d=<\"|\\^`{}>"),
        path("/%41/echo"),
    ]);
}

#[test]
fn bodies() {
    let _turn = among_others();
    const COLLECTED: &str = "nginx counts a chunked body that has come whole, and states its length";
    let post = |name, fields: &str, body: &str| {
        Case::new(name).send(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")).answer("POST")
    };
    let chunked = |name, body| {
        post(name, "Transfer-Encoding: chunked\r\n", body).differs(
            "nginx",
            "request 1 framing",
            "chunked",
            COLLECTED,
        )
    };
    let get = |path: &str| Case::new(format!("response {path}")).get(path).get("/length");
    Stage::set(document).compare(&[
        post("body by length", "Content-Length: 5\r\n", "hello"),
        post("empty body by length", "Content-Length: 0\r\n", ""),
        post("no body", "", ""),
        chunked("chunked body", "5\r\nhello\r\n0\r\n\r\n"),
        chunked("chunked body with extensions", "5;a=b\r\nhello\r\n0;c\r\n\r\n"),
        chunked("empty chunked body", "0\r\n\r\n"),
        Case::new("body of GET").send("GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").answer("GET"),
        Case::new("body of an unknown method")
            .send("FROB /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .answer("GET"),
        get("/length"),
        get("/chunked"),
        get("/close").apart(H, CLOSES),
        get("/old-close").apart(H, CLOSES),
        get("/old-kept").differs("nginx", "connections", "1", "it does not use those of HTTP/1.0 again"),
        get("/nothing"),
        get("/204"),
        get("/304"),
        Case::new("HEAD").ask("HEAD /length HTTP/1.1", "Host: a\r\n").get("/length"),
        Case::new("HEAD of nothing").ask("HEAD /nothing HTTP/1.1", "Host: a\r\n").get("/length"),
        Case::new("keep-alive").get("/length").get("/length").get("/chunked").get("/length"),
        Case::new("the client closes").ask("GET /length HTTP/1.1", "Host: a\r\nConnection: close\r\n"),
        Case::new("pipelined")
            .send("GET /length HTTP/1.1\r\nHost: a\r\n\r\nGET /chunked HTTP/1.1\r\nHost: a\r\n\r\nGET /404 HTTP/1.1\r\nHost: a\r\n\r\n")
            .answer("GET")
            .answer("GET")
            .answer("GET"),
    ]);
}

const CLOSES: &str = "HAProxy passes on that the connection ends; vipgate and nginx make chunks of it";

#[test]
fn clients_of_http_1_0() {
    let _turn = among_others();
    const VERSION: &str = "a proxy sends its own version (RFC 9110 section 6.2); HAProxy the client's";
    let case = |path: &str, name: &str, fields: &str| {
        let case = Case::new(format!("{name} {path}")).ask(&format!("GET {path} HTTP/1.0"), fields);
        let line = match path {
            "/length" => "GET /length HTTP/1.1 at a",
            "/chunked" => "GET /chunked HTTP/1.1 at a",
            "/close" => "GET /close HTTP/1.1 at a",
            "/old-close" => "GET /old-close HTTP/1.1 at a",
            "/old-kept" => "GET /old-kept HTTP/1.1 at a",
            "/hints" => "GET /hints HTTP/1.1 at a",
            _ => "GET /204 HTTP/1.1 at a",
        };
        case.differs("haproxy", "request 1 line", line, VERSION)
    };
    let old = |path: &str| case(path, "HTTP/1.0", "Host: a\r\n");
    let kept = |path: &str| case(path, "HTTP/1.0 kept", "Host: a\r\nConnection: keep-alive\r\n");
    const NO_CHUNKS: &str = "HTTP/1.0 knows no chunks (RFC 9112 section 6.1)";
    const NAMELESS: &str = "a server asked in HTTP/1.1 is owed a Host: the first name of this one";
    Stage::set(document).compare(&[
        old("/length"),
        old("/chunked").differs("haproxy", "answer 1 framing", "", NO_CHUNKS),
        old("/close"),
        old("/old-close"),
        old("/204"),
        old("/hints")
            .apart(BOTH, "HTTP/1.0 knows no informational answers (RFC 9110 section 15.2)")
            .differs("", "answer 1 status", "200", "the final one")
            .differs("", "answer 1 body", "hello", "the final one"),
        kept("/length"),
        kept("/chunked")
            .differs("haproxy", "answer 1 framing", "", NO_CHUNKS)
            .differs("haproxy", "then", "ends", NO_CHUNKS),
        kept("/close"),
        kept("/old-kept"),
        case("/length", "HTTP/1.0 without Host", "")
            .differs("all", "request 1 field host", "node-1", NAMELESS)
            .differs("all", "request 1 field x-forwarded-host", "node-1", NAMELESS),
    ]);
}

#[test]
fn trailers() {
    let _turn = among_others();
    let post = |name, fields: &str, body: &str| {
        let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
        Case::new(name).send(format!("{head}{body}")).answer("POST")
    };
    Stage::set(document).compare(&[
        post("request trailers", "Trailer: X-T\r\n", "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n").apart(N, DROPPED),
        post("request trailers without notice", "", "5\r\nhello\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n")
            .apart(N, DROPPED),
        Case::new("response trailers").get("/trailers").get("/length").apart(N, DROPPED),
    ]);
}

const DROPPED: &str = "nginx drops trailers";

#[test]
fn informational_and_early_answers() {
    let _turn = among_others();
    let expecting = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    Stage::set(document).compare(&[
        Case::new("early hints")
            .send("GET /hints HTTP/1.1\r\nHost: a\r\n\r\n")
            .answer("GET")
            .answer("GET")
            .apart(N, "before 1.29 nginx takes the 103 for a final answer"),
        Case::new("a 100 that nobody asked for")
            .send("GET /continue HTTP/1.1\r\nHost: a\r\n\r\n")
            .finally("GET")
            .apart(N, "before 1.29 nginx takes the 100 for a final answer"),
        Case::new("100-continue").send(expecting).answer("POST").send("hello").answer("POST").differs(
            "haproxy",
            "request 1 field expect",
            "",
            "the 100 is vipgate's and nginx's to send",
        ),
        Case::new("100-continue and the body at once")
            .send(format!("{expecting}hello"))
            .finally("POST")
            .differs("haproxy", "request 1 field expect", "", "the 100 is vipgate's and nginx's to send"),
        Case::new("early answer")
            .send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nhello")
            .answer("POST"),
    ]);
}

#[test]
fn fields_end_to_end() {
    let _turn = among_others();
    const HOP: &str = "Connection names it, or RFC 9110 section 7.6.1 does";
    let fields =
        |name, fields: &str| Case::new(name).ask("GET /length HTTP/1.1", &format!("Host: a\r\n{fields}"));
    Stage::set(document).compare(&[
        fields("plain", "Accept: */*\r\nCookie: a=1; b=2\r\nAccept-Encoding: gzip\r\nX-Empty:\r\nAuthorization: Basic eA==\r\n"),
        fields("twice", "X-A: 1\r\nX-B: 2\r\nX-A: 3\r\nAccept: a\r\nAccept: b\r\n"),
        fields(
            "hop by hop",
            "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n",
        )
        .differs("all", "request 1 field x-hop", "", HOP)
        .differs("all", "request 1 field proxy-connection", "", HOP)
        .differs("nginx", "request 1 field te", "trailers", "of TE, this may be said again (RFC 9110 section 10.1.4)"),
        fields("Upgrade without Connection", "Upgrade: h2c\r\n").differs("all", "request 1 field upgrade", "", HOP),
        fields("X-Forwarded-For", "X-Forwarded-For: 192.0.2.1\r\n"),
        fields("X-Forwarded-For as a list", "X-Forwarded-For: 192.0.2.1, 192.0.2.2\r\n"),
        fields("X-Forwarded-For twice", "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n"),
        fields(
            "other forwarding fields",
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Real-IP: 192.0.2.9\r\nForwarded: for=192.0.2.1\r\n",
        ),
        fields("underscores", "X_A: 1\r\n")
            .differs("nginx", "request 1 field x_a", "1", "nginx drops them, silently, unless told otherwise"),
        Case::new("Host with port").ask("GET /length HTTP/1.1", "Host: Example.org:8080\r\n"),
        Case::new("hop-by-hop fields of a response")
            .get("/hop")
            .get("/length")
            .differs("all", "answer 1 field x-hop", "", HOP)
            .differs("all", "answer 1 field proxy-connection", "", HOP)
            .differs("all", "answer 1 field upgrade", "", HOP),
        Case::new("odd fields of a response").get("/cookies"),
        Case::new("redirect").get("/redirect"),
        Case::new("errors pass").get("/404").get("/500"),
    ]);
}

#[test]
fn refusals() {
    let _turn = among_others();
    const STRICT: &str = "RFC 9112 lets a server refuse it, and nobody else can read it in another way then";
    let bad = |name, text: &str| Case::new(name).send(text).answer("GET");
    let post = |name, fields: &str, body: &str| {
        bad(name, &format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}"))
    };
    let long = "x".repeat(9_000);
    let many = "A: b\r\n".repeat(20_000);
    Stage::set(document).compare(&[
        bad("no Host", "GET /length HTTP/1.1\r\n\r\n").refused("400", H, "RFC 9112 section 3.2"),
        bad("two Hosts", "GET /length HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        post("CL and TE", "Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n")
            .refused("400", H, STRICT),
        post("two lengths", "Content-Length: 5\r\nContent-Length: 6", "hello!"),
        post("the same length twice", "Content-Length: 5\r\nContent-Length: 5", "hello")
            .refused("400", H, STRICT),
        post("no number", "Content-Length: +5", "hello"),
        post("unknown coding", "Transfer-Encoding: gzip", "").refused(
            "501",
            H,
            "RFC 9112 section 6.1; HAProxy says 400",
        ),
        bad("bare LF", "GET /length HTTP/1.1\nHost: a\n\n").refused("400", BOTH, STRICT),
        bad("space before the colon", "GET /length HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"),
        bad("folded", "GET /length HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n").refused("400", H, STRICT),
        bad("NUL", "GET /length HTTP/1.1\r\nHost: a\r\nX: y\0\r\n\r\n").refused(
            "400",
            H,
            "RFC 9110 section 5.5",
        ),
        bad("two spaces", "GET  /length HTTP/1.1\r\nHost: a\r\n\r\n").refused("400", BOTH, STRICT),
        bad("version", "GET /length HTTP/3.0\r\nHost: a\r\n\r\n").refused("400", BOTH, "nginx says 505"),
        bad("above the root", "GET /../length HTTP/1.1\r\nHost: a\r\n\r\n").apart(H, RAW_PATHS),
        bad("CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n").refused(
            "405",
            BOTH,
            "nginx says 400; HAProxy passes it on",
        ),
        bad("TRACE", "TRACE /length HTTP/1.1\r\nHost: a\r\n\r\n").refused(
            "405",
            H,
            "it shows what proxies added",
        ),
        bad("absolute form", "GET http://a/length HTTP/1.1\r\nHost: a\r\n\r\n").differs(
            "haproxy",
            "request 1 line",
            "GET /length HTTP/1.1 at a",
            "an origin gets the origin-form (RFC 9112 section 3.2.1)",
        ),
        bad("absolute form of another host", "GET http://b.example/length HTTP/1.1\r\nHost: a\r\n\r\n")
            .refused(
                "400",
                N,
                "whoever looks at Host alone would route it elsewhere; HAProxy refuses as well",
            ),
        bad("an empty line first", "\r\nGET /length HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad("414", &format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")).refused(
            "414",
            H,
            "nginx's limit of 8 KiB",
        ),
        bad("431", &format!("GET /length HTTP/1.1\r\nHost: a\r\n{many}\r\n")).refused(
            "431",
            BOTH,
            "RFC 6585; the others say 400",
        ),
        bad("413", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n").refused(
            "413",
            H,
            "HAProxy has no such limit",
        ),
        post("bad chunk", "Transfer-Encoding: chunked", "zz\r\n"),
    ]);
}
