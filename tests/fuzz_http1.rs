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

use cases::{Random, each};
use vipgate::http1::*;

const ITERATIONS: u64 = 20_000;

/// Ascending ends of pieces, the last one `length`.
fn pieces(random: &mut Random, length: usize) -> Vec<usize> {
    let mut cuts: Vec<_> = (0..random.below(6)).map(|_| random.below(length + 1)).collect();
    cuts.push(length);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

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
    b"fffffff",
    b"2",
    b"\r\nab\r\n",
    b"\n",
];

/// The scan's verdict over growing prefixes, in the pieces of `cuts`.
fn in_pieces<V, E>(
    bytes: &[u8],
    cuts: &[usize],
    mut scan: impl FnMut(&[u8]) -> Result<V, E>,
    is_final: impl Fn(&V) -> bool,
) -> Result<V, E> {
    let mut verdict = None;
    for end in cuts {
        let v = scan(&bytes[..*end])?;
        if is_final(&v) {
            return Ok(v);
        }
        verdict = Some(v);
    }
    Ok(verdict.expect("there is always a last piece"))
}

#[test]
fn requests_read_the_same_however_they_come_and_wherever_they_go() {
    each(ITERATIONS, |random| {
        let bytes = soup(random, b"POST / HTTP/1.1\r\nHost: a\r\n", REQUEST, b"\r\n");
        let cuts = pieces(random, bytes.len());
        let whole = HeadScan::default().request(&bytes);
        let mut scan = HeadScan::default();
        let pieces = in_pieces(&bytes, &cuts, |b| scan.request(b), |v| *v != Scanned::Incomplete);
        assert_eq!(pieces, whole, "{:?} cut at {cuts:?}", String::from_utf8_lossy(&bytes));
        let Ok(Scanned::Complete(length)) = whole else { return };
        let Ok(head) = RequestHead::parse(&bytes[..length], Fields::default()) else { return };

        let mut text = vec![];
        let forwarded = Forwarded {
            client: "192.0.2.1",
            scheme: "http",
            default_host: "d",
            keep_alive: true,
            ..Forwarded::default()
        };
        write_request(&mut text, &bytes[..length], &head, &forwarded);
        assert_eq!(
            HeadScan::default().request(&text),
            Ok(Scanned::Complete(text.len())),
            "one head, and whole"
        );
        let again = RequestHead::parse(&text, Fields::default())
            .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&text)));
        assert_eq!(again.framing, head.framing);
        assert_eq!(again.method, head.method);
        assert_eq!(again.host.map(|h| h.of(&text)), Some(head.host.map_or(&b"d"[..], |h| h.of(&bytes))));
        let connection = again.fields.values(Known::Connection).map(|c| c.of(&text)).collect::<Vec<_>>();
        assert!(connection.is_empty() || connection == [b"TE"], "{connection:?}");
        assert!(!again.fields.has(Known::Upgrade));
        // What has been rewritten once is rewritten to the same, but for the chain that grows.
        assert_eq!(again.fields.values(Known::XForwardedFor).count(), 1);
    });
}

#[test]
fn responses_read_the_same_however_they_come_and_wherever_they_go() {
    each(ITERATIONS, |random| {
        let bytes = soup(random, b"HTTP/1.1 200 OK\r\n", RESPONSE, b"\r\n");
        let cuts = pieces(random, bytes.len());
        let whole = HeadScan::default().response(&bytes);
        let mut scan = HeadScan::default();
        let pieces = in_pieces(&bytes, &cuts, |b| scan.response(b), |v| *v != Scanned::Incomplete);
        assert_eq!(pieces, whole, "{:?} cut at {cuts:?}", String::from_utf8_lossy(&bytes));
        let Ok(Scanned::Complete(length)) = whole else { return };
        let method = if random.below(4) == 0 { Method::Head } else { Method::Get };
        let Ok(head) = ResponseHead::parse(&bytes[..length], method, Fields::default()) else { return };
        let framing = if head.framing == Framing::Close { Framing::Chunked } else { head.framing };
        let delivery = Delivery { framing, add: b"X-Node: n\r\n", ..Delivery::default() };
        let mut text = vec![];
        write_response(&mut text, &bytes[..length], &head, &delivery);
        assert_eq!(HeadScan::default().response(&text), Ok(Scanned::Complete(text.len())));
        let again = ResponseHead::parse(&text, method, Fields::default())
            .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&text)));
        assert_eq!((again.status, again.framing, again.keep_alive), (head.status, framing, true));
    });
}

/// Body and the number of bytes it took; `None`: not complete.
fn decode(bytes: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, Option<usize>), ChunkedError> {
    let mut decoder = Chunked::default();
    let (mut body, mut start) = (vec![], 0);
    for end in cuts {
        let mut piece = bytes[start..*end].to_vec();
        let decoded = decoder.decode(&mut piece)?;
        body.extend_from_slice(&piece[decoded.start..decoded.start + decoded.length]);
        if decoder.is_done() {
            return Ok((body, Some(start + decoded.consumed)));
        }
        assert_eq!(decoded.consumed, piece.len(), "an incomplete body takes everything");
        start = *end;
    }
    Ok((body, None))
}

#[test]
fn chunked_bodies_read_the_same_however_they_come() {
    each(ITERATIONS, |random| {
        let bytes = soup(random, b"", CHUNKS, b"0\r\n\r\n");
        let cuts = pieces(random, bytes.len());
        let whole = decode(&bytes, &[bytes.len()]);
        assert_eq!(decode(&bytes, &cuts), whole, "{:?} cut at {cuts:?}", String::from_utf8_lossy(&bytes));
        let Ok((body, _)) = whole else { return };
        // What was decoded and framed anew is decoded to the same.
        let mut text = vec![];
        for piece in body.chunks(1 + random.below(7)) {
            append_chunk(&mut text, piece, false);
        }
        append_chunk(&mut text, b"", true);
        let cuts = pieces(random, text.len());
        assert_eq!(decode(&text, &cuts), Ok((body, Some(text.len()))));
    });
}

#[test]
fn bytes_without_any_sense_are_survived() {
    each(ITERATIONS, |random| {
        let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.draw() as u8).collect();
        let _ = HeadScan::default().request(&bytes);
        let _ = HeadScan::default().response(&bytes);
        // Also what no scan would have let pass.
        let _ = RequestHead::parse(&bytes, Fields::default());
        let _ = ResponseHead::parse(&bytes, Method::Get, Fields::default());
        let _ = decode(&bytes, &[bytes.len()]);
        let _ = vipgate::gateway::normalise(&bytes);
    });
}
