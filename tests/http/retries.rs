//! How often a request reaches an upstream server, judged by the servers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::peers::{Accepted, Client, Origin, ok, read_head};
use crate::support::{PATIENCE, Port, Vipgate, among_others, deaf, document, expect_none};

/// How far a server lets a request come before it breaks off.
#[derive(Clone, Copy, Debug)]
enum Breaks {
    /// Resets without having read.
    AtOnce,
    AfterHead,
    AfterRequest,
    WithinHead,
    WithinBody,
    /// A whole answer that is an error.
    With(u16),
}

const BREAKS: [Breaks; 5] =
    [Breaks::AtOnce, Breaks::AfterHead, Breaks::AfterRequest, Breaks::WithinHead, Breaks::WithinBody];

fn breaking(how: Breaks) -> Origin {
    Origin::start(move |mut connection| {
        match how {
            Breaks::AtOnce => return connection.reset(),
            Breaks::AfterHead => {
                let _ = read_head(&mut connection.stream, &mut connection.rest);
                return connection.reset();
            }
            Breaks::AfterRequest | Breaks::WithinHead | Breaks::WithinBody | Breaks::With(_) => (),
        }
        while connection.request().is_some() {
            match how {
                Breaks::AtOnce | Breaks::AfterHead | Breaks::AfterRequest => return,
                Breaks::WithinHead => return write(&mut connection, "HTTP/1.1 200 OK\r\nConte"),
                Breaks::WithinBody => {
                    return write(&mut connection, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
                }
                Breaks::With(status) => {
                    write(&mut connection, &format!("HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno"));
                }
            }
        }
    })
}

fn write(connection: &mut Accepted, text: &str) {
    // The proxy may have left.
    let _ = connection.stream.write_all(text.as_bytes());
}

fn honest() -> Origin {
    Origin::answering(|_| ok("honest"))
}

/// The servers are never passed over, so that every request meets them in turn.
fn front(servers: &[SocketAddr], lines: &[&str]) -> (Vipgate, Port) {
    let port = Port::new();
    let plain = document(port.address, servers, lines);
    let list: Vec<_> = servers.iter().map(|s| format!("{{address: \"{s}\", max_fails: 0}}")).collect();
    let quoted: Vec<_> = servers.iter().map(|s| format!("\"{s}\"")).collect();
    (Vipgate::start(&plain.replace(&quoted.join(", "), &list.join(", "))), port)
}

fn ask(port: &Port, method: &str, path: &str, body: &str) -> std::io::Result<u16> {
    let mut client = Client::connect(port.address);
    client
        .send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    client.response(method).map(|response| response.status)
}

/// How often requests with this path came, whole or not, to any of these.
fn times(path: &str, origins: &[&Origin]) -> usize {
    origins.iter().flat_map(|o| o.requests()).filter(|r| r.contains(&format!(" {path} "))).count()
}

#[test]
fn what_may_have_been_processed_is_not_sent_again() {
    let _turn = among_others();
    for how in [Breaks::AfterRequest, Breaks::WithinHead, Breaks::WithinBody, Breaks::With(503)] {
        let (bad, good) = (breaking(how), honest());
        let (_vipgate, port) = front(&[bad.address, good.address], &["retries: 3", "redispatch: true"]);
        for (n, method) in ["POST", "PATCH", "LOCK", "FROB"].into_iter().cycle().take(16).enumerate() {
            let path = format!("/{n}");
            let status = ask(&port, method, &path, "hello");
            let seen = times(&path, &[&bad, &good]);
            assert_eq!(seen, 1, "{how:?}: {method} {path}, answered with {status:?}");
            let is_right = match status {
                Ok(200 | 502 | 503) => true,
                Ok(_) => false,
                Err(_) => matches!(how, Breaks::WithinBody),
            };
            assert!(is_right, "{how:?}: {method} {path} {status:?}");
        }
    }
}

#[test]
fn what_was_not_sent_is_sent_elsewhere() {
    let _turn = among_others();
    let good = honest();
    let (_vipgate, port) = front(&[deaf(), good.address], &["timeouts: {connect: 1s}"]);
    let mut complaints = vec![];
    for n in 0..6 {
        let path = format!("/{n}");
        let status = ask(&port, "POST", &path, "hello");
        if !matches!(status, Ok(200)) || times(&path, &[&good]) != 1 {
            complaints.push(format!("POST {path}: {status:?}, seen {}", times(&path, &[&good])));
        }
    }
    expect_none(&complaints);
}

#[test]
fn a_get_is_tried_at_the_next_server() {
    let _turn = among_others();
    let mut complaints = vec![];
    for how in BREAKS {
        let (bad, good) = (breaking(how), honest());
        let (_vipgate, port) = front(&[bad.address, good.address], &["timeouts: {connect: 1s}"]);
        for n in 0..6 {
            let path = format!("/{n}");
            let status = ask(&port, "GET", &path, "");
            let seen = (times(&path, &[&bad]), times(&path, &[&good]));
            let is_right = match how {
                // The answer has begun.
                Breaks::WithinBody => {
                    matches!((&status, seen), (Err(_) | Ok(502), (1, 0)) | (Ok(200), (0, 1)))
                }
                _ => matches!((&status, seen), (Ok(200), (0 | 1, 1))),
            };
            if !is_right {
                complaints.push(format!("{how:?}: GET {path}: {status:?}, seen {seen:?}"));
            }
        }
    }
    expect_none(&complaints);
}

#[test]
fn only_listed_failures_lead_to_the_next_server() {
    let _turn = among_others();
    let mut complaints = vec![];
    // What is listed, the method, and how often both servers together see a request that meets the bad one first.
    for (listed, how, method, expect) in [
        ("[error, http_503]", Breaks::With(503), "GET", 2),
        ("[error, http_503]", Breaks::With(503), "POST", 1),
        ("[error, http_503, non_idempotent]", Breaks::With(503), "POST", 2),
        ("[error, http_503]", Breaks::With(500), "GET", 1),
        ("[error]", Breaks::With(503), "GET", 1),
        ("[off]", Breaks::AfterRequest, "GET", 1),
        ("[error, non_idempotent]", Breaks::AfterRequest, "POST", 2),
        ("[error]", Breaks::WithinHead, "GET", 2),
    ] {
        let (bad, good) = (breaking(how), honest());
        let (_vipgate, port) =
            front(&[bad.address, good.address], &[&format!("next_upstream: {listed}"), "keepalive: 0"]);
        let mut met = 0;
        for n in 0..4 {
            let path = format!("/{n}");
            let status = ask(&port, method, &path, "");
            if times(&path, &[&bad]) == 0 {
                continue;
            }
            met += 1;
            let seen = times(&path, &[&bad, &good]);
            if seen != expect || (expect == 2 && !matches!(status, Ok(200))) {
                complaints.push(format!("{listed} {how:?}: {method} {path} {status:?}, seen {seen} times"));
            }
        }
        if met == 0 {
            complaints.push(format!("{listed} {how:?}: the bad one was never asked"));
        }
    }
    expect_none(&complaints);
}

/// A server may close an idle connection at any time: that is no failure of the request which finds out.
#[test]
fn a_stale_connection_costs_no_request() {
    let _turn = among_others();
    let origin = Origin::start(|mut connection| {
        if connection.request().is_some() {
            write(&mut connection, std::str::from_utf8(&ok("fresh")).unwrap());
            // The next one on this connection is read, and not answered.
            connection.request();
            connection.reset();
        }
    });
    let (_vipgate, port) = front(&[origin.address], &["retries: 0", "next_upstream: [off]"]);
    let mut client = Client::connect(port.address);
    for n in 0..10 {
        let path = format!("/{n}");
        assert_eq!(client.get(&path).text(), "fresh", "{path}");
        assert!(times(&path, &[&origin]) <= 2, "{path}");
    }
    let before = times("/post", &[&origin]);
    let status = ask(&port, "POST", "/post", "hello");
    assert!(matches!(status, Ok(200 | 502)), "{status:?}");
    assert_eq!(times("/post", &[&origin]) - before, 1);
}

/// One request finds out that a server fails; then none asks it, but one in each `fail_timeout`.
#[test]
fn a_failing_server_is_passed_over() {
    let _turn = among_others();
    let (bad, good) = (breaking(Breaks::AfterRequest), honest());
    let port = Port::new();
    let servers = [bad.address, good.address];
    let plain = document(port.address, &servers, &[]);
    let first = format!("\"{}\"", bad.address);
    let patient = format!("{{address: \"{}\", max_fails: 2, fail_timeout: 2s}}", bad.address);
    let _vipgate = Vipgate::start(&plain.replace(&first, &patient));
    let mut complaints = vec![];
    let ask_some = |complaints: &mut Vec<String>, for_: Duration| {
        let (end, before) = (Instant::now() + for_, bad.requests().len());
        while Instant::now() < end {
            let status = ask(&port, "GET", "/", "");
            if !matches!(status, Ok(200)) {
                complaints.push(format!("{status:?}"));
                return usize::MAX;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bad.requests().len() - before
    };
    let found_out = ask_some(&mut complaints, Duration::from_millis(500));
    if found_out != 2 {
        complaints.push(format!("{found_out} requests met it before it was passed over, instead of 2"));
    }
    // Two windows at least, three at most, on a machine that is in time; each has one probe.
    let start = Instant::now();
    let probes = ask_some(&mut complaints, Duration::from_millis(4500));
    let windows = usize::try_from(start.elapsed().as_secs()).unwrap() / 2 + 1;
    if probes == 0 || probes > windows + 1 {
        complaints.push(format!("{probes} probes in {windows} windows"));
    }
    expect_none(&complaints);
}

/// The only server is never passed over.
#[test]
fn the_only_server_is_always_asked() {
    let _turn = among_others();
    let origin = breaking(Breaks::AfterRequest);
    let (_vipgate, port) = crate::support::front(&[origin.address], &["keepalive: 0"]);
    for n in 0..5 {
        assert!(matches!(ask(&port, "POST", &format!("/{n}"), "x"), Ok(502)), "{n}");
        assert_eq!(times(&format!("/{n}"), &[&origin]), 1);
    }
}

/// What waits for the client's body has reached nobody as a whole.
#[test]
fn a_body_that_never_comes_is_no_request() {
    let _turn = among_others();
    let origin = honest();
    let (vipgate, port) = crate::support::front(&[origin.address], &[]);
    for cut in ["", "h", "hell"] {
        let mut client = TcpStream::connect(port.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
            .write_all(format!("POST /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{cut}").as_bytes())
            .unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let _ = client.read(&mut [0; 1024]);
    }
    vipgate.until_connections("they are forgotten", |n| n == 0);
    assert_eq!(times("/cut", &[&origin]), 0);
}
