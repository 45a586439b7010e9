//! The far ends of a proxied connection: a client that speaks in bytes, and an upstream server that does as its script
//! says.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::PATIENCE;

/// A client that speaks in bytes.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) rest: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Whole lines, each with its CRLF.
    pub(crate) trailers: String,
}

impl Response {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The only value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().filter_map(|line| {
            let (n, value) = line.split_once(": ")?;
            n.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = values.next();
        assert!(values.next().is_none(), "{name} twice in {}", self.head);
        value
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, rest: vec![] }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        // The proxy may have refused and closed already.
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// One response to a request with `method`; an error if the connection ends before it does.
    pub(crate) fn response(&mut self, method: &str) -> io::Result<Response> {
        let head = read_head(&mut self.stream, &mut self.rest)?;
        let status = head[9..12].parse().unwrap();
        let mut response = Response { status, head, body: vec![], trailers: String::new() };
        if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
            return Ok(response);
        }
        if response.field("Transfer-Encoding") == Some("chunked") {
            (response.body, response.trailers) = read_chunked(&mut self.stream, &mut self.rest)?;
        } else if let Some(length) = response.field("Content-Length") {
            let length: usize = length.parse().unwrap();
            response.body = read_exactly(&mut self.stream, &mut self.rest, length)?;
        } else {
            response.body = std::mem::take(&mut self.rest);
            self.stream.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).response("GET").unwrap()
    }

    /// What ends the connection: nothing for a FIN.
    pub(crate) fn end(&mut self) -> Option<io::ErrorKind> {
        self.rest.clear();
        loop {
            match read_more(&mut self.stream, &mut self.rest) {
                Ok(()) => (),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
                Err(error) => return Some(error.kind()),
            }
        }
    }
}

/// Up to and with the empty line. `rest` is what was read beyond, here and below.
pub(crate) fn read_head(stream: &mut TcpStream, rest: &mut Vec<u8>) -> io::Result<String> {
    let end = read_until(stream, rest, b"\r\n\r\n")? + 4;
    Ok(String::from_utf8(rest.drain(..end).collect()).unwrap())
}

/// The body, and the lines of the trailer section. What is no chunk is an error of the kind `Other`.
pub(crate) fn read_chunked(stream: &mut TcpStream, rest: &mut Vec<u8>) -> io::Result<(Vec<u8>, String)> {
    let mut body = vec![];
    loop {
        let line = read_line(stream, rest)?;
        let size = usize::from_str_radix(&line, 16).map_err(io::Error::other)?;
        if size == 0 {
            break;
        }
        body.extend(read_exactly(stream, rest, size)?);
        if read_exactly(stream, rest, 2)? != b"\r\n" {
            return Err(io::Error::other("a chunk is longer than it says"));
        }
    }
    let mut trailers = String::new();
    loop {
        let line = read_line(stream, rest)?;
        if line.is_empty() {
            return Ok((body, trailers));
        }
        trailers = trailers + &line + "\r\n";
    }
}

/// Without its CRLF.
fn read_line(stream: &mut TcpStream, rest: &mut Vec<u8>) -> io::Result<String> {
    let length = read_until(stream, rest, b"\r\n")?;
    let line = rest.drain(..length + 2).take(length).collect();
    String::from_utf8(line).map_err(io::Error::other)
}

pub(crate) fn read_exactly(stream: &mut TcpStream, rest: &mut Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    while rest.len() < length {
        read_more(stream, rest)?;
    }
    Ok(rest.drain(..length).collect())
}

fn read_until(stream: &mut TcpStream, rest: &mut Vec<u8>, pattern: &[u8]) -> io::Result<usize> {
    loop {
        if let Some(at) = find(rest, pattern) {
            return Ok(at);
        }
        read_more(stream, rest)?;
    }
}

fn read_more(stream: &mut TcpStream, rest: &mut Vec<u8>) -> io::Result<()> {
    let mut bytes = [0; 16 << 10];
    match stream.read(&mut bytes)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        n => {
            rest.extend_from_slice(&bytes[..n]);
            Ok(())
        }
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|w| w == pattern)
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Response {
    Client::connect(address).get(path)
}

/// An upstream server that does as its script says and remembers every request.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

/// One accepted connection of an origin.
pub(crate) struct Accepted {
    /// Counts from 0.
    pub(crate) number: usize,
    pub(crate) stream: TcpStream,
    pub(crate) rest: Vec<u8>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    /// `script` runs in a thread per connection.
    pub(crate) fn start(script: impl Fn(Accepted) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    pub(crate) fn on(listener: TcpListener, script: impl Fn(Accepted) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(vec![]));
        let script = Arc::new(script);
        let (counter, seen) = (Arc::clone(&connections), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let accepted = Accepted { number, stream, rest: vec![], requests: Arc::clone(&seen) };
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(accepted));
            }
        });
        Self { address, connections, requests }
    }

    /// Answers every request with what `answer` makes of it.
    pub(crate) fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |mut connection| {
            while let Some(request) = connection.request() {
                if connection.stream.write_all(&answer(&request)).is_err() {
                    return;
                }
            }
        })
    }

    /// Heads and bodies of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Accepted {
    /// The next request: its head as it came, its body decoded. `None`: the proxy closed.
    pub(crate) fn request(&mut self) -> Option<String> {
        let text = self.read_request().ok()?;
        self.requests.lock().unwrap().push(text.clone());
        Some(text)
    }

    fn read_request(&mut self) -> io::Result<String> {
        let mut text = read_head(&mut self.stream, &mut self.rest)?;
        let lower = text.to_ascii_lowercase();
        let body = if lower.contains("transfer-encoding: chunked") {
            read_chunked(&mut self.stream, &mut self.rest)?.0
        } else if let Some(length) = lower.lines().find_map(|l| l.strip_prefix("content-length: ")) {
            read_exactly(&mut self.stream, &mut self.rest, length.parse().unwrap())?
        } else {
            vec![]
        };
        text.push_str(std::str::from_utf8(&body).unwrap());
        Ok(text)
    }

    pub(crate) fn reset(self) {
        vipgate::os::accept::reset_on_close(self.stream.as_fd()).unwrap();
    }
}

pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
