//! Two thousand clients that take their time, in each way there is: the others do not notice, memory is bounded, and
//! all of it comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::peers::{Client, Origin, ok};
use crate::pending;
use crate::support::{PATIENCE, Port, Vipgate, alone};

const SLOW: usize = 2000;
/// Descriptors on either side of this program, and some for the rest.
const DESCRIPTORS: u64 = 2 * SLOW as u64 + 1000;
/// Pieces that each slow client sends at most, one in a second.
const PIECES: usize = 30;
/// How often the others are looked at: the median of these counts.
const ROUNDS: usize = 7;

/// What the others may wait at most, as a multiple of what they waited before.
const FLAT: u32 = 10;
/// Below this, waiting says more of the machine than of the proxy.
const NOISE: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug)]
enum Slow {
    Heads,
    Bodies,
    Readers,
}

impl Slow {
    fn start(self) -> &'static str {
        match self {
            Self::Heads => "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ",
            Self::Bodies => "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n",
            Self::Readers => "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n",
        }
    }

    fn piece(self) -> &'static str {
        match self {
            Self::Heads | Self::Bodies => "x",
            Self::Readers => "",
        }
    }

    /// Memory that each may cost: a head or a body is held in what has come of it; what a reader does not take, in one
    /// buffer.
    fn bytes_max(self) -> u64 {
        match self {
            Self::Heads => 24 << 10,
            Self::Bodies if pending::SLOW_BODIES_HOLD_TWO_BUFFERS => 48 << 10,
            Self::Bodies => 32 << 10,
            Self::Readers => 48 << 10,
        }
    }
}

#[test]
fn slow_heads_hurt_nobody_else() {
    check(Slow::Heads);
}

#[test]
fn slow_bodies_hurt_nobody_else() {
    check(Slow::Bodies);
}

#[test]
fn slow_readers_hurt_nobody_else() {
    check(Slow::Readers);
}

fn check(slow: Slow) {
    let _turn = alone();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < DESCRIPTORS {
        println!("{slow:?}: skipped, needs {DESCRIPTORS} open files");
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(DESCRIPTORS), hard).unwrap();
    let quick = Origin::answering(|_| ok("quick"));
    let holding = holding();
    let port = Port::new();
    let vipgate = Vipgate::start(&format!(
        "node: node-1\nworkers: 1\nupstreams:\n  quick: {{servers: [\"{}\"]}}\n  holding: {{servers: [\"{holding}\"]}}\n\
         servers:\n  - listen: [\"{}\"]\n    routes:\n      - {{path: /, proxy: {{upstream: quick}}}}\n      \
         - {{path: /slow, proxy: {{upstream: holding}}}}\n",
        quick.address, port.address
    ));
    // What the first requests need is there before anything is measured.
    let before = high_percentile(port.address);
    let (bytes, descriptors) = (vipgate.resident_bytes(), vipgate.descriptors());

    let mut clients: Vec<_> = (0..SLOW).map(|_| small_client(port.address)).collect();
    clients.iter_mut().for_each(|client| client.write_all(slow.start().as_bytes()).unwrap());
    let expect = u64::try_from(SLOW).unwrap();
    vipgate.until_connections("all of them are there", |n| n >= expect);
    let is_over = AtomicBool::new(false);
    let during = std::thread::scope(|scope| {
        // A steady trickle: a wave of them would measure the wave.
        scope.spawn(|| {
            for _ in 0..PIECES {
                for some in clients.chunks(SLOW / 40) {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    some.iter().for_each(|mut client| client.write_all(slow.piece().as_bytes()).unwrap());
                    std::thread::sleep(Duration::from_millis(25));
                }
            }
        });
        let mut rounds: Vec<_> = (0..ROUNDS).map(|_| high_percentile(port.address)).collect();
        is_over.store(true, Ordering::Relaxed);
        rounds.sort();
        rounds[ROUNDS / 2]
    });
    let each = vipgate.resident_bytes().saturating_sub(bytes) / expect;
    println!("{slow:?}: p99 of the others {before:?}, then {during:?}; {each} bytes for each");
    assert!(during <= before.max(NOISE) * FLAT, "{slow:?}: p99 of the others {before:?}, then {during:?}");
    assert!(each <= slow.bytes_max(), "{slow:?}: {each} bytes for each");

    drop(clients);
    vipgate.until_connections("they are forgotten", |n| n == 0);
    // Those to the quick server may be idle.
    vipgate
        .until("their descriptors are closed", |_| (vipgate.descriptors() <= descriptors + 32).then_some(()));
    assert_eq!(Client::connect(port.address).get("/").text(), "quick");
}

/// The 99th percentile of what well-behaved clients wait, with connections that stay and with new ones.
fn high_percentile(address: SocketAddr) -> Duration {
    let mut waits = vec![];
    for _ in 0..4 {
        let mut client = Client::connect(address);
        for _ in 0..50 {
            let start = Instant::now();
            assert_eq!(client.get("/").text(), "quick");
            waits.push(start.elapsed());
        }
    }
    for _ in 0..50 {
        let start = Instant::now();
        assert_eq!(Client::connect(address).get("/").text(), "quick");
        waits.push(start.elapsed());
    }
    waits.sort();
    waits[waits.len() * 99 / 100]
}

/// Small segments and a small window, so that the kernel holds little of what it does not read.
fn small_client(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_tcp_mss(1460).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect_timeout(&address.into(), PATIENCE).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A server that accepts everything, answers a GET with as much of a long body as its kernel takes at once, and then
/// does nothing any more.
fn holding() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut held = vec![];
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            socket2::SockRef::from(&stream).set_send_buffer_size(16 << 10).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut head = [0; 2048];
            let length = stream.read(&mut head).unwrap_or(0);
            stream.set_nonblocking(true).unwrap();
            if head[..length].starts_with(b"GET ") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n").unwrap();
                loop {
                    match stream.write(&[b'x'; 16 << 10]) {
                        Ok(_) => (),
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(_) => break,
                    }
                }
            }
            held.push(stream);
        }
    });
    address
}
