//! The admin endpoint: what is there, for whom, and that nobody can hold the role up with it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use vipgate::config::Admin;
use vipgate::link::control::{ConfigStatus, RoleState, RoleStatus, Status};
use vipgate::link::{Boottime, FromProxy, Generation, ToProxy};
use vipgate::os::listener;

use crate::peers::*;
use crate::support::*;

/// As PID 1 says it of a healthy node without virtual routers.
fn status() -> Status {
    Status {
        version: "0.1.0".into(),
        node: "node-1".into(),
        now: Boottime(2_000_000_000),
        started: Boottime(1_000_000_000),
        stopping: false,
        config: ConfigStatus {
            path: "vipgate.yaml".into(),
            digest: String::new(),
            generation: Generation(1),
            since: Boottime(0),
            listen: vec![],
            admin: None,
            waiting: None,
            refused: None,
        },
        proxy: RoleStatus {
            state: RoleState::Serving,
            since: Boottime(0),
            pid: None,
            incarnation: 1,
            last_end: None,
            report: None,
        },
        vrrp: None,
        runner: None,
        history: vec![],
        warnings: vec![],
    }
}

/// A proxy of two workers with an endpoint.
fn serving(sockets: usize) -> (Proxy, SocketAddr, Vec<SocketAddr>) {
    let mut proxy = Proxy::start(2);
    let address = proxy.address("127.0.0.1");
    let endpoints: Vec<SocketAddr> = (0..sockets).map(|_| open(&mut proxy)).collect();
    proxy.serve(&with_admin(address, endpoints.last().copied()));
    (proxy, address, endpoints)
}

fn with_admin(address: SocketAddr, admin: Option<SocketAddr>) -> vipgate::config::Config {
    let admin = admin.map(|listen| Admin { listen });
    vipgate::config::Config { admin, ..config(vec![server(address, vec![("/", respond("ok"))])], vec![]) }
}

/// The socket of an endpoint goes to the proxy; only the last one counts.
fn open(proxy: &mut Proxy) -> SocketAddr {
    let socket = listener::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = std::net::TcpListener::from(socket.try_clone().unwrap()).local_addr().unwrap();
    proxy.send(&ToProxy::AdminListener { address }, Some(&socket));
    address
}

