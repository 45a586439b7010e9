//! A proxy that was frozen: what waited in it is another node's to answer, unless the vrrp role says otherwise.
//!
//! 127.0.0.2 plays the virtual address; `SIGSTOP` freezes as `docker pause` does.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use vipgate::link::{FenceQuery, FenceVerdict, FromProxy, ToProxy};

use crate::peers::*;
use crate::support::*;

const VIP: &str = "127.0.0.2";
const INTERVAL_MS: u64 = 50;
/// Far longer than three intervals.
const FREEZE: Duration = Duration::from_millis(600);

struct Node {
    proxy: Proxy,
    origin: Origin,
    vip: SocketAddr,
    own: SocketAddr,
}

fn serving() -> Node {
    node(Origin::answering(|_| ok("served")))
}

fn node(origin: Origin) -> Node {
    let mut proxy = Proxy::start(1);
    let vip = proxy.address(VIP);
    let own = proxy.address("127.0.0.1");
    let servers = vec![server(vip, vec![("/", to("app"))]), server(own, vec![("/", to("app"))])];
    let mut config = config(servers, vec![upstream("app", &[origin.address])]);
    config.vrrp = vec![vrrp(VIP, INTERVAL_MS)];
    proxy.serve(&config);
    Node { proxy, origin, vip, own }
}

impl Node {
    /// Runs `meanwhile` while the proxy is frozen.
    fn freeze(&self, meanwhile: impl FnOnce()) {
        let start = Instant::now();
        self.proxy.freeze();
        meanwhile();
        std::thread::sleep(FREEZE.saturating_sub(start.elapsed()));
        self.proxy.thaw();
    }

    fn query(&mut self) -> FenceQuery {
        self.proxy.wait_for("a fence query", |m| match m {
            FromProxy::FenceQuery(query) => Some(query),
            _ => None,
        })
    }

    fn answer(&mut self, held: bool) -> FenceQuery {
        let query = self.query();
        self.proxy.send(&ToProxy::FenceVerdict(FenceVerdict { nonce: query.nonce, held }), None);
        query
    }
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Connections that have been used, that are new, and that come while the node is frozen: each with a request that
/// waits in it.
fn waiting(node: &mut Node) -> Vec<Client> {
    let mut used = Client::connect(node.vip);
    assert_eq!(used.get("/").text(), "served");
    let mut half = Client::connect(node.vip);
    half.send("GET / HTTP/1.1\r\nHost");
    let quiet = Client::connect(node.vip);
    node.proxy.until("the connections are known", |r| r.connections >= 2);
    let mut all = vec![used, half, quiet];
    let vip = node.vip;
    node.freeze(|| {
        all[0].send(REQUEST);
        all[1].send(": a\r\n\r\n");
        all[2].send(REQUEST);
        let mut late = Client::connect(vip);
        late.send(REQUEST);
        all.push(late);
    });
    all
}

#[test]
fn what_waited_is_refused_if_the_address_was_lost() {
    let mut node = serving();
    let before = vipgate::os::clock::boottime_ns();
    let clients = waiting(&mut node);
    let served = node.origin.requests().len();
    let query = node.answer(false);
    assert!(query.since.0 > before && query.since.0 < vipgate::os::clock::boottime_ns());
    for (n, mut client) in clients.into_iter().enumerate() {
        let error = client.response("GET").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "client {n}");
    }
    assert_eq!(node.origin.requests().len(), served, "nothing of it reached the upstream");
    assert_eq!(node.proxy.counted("fence_refused"), 4);
    // Whoever comes after that is served.
    assert_eq!(get(node.vip, "/").text(), "served");
}

#[test]
fn what_waited_is_answered_if_the_address_was_held() {
    let mut node = serving();
    let clients = waiting(&mut node);
    node.answer(true);
    for mut client in clients {
        assert_eq!(client.response("GET").unwrap().text(), "served");
        assert_eq!(client.get("/").text(), "served");
    }
    assert_eq!(node.proxy.counted("fence_refused"), 0);
}

