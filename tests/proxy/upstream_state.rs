//! What is known about an upstream's servers: checks and names.

use std::time::Duration;

use vipgate::config::*;
use vipgate::gateway::{Moment, Template};

use crate::peers::*;
use crate::support::*;
use crate::upstream_side::front;

#[test]
fn checks_take_servers_out_and_bring_them_back() {
    let healthy = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let state = std::sync::Arc::clone(&healthy);
    let origin = Origin::answering(move |request| {
        match (request.starts_with("GET /health "), state.load(std::sync::atomic::Ordering::SeqCst)) {
            (true, false) => b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n".to_vec(),
            _ => ok("served"),
        }
    });
    let (mut proxy, address) = front(origin.address, |u| {
        u.check = Some(Check {
            kind: CheckKind::Http { method: "GET".into(), uri: "/health".into(), host: "app".into() },
            inter: Duration::from_millis(20),
            timeout: Duration::from_secs(5),
            rise: 2,
            fall: 3,
        });
    });
    let up = |r: &vipgate::link::ProxyReport| r.upstreams[0].servers[0].up;
    proxy.until("checked", |r| up(r) && r.upstreams[0].servers[0].reason.contains("status 200"));
    assert_eq!(get(address, "/").text(), "served");
    healthy.store(false, std::sync::atomic::Ordering::SeqCst);
    proxy.until("down", |r| !up(r) && r.upstreams[0].servers[0].reason.contains("status 500"));
    assert_eq!(get(address, "/").status, 502);
    healthy.store(true, std::sync::atomic::Ordering::SeqCst);
    proxy.until("up again", up);
    assert_eq!(get(address, "/").text(), "served");
    assert!(origin.requests().iter().any(|r| r.contains("Host: app\r\n")));
}

#[test]
fn a_tracked_upstream_without_a_server_is_told() {
    let healthy = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let state = std::sync::Arc::clone(&healthy);
    let origin = Origin::answering(move |_| match state.load(std::sync::atomic::Ordering::SeqCst) {
        true => ok("served"),
        false => b"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n".to_vec(),
    });
    let checked = |name: &str, inter| Upstream {
        check: Some(Check {
            kind: CheckKind::Http { method: "GET".into(), uri: "/".into(), host: "app".into() },
            inter: Duration::from_millis(inter),
            timeout: Duration::from_secs(5),
            rise: 1,
            fall: 1,
        }),
        ..upstream(name, &[origin.address])
    };
    let mut proxy = Proxy::start(1);
    let listen = proxy.address("127.0.0.1");
    let track = Track { what: Tracked::Upstream("app".into()), weight: 0 };
    let upstreams = vec![checked("app", 20), checked("other", 20)];
    let servers = vec![server(listen, vec![("/", to("app")), ("/other", to("other"))])];
    let vrrp = vec![VrrpInstance { track: vec![track], ..vrrp("10.0.0.99", 100) }];
    let mut config = Config { vrrp, ..config(servers, upstreams) };
    proxy.serve(&config);
    let told = |proxy: &mut Proxy| {
        proxy.wait_for("what is down", |message| match message {
            vipgate::link::FromProxy::Upstreams { down } => Some(down),
            _ => None,
        })
    };
    assert_eq!(told(&mut proxy), Vec::<String>::new());
    healthy.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(told(&mut proxy), ["app"], "the other one is down too, but nobody tracks it");
    healthy.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(told(&mut proxy), Vec::<String>::new());
    healthy.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(told(&mut proxy), ["app"]);
    config.vrrp[0].track.clear();
    // It may be told before the edit is served.
    let generation = proxy.prepare(&config).unwrap();
    proxy.send(&vipgate::link::ToProxy::Commit { generation }, None);
    assert_eq!(told(&mut proxy), Vec::<String>::new(), "nobody tracks it any more");
}

#[test]
fn names_of_the_hosts_file_are_resolved() {
    let origin = Origin::answering(|_| ok("by name"));
    let (mut proxy, address) = front(origin.address, |u| {
        u.servers.iter_mut().for_each(|s| s.host = Host::Name("localhost".into()));
    });
    proxy.until("resolved", |r| r.upstreams[0].servers[0].up);
    assert_eq!(get(address, "/").text(), "by name");
}

/// Before its name is resolved there is nothing to check, and nothing to hold against a server.
#[test]
fn a_name_that_is_not_resolved_yet_is_no_failed_check() {
    let origin = Origin::answering(|_| ok("by name"));
    let (mut proxy, address) = front(origin.address, |u| {
        u.servers.iter_mut().for_each(|s| s.host = Host::Name("localhost".into()));
        u.check = Some(Check {
            kind: CheckKind::Tcp,
            inter: 2 * PATIENCE,
            timeout: Duration::from_secs(5),
            rise: 2,
            fall: 3,
        });
    });
    let connected = "last check: connected";
    proxy.until("checked", |r| r.upstreams[0].servers[0].up && r.upstreams[0].servers[0].reason == connected);
    assert_eq!(get(address, "/").text(), "by name");
}

#[test]
fn times_of_tries_are_told_without_an_access_log() {
    let origin = Origin::answering(|_| ok("served"));
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    let mut config = proxied(address, upstream("app", &[origin.address]));
    assert!(matches!(config.access_log, AccessLog::Off));
    let times = Template::parse("$upstream_connect_time $upstream_header_time", Moment::Response).unwrap();
    config.servers[0].routes[0].add_headers = vec![("X-Times".into(), times)];
    proxy.serve(&config);
    let response = get(address, "/");
    let times = response.field("X-Times").unwrap();
    assert!(times.split(' ').all(|time| time.parse::<f64>().is_ok()), "{times}");
}
