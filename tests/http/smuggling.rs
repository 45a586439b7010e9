//! Sends every attempt of the table whole, byte by byte, and cut in two at every place. The judge is the origin: which
//! requests it sees, read as strictly as RFC 9112 is written.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::peers::{Accepted, Client, Origin, ok, read_chunked, read_exactly, read_head};
use crate::smuggling_table::{Attempt, LAST, MARK, Verdict, attempts};
use crate::support::{Vipgate, among_others, expect_none, front};

/// What came to the origin: `Ok` is method, target and body; `Err` is something that no proxy may send.
type Seen = Result<(String, String, Vec<u8>), String>;

struct Judge {
    origin: Origin,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Judge {
    fn start() -> Self {
        let seen = Arc::new(Mutex::new(vec![]));
        let shared = Arc::clone(&seen);
        let origin = Origin::start(move |mut connection| {
            loop {
                let before = connection.rest.len();
                let request = read_strictly(&mut connection);
                match request {
                    Ok(request) => {
                        let is_broken = request.is_err();
                        shared.lock().unwrap().push(request);
                        if is_broken || connection.stream.write_all(&ok("seen")).is_err() {
                            return;
                        }
                    }
                    // Closed between two requests, or within one that it gave up.
                    Err(_) if before == 0 => return,
                    Err(error) => return shared.lock().unwrap().push(Err(error.to_string())),
                }
            }
        });
        Self { origin, seen }
    }

    /// By the names of the attempts; nothing may be without one.
    fn seen(&self) -> HashMap<String, Vec<String>> {
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        for seen in std::mem::take(&mut *self.seen.lock().unwrap()) {
            let (method, target, body) = seen.unwrap();
            let body = String::from_utf8(body).unwrap();
            let (path, name) = match target.strip_prefix("/smuggled/") {
                Some(rest) => ("/smuggled", rest),
                None => ("/", &target[1..]),
            };
            let name = name[..name.len().min(MARK.len())].to_owned();
            found.entry(name).or_default().push(format!("{method} {path} {body}"));
        }
        found
    }
}

/// One request. An error of the outer kind: the connection ended.
fn read_strictly(connection: &mut Accepted) -> io::Result<Seen> {
    let head = read_head(&mut connection.stream, &mut connection.rest)?;
    let broken = |why: &str| Ok(Err(format!("{why}: {head:?}")));
    if head.replace("\r\n", "").contains(|c: char| c.is_control() && c != '\t') {
        return broken("control characters");
    }
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let words: Vec<_> = lines.next().unwrap_or_default().split(' ').collect();
    let &[method, target, "HTTP/1.1"] = &words[..] else { return broken("request line") };
    if !target.starts_with('/') || !target.is_ascii() {
        return broken("target");
    }
    let (mut length, mut is_chunked, mut hosts) = (None, false, 0);
    for line in lines {
        let Some((name, value)) = line.split_once(": ") else { return broken("field without a value") };
        if name.is_empty()
            || !name.bytes().all(|b| b.is_ascii_graphic() && !b"(),/:;<=>?@[\\]{}\"".contains(&b))
        {
            return broken("field name");
        }
        match &*name.to_ascii_lowercase() {
            "host" => hosts += 1,
            "content-length" if length.is_some() || !value.bytes().all(|b| b.is_ascii_digit()) => {
                return broken("Content-Length");
            }
            "content-length" => length = value.parse().ok(),
            "transfer-encoding" if is_chunked || value != "chunked" => return broken("Transfer-Encoding"),
            "transfer-encoding" => is_chunked = true,
            "upgrade" if value.to_ascii_lowercase().contains("h2") => return broken("Upgrade"),
            "te" if value != "trailers" => return broken("TE"),
            "keep-alive" | "proxy-connection" | "http2-settings" => return broken("hop-by-hop field"),
            _ => (),
        }
    }
    if hosts != 1 {
        return broken("Host");
    }
    if is_chunked && length.is_some() {
        return broken("two lengths");
    }
    let (method, target) = (method.to_owned(), target.to_owned());
    let body = if is_chunked {
        let (body, trailers) = read_chunked(&mut connection.stream, &mut connection.rest)?;
        let named = |name: &str| trailers.to_ascii_lowercase().contains(&format!("{name}:"));
        if ["content-length", "transfer-encoding", "host", "connection"].into_iter().any(named) {
            return Ok(Err(format!("trailers {trailers:?}")));
        }
        body
    } else {
        read_exactly(&mut connection.stream, &mut connection.rest, length.unwrap_or(0))?
    };
    Ok(Ok((method, target, body)))
}

/// One connection with one attempt.
struct Trial<'a> {
    attempt: &'a Attempt,
    name: String,
    bytes: Vec<u8>,
    client: Client,
}

