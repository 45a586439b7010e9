//! Ten new configurations under load: no request fails, and what a change does not concern lives through all of them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::peers::{Client, Origin, ok};
use crate::support::{PATIENCE, Port, Vipgate, alone};

const RELOADS: usize = 10;

/// A download in as many pieces as the test gives leave for.
fn origin() -> (Origin, mpsc::SyncSender<()>) {
    let (go, gone) = mpsc::sync_channel(1000);
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::start(move |mut connection| {
        while let Some(request) = connection.request() {
            let path = request.split(' ').nth(1).unwrap();
            let written = match path {
                "/socket" => {
                    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                    connection.stream.write_all(head.as_bytes()).unwrap();
                    let mut byte = [0];
                    while connection.stream.read_exact(&mut byte).is_ok() {
                        connection.stream.write_all(&byte).unwrap();
                    }
                    return;
                }
                "/long" => long(&mut connection.stream, &gone.lock().unwrap()),
                _ => connection.stream.write_all(&ok(path)),
            };
            if written.is_err() {
                return;
            }
        }
    });
    (origin, go)
}

fn long(to: &mut TcpStream, gone: &mpsc::Receiver<()>) -> io::Result<()> {
    write!(to, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", RELOADS * PIECE.len())?;
    for _ in 0..RELOADS {
        gone.recv_timeout(PATIENCE).map_err(io::Error::other)?;
        to.write_all(PIECE)?;
    }
    Ok(())
}

const PIECE: &[u8] = &[b'x'; 10_000];

/// The configuration after `n` reloads: routes, upstreams and listeners come and go. `lasting` is in all of them,
/// `passing` in the first half, `coming` in the second.
fn document(
    n: usize,
    lasting: SocketAddr,
    passing: SocketAddr,
    coming: SocketAddr,
    origins: &[SocketAddr],
) -> String {
    let second = if n < RELOADS / 2 { passing } else { coming };
    let upstreams: String = origins
        .iter()
        .take(1 + n % origins.len())
        .enumerate()
        .map(|(number, address)| format!("  u{number}: {{servers: [\"{address}\"], keepalive: {}}}\n", 4 + n))
        .collect();
    // Nothing but a configuration may end a connection.
    format!(
        "node: node-{n}\nworkers: 2\nupstreams:\n{upstreams}servers:\n  - listen: [\"{lasting}\", \"{second}\"]\n    \
         keepalive_requests: 1000000000\n    \
         add_headers: {{X-Generation: \"{n}\"}}\n    routes:\n      - {{path: /, proxy: {{upstream: u0}}}}\n      \
         - {{exact: /generation, respond: {{body: \"{n}\"}}}}\n      - {{path: \"/only-{n}/\", respond: {{body: here}}}}\n"
    )
}

struct Load<'a> {
    address: SocketAddr,
    is_over: &'a AtomicBool,
    requests: &'a AtomicUsize,
}

