//! Random bytes against the HTTP/1 codec: it never panics, it says the same however its input is cut, and whatever it
//! lets pass reads the same at the next recipient.
//!
//! `FUZZ_ITERATIONS=1000000 cargo test --release --test fuzz_http1` for longer; `SEED=n` repeats one case.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the number of cases comes from the environment, and a test may fail"
)]

#[path = "fuzz/cases.rs"]
mod cases;

use cases::{Random, each, watch};
use vipgate::http1;

#[path = "../fuzz/checks.rs"]
mod checks;

const ITERATIONS: u64 = 20_000;

/// Pieces that mean something, glued at random, mostly between `start` and `end`, with a few bytes changed, dropped or
/// doubled.
fn soup(random: &mut Random, start: &[u8], pieces: &[&[u8]], end: &[u8]) -> Vec<u8> {
    let mut text = if random.below(4) > 0 { start.to_vec() } else { vec![] };
    for _ in 0..random.below(6) {
        text.extend_from_slice(random.pick(pieces));
    }
    if random.below(4) > 0 {
        text.extend_from_slice(end);
    }
    for _ in 0..random.below(4) {
        if text.is_empty() {
            break;
        }
        let at = random.below(text.len());
        match random.below(4) {
            0 => text[at] = random.draw() as u8,
            1 => _ = text.remove(at),
            2 => text.insert(at, random.pick(&[b"\r", b"\n", b" ", b"\t", b"\0", b":", b",", b"\xff"])[0]),
            _ => {
                let end = at + random.below(text.len() - at).min(40);
                let again = text[at..end].to_vec();
                text.splice(at..at, again);
            }
        }
    }
    text
}

const REQUEST: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\n",
    b"POST /a?b HTTP/1.1\r\n",
    b"GET http://a/ HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"HEAD /%2e%2e HTTP/1.0\r\n",
    b"Host: a\r\n",
    b"Host: b:80\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 05, 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding: gzip, chunked\r\n",
    b"Connection: close, X-A, Host, Content-Length\r\n",
    b"Connection: keep-alive\r\n",
    b"X-A: b\r\n",
    b"Expect: 100-continue\r\n",
    b"X-Forwarded-For: 1.2.3.4\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"TE: trailers\r\n",
    b"Trailer: X-A\r\n",
    b"Forwarded: for=\"a\r\n",
    b"A:\tb \r\n",
    b" folded\r\n",
    b"A : b\r\n",
    b"\r\n",
    b"\n",
];

const RESPONSE: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 204 \r\n",
    b"HTTP/1.1 103 Early\r\n",
    b"HTTP/1.1 304 x\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close, X-A\r\n",
    b"X-A: b\r\n",
    b"Set-Cookie: a=b; \xe4\r\n",
    b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: b\r\n",
    b"Trailer: X-A\r\n",
    b"\r\n",
    b"\r\n",
];

const CHUNKS: &[&[u8]] = &[
    b"5\r\nhello\r\n",
    b"0\r\n",
    b"\r\n",
    b"1;a=b\r\nx\r\n",
    b"A\r\n0123456789\r\n",
    b";x=\"q\\\"\"",
    b"X: y\r\n",
    b"0\r\nHost: y\r\nA:\t\r\n",
    b"fffffff",
    b"2",
    b"\r\nab\r\n",
    b"\n",
];

#[test]
fn requests_read_the_same_however_they_come_and_wherever_they_go() {
    each(ITERATIONS, |random| {
        _ = checks::request(&soup(random, b"POST / HTTP/1.1\r\nHost: a\r\n", REQUEST, b"\r\n"));
    });
}

#[test]
fn responses_read_the_same_however_they_come_and_wherever_they_go() {
    each(ITERATIONS, |random| checks::response(&soup(random, b"HTTP/1.1 200 OK\r\n", RESPONSE, b"\r\n")));
}

#[test]
fn chunked_bodies_read_the_same_however_they_come() {
    each(ITERATIONS, |random| checks::chunked(&soup(random, b"", CHUNKS, b"0\r\n\r\n")));
}

#[test]
fn bytes_without_any_sense_are_survived() {
    each(ITERATIONS, |random| {
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.draw() as u8).collect();
        all(&bytes);
        let _ = vipgate::gateway::normalise(&bytes);
    });
}

fn all(bytes: &[u8]) {
    _ = checks::request(bytes);
    checks::response(bytes);
    checks::chunked(bytes);
}

/// What the fuzzer found worth keeping, and what it once found wrong.
#[test]
fn the_corpus_of_the_fuzzer_holds() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut files = vec![];
    for target in ["request_head", "response_head", "chunked"] {
        let before = files.len();
        let folder = std::fs::read_dir(corpus.join(target)).unwrap();
        files.extend(folder.map(|entry| entry.unwrap().path()));
        assert!(files.len() > before, "{target} has no corpus");
    }
    watch(files.into_iter().map(|path| (path.display().to_string(), path)), |path| {
        all(&std::fs::read(path).unwrap());
    });
}