impl<'a> Trial<'a> {
    fn new(attempt: &'a Attempt, number: usize, front: std::net::SocketAddr) -> Self {
        let name = format!("{number:08}");
        let mut bytes = attempt.text.clone();
        while let Some(at) = bytes.windows(MARK.len()).position(|w| w == MARK.as_bytes()) {
            bytes[at..at + MARK.len()].copy_from_slice(name.as_bytes());
        }
        let client = Client::connect(front);
        client.stream.set_nodelay(true).unwrap();
        Self { attempt, name, bytes, client }
    }

    /// The statuses that the client gets until the connection ends.
    fn outcome(&mut self) -> Vec<u16> {
        if let Verdict::Seen(_) = self.attempt.verdict {
            self.client.send(LAST);
        }
        let mut statuses = vec![];
        while let Ok(response) = self.client.response("GET") {
            statuses.extend((response.status >= 200).then_some(response.status));
        }
        statuses
    }

    fn complaint(&self, seen: &[String], statuses: &[u16]) -> Option<String> {
        let text = String::from_utf8_lossy(&self.attempt.text);
        let is_right = match self.attempt.verdict {
            Verdict::Refused => matches!(statuses, [400 | 405 | 417 | 501]) && seen.is_empty(),
            Verdict::Seen(expect) => seen == expect && statuses == vec![200; expect.len() + 1],
        };
        (!is_right).then(|| {
            format!("{} {text:?}\n    reached the origin as {seen:?}, answers {statuses:?}", self.name)
        })
    }
}

fn complaints(judge: &Judge, mut trials: Vec<Trial<'_>>) -> Vec<String> {
    let outcomes: Vec<_> = trials.iter_mut().map(Trial::outcome).collect();
    let mut seen = judge.seen();
    seen.remove("last");
    let judged = trials.iter().zip(&outcomes).filter_map(|(trial, statuses)| {
        let seen = seen.remove(&trial.name).unwrap_or_default();
        trial.complaint(&seen, statuses)
    });
    let mut complaints: Vec<_> = judged.collect();
    complaints.extend(seen.into_iter().map(|unexpected| format!("nobody asked for {unexpected:?}")));
    complaints
}

/// Long enough for the proxy to have read what came before; if it has not, a try proves less and does not fail.
const PAUSE: Duration = Duration::from_millis(10);

fn arena() -> (Judge, Vipgate, crate::support::Port) {
    let judge = Judge::start();
    let (vipgate, port) = front(&[judge.origin.address], &["keepalive: 4"]);
    (judge, vipgate, port)
}

/// Every second place to cut, beginning with the first or the second; neighbours in the table differ little. A name,
/// and the request within from its fourth byte on, are all one.
fn cuts(text: &[u8], offset: usize) -> Vec<usize> {
    let marks: Vec<_> = (0..text.len()).filter(|at| text[*at..].starts_with(MARK.as_bytes())).collect();
    let inside = |cut: usize| marks.iter().any(|mark| cut > *mark && cut < mark + MARK.len());
    let end = marks.get(1).map_or(text.len(), |second| second - 8);
    (1 + offset..end).step_by(2).filter(|cut| !inside(*cut)).collect()
}

#[test]
fn nothing_is_smuggled_in_one_piece() {
    let _turn = among_others();
    let (judge, _vipgate, port) = arena();
    let mut found = vec![];
    for attempt in &attempts() {
        let mut trial = Trial::new(attempt, 0, port.address);
        let bytes = trial.bytes.clone();
        trial.client.send(bytes);
        found.extend(complaints(&judge, vec![trial]));
    }
    expect_none(&found);
}

#[test]
fn nothing_is_smuggled_byte_by_byte() {
    let _turn = among_others();
    let (judge, _vipgate, port) = arena();
    let attempts = attempts();
    let mut trials: Vec<_> =
        attempts.iter().enumerate().map(|(n, attempt)| Trial::new(attempt, n, port.address)).collect();
    let longest = attempts.iter().map(|attempt| attempt.text.len()).max().unwrap();
    for at in 0..longest {
        for trial in &mut trials {
            let byte = trial.bytes.get(at..at + 1).unwrap_or_default().to_vec();
            trial.client.send(byte);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    expect_none(&complaints(&judge, trials));
}

#[test]
fn nothing_is_smuggled_in_two_pieces() {
    let _turn = among_others();
    let (judge, _vipgate, port) = arena();
    let mut found = vec![];
    for (n, attempt) in attempts().iter().enumerate() {
        let cuts = cuts(&attempt.text, n % 2);
        let mut trials: Vec<_> = cuts.iter().map(|cut| Trial::new(attempt, *cut, port.address)).collect();
        for (cut, trial) in cuts.iter().zip(&mut trials) {
            let first = trial.bytes[..*cut].to_vec();
            trial.client.send(first);
        }
        std::thread::sleep(PAUSE);
        for (cut, trial) in cuts.iter().zip(&mut trials) {
            let second = trial.bytes[*cut..].to_vec();
            trial.client.send(second);
        }
        found.extend(complaints(&judge, trials));
    }
    expect_none(&found);
}
