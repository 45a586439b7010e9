//! Bodies that are long and of known length, which pass without being looked at.

use std::io::Write;

use crate::peers::{Accepted, Client, Origin, ok};
use crate::support::{among_others, front};

/// Bytes of which each place is told from its neighbours'.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 251 + at % 251) as u8).collect()
}

fn long(length: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    [head.into_bytes(), pattern(length)].concat()
}

fn length_of(path: &str) -> usize {
    path.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

/// More than any buffer or pipe holds, and sizes about those at which the way changes. The client asks for all of them
/// before it reads, so that each has to wait for it; two of them share a connection to the server.
#[test]
fn each_byte_of_a_long_body_arrives_in_its_place() {
    let _turn = among_others();
    let origin = Origin::answering(|request| {
        let path = request.split(' ').nth(1).unwrap();
        long(length_of(path))
    });
    let (_vipgate, port) = front(&[origin.address], &[]);
    let mut client = Client::connect(port.address);
    let sizes = [0, 1, 16 << 10, 128 << 10, 140 << 10, 147_456, 147_457, 256 << 10, 1 << 20, 9_999_999, 5];
    for size in sizes {
        client.send(format!("GET /{size} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    for size in sizes {
        let response = client.response("GET").unwrap();
        assert_eq!(response.body.len(), size);
        assert!(response.body == pattern(size), "{size} bytes came in another order");
    }
    assert_eq!(origin.connections(), 1);
}

/// The client sees that something is missing, and the next request gets its own answer.
#[test]
fn a_long_body_that_breaks_off_is_not_made_up_for() {
    let _turn = among_others();
    for (sent, extra) in [(600_000, ""), (1 << 20, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse")] {
        let origin = Origin::start(move |mut connection: Accepted| {
            if connection.number > 0 {
                while connection.request().is_some() {
                    let _ = connection.stream.write_all(&ok("next"));
                }
                return;
            }
            connection.request();
            let whole = long(1 << 20);
            let head = whole.len() - (1 << 20);
            let _ = connection.stream.write_all(&whole[..head + sent]);
            let _ = connection.stream.write_all(extra.as_bytes());
            if !extra.is_empty() {
                connection.request();
            }
        });
        let (_vipgate, port) = front(&[origin.address], &["keepalive: 8"]);
        let mut client = Client::connect(port.address);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let response = client.response("GET");
        match extra {
            "" => {
                assert!(response.is_err(), "an answer that was cut looks whole");
                client = Client::connect(port.address);
            }
            _ => assert!(response.unwrap().body == pattern(1 << 20)),
        }
        assert_eq!(client.get("/").text(), "next");
        assert_eq!(origin.connections(), 2);
    }
}
