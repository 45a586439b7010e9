//! Forwarding, and upstreams that break off, lie, hang and refuse.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use vipgate::config::*;

use crate::peers::*;
use crate::support::*;

pub(crate) fn front(origin: SocketAddr, adjust: impl FnOnce(&mut Upstream)) -> (Proxy, SocketAddr) {
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    let mut group = upstream("app", &[origin]);
    adjust(&mut group);
    proxy.serve(&proxied(address, group));
    (proxy, address)
}

#[test]
fn heads_are_written_anew() {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 200 Fine\r\nServer: app\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
          Content-Length: 2\r\nSet-Cookie: a=b\r\n\r\nok"
            .to_vec()
    });
    let (_proxy, address) = front(origin.address, |_| ());
    let mut client = Client::connect(address);
    client.send(
        "GET /a%20b?c=%2F HTTP/1.1\r\nHost: example.org:8000\r\nConnection: X-Secret\r\nX-Secret: 1\r\n\
         Upgrade: h2c\r\nTE: trailers\r\nX-Forwarded-For: 192.0.2.1\r\nAccept: */*\r\n\r\n",
    );
    let response = client.response("GET").unwrap();
    assert_eq!((response.status, response.text()), (200, "ok"));
    assert!(response.head.starts_with("HTTP/1.1 200 Fine\r\n"), "{}", response.head);
    for (name, expect) in [
        ("Server", Some("app")),
        ("Set-Cookie", Some("a=b")),
        ("X-Node", Some("node-1")),
        ("X-Hop", None),
        ("Keep-Alive", None),
        ("Connection", None),
    ] {
        assert_eq!(response.field(name), expect, "{name}");
    }
    assert_eq!(
        origin.requests(),
        ["GET /a%20b?c=%2F HTTP/1.1\r\nHost: example.org:8000\r\nAccept: */*\r\n\
          X-Forwarded-For: 192.0.2.1, 127.0.0.1\r\nX-Forwarded-Proto: http\r\n\
          X-Forwarded-Host: example.org:8000\r\nX-Real-IP: 127.0.0.1\r\nTE: trailers\r\nConnection: TE\r\n\r\n"]
    );
}

#[test]
fn a_folder_of_an_application_is_asked_for_with_its_slash() {
    let origin = Origin::answering(|_| ok("app"));
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    let routes = vec![("/api/", to("app")), ("/", respond("else"))];
    proxy.serve(&config(vec![server(address, routes)], vec![upstream("app", &[origin.address])]));
    let mut client = Client::connect(address);
    let response = client.get("/x/../api?a=/b");
    assert_eq!((response.status, response.field("Location")), (301, Some("/api/?a=/b")));
    assert_eq!(client.get("/api/").text(), "app");
    assert_eq!(client.get("/api2").text(), "else");
}

