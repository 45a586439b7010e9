//! Names of upstream servers: sets of addresses that come and go, and name servers that fail and lie.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use vipgate::config::*;
use vipgate::link::ProxyReport;

use crate::dns::*;
use crate::peers::*;
use crate::support::*;

const HOUR: Duration = Duration::from_secs(3600);

fn ip(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 9, last).into()
}

/// Listeners on one port of these addresses.
fn listeners(lasts: &[u8]) -> (u16, Vec<TcpListener>) {
    loop {
        // Taken for as long as it takes to take it at the others.
        let first = TcpListener::bind((ip(1), 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let all: Result<Vec<_>, _> = lasts.iter().map(|last| TcpListener::bind((ip(*last), port))).collect();
        if let Ok(all) = all {
            return (port, all);
        }
    }
}

/// Origins that answer with the last byte of their address.
fn origins(lasts: &[u8]) -> (u16, Vec<Origin>) {
    let (port, listeners) = listeners(lasts);
    let origin = |(listener, last): (TcpListener, u8)| {
        Origin::on(listener, move |mut connection| {
            while connection.request().is_some() {
                use std::io::Write;
                if connection.stream.write_all(&ok(&last.to_string())).is_err() {
                    return;
                }
            }
        })
    };
    (port, listeners.into_iter().zip(lasts.iter().copied()).map(origin).collect())
}

/// A proxy for `app:port`, with these name servers.
fn named(
    servers: &[SocketAddr],
    port: u16,
    valid: Option<Duration>,
    adjust: impl FnOnce(&mut Config),
) -> (Proxy, SocketAddr) {
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    let mut config = proxied(address, upstream("app", &[(ip(1), port).into()]));
    config.upstreams[0].servers[0].host = Host::Name("app".into());
    config.resolver = Resolver { servers: servers.to_vec(), valid, timeout: Duration::from_secs(5) };
    adjust(&mut config);
    proxy.serve(&config);
    (proxy, address)
}

/// Each address of the report as its last byte, "+" if it is up and "-" if not.
fn shown(report: &ProxyReport) -> String {
    let one = |s: &vipgate::link::UpstreamServerReport| {
        let last =
            s.address.strip_suffix(')').and_then(|a| a.rsplit('.').next()).unwrap_or("none").to_owned();
        last + if s.up { "+" } else { "-" }
    };
    report.upstreams[0].servers.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn has(expect: &'static str) -> impl Fn(&ProxyReport) -> bool {
    move |report| shown(report) == expect
}

fn reason(expect: &'static str) -> impl Fn(&ProxyReport) -> bool {
    move |report| report.upstreams[0].servers.iter().all(|s| s.reason.contains(expect))
}

/// Requests until `condition` holds of an answer.
fn requests_until(address: SocketAddr, what: &str, condition: impl Fn(&Response) -> bool) {
    let end = Instant::now() + PATIENCE;
    loop {
        let response = get(address, "/");
        if condition(&response) {
            return;
        }
        assert!(Instant::now() < end, "{what}: {response:?}");
    }
}

#[test]
fn requests_follow_the_addresses_of_a_name() {
    let (port, _origins) = origins(&[2, 3]);
    let dns = Dns::zone(&[ip(2)], 1);
    let (mut proxy, address) = named(&[dns.address], port, None, |_| ());
    proxy.until("resolved", has("2+"));
    assert_eq!(get(address, "/").text(), "2");
    assert!(dns.asked().iter().all(|a| a.name == "app" && !a.tcp));
    dns.say(&[ip(3), ip(2)], 1);
    proxy.until("an address more", has("2+ 3+"));
    requests_until(address, "both serve", |r| r.text() == "3");
    requests_until(address, "both serve", |r| r.text() == "2");
    dns.say(&[ip(3)], 1);
    proxy.until("an address less", has("3+"));
    for _ in 0..4 {
        assert_eq!(get(address, "/").text(), "3");
    }
}

#[test]
fn connections_to_an_address_that_is_gone_end() {
    let (port, listeners) = listeners(&[2]);
    let closed = Arc::new(AtomicBool::new(false));
    let origins: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let closed = Arc::clone(&closed);
            Origin::on(listener, move |mut connection| {
                use std::io::Write;
                while connection.request().is_some() {
                    connection.stream.write_all(&ok("2")).unwrap();
                }
                closed.store(true, Ordering::SeqCst);
            })
        })
        .collect();
    let dns = Dns::zone(&[ip(2)], 1);
    let (mut proxy, address) = named(&[dns.address], port, None, |_| ());
    proxy.until("resolved", has("2+"));
    assert_eq!(get(address, "/").text(), "2");
    assert_eq!((origins[0].connections(), closed.load(Ordering::SeqCst)), (1, false), "kept");
    dns.say(&[ip(9)], 1);
    proxy.until("moved", |r| shown(r) == "9+" && closed.load(Ordering::SeqCst));
}

#[test]
fn a_failed_connection_asks_at_once() {
    let (port, _origins) = origins(&[2]);
    let dns = Dns::zone(&[ip(9)], 1);
    let (mut proxy, address) = named(&[dns.address], port, Some(HOUR), |_| ());
    proxy.until("resolved", has("9+"));
    dns.say(&[ip(2)], 600);
    assert_eq!(dns.asked().len(), 1);
    requests_until(address, "found again", |r| r.status == 200);
    proxy.until("moved", has("2+"));
    let asked = dns.asked().len();
    for _ in 0..4 {
        assert_eq!(get(address, "/").text(), "2");
    }
    assert_eq!(dns.asked().len(), asked, "`valid` is an hour");
}

#[test]
fn the_last_addresses_stay_while_there_is_no_better_answer() {
    const SERVFAIL: u8 = 2;
    const NXDOMAIN: u8 = 3;
    let (port, _origins) = origins(&[2, 3]);
    let dns = Dns::zone(&[ip(2)], 1);
    let (mut proxy, address) = named(&[dns.address], port, None, |_| ());
    proxy.until("resolved", has("2+"));
    for (code, why) in [(SERVFAIL, "SERVFAIL"), (NXDOMAIN, "no such name"), (0, "no address")] {
        dns.play(move |asked| vec![asked.refuse(code)]);
        proxy.until(why, |r| has("2+")(r) && reason(why)(r));
        assert_eq!(get(address, "/").text(), "2", "{why}");
    }
    assert!(proxy.counted("name_lookups_failed") >= 2);
    dns.say(&[ip(3)], 1);
    proxy.until("another answer", |r| has("3+")(r) && !reason("resolved")(r));
    assert_eq!(get(address, "/").text(), "3");
}

#[test]
fn a_name_may_be_found_long_after_the_start() {
    let (port, _origins) = origins(&[2]);
    let dns = Dns::start(|_| vec![]);
    let (mut proxy, address) = named(&[dns.address], port, None, |config| {
        config.resolver.timeout = Duration::from_millis(50);
    });
    proxy.until("said so", |r| has("none-")(r) && reason("no name server answers in time")(r));
    assert_eq!(get(address, "/").status, 502);
    dns.play(|asked| vec![asked.refuse(3)]);
    proxy.until("said so", |r| {
        has("none-")(r) && reason("\"app\" cannot be resolved: there is no such name")(r)
    });
    dns.say(&[ip(2)], 1);
    proxy.until("found", has("2+"));
    assert_eq!(get(address, "/").text(), "2");
}

#[test]
fn answers_to_other_questions_are_ignored() {
    let (port, _origins) = origins(&[2]);
    let bad = |asked: &Asked| {
        let good = asked.answer(&[ip(66)], 600);
        let changed = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        };
        let mut cut = good.clone();
        cut.truncate(good.len() - 1);
        let many: Vec<_> = (0..200).map(ip).collect();
        let mut endless = asked.answer(&many, 600);
        endless[6..8].copy_from_slice(&u16::MAX.to_be_bytes());
        vec![changed(1), changed(13), changed(18), cut, endless, b"nonsense".to_vec(), vec![]]
    };
    let dns = Dns::start(move |asked| {
        let mut answers = if asked.kind == A { bad(asked) } else { vec![] };
        answers.push(asked.answer(&[ip(2)], 600));
        answers
    });
    let (mut proxy, address) = named(&[dns.address], port, Some(HOUR), |_| ());
    proxy.until("resolved", has("2+"));
    assert_eq!(proxy.counted("name_answers_ignored"), 7);
    assert_eq!(get(address, "/").text(), "2");
}

