//! The clients that wrk cannot be: one that counts its requests, and one that holds thousands of idle connections.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::request::{self, HOST};

/// Nothing here waits for longer; whoever does has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two tries to reach a server that is starting.
const TRY_AGAIN: Duration = Duration::from_millis(20);
/// No answer that is read here is longer.
const ANSWER_MAX: usize = 8 << 10;

/// `connections` at once, each of them in turn with its request and then, when all have asked, its answer: the proxy
/// always finds the same work.
pub(crate) struct Crowd {
    connections: Vec<TcpStream>,
    request: Vec<u8>,
}

impl Crowd {
    pub(crate) fn connect(proxy: SocketAddr, connections: usize) -> io::Result<Self> {
        let open = || {
            let stream = TcpStream::connect(proxy)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let connections = (0..connections).map(|_| open()).collect::<io::Result<_>>()?;
        Ok(Self { connections, request: request::get("/1k", HOST) })
    }

    /// At least `count` GETs of 1 KiB, the same number on each connection; how many they were.
    pub(crate) fn ask(&mut self, count: usize) -> io::Result<usize> {
        let rounds = count.div_ceil(self.connections.len().max(1));
        for _ in 0..rounds {
            for stream in &mut self.connections {
                stream.write_all(&self.request)?;
            }
            for stream in &mut self.connections {
                answer(stream)?;
            }
        }
        Ok(rounds * self.connections.len())
    }

    /// Each connection with one GET, before the next one is opened: one connection to the origin is enough, and none
    /// waits to be accepted.
    pub(crate) fn gather(proxy: SocketAddr, connections: usize) -> io::Result<Self> {
        let mut all = Self::connect(proxy, 0)?;
        for _ in 0..connections {
            let mut one = Self::connect(proxy, 1)?;
            one.ask(1)?;
            all.connections.append(&mut one.connections);
        }
        Ok(all)
    }
}

/// Reads one answer with a length; an error unless it is a 200.
fn answer(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; ANSWER_MAX];
    let mut filled = 0;
    let mut whole = usize::MAX;
    while filled < whole {
        let read = stream.read(buffer.get_mut(filled..).unwrap_or_default())?;
        if read == 0 {
            return Err(io::Error::other("the connection was closed within an answer, or it is too long"));
        }
        filled += read;
        if whole == usize::MAX {
            whole = length(buffer.get(..filled).unwrap_or_default())?.unwrap_or(whole);
        }
    }
    Ok(())
}

/// Of head and body; `None`: the head is not there yet.
fn length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(io::Error::other(format!("not a 200: {head}")));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse::<usize>().ok());
    length.map(|length| Some(end + 4 + length)).ok_or_else(|| io::Error::other("an answer without a length"))
}

/// Waits until a GET is answered with 200, for as long as the proxy is not over.
pub(crate) fn until_served(proxy: SocketAddr, mut is_over: impl FnMut() -> bool) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        match Crowd::connect(proxy, 1).and_then(|mut crowd| crowd.ask(1)) {
            Ok(_) => return Ok(()),
            Err(error) if is_over() || Instant::now() > end => return Err(error),
            Err(_) => std::thread::sleep(TRY_AGAIN),
        }
    }
}
