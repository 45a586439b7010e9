//! An origin that does what the last part of the path says and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::peers::{Accepted, Origin, read_chunked, read_exactly, read_head};

/// Lines of text by what they say, to be compared.
pub(crate) type Observation = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// Of the server: a, b or c.
    server: char,
    connection: usize,
    line: String,
    fields: Fields,
    framing: String,
    body: String,
    trailers: String,
}

/// Names in small letters, values of the same name in their order.
pub(crate) type Fields = BTreeMap<String, Vec<String>>;

pub(crate) struct Recorder {
    pub(crate) servers: [SocketAddr; 3],
    seen: Arc<Mutex<Vec<Recorded>>>,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let seen = Arc::new(Mutex::new(vec![]));
        let servers = ['a', 'b', 'c'].map(|server| {
            let seen = Arc::clone(&seen);
            Origin::start(move |mut connection| {
                // An end where another one has an error: the proxy left.
                while serve(server, &mut connection, &seen).unwrap_or(false) {}
            })
            .address
        });
        Self { servers, seen }
    }

    /// What was recorded since the last call, as lines.
    pub(crate) fn take(&self) -> Observation {
        let mut lines = Observation::new();
        let seen: Vec<_> = std::mem::take(&mut *self.seen.lock().unwrap());
        let mut add = |key: String, value: &str| {
            if !value.is_empty() {
                lines.insert(key, value.to_owned());
            }
        };
        let asked: Vec<_> = seen.iter().filter(|r| !r.line.contains(super::differ::PROBE)).collect();
        let mut connections: Vec<_> = asked.iter().map(|r| (r.server, r.connection)).collect();
        connections.dedup();
        add("requests".into(), &asked.len().to_string());
        add("connections".into(), &connections.len().to_string());
        for (n, r) in (1..).zip(asked) {
            add(format!("request {n} line"), &format!("{} at {}", r.line, r.server));
            add(format!("request {n} framing"), &r.framing);
            add(format!("request {n} body"), &r.body);
            add(format!("request {n} trailers"), &r.trailers);
            for (name, values) in &r.fields {
                // The connection's own, which are compared by what they do.
                if !["connection", "keep-alive", "content-length", "transfer-encoding"].contains(&&**name) {
                    add(format!("request {n} field {name}"), &values.join(", "));
                }
            }
        }
        lines
    }
}

pub(crate) fn fields(head: &str) -> Fields {
    let mut fields = Fields::new();
    for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        fields.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
    }
    fields
}

