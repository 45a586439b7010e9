//! Upstream servers that lie: a 502, or an answer that visibly breaks off, and the next request gets its own answer.

use std::io::Write;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use crate::differ::final_response;
use crate::peers::{Accepted, Client, Origin, Response, ok};
use crate::support::{PATIENCE, Port, Vipgate, among_others, front};

/// What the server does after its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    GoOn,
    Close,
    Reset,
    /// Says nothing more, and does not close.
    Hang,
    /// Sends this once the client has read the answer.
    Later(&'static str),
}

/// What the client may get.
#[derive(Clone, Copy, Debug)]
enum Gets {
    /// An answer of vipgate's own.
    Own(u16),
    /// A status, then the end of the connection before the end of the body.
    Cut,
    /// Either: it depends on how much came at once.
    OwnOrCut,
    Whole(u16, &'static str),
}

use Gets::{Cut, Own, OwnOrCut, Whole};
use Then::{Close, GoOn, Hang, Later, Reset};

type Lie = (String, Then, Gets);

fn heads() -> Vec<Lie> {
    let mut table: Vec<(String, Then, Gets)> = vec![];
    for text in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "\r\n\r\n",
        "\0\0\0\0\r\n",
        "220 mail ESMTP\r\n",
        "ICY 200 OK\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 +20 OK\r\n\r\n",
        " HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n A: b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nxx",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        // Nobody asked for another protocol.
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        table.push((text.into(), GoOn, Own(502)));
    }
    // A head without an end.
    table.push((format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(100_000)), GoOn, Own(502)));
    table.push((format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(1000)), GoOn, Own(502)));
    table.push(("x".repeat(100_000), GoOn, Own(502)));
    // Informational answers without an end.
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"] {
        table.push((interim.repeat(1000), GoOn, Own(502)));
        table.push((interim.into(), Close, Own(502)));
        table.push((
            format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
            GoOn,
            Whole(200, "hello"),
        ));
    }
    for then in [Close, Reset] {
        for text in [
            "",
            "H",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r",
        ] {
            table.push((text.into(), then, Own(502)));
        }
    }
    for text in ["", "HTTP/1.1 200 OK\r\nContent-"] {
        table.push((text.into(), Hang, Own(504)));
    }
    table
}

