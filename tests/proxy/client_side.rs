//! What a client may do to its connection.

use std::net::Shutdown;

use crate::peers::*;
use crate::support::*;

fn site() -> (Proxy, std::net::SocketAddr) {
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    proxy.serve(&config(vec![server(address, vec![("/", respond("ok"))])], vec![]));
    (proxy, address)
}

#[test]
fn connections_live_as_long_as_both_sides_want() {
    let (_proxy, address) = site();
    for (version, line, kept) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: keep-alive\r\n", true),
    ] {
        let mut client = Client::connect(address);
        for _ in 0..3 {
            client.send(format!("GET / HTTP/{version}\r\nHost: a\r\n{line}\r\n"));
            let response = client.response("GET").unwrap();
            assert_eq!((response.status, response.text()), (200, "ok"), "{version} {line}");
            let said = match (kept, version) {
                (true, "1.1") => None,
                (true, _) => Some("keep-alive"),
                (false, _) => Some("close"),
            };
            assert_eq!(response.field("Connection"), said, "{version} {line}");
            if !kept {
                assert_eq!(client.end(), None, "{version} {line}");
                break;
            }
        }
    }
}

/// More wait than a worker takes in one turn.
#[test]
fn a_burst_of_connections_loses_none() {
    let (proxy, address) = site();
    proxy.freeze();
    let mut clients: Vec<Client> = (0..200).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    proxy.thaw();
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.response("GET").map(|r| r.status).ok(), Some(200), "connection {n}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    let routes = vec![("/a", respond("a")), ("/b", respond("b")), ("/c", respond("c"))];
    proxy.serve(&config(vec![server(address, routes)], vec![]));
    let mut client = Client::connect(address);
    let paths: Vec<_> = ["a", "b", "c"].into_iter().cycle().take(300).collect();
    let all: String = paths.iter().map(|p| format!("GET /{p} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(&all);
    for path in paths {
        assert_eq!(client.response("GET").unwrap().text(), path);
    }
    // A body that nobody reads is passed over, wherever it ends.
    client.send(
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET GET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.response("POST").unwrap().text(), "a");
    assert_eq!(client.response("GET").unwrap().text(), "b");
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response("POST").unwrap().text(), "a");
    assert_eq!(client.response("GET").unwrap().text(), "b");
}

#[test]
fn heads_arrive_in_any_pieces() {
    let (_proxy, address) = site();
    let mut client = Client::connect(address);
    client.stream.set_nodelay(true).unwrap();
    for byte in b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.response("GET").unwrap().text(), "ok");
    let wide = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(30_000));
    assert_eq!(client.send(wide).response("GET").unwrap().text(), "ok");
    assert_eq!(client.get("/").text(), "ok");
}

#[test]
fn what_is_malformed_is_answered_and_the_connection_closed() {
    let (mut proxy, address) = site();
    let long_line = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9_000));
    let long_head = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(40_000));
    let table = [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n", 417),
        ("GET /\r\n", 400),
        ("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /../x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("\x16\x03\x01\x02", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        (&long_line, 414),
        (&long_head, 431),
    ];
    for (request, status) in &table {
        let mut client = Client::connect(address);
        client.send(request);
        // More than was read when the answer came: it must reach the client all the same.
        client.send(vec![b'x'; 100_000]);
        let response = client.response("GET").unwrap();
        assert_eq!(response.status, *status, "{request:.60?}");
        assert_eq!(response.field("Connection"), Some("close"));
        assert_eq!(response.field("X-Node"), Some("node-1"));
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.end(), None, "{request:.60?}");
    }
    assert_eq!(proxy.counted("requests_malformed"), table.len() as u64);
    assert_eq!(get(address, "/").text(), "ok");
}

#[test]
fn a_body_that_is_still_to_come_ends_the_connection_not_the_answer() {
    let (_proxy, address) = site();
    let mut client = Client::connect(address);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n").send(vec![b'x'; 300_000]);
    let response = client.response("POST").unwrap();
    assert_eq!((response.status, response.field("Connection")), (200, Some("close")));
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.end(), None);
}

#[test]
fn clients_that_leave_are_forgotten() {
    let (mut proxy, address) = site();
    let idle: Vec<_> = (0..20).map(|_| Client::connect(address)).collect();
    let mut half = Client::connect(address);
    half.send("GET / HT");
    let mut used = Client::connect(address);
    used.get("/");
    drop((idle, half, used));
    proxy.until("all connections are over", |r| r.connections == 0);
}
