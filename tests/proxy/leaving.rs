//! What becomes of connections whose address has moved to a peer, or whose node stops: who is waited for, who is told, who
//! is cut, and who is left alone.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use vipgate::config::Config;
use vipgate::link::{FromProxy, ToProxy};

use crate::peers::*;
use crate::support::*;

const LONG: Duration = Duration::from_secs(60);
const MOVED: &str = "127.0.0.2";

/// A proxy that serves an address that moves, and one that stays.
fn two_addresses(workers: usize, app: SocketAddr) -> (Proxy, SocketAddr, SocketAddr) {
    let mut proxy = Proxy::start(workers);
    let (moves, stays) = (proxy.address(MOVED), proxy.address("127.0.0.1"));
    proxy.serve(&both(moves, stays, app));
    (proxy, moves, stays)
}

fn both(moves: SocketAddr, stays: SocketAddr, app: SocketAddr) -> Config {
    let servers = [moves, stays].map(|listen| server(listen, vec![("/", to("app"))]));
    config(servers.into(), vec![upstream("app", &[app])])
}

fn leave(proxy: &mut Proxy, number: u64, bound: Duration, before: bool) {
    let addresses: Vec<IpAddr> = vec![MOVED.parse().unwrap()];
    proxy.send(&ToProxy::Leave { number, addresses, bound, before }, None);
}

fn left(proxy: &mut Proxy, expect: u64) -> u64 {
    proxy.wait_for("Left", |m| match m {
        FromProxy::Left { number, cut } if number == expect => Some(cut),
        _ => None,
    })
}