#[test]
fn bodies_pass_in_both_directions_in_every_framing() {
    let body: String = (0..300_000).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    let expect = body.clone();
    let origin = Origin::start(move |mut connection| {
        while let Some(request) = connection.request() {
            let sent = request.split_once("\r\n\r\n").unwrap().1.to_owned();
            let framing = request.split(' ').nth(1).unwrap().to_owned();
            let reply = match &*framing {
                "/length" => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{sent}", sent.len()),
                "/chunked" => {
                    let mut text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
                    for chunk in sent.as_bytes().chunks(1000) {
                        let chunk = std::str::from_utf8(chunk).unwrap();
                        text.push_str(&format!("{:X};x=\"y\"\r\n{chunk}\r\n", chunk.len()));
                    }
                    text + "0\r\nTrailer: dropped\r\n\r\n"
                }
                _ => format!("HTTP/1.1 200 OK\r\n\r\n{sent}"),
            };
            connection.stream.write_all(reply.as_bytes()).unwrap();
            if framing == "/close" {
                return;
            }
        }
    });
    let (_proxy, address) = front(origin.address, |_| ());
    for version in ["1.1", "1.0"] {
        for framing in ["length", "chunked", "close"] {
            for length in [0, 1, 20_000, 300_000] {
                let body = &expect[..length];
                let mut client = Client::connect(address);
                let connection = if version == "1.0" { "Connection: keep-alive\r\n" } else { "" };
                client.send(format!(
                    "POST /{framing} HTTP/{version}\r\nHost: a\r\n{connection}Content-Length: {length}\r\n\r\n{body}"
                ));
                let response = client.response("POST").unwrap();
                assert!(response.text() == body, "{version} {framing} {length}");
                // What has no length keeps a connection of HTTP/1.1, not one of HTTP/1.0.
                let kept = version == "1.1" || framing == "length";
                assert_eq!(
                    response.field("Connection") == Some("close"),
                    !kept,
                    "{version} {framing} {length}"
                );
                if version == "1.1" {
                    let chunks: String = body
                        .as_bytes()
                        .chunks(7777)
                        .map(|c| format!("{:x}\r\n{}\r\n", c.len(), std::str::from_utf8(c).unwrap()))
                        .collect();
                    client.send(format!("POST /{framing} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"));
                    assert!(client.response("POST").unwrap().text() == body, "chunked to {framing} {length}");
                }
            }
        }
    }
    assert!(origin.requests().iter().all(|r| !r.contains("Trailer")), "{:?}", origin.requests().first());
    assert_eq!(body, expect);
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    let origin = Origin::answering(|request| {
        let status = if request.starts_with("HEAD") { "200 OK" } else { &request[5..8] };
        format!("HTTP/1.1 {status}\r\nContent-Length: 7\r\nETag: \"a\"\r\n\r\n").into_bytes()
    });
    let (_proxy, address) = front(origin.address, |_| ());
    let mut client = Client::connect(address);
    for (method, path, status, length) in
        [("HEAD", "/", 200, Some("7")), ("GET", "/304", 304, Some("7")), ("GET", "/204", 204, None)]
    {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.response(method).unwrap();
        assert_eq!((response.status, response.field("Content-Length")), (status, length), "{method} {path}");
    }
    assert_eq!(origin.connections(), 1, "one connection carried all of them");
}

#[test]
fn informational_responses_pass_and_the_100_is_ours() {
    let origin = Origin::start(|mut connection| {
        while let Some(request) = connection.request() {
            let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
            connection.stream.write_all(interim.as_bytes()).unwrap();
            let body = request.split_once("\r\n\r\n").unwrap().1.to_owned();
            connection.stream.write_all(&ok(&body)).unwrap();
        }
    });
    let (_proxy, address) = front(origin.address, |_| ());
    let mut client = Client::connect(address);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response("POST").unwrap().status, 100);
    client.send("hi");
    let hints = client.response("POST").unwrap();
    assert_eq!((hints.status, hints.field("Link")), (103, Some("</a>")));
    assert_eq!(client.response("POST").unwrap().text(), "hi");
    assert!(!origin.requests()[0].contains("Expect"));
    let mut old = Client::connect(address);
    old.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!(old.response("GET").unwrap().status, 200, "HTTP/1.0 knows no informational response");
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let origin = Origin::answering(|_| ok("read"));
    let (mut proxy, address) = front(origin.address, |_| ());
    let mut client = Client::connect(address);
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", (1 << 20) + 1));
    assert_eq!(client.response("POST").unwrap().status, 413);
    assert_eq!(origin.connections(), 0, "the upstream does not hear of it");
    let mut client = Client::connect(address);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..17 {
        client.send(&chunk);
    }
    assert_eq!(client.response("POST").unwrap().status, 413);
    assert_eq!(origin.requests().len(), 0, "and never sees a whole one");
    assert_eq!(proxy.counted("requests_too_large"), 2);
}

#[test]
fn malformed_responses_become_502() {
    let table: [&[u8]; 14] = [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-",
        &[0xff; 70_000],
    ];
    let origin = Origin::answering(move |request| {
        table[request[5..].split(' ').next().unwrap().parse::<usize>().unwrap()].to_vec()
    });
    let (_proxy, address) = front(origin.address, |u| u.read_timeout = Duration::from_secs(1));
    let mut client = Client::connect(address);
    for n in 0..14 {
        let response = client.get(&format!("/{n}"));
        // The one that is cut short within its head: a time-out, since the origin keeps the connection.
        assert_eq!(response.status, if n == 12 { 504 } else { 502 }, "{n}");
        assert!(response.text().contains("vipgate on node-1"));
    }
    assert_eq!(origin.requests().len(), 14, "none of them is tried again");
    let many = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(30);
    let chatty = Origin::answering(move |_| many.clone().into_bytes());
    let (_proxy, address) = front(chatty.address, |_| ());
    let mut client = Client::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let last = loop {
        let response = client.response("GET").unwrap();
        if response.status != 103 {
            break response;
        }
    };
    assert_eq!(last.status, 502);
}

