//! The server behind every proxy: one thread, one epoll, answers made beforehand, so that it costs the load's core as
//! little as possible. No timeouts: its clients are the proxies under measurement.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::mpsc;

use memchr::memmem;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::unistd::Pid;

/// One read takes this much.
const BUFFER: usize = 256 << 10;
/// A chunk of the chunked answers, as applications flush them.
const CHUNK: usize = 8 << 10;

pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    /// For its affinity.
    pub(crate) thread: Pid,
}

/// Serves until this process ends.
pub(crate) fn start() -> io::Result<Origin> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (started, thread) = mpsc::channel();
    std::thread::spawn(move || {
        // Its caller waits for this.
        let _ = started.send(nix::unistd::gettid());
        if let Err(error) = serve(&listener) {
            eprintln!("the origin ended: {error}");
        }
    });
    let thread = thread.recv().map_err(io::Error::other)?;
    Ok(Origin { address, thread })
}

struct Connection {
    stream: TcpStream,
    /// The start of a head that has not arrived whole.
    begun: Vec<u8>,
    /// The request that is being answered or whose body is still to come.
    request: Option<Request>,
    /// What the socket did not take yet.
    rest: &'static [u8],
}

struct Request {
    /// Bytes of its body that are still to come.
    body: usize,
    answer: &'static [u8],
}

type Answers = HashMap<&'static [u8], Vec<u8>>;

fn serve(listener: &TcpListener) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let token = |fd: RawFd| u64::try_from(fd).unwrap_or_default();
    let own = token(listener.as_raw_fd());
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, own))?;
    let answers: &'static Answers = Box::leak(Box::new(answers()));
    let mut connections: HashMap<u64, Connection> = HashMap::new();
    let mut buffer = vec![0; BUFFER];
    let mut events = [EpollEvent::empty(); 512];
    loop {
        let ready = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            ready => ready?,
        };
        for event in events.iter().take(ready) {
            if event.data() == own {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let key = token(stream.as_raw_fd());
                    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
                    epoll.add(&stream, EpollEvent::new(flags, key))?;
                    connections.insert(key, Connection { stream, begun: vec![], request: None, rest: &[] });
                }
            } else if let Some(connection) = connections.get_mut(&event.data())
                && !connection.go_on(&mut buffer, answers)
            {
                connections.remove(&event.data());
            }
        }
    }
}

impl Connection {
    /// Whether it stays open.
    fn go_on(&mut self, buffer: &mut [u8], answers: &'static Answers) -> bool {
        loop {
            while !self.rest.is_empty() {
                match self.stream.write(self.rest) {
                    Ok(written) => self.rest = self.rest.get(written..).unwrap_or_default(),
                    Err(error) => return error.kind() == ErrorKind::WouldBlock,
                }
            }
            self.request.take_if(|request| request.body == 0);
            let read = match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            if !self.take(buffer.get(..read).unwrap_or_default(), answers) {
                return false;
            }
            // An edge follows whatever comes after a read that did not fill the buffer.
            if read < buffer.len() && self.rest.is_empty() {
                return true;
            }
        }
    }

    /// Bytes of one request: no proxy sends the next one before it has the answer. `false`: this is none.
    fn take(&mut self, bytes: &[u8], answers: &'static Answers) -> bool {
        let came = match &mut self.request {
            Some(request) => {
                request.body = request.body.saturating_sub(bytes.len());
                request.body == 0
            }
            None => {
                self.begun.extend_from_slice(bytes);
                // A search only where a body follows or the head came in parts.
                let end = match self.begun.ends_with(b"\r\n\r\n") {
                    true => self.begun.len(),
                    false => match memmem::find(&self.begun, b"\r\n\r\n") {
                        Some(end) => end + 4,
                        None => return true,
                    },
                };
                let (head, body) = self.begun.split_at(end);
                let Some(mut request) = understand(head, answers) else { return false };
                request.body = request.body.saturating_sub(body.len());
                self.begun.clear();
                self.request.insert(request).body == 0
            }
        };
        if came {
            self.rest = self.request.as_ref().map_or(&[], |request| request.answer);
        }
        true
    }
}

/// Looks at as little as it can. A proxy that wants this connection closed closes it.
fn understand(head: &[u8], answers: &'static Answers) -> Option<Request> {
    let post = head.starts_with(b"POST ");
    let target = head.get(if post { 5 } else { 4 }..)?;
    let path = target.get(..target.iter().position(|byte| *byte == b' ')?)?;
    let answer = answers.get(path)?;
    let body = if post { content_length(head)? } else { 0 };
    Some(Request { body, answer })
}

fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    length.trim().parse().ok()
}

fn answers() -> Answers {
    let head = "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sun, 01 Mar 2026 12:00:00 GMT\r\n\
                Content-Type: application/octet-stream\r\n";
    let by_length = |length: usize| {
        let head = format!("{head}Content-Length: {length}\r\n\r\n");
        [head.as_bytes(), &vec![b'x'; length]].concat()
    };
    let chunked = |length: usize| {
        let mut answer = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for chunk in vec![b'x'; length].chunks(CHUNK) {
            answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            answer.extend_from_slice(chunk);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\n\r\n");
        answer
    };
    HashMap::from([
        (b"/1k".as_slice(), by_length(1 << 10)),
        (b"/64k".as_slice(), by_length(64 << 10)),
        (b"/1m".as_slice(), by_length(1 << 20)),
        (b"/c1k".as_slice(), chunked(1 << 10)),
        (b"/c64k".as_slice(), chunked(64 << 10)),
    ])
}
