//! How connections end: with a client that leaves, and with an answer that a client must be able to read.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use crate::peers::{Client, Origin, ok, read_exactly, read_head};
use crate::support::{PATIENCE, among_others, front};

/// Where the client is when it leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    WithinLength,
    WithinChunk,
    BetweenChunks,
    WhileWaiting,
    WithinAnswer,
}

/// Its request must not look whole to the server, nor its connection be used again.
#[test]
fn a_client_that_leaves_takes_the_upstream_connection_along() {
    let _turn = among_others();
    for reset in [false, true] {
        for leaves in [
            Leaves::WithinLength,
            Leaves::WithinChunk,
            Leaves::BetweenChunks,
            Leaves::WhileWaiting,
            Leaves::WithinAnswer,
        ] {
            check_leaving(leaves, reset);
        }
    }
}

fn check_leaving(leaves: Leaves, reset: bool) {
    let (told, heard) = mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let origin = Origin::start(move |mut connection| {
        let told = told.lock().unwrap().clone();
        if connection.number > 0 {
            while connection.request().is_some() {
                let _ = connection.stream.write_all(&ok("next"));
            }
            return;
        }
        let head = read_head(&mut connection.stream, &mut connection.rest).unwrap();
        let mut whole = head.contains("/waiting") || head.contains("/answer");
        if !whole {
            read_exactly(&mut connection.stream, &mut connection.rest, 3).unwrap();
        }
        told.send(None).unwrap();
        if head.contains("/answer") {
            let _ = connection.stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
            while connection.stream.write_all(&[b'x'; 65536]).is_ok() {}
        }
        // Whatever else comes: the end of the body must not be in it.
        let mut rest = std::mem::take(&mut connection.rest);
        let _ = connection.stream.read_to_end(&mut rest);
        whole = !whole && (rest.ends_with(b"hello") || rest.ends_with(b"0\r\n\r\n"));
        told.send(Some(whole)).unwrap();
    });
    let (vipgate, port) = front(&[origin.address], &[]);
    let mut client = Client::connect(port.address);
    let (path, fields, body) = match leaves {
        Leaves::WithinLength => ("/length", "Content-Length: 1000\r\n", "hel"),
        Leaves::WithinChunk => ("/chunk", "Transfer-Encoding: chunked\r\n", "5\r\nhel"),
        Leaves::BetweenChunks => ("/chunks", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
        Leaves::WhileWaiting => ("/waiting", "Content-Length: 0\r\n", ""),
        Leaves::WithinAnswer => ("/answer", "Content-Length: 0\r\n", ""),
    };
    client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}"));
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(None), "{leaves:?}");
    if matches!(leaves, Leaves::WithinAnswer) {
        read_exactly(&mut client.stream, &mut client.rest, 200_000).unwrap();
    }
    if reset {
        socket2::SockRef::from(&client.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
    drop(client);
    assert_eq!(heard.recv_timeout(PATIENCE), Ok(Some(false)), "{leaves:?}, reset {reset}");
    vipgate.until_connections("it is forgotten", |n| n == 0);
    assert_eq!(Client::connect(port.address).get("/").text(), "next");
    assert_eq!(origin.connections(), 2, "{leaves:?}, reset {reset}");
}

/// The answer to a body that is too long reaches a client that goes on sending, and ends in good order: a reset would
/// throw it away unread.
#[test]
fn a_refusal_is_readable_though_the_client_is_still_sending() {
    let _turn = among_others();
    let origin = Origin::answering(|_| ok("read"));
    let (_vipgate, port) = front(&[origin.address], &[]);
    const LENGTH: usize = 4 << 20;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    let table: Vec<(u16, String, Vec<u8>)> = vec![
        (413, format!("{post}Content-Length: {LENGTH}\r\n\r\n"), vec![b'x'; LENGTH]),
        (
            413,
            format!("{post}Transfer-Encoding: chunked\r\n\r\n"),
            chunk.repeat(LENGTH / 0x10000).into_bytes(),
        ),
        (400, format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n"), vec![b'x'; LENGTH]),
        (400, "GET /\r\n".into(), vec![b'x'; LENGTH]),
        (414, format!("GET /{}", "x".repeat(20_000)), vec![b'x'; LENGTH]),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "A: b\r\n".repeat(20_000)), vec![b'x'; LENGTH]),
        (501, format!("{post}Transfer-Encoding: gzip\r\n\r\n"), vec![b'x'; LENGTH]),
    ];
    for (status, head, body) in table {
        let mut client = Client::connect(port.address);
        client.send(&head);
        let mut sender = client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            for piece in body.chunks(64 << 10) {
                // Refused before all was sent.
                if sender.write_all(piece).is_err() {
                    break;
                }
            }
            let _ = sender.shutdown(Shutdown::Write);
        });
        let response = client.response("POST").unwrap();
        assert_eq!((response.status, response.field("Connection")), (status, Some("close")), "{head:.60?}");
        sending.join().unwrap();
        assert_eq!(client.end(), None, "{head:.60?}");
    }
    assert!(origin.requests().is_empty());
}

/// What the server closes while nobody uses it is closed here as well.
#[test]
fn connections_that_the_server_closed_are_let_go() {
    let _turn = among_others();
    const COUNT: usize = 20;
    let (told, heard) = mpsc::channel::<()>();
    let heard = std::sync::Mutex::new(heard);
    let asked = AtomicUsize::new(0);
    let origin = Origin::start(move |mut connection| {
        if connection.request().is_some() {
            // A connection that were free before all have asked would be used again, and is read from once only.
            asked.fetch_add(1, Ordering::SeqCst);
            let end = Instant::now() + PATIENCE;
            while asked.load(Ordering::SeqCst) < COUNT && Instant::now() < end {
                std::thread::yield_now();
            }
            let _ = connection.stream.write_all(&ok("ok"));
            let _ = heard.lock().unwrap().recv_timeout(PATIENCE);
        }
    });
    let (vipgate, port) = front(&[origin.address], &["keepalive: 32"]);
    let before = vipgate.descriptors();
    let mut clients: Vec<_> = (0..COUNT).map(|_| Client::connect(port.address)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response("GET").unwrap().text(), "ok");
    }
    drop(clients);
    vipgate.until_connections("clients are forgotten", |n| n == 0);
    (0..origin.connections()).for_each(|_| told.send(()).unwrap());
    vipgate.until("its ends are closed", |_| (vipgate.descriptors() <= before).then_some(()));
}