#[test]
fn a_response_that_is_cut_short_never_looks_whole() {
    let table = [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ];
    let origin = Origin::start(move |mut connection| {
        let Some(request) = connection.request() else { return };
        let n: usize = request.split(' ').nth(1).unwrap()[1..].parse().unwrap();
        connection.stream.write_all(table[n % 10].as_bytes()).unwrap();
        if n >= 10 {
            // The head is on its way to the client when the rest is lost.
            std::thread::sleep(Duration::from_millis(50));
            connection.reset();
        }
    });
    let (mut proxy, address) = front(origin.address, |_| ());
    for n in [0, 1, 2, 10, 11, 12] {
        for version in ["1.1", "1.0"] {
            let mut client = Client::connect(address);
            client.send(format!("GET /{n} HTTP/{version}\r\nHost: a\r\n\r\n"));
            assert!(client.response("GET").is_err(), "{n} HTTP/{version}");
        }
    }
    assert_eq!(origin.requests().len(), 12, "an answer that began is not begun again");
    assert_eq!(proxy.counted("responses_cut"), 12);
}

#[test]
fn only_what_can_be_done_twice_is_tried_again() {
    let origin = Origin::start(|mut connection| {
        let number = connection.number;
        let Some(_) = connection.request() else { return };
        match number % 2 {
            // A lie, then the truth.
            0 => connection.reset(),
            _ => connection.stream.write_all(&ok("second")).unwrap(),
        }
    });
    let (mut proxy, address) = front(origin.address, |u| u.keepalive = 0);
    for (method, body, status) in [
        ("GET", "", 200),
        ("HEAD", "", 200),
        ("DELETE", "", 200),
        ("POST", "", 502),
        ("POST", "x", 502),
        // Nothing of it is gone: it came along with its head.
        ("PUT", "x", 200),
        ("PATCH", "", 502),
    ] {
        let before = origin.connections();
        let mut client = Client::connect(address);
        let length = if body.is_empty() { String::new() } else { "Content-Length: 1\r\n".into() };
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n{length}\r\n{body}"));
        assert_eq!(client.response(method).unwrap().status, status, "{method} {body:?}");
        let tries = origin.connections() - before;
        assert_eq!(tries, if status == 200 { 2 } else { 1 }, "{method} {body:?}");
        // An even number of connections, so that each case starts with the lie.
        if tries == 1 {
            std::net::TcpStream::connect(origin.address)
                .unwrap()
                .write_all(b"GET / HTTP/1.1\r\n\r\n")
                .unwrap();
            let end = Instant::now() + PATIENCE;
            while origin.connections() < before + 2 {
                assert!(Instant::now() < end);
                std::thread::yield_now();
            }
        }
    }
    assert_eq!(proxy.counted("upstream_retries"), 3);
}

#[test]
fn a_stale_connection_is_replaced_without_using_up_a_retry() {
    let origin = Origin::start(|mut connection| {
        // Each connection serves one request and then, without a word, none.
        if connection.request().is_some() {
            connection.stream.write_all(&ok("ok")).unwrap();
            connection.request();
            connection.reset();
        }
    });
    let (mut proxy, address) = front(origin.address, |u| u.retries = 0);
    let mut client = Client::connect(address);
    for n in 0..5 {
        assert_eq!(client.get("/").text(), "ok", "request {n}");
    }
    assert!(proxy.counted("upstream_retries") >= 4);
    // The same for a request that must not be repeated is the client's to know.
    client.send("POST / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response("POST").unwrap().status, 502);
}

#[test]
fn silence_is_waited_for_as_long_as_was_said() {
    // A listener whose connections nobody accepts: the kernel completes the handshake, as that of a frozen node does.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut proxy, address) =
        front(silent.local_addr().unwrap(), |u| u.first_byte_timeout = Some(Duration::from_millis(300)));
    let start = Instant::now();
    assert_eq!(get(address, "/").status, 504);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(890), "three tries of 300 ms each took {took:?}");
    assert_eq!(proxy.counted("upstream_tries_failed"), 3);
    let (_proxy, address) =
        front(silent.local_addr().unwrap(), |u| u.read_timeout = Duration::from_millis(200));
    assert_eq!(get(address, "/").status, 504);
    let mut client = Client::connect(address);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(client.response("POST").unwrap().status, 504);
}