/// Waits until the origin has heard so many requests.
fn heard(origin: &Origin, requests: usize) {
    let end = Instant::now() + PATIENCE;
    while origin.requests().len() < requests {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
}

/// Waits until no worker can be found that has not heard of it.
fn all_know(moves: SocketAddr) {
    let end = Instant::now() + PATIENCE;
    let mut in_a_row = 0;
    while in_a_row < 20 {
        let closes = Client::connect(moves).get("/").field("Connection") == Some("close");
        in_a_row = if closes { in_a_row + 1 } else { 0 };
        assert!(Instant::now() < end, "a worker was not told");
    }
}

#[test]
fn each_connection_of_a_moved_address_is_answered_once_more() {
    let origin = Origin::answering(|_| ok("here"));
    for workers in [1, 3] {
        let (mut proxy, moves, stays) = two_addresses(workers, origin.address);
        let mut kept: Vec<Client> = (0..6).map(|_| Client::connect(moves)).collect();
        let mut others: Vec<Client> = (0..6).map(|_| Client::connect(stays)).collect();
        for client in kept.iter_mut().chain(&mut others) {
            assert_eq!(client.get("/").field("Connection"), None);
        }
        leave(&mut proxy, 7, LONG, false);
        // They are waited for, and so is one that comes late: its handshake was done before the address moved.
        let mut late = Client::connect(moves);
        all_know(moves);
        std::thread::sleep(Duration::from_millis(700));
        // The sample of `all_know` need not have met one that got no processor.
        proxy.until_all_turn();
        for client in [&mut late].into_iter().chain(&mut kept) {
            let answer = client.get("/");
            assert_eq!((answer.text(), answer.field("Connection")), ("here", Some("close")));
            assert_eq!(client.end(), None);
        }
        assert_eq!(left(&mut proxy, 7), 0);
        for client in &mut others {
            assert_eq!(client.get("/").field("Connection"), None, "not its address");
        }
        assert_eq!(get(moves, "/").text(), "here", "the proxy goes on listening");
    }
}

/// Until its first byte comes the kernel keeps it to itself, and no worker knows of it.
#[test]
fn a_connection_that_has_said_nothing_yet_is_answered_after_the_move() {
    let origin = Origin::answering(|_| ok("here"));
    let (mut proxy, moves, _) = two_addresses(1, origin.address);
    let mut silent = Client::connect(moves);
    leave(&mut proxy, 7, LONG, false);
    std::thread::sleep(Duration::from_millis(700));
    let answer = silent.get("/");
    assert_eq!((answer.text(), answer.field("Connection")), ("here", Some("close")));
    assert_eq!(left(&mut proxy, 7), 0);
}

#[test]
fn what_is_not_over_at_the_bound_is_cut_and_tunnels_are_closed_before() {
    let origin = Origin::start(|mut connection| {
        let Some(head) = connection.request() else { return };
        if head.contains("Upgrade") {
            let switch =
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello";
            connection.stream.write_all(switch.as_bytes()).unwrap();
            let mut rest = vec![];
            connection.stream.read_to_end(&mut rest).expect("an end, and no reset");
            // What it says after the end is too late.
            let _ = connection.stream.write_all(b"late");
            return;
        }
        connection.request();
    });
    let (mut proxy, moves, _) = two_addresses(1, origin.address);
    // Seen by somebody who gets no processor for half a second, both end together.
    let is_seen_before = (1..=5).any(|number| {
        let mut stuck = Client::connect(moves);
        stuck.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut tunnel = Client::connect(moves);
        tunnel.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
        assert_eq!(tunnel.response("GET").unwrap().status, 101);
        heard(&origin, 2 * number);
        leave(&mut proxy, number as u64, Duration::from_millis(1500), false);
        let mut rest = String::new();
        tunnel.stream.read_to_string(&mut rest).expect("an end, and no reset");
        assert!("hello".ends_with(&rest), "{rest}");
        stuck.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let is_open = stuck.stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        assert_eq!(left(&mut proxy, number as u64), 2);
        stuck.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(stuck.response("GET").is_err());
        is_open
    });
    assert!(is_seen_before, "tunnels end before what is cut");
}

/// What has been written the kernel still has, and loses with the address.
#[test]
fn a_slow_client_gets_its_whole_answer_before_the_address_is_let_go() {
    let body = "x".repeat(256 << 10);
    let begin = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len() + 1);
    let goes_on = Arc::new(Barrier::new(2));
    let told = Arc::clone(&goes_on);
    let origin = Origin::start(move |mut connection| {
        let Some(head) = connection.request() else { return };
        let waits = || head.contains("/slow").then(|| told.wait());
        connection.stream.write_all(format!("{begin}x").as_bytes()).unwrap();
        waits();
        connection.stream.write_all(body.as_bytes()).unwrap();
        // The proxy ends it when it is done with the answer.
        assert_eq!(connection.request(), None);
        waits();
    });
    let (mut proxy, moves, stays) = two_addresses(1, origin.address);
    let table = [("", false), ("", true), ("Connection: close\r\n", false), ("Connection: close\r\n", true)];
    for (number, (field, says_no_more)) in (1..).zip(table) {
        let row = format!("{field:?}, says no more: {says_no_more}");
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&moves.into()).unwrap();
        let mut slow = Client::over(socket.into());
        slow.send(format!("GET /slow HTTP/1.1\r\nHost: a\r\n{field}\r\n"));
        slow.stream.peek(&mut [0]).unwrap();
        leave(&mut proxy, number, LONG, true);
        proxy.until_all_turn();
        goes_on.wait();
        goes_on.wait();
        if says_no_more {
            slow.stream.shutdown(Shutdown::Write).unwrap();
        }
        // One that has had its answer, and is told to go after that, is gone first.
        let mut quick = Client::connect(stays);
        assert_eq!(quick.get("/").body.len(), (256 << 10) + 1, "{row}");
        let addresses = vec![stays.ip()];
        proxy.send(&ToProxy::Leave { number: 100 + number, addresses, bound: LONG, before: true }, None);
        let first = proxy.wait_for("Left", |m| match m {
            FromProxy::Left { number, .. } => Some(number),
            _ => None,
        });
        assert_eq!(first, 100 + number, "{row}");
        assert_eq!(slow.response("GET").unwrap().body.len(), (256 << 10) + 1, "{row}");
        assert_eq!(left(&mut proxy, number), 0, "{row}");
    }
}