#[test]
fn nothing_is_processed_before_the_verdict_and_none_is_a_refusal() {
    let mut node = serving();
    let mut clients = waiting(&mut node);
    let served = node.origin.requests().len();
    node.query();
    clients[0].stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let error = clients[0].response("GET").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    assert_eq!(node.origin.requests().len(), served);
    for mut client in clients {
        client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(client.response("GET").unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    assert_eq!(node.origin.requests().len(), served);
}

#[test]
fn own_addresses_are_not_fenced() {
    let mut node = serving();
    let mut client = Client::connect(node.own);
    assert_eq!(client.get("/").text(), "served");
    node.freeze(|| _ = client.send(REQUEST));
    // Answered without waiting for any verdict.
    assert_eq!(client.response("GET").unwrap().text(), "served");
    node.answer(false);
    assert_eq!(client.get("/").text(), "served");
}

#[test]
fn a_freeze_within_a_request_body_is_noticed() {
    let mut node = serving();
    let mut client = Client::connect(node.vip);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    let end = Instant::now() + PATIENCE;
    while node.origin.connections() == 0 {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    node.freeze(|| _ = client.send("cd"));
    node.answer(false);
    assert_eq!(client.response("POST").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(node.origin.requests().is_empty(), "the upstream never has the whole");
}

/// What an upstream says while the proxy is frozen, long after the request was forwarded.
#[test]
fn an_answer_that_waited_is_given_only_if_the_address_was_held() {
    for (said, status) in [
        (ok("late"), 200),
        ([&b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"[..], &ok("late")].concat(), 103),
        (b"nonsense\r\n\r\n".to_vec(), 502),
        // It closes.
        (vec![], 502),
    ] {
        for held in [true, false] {
            let what = format!("{status}, held: {held}");
            let (say, wait) = mpsc::channel::<()>();
            let (done, said_it) = mpsc::channel();
            let (said, script) = (said.clone(), Mutex::new((wait, done)));
            let mut node = node(Origin::start(move |mut connection| {
                let script = script.lock().unwrap();
                connection.request().unwrap();
                script.0.recv().unwrap();
                connection.stream.write_all(&said).unwrap();
                drop(connection);
                script.1.send(()).unwrap();
            }));
            let mut client = Client::connect(node.vip);
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
            let end = Instant::now() + PATIENCE;
            while node.origin.requests().is_empty() {
                assert!(Instant::now() < end, "{what}");
                std::thread::yield_now();
            }
            node.freeze(|| {
                say.send(()).unwrap();
                said_it.recv_timeout(PATIENCE).unwrap();
            });
            node.answer(held);
            match (client.response("POST"), held) {
                (Ok(response), true) => assert_eq!(response.status, status, "{what}"),
                (Err(error), false) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what}"),
                (other, _) => panic!("{what}: {other:?}"),
            }
        }
    }
}

#[test]
fn without_a_virtual_address_there_is_no_fence() {
    let mut proxy = Proxy::start(1);
    let address = proxy.address(VIP);
    proxy.serve(&config(vec![server(address, vec![("/", respond("ok"))])], vec![]));
    let mut client = Client::connect(address);
    assert_eq!(client.get("/").text(), "ok");
    proxy.freeze();
    client.send(REQUEST);
    std::thread::sleep(FREEZE);
    proxy.thaw();
    assert_eq!(client.response("GET").unwrap().text(), "ok");
    assert_eq!(proxy.counted("fence_gaps"), 0);
}

#[test]
fn what_waited_in_an_upgraded_connection_is_passed_on_only_if_the_address_was_held() {
    for held in [true, false] {
        let (heard, hear) = mpsc::channel();
        let heard = Mutex::new(heard);
        let mut node = node(Origin::start(move |mut connection| {
            connection.request().unwrap();
            let switch = b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n";
            connection.stream.write_all(switch).unwrap();
            let said = read_exactly(&mut connection.stream, &mut connection.rest, 4);
            heard.lock().unwrap().send(said.ok()).unwrap();
        }));
        let mut client = Client::connect(node.vip);
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
        assert_eq!(client.response("GET").unwrap().status, 101);
        node.freeze(|| _ = client.send("word"));
        node.answer(held);
        let said = hear.recv_timeout(PATIENCE).unwrap();
        assert_eq!(said.is_some(), held);
        assert_eq!(client.end().is_none(), held, "else it is reset");
    }
}
