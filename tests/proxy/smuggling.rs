//! Requests that two recipients might read differently. The judge is the origin: how many requests it sees, and which.

use std::net::Shutdown;

use crate::peers::*;
use crate::support::*;

/// What the origin may see of each: never the smuggled one.
const SMUGGLED: &str = "/smuggled";

#[test]
fn nothing_is_smuggled() {
    let origin = Origin::answering(|_| ok("ok"));
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    proxy.serve(&proxied(address, upstream("app", &[origin.address])));
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    let n = inner.len();
    let table: Vec<String> = vec![
        // Two lengths.
        format!("{post}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}", n + 5),
        format!(
            "{post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n",
            n
        ),
        format!("{post}Content-Length: 0\r\nContent-Length: {n}\r\n\r\n{inner}"),
        format!("{post}Content-Length: 0, {n}\r\n\r\n{inner}"),
        format!("{post}Content-Length: +{n}\r\n\r\n{inner}"),
        format!("{post}Content-Length: 0x{n:x}\r\n\r\n{inner}"),
        format!("{post}Content-Length: 0\0\r\n\r\n{inner}"),
        // Codings that only some understand.
        format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}\x20Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        // Chunks that end where only some see an end.
        format!("{post}Transfer-Encoding: chunked\r\n\r\n0\n\n{inner}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n0;\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n0 \r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n1\r\nx0\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n1;a=\"\n\"\r\nx\r\n0\r\n\r\n{inner}"),
        // Lines that only some read as one.
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: y\n\n{inner}"),
        format!("GET / HTTP/1.1\r\nHost: a\r\n\n{inner}"),
        format!("GET / HTTP/1.1 {inner}"),
        format!("GET /\n{inner}"),
    ];
    for request in &table {
        let before = origin.requests().len();
        let mut client = Client::connect(address);
        client.send(request);
        client.stream.shutdown(Shutdown::Write).unwrap();
        // One answer, or none; then the end.
        let status = client.response("GET").map(|r| r.status).unwrap_or(0);
        assert!(matches!(status, 0 | 400 | 501), "{status} for {request:?}");
        client.end();
        let seen = origin.requests();
        assert_eq!(seen.len(), before, "{request:?}: {:?}", seen.last());
    }
    // A request within a body stays there.
    let mut client = Client::connect(address);
    client.send(format!("{post}Content-Length: {n}\r\n\r\n{inner}"));
    assert_eq!(client.response("POST").unwrap().status, 200);
    client.send(format!("{post}Transfer-Encoding: chunked\r\n\r\n{n:x}\r\n{inner}\r\n0\r\nX: y\r\n\r\n"));
    assert_eq!(client.response("POST").unwrap().status, 200);
    let seen = origin.requests();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|r| r.starts_with("POST / ") && !r.starts_with(SMUGGLED)), "{seen:?}");
}

/// A body is refused in the middle of its bytes: what is left of them must not be read as the next request.
#[test]
fn what_is_left_of_a_refused_body_is_no_request() {
    let origin = Origin::answering(|_| ok("ok"));
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    proxy.serve(&proxied(address, upstream("app", &[origin.address])));
    let inner = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let n = inner.len();
    let full = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20));
    let table = [
        // Over the limit with the piece that completes it.
        (413, vec![format!("{chunked}{full}"), format!("{n:x}\r\n{inner}\r\n0\r\n\r\n")]),
        // Refused within a quoted string, from where the same bytes could be read to a different end.
        (400, vec![format!("{chunked}0;a=\"\r\n\r\n{inner}")]),
        (400, vec![chunked.into(), format!("0;a=\"\r\n\r\n{inner}")]),
    ];
    for (status, pieces) in table {
        let mut client = Client::connect(address);
        for piece in &pieces {
            client.send(piece);
            // The next piece comes by a read of its own.
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let shown = &pieces.last().unwrap();
        assert_eq!(client.response("POST").unwrap().status, status, "{shown:?}");
        assert!(client.response("GET").is_err(), "{shown:?} was answered twice");
        let seen = origin.requests();
        assert!(seen.iter().all(|r| !r.contains(SMUGGLED)), "{shown:?}: {seen:?}");
    }
}

#[test]
fn a_response_cannot_answer_two_requests() {
    // Each connection answers its first request twice: the second answer is nobody's.
    let origin = Origin::start(|mut connection| {
        use std::io::Write;
        while let Some(request) = connection.request() {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            // The beginning of the second comes along with the first; the rest would come with the next request.
            let twice = [ok(&path), b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()].concat();
            if connection.stream.write_all(&twice).is_err() {
                return;
            }
        }
    });
    let mut proxy = Proxy::start(1);
    let address = proxy.address("127.0.0.1");
    proxy.serve(&proxied(address, upstream("app", &[origin.address])));
    let mut client = Client::connect(address);
    for n in 0..10 {
        assert_eq!(client.get(&format!("/{n}")).text(), format!("/{n}"));
    }
    assert_eq!(origin.connections(), 10, "none of these connections is used again");
}