#[test]
fn the_first_byte_in_time_is_enough() {
    let origin = Origin::start(|mut connection| {
        while connection.request().is_some() {
            let answer = ok("slow");
            let (first, rest) = answer.split_at(1);
            connection.stream.write_all(first).unwrap();
            std::thread::sleep(Duration::from_millis(600));
            connection.stream.write_all(rest).unwrap();
        }
    });
    let (_proxy, address) =
        front(origin.address, |u| u.first_byte_timeout = Some(Duration::from_millis(300)));
    assert_eq!(get(address, "/").text(), "slow");
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn a_refused_connection_is_tried_again_after_a_pause() {
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin_address = place.local_addr().unwrap();
    drop(place);
    let (_proxy, address) = front(origin_address, |u| u.connect_timeout = Duration::from_millis(200));
    let start = Instant::now();
    assert_eq!(get(address, "/").status, 502);
    assert!(start.elapsed() >= Duration::from_millis(390), "two pauses of 200 ms: {:?}", start.elapsed());
    // Somebody comes to listen while the request waits: also a POST, of which nothing has been sent.
    let mut client = Client::connect(address);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    let listener = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        Origin::on(TcpListener::bind(origin_address).unwrap(), |mut connection| {
            while connection.request().is_some() {
                connection.stream.write_all(&ok("here")).unwrap();
            }
        })
    });
    assert_eq!(client.response("POST").unwrap().text(), "here");
    assert_eq!(listener.join().unwrap().requests().len(), 1);
}

#[test]
fn turns_are_taken_by_weight_and_the_last_try_goes_elsewhere() {
    let origins: Vec<_> = ["a", "b"].map(|name| Origin::answering(move |_| ok(name))).into();
    let (_proxy, address) = front(origins[0].address, |u| {
        u.servers = upstream("app", &[origins[0].address, origins[1].address]).servers;
        u.servers[0].weight = 3;
    });
    let mut client = Client::connect(address);
    let turns: String = (0..8).map(|_| client.get("/").text().to_owned()).collect();
    assert_eq!(turns, "aabaaaba");

    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone_address = gone.local_addr().unwrap();
    drop(gone);
    let (_proxy, address) = front(gone_address, |u| {
        u.servers = upstream("app", &[gone_address, origins[1].address]).servers;
        u.retries = 1;
        u.redispatch = true;
    });
    for _ in 0..4 {
        assert_eq!(get(address, "/").text(), "b");
    }
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    let origin = Origin::start(|mut connection| {
        connection.request();
        // Never answers; notices when the proxy closes.
        let end = connection.stream.read(&mut [0]);
        assert!(matches!(end, Ok(0)) || end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset));
        connection.stream.shutdown(Shutdown::Both).ok();
    });
    let (mut proxy, address) = front(origin.address, |_| ());
    let mut client = Client::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let end = Instant::now() + PATIENCE;
    while origin.requests().is_empty() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    drop(client);
    proxy.until("the client is forgotten", |r| r.connections == 0);
    assert_eq!(proxy.counted("clients_gone"), 1);
}

#[test]
fn an_answer_may_come_before_the_body_has_been_sent() {
    let origin = Origin::start(|mut connection| {
        // Answers from the head alone.
        let mut head = [0; 4096];
        let _ = connection.stream.read(&mut head).unwrap();
        connection.stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno").unwrap();
        std::thread::sleep(Duration::from_millis(200));
        connection.reset();
    });
    let (_proxy, address) = front(origin.address, |_| ());
    let mut client = Client::connect(address);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").send(vec![b'x'; 1000]);
    let response = client.response("POST").unwrap();
    assert_eq!((response.status, response.text(), response.field("Connection")), (403, "no", Some("close")));
}