impl Load<'_> {
    /// One connection for all requests: it must not end.
    fn stays(&self, name: usize) -> Result<(), String> {
        let mut client = Client::connect(self.address);
        for n in 0.. {
            self.request(&mut client, &format!("/stays/{name}/{n}"), "")?;
            if self.is_over.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn comes_anew(&self, name: usize) -> Result<(), String> {
        let mut n = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            n += 1;
            let stream =
                TcpStream::connect(self.address).map_err(|error| format!("new connection {n}: {error}"))?;
            let mut client = Client::over(stream);
            self.request(&mut client, &format!("/anew/{name}/{n}"), "Connection: close\r\n")?;
        }
        Ok(())
    }

    fn request(&self, client: &mut Client, path: &str, fields: &str) -> Result<(), String> {
        client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n{fields}\r\nhello"));
        let response = client.response("POST").map_err(|error| format!("{path}: {error}"))?;
        if response.status != 200 || response.text() != path {
            return Err(format!("{path}: {response:?}"));
        }
        if fields.is_empty() && response.field("Connection") == Some("close") {
            return Err(format!("{path}: its connection is closed"));
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        // Load, not a flood: the reloads are to be seen among the requests.
        std::thread::sleep(Duration::from_millis(1));
        Ok(())
    }
}

#[test]
fn ten_reloads_fail_no_request() {
    let _turn = alone();
    let (main, go) = origin();
    let others: Vec<_> = (0..2).map(|_| Origin::answering(|_| ok("other"))).collect();
    let origins: Vec<_> = std::iter::once(&main).chain(&others).map(|o| o.address).collect();
    let (lasting, passing, coming) = (Port::new(), Port::new(), Port::new());
    let text = |n| document(n, lasting.address, passing.address, coming.address, &origins);
    let vipgate = Vipgate::start(&text(0));
    let process = vipgate.proxy();

    let (is_over, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    let results = std::thread::scope(|scope| {
        let over = Over(&is_over);
        let load = || Load { address: lasting.address, is_over: &is_over, requests: &requests };
        let mut threads = vec![];
        for name in 0..4 {
            let (load, other) = (load(), load());
            threads.push(scope.spawn(move || load.stays(name)));
            threads.push(scope.spawn(move || other.comes_anew(name)));
        }
        // What is not to notice any of it: a download, and one over the listener that goes.
        let ask = "GET /long HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut long = Client::connect(passing.address);
        long.send(ask);
        let mut socket = WebSocket::open(lasting.address);
        let mut idle = Client::connect(passing.address);
        assert_eq!(idle.get("/idle").text(), "/idle");

        for n in 1..=RELOADS {
            let before = requests.load(Ordering::Relaxed);
            vipgate.reload(&text(n));
            serves_everywhere(lasting.address, n);
            let mut client = Client::connect(lasting.address);
            assert_eq!(client.get(&format!("/only-{n}/x")).text(), "here");
            assert_ne!(client.get(&format!("/only-{}/x", n - 1)).text(), "here");
            go.send(()).unwrap();
            socket.says(n);
            if n >= RELOADS / 2 {
                assert_eq!(Client::connect(coming.address).get("/coming").text(), "/coming");
            }
            if n == RELOADS / 2 {
                is_refused(passing.address);
            }
            let end = Instant::now() + PATIENCE;
            while requests.load(Ordering::Relaxed) < before + 50 && !threads.iter().any(|t| t.is_finished()) {
                assert!(Instant::now() < end, "the load stands still after reload {n}");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let response = long.response("GET").unwrap();
        assert_eq!(response.body.len(), RELOADS * PIECE.len());
        // The listener has gone: this connection may go on or be over, but in good order.
        assert!(idle.stream.set_read_timeout(Some(Duration::from_millis(50))).is_ok());
        assert!(matches!(idle.end(), None | Some(io::ErrorKind::WouldBlock)));
        drop(over);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(vipgate.proxy(), process, "the same process all the time");
}

/// Ends the load, also where a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Each worker comes to it in its own time: so many connections in a row meet both.
fn serves_everywhere(address: SocketAddr, n: usize) {
    let (end, mut in_a_row) = (Instant::now() + PATIENCE, 0);
    while in_a_row < 16 {
        let found = Client::connect(address).get("/generation").text() == n.to_string();
        in_a_row = if found { in_a_row + 1 } else { 0 };
        assert!(Instant::now() < end, "generation {n} is not served");
    }
}

/// New connections are, once the listener has gone; those that came before are served.
fn is_refused(address: SocketAddr) {
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < end, "{address} is still listened on");
        std::thread::sleep(Duration::from_millis(1));
    }
}

struct WebSocket(Client);

impl WebSocket {
    fn open(address: SocketAddr) -> Self {
        let mut client = Client::connect(address);
        client.send("GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        assert_eq!(client.response("GET").unwrap().status, 101);
        Self(client)
    }

    fn says(&mut self, n: usize) {
        let byte = [u8::try_from(n).unwrap()];
        self.0.send(byte);
        let mut echo = [0];
        self.0.stream.read_exact(&mut echo).unwrap();
        assert_eq!(echo, byte);
    }
}