/// Sends a request, lets PID 1 say this if it is asked, and reads all of the answer.
fn ask(proxy: &mut Proxy, endpoint: SocketAddr, request: &str, node: Option<Status>) -> String {
    let mut client = TcpStream::connect(endpoint).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
    if let Some(node) = node {
        let query = query(proxy);
        proxy.send(&ToProxy::Status { query, status: Box::new(node) }, None);
    }
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

fn query(proxy: &mut Proxy) -> u64 {
    proxy.wait_for("a query", |message| match message {
        FromProxy::StatusQuery { query } => Some(query),
        _ => None,
    })
}

#[test]
fn pages_and_refusals() {
    let (mut proxy, _, endpoints) = serving(1);
    let table: [(&str, Option<Status>, &[&str]); 10] = [
        ("GET /healthz", Some(status()), &["HTTP/1.1 200 ", "\r\n\r\nhealthy\n"]),
        (
            "GET /healthz",
            Some(Status { stopping: true, ..status() }),
            &["HTTP/1.1 503 ", "\r\n\r\nvipgate is stopping\n"],
        ),
        ("HEAD /healthz", Some(status()), &["HTTP/1.1 200 ", "content-length: 8"]),
        (
            "GET /status?pretty",
            Some(status()),
            &["HTTP/1.1 200 ", "application/json", "\"node\": \"node-1\""],
        ),
        ("GET /metrics", Some(status()), &["HTTP/1.1 200 ", "version=0.0.4", "\nvipgate_healthy 1\n"]),
        ("GET /", None, &["HTTP/1.1 404 ", "/healthz", "/status", "/metrics"]),
        ("POST /status", None, &["HTTP/1.1 405 ", "allow: GET, HEAD"]),
        ("DELETE /nothing", None, &["HTTP/1.1 404 "]),
        // PID 1 does not answer.
        ("GET /healthz", None, &["HTTP/1.1 503 ", "did not answer within 1s"]),
        ("GET /metrics", None, &["HTTP/1.1 200 ", "\nvipgate_node_answers 0\n"]),
    ];
    for (request, node, expect) in table {
        let text = ask(&mut proxy, endpoints[0], request, node);
        for expect in expect {
            assert!(text.contains(expect), "{request}: {expect}\n{text}");
        }
        assert!(text.contains("connection: close"), "{text}");
        assert!(!request.starts_with("HEAD") || text.ends_with("\r\n\r\n"), "{text}");
    }
    let _ = query(&mut proxy);
}

#[test]
fn what_two_workers_count_adds_up() {
    let (mut proxy, address, endpoints) = serving(1);
    const REQUESTS: usize = 40;
    for _ in 0..REQUESTS {
        // Each on a new connection, so that both workers get some.
        assert_eq!(get(address, "/").status, 200);
    }
    let text = ask(&mut proxy, endpoints[0], "GET /metrics", Some(status()));
    assert!(text.contains(&format!("\nvipgate_requests_total {REQUESTS}\n")), "{text}");
    assert!(text.contains("\nvipgate_workers 2\n"), "{text}");
    let body = text.split_once("\r\n\r\n").unwrap().1;
    let mut kinds = std::collections::HashMap::new();
    for line in body.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(kinds.insert(name, kind).is_none(), "{name} twice");
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s)).unwrap_or(name);
        assert!(kinds.contains_key(name) || kinds.get(family) == Some(&"histogram"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(!series.contains('{') || series.ends_with("\"}"), "{line}");
    }
}

/// Clients that send nothing, half a head, or read nothing take places, and nothing else.
#[test]
fn slow_clients_hold_nobody_up() {
    let (mut proxy, address, endpoints) = serving(1);
    let slow: Vec<TcpStream> = (0..40)
        .map(|n| {
            let mut client = TcpStream::connect(endpoints[0]).unwrap();
            client.write_all(["", "GET /hea", "G"][n % 3].as_bytes()).unwrap();
            client
        })
        .collect();
    let beats = |proxy: &mut Proxy| {
        proxy.wait_for("a beat", |message| match message {
            FromProxy::Beat { turns } => Some(turns[0]),
            _ => None,
        })
    };
    let first = beats(&mut proxy);
    for _ in 0..10 {
        assert_eq!(get(address, "/").status, 200);
    }
    while beats(&mut proxy) < first + 5 {}
    // Those that do not finish their head within five seconds make room.
    let text = ask(&mut proxy, endpoints[0], "GET /nothing", None);
    assert!(text.starts_with("HTTP/1.1 404 "), "{text}");
    drop(slow);
}

#[test]
fn an_endpoint_moves_and_goes() {
    let (mut proxy, address, endpoints) = serving(2);
    let refused = |address: SocketAddr| TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err();
    assert!(refused(endpoints[0]), "its socket was closed unused");
    assert!(ask(&mut proxy, endpoints[1], "GET /", None).starts_with("HTTP/1.1 404 "));
    let third = open(&mut proxy);
    proxy.serve(&with_admin(address, Some(third)));
    assert!(refused(endpoints[1]));
    assert!(ask(&mut proxy, third, "GET /", None).starts_with("HTTP/1.1 404 "));
    // An edit elsewhere leaves it as it is.
    proxy.serve(&with_admin(address, Some(third)));
    assert!(ask(&mut proxy, third, "GET /", None).starts_with("HTTP/1.1 404 "));
    proxy.serve(&with_admin(address, None));
    assert!(refused(third));
    assert!(proxy.prepare(&with_admin(address, Some(third))).unwrap_err().contains("admin endpoint"));
}