#[test]
fn what_does_not_fit_a_datagram_is_asked_for_over_tcp() {
    let all: Vec<_> = (101..=140).map(ip).collect();
    let dns = Dns::start(move |asked| match asked.tcp {
        false if asked.kind == A => vec![asked.truncated()],
        _ => vec![asked.answer(&all, 600)],
    });
    let (mut proxy, _) = named(&[dns.address], 9, Some(HOUR), |_| ());
    proxy.until("resolved", |r| r.upstreams[0].servers.len() == 40);
    assert_eq!(dns.asked().iter().map(|a| a.tcp).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn aliases_are_followed() {
    let (port, _origins) = origins(&[2]);
    let dns = Dns::start(|asked| vec![asked.answer_by_alias("web.example.org", &[ip(2)], 600)]);
    let (mut proxy, address) = named(&[dns.address], port, Some(HOUR), |_| ());
    proxy.until("resolved", has("2+"));
    assert_eq!(get(address, "/").text(), "2");
}

/// Where there is a default route for IPv6, it leads to the discard prefix (RFC 6666) as well.
#[test]
fn addresses_that_this_node_has_no_route_to_are_left_out() {
    let dns = Dns::zone(&[ip(2), "100::1".parse().unwrap()], 1);
    let (mut proxy, _) = named(&[dns.address], 9, None, |_| ());
    proxy.until("resolved", |r| r.upstreams[0].servers.iter().any(|s| s.up));
    let routed = std::net::UdpSocket::bind("[::]:0").is_ok_and(|s| s.connect("[100::1]:9").is_ok());
    assert_eq!(proxy.report().upstreams[0].servers.len(), 1 + usize::from(routed));
}

#[test]
fn another_name_server_answers_for_one_that_is_dead() {
    let (port, _origins) = origins(&[2]);
    let dns = Dns::zone(&[ip(2)], 1);
    let silent = Dns::start(|_| vec![]);
    let refusing = Dns::start(|asked| vec![asked.refuse(5)]);
    for first in [silent.address, refusing.address, SocketAddr::from(([127, 0, 0, 1], 1))] {
        let (mut proxy, address) = named(&[first, dns.address], port, None, |config| {
            config.resolver.timeout = Duration::from_secs(1);
        });
        proxy.until("resolved", has("2+"));
        assert_eq!(get(address, "/").text(), "2");
    }
}

#[test]
fn each_address_of_a_name_is_checked_for_itself() {
    let (port, _origins) = origins(&[2]);
    let dns = Dns::zone(&[ip(2), ip(9)], 1);
    let (mut proxy, address) = named(&[dns.address], port, None, |config| {
        let upstream = &mut config.upstreams[0];
        upstream.retries = 0;
        upstream.check = Some(Check {
            kind: CheckKind::Tcp,
            inter: Duration::from_millis(20),
            timeout: Duration::from_secs(5),
            rise: 2,
            fall: 3,
        });
    });
    proxy.until("one is down", |r| has("2+ 9-")(r) && r.upstreams[0].servers[1].reason.contains("refused"));
    for _ in 0..4 {
        assert_eq!(get(address, "/").text(), "2");
    }
    let listener = TcpListener::bind((ip(9), port)).unwrap();
    proxy.until("both are up", has("2+ 9+"));
    drop(listener);
    dns.say(&[ip(9), ip(3)], 1);
    proxy.until("the checks follow", has("3- 9-"));
}
