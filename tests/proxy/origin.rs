//! Upstream servers that do as their scripts say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::{PATIENCE, find};

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
    rest: Vec<u8>,
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
        let end = loop {
            if let Some(at) = find(&self.rest, b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let mut text = String::from_utf8(self.rest.drain(..end).collect()).unwrap();
        let lower = text.to_ascii_lowercase();
        let body = if lower.contains("transfer-encoding: chunked") {
            let mut body = vec![];
            loop {
                let line = loop {
                    match find(&self.rest, b"\r\n") {
                        Some(at) => break at,
                        None => self.more()?,
                    }
                };
                let size =
                    usize::from_str_radix(std::str::from_utf8(&self.rest[..line]).unwrap(), 16).unwrap();
                while self.rest.len() < line + 2 + size + 2 {
                    self.more()?;
                }
                body.extend_from_slice(&self.rest[line + 2..line + 2 + size]);
                self.rest.drain(..line + 2 + size + 2);
                if size == 0 {
                    break body;
                }
            }
        } else if let Some(length) = lower.lines().find_map(|l| l.strip_prefix("content-length: ")) {
            let length: usize = length.parse().unwrap();
            while self.rest.len() < length {
                self.more()?;
            }
            self.rest.drain(..length).collect()
        } else {
            vec![]
        };
        text.push_str(std::str::from_utf8(&body).unwrap());
        self.requests.lock().unwrap().push(text.clone());
        Some(text)
    }

    fn more(&mut self) -> Option<()> {
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes) {
            Ok(n @ 1..) => {
                self.rest.extend_from_slice(&bytes[..n]);
                Some(())
            }
            Ok(0) | Err(_) => None,
        }
    }

    pub(crate) fn reset(self) {
        vipgate::os::accept::reset_on_close(self.stream.as_fd()).unwrap();
    }
}

pub(crate) fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
