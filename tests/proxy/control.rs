//! PID 1's side: configurations in two phases, beats, reports, draining, the end of the link.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use vipgate::link::{FromProxy, ToProxy};

use crate::peers::*;
use crate::support::*;

#[test]
fn beats_come_from_inside_every_worker() {
    let mut proxy = Proxy::start(2);
    let address = proxy.address("127.0.0.1");
    proxy.serve(&config(vec![server(address, vec![("/", respond("ok"))])], vec![]));
    assert_eq!(proxy.until_all_turn(), 2);
}

#[test]
fn a_configuration_is_prepared_then_committed_or_dropped() {
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    let pages = |body: &str| config(vec![server(address, vec![("/", respond(body))])], vec![]);
    proxy.serve(&pages("one"));
    let mut client = Client::connect(address);
    assert_eq!(client.get("/").text(), "one");
    // Prepared is not in force.
    let generation = proxy.prepare(&pages("two")).unwrap();
    assert_eq!(client.get("/").text(), "one");
    proxy.send(&ToProxy::Abort { generation }, None);
    proxy.send(&ToProxy::Commit { generation }, None);
    assert_eq!(proxy.report().workers, 1);
    assert_eq!(client.get("/").text(), "one");
    // Committed is, also for a connection that was there before.
    proxy.serve(&pages("three"));
    assert_eq!(client.get("/").text(), "three");
    // What cannot be served is refused with a reason, and changes nothing.
    let unbound = config(vec![server("127.0.0.1:1".parse().unwrap(), vec![])], vec![]);
    assert!(proxy.prepare(&unbound).unwrap_err().contains("127.0.0.1:1"));
    let lost = config(vec![server(address, vec![("/", to("lost"))])], vec![]);
    assert!(proxy.prepare(&lost).unwrap_err().contains("lost"));
    assert_eq!(client.get("/").text(), "three");
}

#[test]
fn no_request_fails_while_configurations_change() {
    let mut proxy = Proxy::start(2);
    let address = proxy.address("127.0.0.1");
    let extra = proxy.address("127.0.0.1");
    let serve = |n: usize| {
        let mut servers = vec![server(address, vec![("/", respond(&n.to_string()))])];
        // Nothing but a configuration could end a connection.
        servers[0].client.keepalive_requests = u32::MAX;
        if n.is_multiple_of(2) {
            servers.push(server(extra, vec![("/", respond("extra"))]));
        }
        config(servers, vec![])
    };
    proxy.serve(&serve(0));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|n| {
            let stop = std::sync::Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                let mut count = 0;
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    if n % 2 == 0 {
                        client = Client::connect(address);
                    }
                    assert_eq!(client.get("/").status, 200);
                    count += 1;
                }
                count
            })
        })
        .collect();
    for n in 1..30 {
        if n % 2 == 0 {
            // As PID 1 does: the address that comes back has new sockets.
            for worker in 0..2 {
                let socket = vipgate::os::listener::listen(extra).unwrap();
                proxy.send(&ToProxy::Listener { address: extra, worker }, Some(&socket));
            }
        }
        proxy.serve(&serve(n));
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    for client in clients {
        assert!(client.join().unwrap() > 0);
    }
}

#[test]
fn a_listener_that_goes_closes_its_connections_after_their_answer() {
    let origin = Origin::start(|mut connection| {
        connection.request();
        std::thread::sleep(Duration::from_millis(300));
        connection.stream.write_all(&ok("late")).unwrap();
    });
    let mut proxy = Proxy::start(1);
    let stays = proxy.address("127.0.0.1");
    let goes = proxy.address("127.0.0.1");
    let group = upstream("app", &[origin.address]);
    let both = vec![server(stays, vec![("/", respond("stays"))]), server(goes, vec![("/", to("app"))])];
    proxy.serve(&config(both, vec![group]));
    let mut idle = Client::connect(goes);
    let mut busy = Client::connect(goes);
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let end = Instant::now() + PATIENCE;
    while origin.requests().is_empty() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    assert_eq!(idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").response("GET").unwrap().text(), "late");
    proxy.serve(&config(vec![server(stays, vec![("/", respond("stays"))])], vec![]));
    assert_eq!(idle.end(), None);
    assert_eq!(busy.response("GET").unwrap().text(), "late");
    assert_eq!(busy.end(), None);
    assert!(TcpStream::connect(goes).is_err());
    assert_eq!(get(stays, "/").text(), "stays");
}

#[test]
fn draining_finishes_what_is_in_flight() {
    let origin = Origin::start(|mut connection| {
        while connection.request().is_some() {
            std::thread::sleep(Duration::from_millis(300));
            connection.stream.write_all(&ok("late")).unwrap();
        }
    });
    let mut proxy = Proxy::start(2);
    let address = proxy.address("127.0.0.1");
    proxy.serve(&proxied(address, upstream("app", &[origin.address])));
    let mut idle = Client::connect(address);
    assert_eq!(idle.get("/").text(), "late");
    let mut busy = Client::connect(address);
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let end = Instant::now() + PATIENCE;
    while origin.requests().len() < 2 {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    proxy.send(&ToProxy::Drain { bound: Duration::from_secs(10) }, None);
    assert_eq!(idle.end(), None);
    let response = busy.response("GET").unwrap();
    assert_eq!((response.text(), response.field("Connection")), ("late", Some("close")));
    let cut = proxy.wait_for("Drained", |m| match m {
        FromProxy::Drained { cut } => Some(cut),
        _ => None,
    });
    assert_eq!(cut, 0);
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    assert!(proxy.hang_up());
}

#[test]
fn draining_ends_at_its_bound() {
    let origin = Origin::start(|mut connection| {
        connection.request();
        connection.request();
    });
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    proxy.serve(&proxied(address, upstream("app", &[origin.address])));
    let mut stuck = Client::connect(address);
    stuck.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let end = Instant::now() + PATIENCE;
    while origin.requests().is_empty() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    proxy.send(&ToProxy::Drain { bound: Duration::from_millis(700) }, None);
    let cut = proxy.wait_for("Drained", |m| match m {
        FromProxy::Drained { cut } => Some(cut),
        _ => None,
    });
    assert_eq!(cut, 1);
    assert!(stuck.response("GET").is_err());
}

#[test]
fn the_end_of_the_link_is_the_end_in_good_order() {
    let origin = Origin::start(|mut connection| {
        connection.request();
        std::thread::sleep(Duration::from_millis(300));
        connection.stream.write_all(&ok("late")).unwrap();
    });
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    proxy.serve(&proxied(address, upstream("app", &[origin.address])));
    let mut busy = Client::connect(address);
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let end = Instant::now() + PATIENCE;
    while origin.requests().is_empty() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    assert!(proxy.hang_up());
    assert_eq!(busy.response("GET").unwrap().text(), "late");
    assert!(Proxy::start(1).hang_up(), "also before the first configuration");
}