#[test]
fn an_address_that_stays_after_all_costs_no_connection() {
    let origin = Origin::start(|mut connection| {
        while connection.request().is_some() {
            std::thread::sleep(Duration::from_millis(1200));
            connection.stream.write_all(&ok("late")).unwrap();
        }
    });
    let (mut proxy, moves, _) = two_addresses(2, origin.address);
    let mut busy = Client::connect(moves);
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    heard(&origin, 1);
    leave(&mut proxy, 1, Duration::from_millis(600), false);
    proxy.send(&ToProxy::Keep { number: 1 }, None);
    assert_eq!(busy.response("GET").unwrap().text(), "late");
    leave(&mut proxy, 2, LONG, false);
    assert_eq!(left(&mut proxy, 2), 0, "and nothing was said of the one before");
}

#[test]
fn before_an_address_moves_the_first_idle_moment_counts() {
    let origin = Origin::start(|mut connection| {
        while connection.request().is_some() {
            std::thread::sleep(Duration::from_millis(300));
            connection.stream.write_all(&ok("late")).unwrap();
        }
    });
    let (mut proxy, moves, _) = two_addresses(1, origin.address);
    leave(&mut proxy, 1, LONG, true);
    assert_eq!(left(&mut proxy, 1), 0, "nobody is there");
    let mut idle = Client::connect(moves);
    assert_eq!(idle.get("/").text(), "late");
    let mut busy = Client::connect(moves);
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    heard(&origin, 2);
    leave(&mut proxy, 2, LONG, true);
    assert_eq!(busy.response("GET").unwrap().field("Connection"), Some("close"));
    assert_eq!(idle.end(), None, "closed, since somebody waits");
    drop(busy);
    assert_eq!(left(&mut proxy, 2), 0);
}

#[test]
fn a_stop_waits_for_the_next_request_of_each_connection_but_not_for_long() {
    let origin = Origin::answering(|_| ok("here"));
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    proxy.serve(&proxied(address, upstream("app", &[origin.address])));
    let mut quick = Client::connect(address);
    let mut silent = Client::connect(address);
    for client in [&mut quick, &mut silent] {
        assert_eq!(client.get("/").text(), "here");
    }
    proxy.send(&ToProxy::Drain { bound: LONG }, None);
    std::thread::sleep(Duration::from_millis(100));
    let answer = quick.get("/");
    assert_eq!((answer.text(), answer.field("Connection")), ("here", Some("close")));
    // Also one whose handshake is older than the move of the address.
    let answer = get(address, "/");
    assert_eq!((answer.text(), answer.field("Connection")), ("here", Some("close")));
    assert_eq!(silent.end(), None);
    let cut = proxy.wait_for("Drained", |m| match m {
        FromProxy::Drained { cut } => Some(cut),
        _ => None,
    });
    assert_eq!(cut, 0);
}

/// The vrrp role keeps the address for as long as it has said at the move, and not beyond.
#[test]
fn a_stop_gives_no_more_time_to_those_whose_address_has_moved() {
    let origin = Origin::start(|mut connection| {
        if connection.request().is_none() {
            return;
        }
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        connection.stream.write_all(switch.as_bytes()).unwrap();
        // To the end of the tunnel, or of the test.
        let _ = connection.stream.read_to_end(&mut vec![]);
    });
    let (mut proxy, moves, stays) = two_addresses(1, origin.address);
    let [mut moved, other] = [moves, stays].map(|address| {
        let mut tunnel = Client::connect(address);
        tunnel.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
        assert_eq!(tunnel.response("GET").unwrap().status, 101);
        tunnel
    });
    leave(&mut proxy, 1, Duration::from_millis(1500), false);
    proxy.send(&ToProxy::Drain { bound: LONG }, None);
    let mut rest = String::new();
    moved.stream.read_to_string(&mut rest).expect("an end, and no reset");
    assert_eq!(left(&mut proxy, 1), 1);
    other.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(other.stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
}