fn serve(server: char, connection: &mut Accepted, seen: &Mutex<Vec<Recorded>>) -> io::Result<bool> {
    let head = read_head(&mut connection.stream, &mut connection.rest)?;
    let line = head.lines().next().unwrap_or_default().to_owned();
    let fields = fields(&head);
    let first = |name: &str| fields.get(name).and_then(|values| values.first()).map_or("", String::as_str);
    let target = line.split(' ').nth(1).unwrap_or_default();
    let deed = target.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
    let method = line.split(' ').next().unwrap_or_default().to_owned();
    let mut record = Recorded {
        server,
        connection: connection.number,
        line: line.clone(),
        fields: fields.clone(),
        framing: String::new(),
        body: String::new(),
        trailers: String::new(),
    };
    let text = |body: Vec<u8>| String::from_utf8_lossy(&body).into_owned();
    if deed == "early" {
        // Answers from the head alone, and reads no further.
        seen.lock().unwrap().push(record);
        let answer = answer(server, "403 Forbidden", "Connection: close\r\nContent-Length: 5", "early");
        connection.stream.write_all(answer.as_bytes())?;
        return Ok(false);
    }
    if first("expect").eq_ignore_ascii_case("100-continue") {
        connection.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if first("transfer-encoding").eq_ignore_ascii_case("chunked") {
        record.framing = "chunked".into();
        let (body, trailers) = read_chunked(&mut connection.stream, &mut connection.rest)?;
        (record.body, record.trailers) = (text(body), trailers.replace("\r\n", ";").to_ascii_lowercase());
    } else if let Ok(length) = first("content-length").parse() {
        record.framing = format!("length {length}");
        record.body = text(read_exactly(&mut connection.stream, &mut connection.rest, length)?);
    }
    let body = record.body.clone();
    seen.lock().unwrap().push(record);
    let to = &mut connection.stream;
    let mut say = |text: &str| to.write_all(text.as_bytes());
    match &*deed {
        "chunked" => {
            say(&answer(server, "200 OK", "Transfer-Encoding: chunked", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"))?
        }
        "trailers" => {
            let fields = "Trailer: X-Sum\r\nTransfer-Encoding: chunked";
            say(&answer(server, "200 OK", fields, "5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"))?;
        }
        "close" => {
            say(&answer(server, "200 OK", "X: y", "hello"))?;
            return Ok(false);
        }
        "old-close" => {
            say(&answer(server, "200 OK", "X: y", "hello").replace("HTTP/1.1", "HTTP/1.0"))?;
            return Ok(false);
        }
        "old-kept" => {
            let fields = "Connection: keep-alive\r\nContent-Length: 5";
            say(&answer(server, "200 OK", fields, "hello").replace("HTTP/1.1", "HTTP/1.0"))?;
        }
        "length" if method == "HEAD" => say(&answer(server, "200 OK", "Content-Length: 5", ""))?,
        "length" => say(&answer(server, "200 OK", "Content-Length: 5", "hello"))?,
        "nothing" => say(&answer(server, "200 OK", "Content-Length: 0", ""))?,
        "204" => say(&answer(server, "204 No Content", "X: y", ""))?,
        "304" => say(&answer(server, "304 Not Modified", "ETag: \"e\"\r\nContent-Length: 5", ""))?,
        "hints" => {
            say("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")?;
            say(&answer(server, "200 OK", "Content-Length: 5", "hello"))?;
        }
        "continue" => {
            say("HTTP/1.1 100 Continue\r\n\r\n")?;
            say(&answer(server, "200 OK", "Content-Length: 5", "hello"))?;
        }
        "hop" => {
            let fields = "Connection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nProxy-Connection: x\r\n\
                          Upgrade: h2c\r\nX-Stays: 1\r\nContent-Length: 5";
            say(&answer(server, "200 OK", fields, "hello"))?;
        }
        "cookies" => {
            let fields = "Set-Cookie: a=1, 2\r\nSet-Cookie: b=2\r\nX_Y: z\r\nX-Empty:\r\nContent-Length: 5";
            say(&answer(server, "299 Odd  Reason", fields, "hello"))?;
        }
        "redirect" => say(&answer(server, "302 Found", "Location: /there\r\nContent-Length: 0", ""))?,
        "404" => say(&answer(server, "404 Not Found", "Content-Length: 5", "wrong"))?,
        "500" => say(&answer(server, "500 Internal Server Error", "Content-Length: 5", "wrong"))?,
        "socket" if !first("upgrade").is_empty() => {
            let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x";
            // The first bytes of the new protocol come along.
            say(&answer(server, "101 Switching Protocols", fields, "welcome"))?;
            loop {
                let bytes = read_exactly(&mut connection.stream, &mut connection.rest, 1)?;
                connection.stream.write_all(&bytes.to_ascii_uppercase())?;
                if bytes == b"." {
                    return Ok(false);
                }
            }
        }
        "refused" => {
            let fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5";
            say(&answer(server, "426 Upgrade Required", fields, "wrong"))?;
        }
        // HEAD and everything else: what was sent.
        _ => {
            let sent = if method == "HEAD" { "" } else { &*body };
            say(&answer(server, "200 OK", &format!("Content-Length: {}", body.len()), sent))?;
        }
    }
    Ok(!first("connection").eq_ignore_ascii_case("close"))
}

fn answer(server: char, status: &str, fields: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nServer: origin\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nX-Origin: {server}\r\n{fields}\r\n\r\n{body}"
    )
}