fn bodies() -> Vec<Lie> {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut table: Vec<(String, Then, Gets)> = vec![];
    for then in [Close, Reset, Hang] {
        for body in ["", "h", "123456789"] {
            table.push((format!("{length}{body}"), then, OwnOrCut));
        }
        for body in [
            "",
            "5",
            "5\r",
            "5\r\n",
            "5\r\nhel",
            "5\r\nhello",
            "5\r\nhello\r\n",
            "5\r\nhello\r\n0\r\n",
            "5\r\nhello\r\n0\r\nA: b\r\n",
        ] {
            table.push((format!("{chunked}{body}"), then, OwnOrCut));
        }
    }
    // What ends with the connection is whole only if that ended in order.
    for version in ["1.0", "1.1"] {
        table.push((format!("HTTP/{version} 200 OK\r\n\r\nhello"), Close, Whole(200, "hello")));
        table.push((format!("HTTP/{version} 200 OK\r\n\r\nhello"), Hang, Cut));
    }
    for body in [
        "zz\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "10000000000000000\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
    ] {
        table.push((format!("{chunked}{body}"), GoOn, OwnOrCut));
    }
    table.push((format!("{chunked}5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(50_000)), GoOn, OwnOrCut));
    table.push((format!("{chunked}5\r\nhello\r\n0\r\n{}\r\n", "A: b\r\n".repeat(10_000)), GoOn, OwnOrCut));
    table
}

/// More than was asked for: the answer is good, and the rest is nobody's.
fn surpluses() -> Vec<Lie> {
    let second = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond";
    let mut table: Vec<(String, Then, Gets)> = vec![];
    for more in [
        second,
        "HTTP/1.1 200 OK\r\nContent-Le",
        "\r\n",
        "x",
        "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
    ] {
        table.push((
            format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello{more}"),
            GoOn,
            Whole(200, "hello"),
        ));
        table.push((
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{more}"),
            GoOn,
            Whole(200, "hello"),
        ));
        table.push((
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".into(),
            Later(more),
            Whole(200, "hello"),
        ));
    }
    for head in [
        "HTTP/1.1 204 No Content",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5",
        "HTTP/1.1 304 Not Modified",
    ] {
        let status = head[9..12].parse().unwrap();
        table.push((format!("{head}\r\n\r\nhello"), GoOn, Whole(status, "")));
        table.push((format!("{head}\r\n\r\n{second}"), GoOn, Whole(status, "")));
    }
    table
}

/// Answers `/lie/N` with the N-th lie, anything else with its path.
fn liar(table: Vec<Lie>, belated: Arc<Belated>) -> Origin {
    Origin::start(move |mut connection| {
        // Else what comes later may wait in this kernel until the answer before it is acknowledged.
        connection.stream.set_nodelay(true).unwrap();
        while let Some(request) = connection.request() {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let Some(n) = path.strip_prefix("/lie/") else {
                if connection.stream.write_all(&ok(&path)).is_err() {
                    return;
                }
                continue;
            };
            let (text, then, _) = &table[n.parse::<usize>().unwrap()];
            // The proxy may have closed already.
            let _ = connection.stream.write_all(text.as_bytes());
            if !goes_on(&mut connection, *then, &belated) {
                return if *then == Reset {
                    connection.reset()
                };
            }
        }
    })
}

fn goes_on(connection: &mut Accepted, then: Then, belated: &Belated) -> bool {
    match then {
        GoOn => true,
        Close | Reset => {
            // What was written is to be read before a reset throws it away.
            std::thread::sleep(Duration::from_millis(if then == Reset { 5 } else { 0 }));
            false
        }
        Hang => {
            let _ = connection.request();
            false
        }
        Later(more) => {
            belated.read.wait();
            let written = connection.stream.write_all(more.as_bytes());
            belated.sent.wait();
            written.is_ok()
        }
    }
}

/// Where a server that sends something later and its client meet.
struct Belated {
    read: Barrier,
    sent: Barrier,
}

fn check(number: usize, lie: &Lie, got: &std::io::Result<Response>) {
    let short = String::from_utf8_lossy(&lie.0.as_bytes()[..lie.0.len().min(150)]).into_owned();
    let what = format!("lie {number}, {short:?} then {:?}, expecting {:?}", lie.1, lie.2);
    let is_own = |r: &Response, status| r.status == status && r.head.contains("Server: vipgate");
    match (lie.2, got) {
        (Own(status), Ok(r)) => assert!(is_own(r, status), "{what}: {r:?}"),
        (OwnOrCut, Ok(r)) => assert!(is_own(r, 502) || is_own(r, 504), "{what}: {r:?}"),
        (Whole(status, body), Ok(r)) => assert_eq!((r.status, r.text()), (status, body), "{what}"),
        (Cut, Ok(r)) => panic!("{what}: {r:?}"),
        (Cut | OwnOrCut, Err(_)) => (),
        (Own(_) | Whole(..), Err(error)) => panic!("{what}: {error}"),
    }
}

struct Arena {
    belated: Arc<Belated>,
    port: Port,
    _vipgate: Vipgate,
    _origin: Origin,
}

fn arena(table: &[Lie]) -> Arena {
    let belated = Arc::new(Belated { read: Barrier::new(2), sent: Barrier::new(2) });
    let origin = liar(table.to_vec(), Arc::clone(&belated));
    let (vipgate, port) =
        front(&[origin.address], &["timeouts: {read: 300ms}", "retries: 0", "keepalive: 8"]);
    Arena { belated, port, _vipgate: vipgate, _origin: origin }
}

/// Each lie on a connection of its own, where the server was honest before, then more requests. Silence takes its time:
/// the table is shared by `lanes` clients.
fn lies_hurt_nobody_else(table: &[Lie], lanes: usize) {
    let _turn = among_others();
    let arena = arena(table);
    let (port, belated) = (&arena.port, &arena.belated);
    std::thread::scope(|scope| {
        for lane in 0..lanes {
            scope.spawn(move || {
                for (n, lie) in table.iter().enumerate().skip(lane).step_by(lanes) {
                    let mut client = Client::connect(port.address);
                    assert_eq!(client.get(&format!("/before/{n}")).text(), format!("/before/{n}"));
                    client.send(format!("GET /lie/{n} HTTP/1.1\r\nHost: a\r\n\r\n"));
                    let got = final_response(&mut client, "GET");
                    check(n, lie, &got);
                    if let Later(_) = lie.1 {
                        belated.read.wait();
                        belated.sent.wait();
                    }
                    let goes_on = got.is_ok_and(|r| r.field("Connection") != Some("close"));
                    if !goes_on {
                        client = Client::connect(port.address);
                    }
                    for path in [format!("/after/{n}"), format!("/after/{n}/again")] {
                        assert_eq!(client.get(&path).text(), path, "after lie {n}, {:?}", lie.0);
                    }
                }
            });
        }
    });
}

#[test]
fn heads_that_lie_become_502() {
    lies_hurt_nobody_else(&heads(), 8);
}

#[test]
fn bodies_that_lie_break_off() {
    lies_hurt_nobody_else(&bodies(), 8);
}

#[test]
fn what_nobody_asked_for_answers_nobody() {
    // By one client: bytes that come later may find their connection in use by another one, and nothing tells them from
    // the answer then.
    lies_hurt_nobody_else(&surpluses(), 1);
}

/// The next request is already there when the lie is told.
#[test]
fn a_lie_does_not_answer_the_request_behind_it() {
    let _turn = among_others();
    let table: Vec<_> = [heads(), bodies(), surpluses()]
        .concat()
        .into_iter()
        .filter(|(_, then, _)| !matches!(then, Hang | Later(_)))
        .collect();
    let arena = arena(&table);
    let port = &arena.port;
    for (n, lie) in table.iter().enumerate() {
        let mut client = Client::connect(port.address);
        client.send(format!(
            "GET /lie/{n} HTTP/1.1\r\nHost: a\r\n\r\nGET /next/{n} HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        let got = final_response(&mut client, "GET");
        check(n, lie, &got);
        if got.is_ok_and(|r| r.field("Connection") != Some("close")) {
            assert_eq!(client.get("/").text(), format!("/next/{n}"), "after {:?}", lie.0);
            assert_eq!(final_response(&mut client, "GET").unwrap().text(), "/");
        } else {
            assert!(final_response(&mut client, "GET").is_err(), "{:?} was answered twice", lie.0);
        }
    }
}

/// HEAD has no body, whatever the server sends.
#[test]
fn a_body_after_head_answers_nobody() {
    let _turn = among_others();
    let table: Vec<Lie> = vec![
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".into(), GoOn, Whole(200, "")),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".into(),
            GoOn,
            Whole(200, ""),
        ),
        ("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx".into(), GoOn, Whole(200, "")),
    ];
    let arena = arena(&table);
    let port = &arena.port;
    let mut client = Client::connect(port.address);
    for (n, lie) in table.iter().enumerate() {
        client.send(format!("HEAD /lie/{n} HTTP/1.1\r\nHost: a\r\n\r\n"));
        check(n, lie, &final_response(&mut client, "HEAD"));
        assert_eq!(client.get("/after").text(), "/after", "after {:?}", lie.0);
    }
}

/// A server that speaks before it is asked. If the request was on its way already, HTTP has no way to tell such an
/// answer from the right one; but a connection on which it waits is not used again.
#[test]
fn a_connection_with_an_answer_in_it_is_not_used() {
    let _turn = among_others();
    let (told, heard) = mpsc::channel();
    let told = Mutex::new(told);
    let origin = Origin::start(move |mut connection| {
        connection.stream.set_nodelay(true).unwrap();
        while let Some(request) = connection.request() {
            let path = request.split(' ').nth(1).unwrap();
            if connection.stream.write_all(&ok(path)).is_err() {
                return;
            }
            // Far enough behind it to be read apart from it.
            std::thread::sleep(Duration::from_millis(5));
            let _ = connection.stream.write_all(&ok("unasked"));
            told.lock().unwrap().send(()).unwrap();
        }
    });
    let (_vipgate, port) = front(&[origin.address], &["keepalive: 8"]);
    let mut client = Client::connect(port.address);
    for n in 0..20 {
        let path = format!("/{n}");
        assert_eq!(client.get(&path).text(), path);
        heard.recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!(origin.connections(), 20);
}
