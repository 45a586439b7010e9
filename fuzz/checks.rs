//! What holds for any bytes that the HTTP/1 codec is given. Panics where it does not.
//!
//! The references here are naive on purpose, and share nothing with the codec but the RFC.

use crate::http1::*;

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The verdict over all growing prefixes, until one is final.
fn growing<V, E>(
    bytes: &[u8],
    mut look: impl FnMut(&[u8]) -> Result<V, E>,
    is_final: impl Fn(&V) -> bool,
) -> Result<V, E> {
    for end in 0..bytes.len() {
        let verdict = look(&bytes[..end])?;
        if is_final(&verdict) {
            return Ok(verdict);
        }
    }
    look(bytes)
}

/// The head, if there is one.
pub(crate) fn request(bytes: &[u8]) -> Option<RequestHead> {
    let whole = HeadScan::default().request(bytes);
    let mut scan = HeadScan::default();
    let cut = growing(bytes, |b| scan.request(b), |v| *v != Scanned::Incomplete);
    assert_eq!(cut, whole, "scan of {:?}", shown(bytes));

    let read = RequestHead::read(bytes, &mut HeadScan::default(), &mut Fields::default());
    let apart = match whole {
        Err(error) => Err(error),
        Ok(Scanned::Incomplete) => Ok(None),
        Ok(Scanned::Complete(n)) => RequestHead::parse(&bytes[..n], Fields::default()).map(Some),
    };
    assert_eq!(read, apart, "read of {:?}", shown(bytes));
    let (mut scan, mut spare) = (HeadScan::default(), Fields::default());
    let cut = growing(bytes, |b| RequestHead::read(b, &mut scan, &mut spare), Option::is_some);
    assert_eq!(cut, read, "read in pieces of {:?}", shown(bytes));
    // Also what no scan would have let pass.
    let _ = RequestHead::parse(bytes, Fields::default());

    let head = read.ok().flatten()?;
    let text = &bytes[..head.length];
    let lines = naive::lines(text);
    assert_eq!(Some(head.framing), naive::request_framing(&lines), "{:?}", shown(text));
    reads_as_httparse_does(text, &head);
    assert_eq!(
        rewritten(text, &head, &Forwarded { ..told() }),
        naive::request(text, &head),
        "{:?}",
        shown(text)
    );
    let names = Names::from_iter(["x-a", "cookie"]);
    let rules = Rules { drop: &names, add: b"X-Added: 1\r\n", host: Some(b"other"), ..Rules::default() };
    for forwarded in [
        told(),
        Forwarded { keep_alive: false, upgrade: true, forwarded: true, via: Some("v"), ..told() },
        Forwarded { target: Some(text), ..told() },
        Forwarded { rules, ..told() },
    ] {
        let out = rewritten(text, &head, &forwarded);
        if !fits(&out) {
            continue;
        }
        assert_eq!(
            HeadScan::default().request(&out),
            Ok(Scanned::Complete(out.len())),
            "one head, and whole"
        );
        let again = RequestHead::parse(&out, Fields::default());
        let again = again.unwrap_or_else(|e| panic!("{e}: {:?} from {:?}", shown(&out), shown(text)));
        assert_eq!((again.framing, again.method), (head.framing, head.method), "{:?}", shown(&out));
        let host = head.host.map_or(&b"d"[..], |h| h.of(text));
        let host = forwarded.rules.host.unwrap_or(host);
        assert_eq!(again.host.map(|h| h.of(&out)), Some(host), "{:?}", shown(&out));
        assert_eq!(again.fields.values(Known::XForwardedFor).count(), 1);
        assert_eq!(again.upgrade.is_some(), head.upgrade.is_some() && forwarded.upgrade, "{:?}", shown(&out));
        let hops = [Known::KeepAlive, Known::ProxyConnection, Known::Expect];
        assert!(hops.iter().all(|hop| !again.fields.has(*hop)), "{:?}", shown(&out));
    }
    Some(head)
}

/// A head at the limit is beyond it once this proxy's own fields are in it, or its target is percent-encoded.
fn fits(out: &[u8]) -> bool {
    let mut lines = out.split(|b| *b == b'\n');
    lines.next().is_some_and(|line| line.len() <= REQUEST_LINE_MAX)
        && lines.count() < FIELDS_MAX
        && out.len() <= REQUEST_HEAD_MAX
}

fn told() -> Forwarded<'static> {
    Forwarded {
        client: "192.0.2.1",
        scheme: "http",
        default_host: "d",
        keep_alive: true,
        ..Forwarded::default()
    }
}

fn rewritten(text: &[u8], head: &RequestHead, forwarded: &Forwarded<'_>) -> Vec<u8> {
    let mut out = vec![];
    write_request(&mut out, text, head, forwarded);
    out
}

fn reads_as_httparse_does(text: &[u8], head: &RequestHead) {
    let mut headers = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    assert_eq!(request.parse(text), Ok(httparse::Status::Complete(text.len())), "{:?}", shown(text));
    assert_eq!(request.method.map(str::as_bytes), Some(head.method_name.of(text)));
    assert_eq!(request.version, Some(u8::from(head.version == Version::Http11)));
    let target = request.path.unwrap_or_default().as_bytes();
    assert!(target.ends_with(head.target.path_and_query.of(text)));
    same_fields(text, request.headers, &head.fields);
}

fn same_fields(text: &[u8], headers: &[httparse::Header<'_>], fields: &Fields) {
    let theirs: Vec<_> = headers.iter().map(|h| (h.name.as_bytes(), h.value)).collect();
    let ours: Vec<_> = fields.iter().map(|f| (f.name.of(text), f.value.of(text))).collect();
    assert_eq!(ours, theirs, "{:?}", shown(text));
}

pub(crate) fn response(bytes: &[u8]) {
    let whole = HeadScan::default().response(bytes);
    let mut scan = HeadScan::default();
    let cut = growing(bytes, |b| scan.response(b), |v| *v != Scanned::Incomplete);
    assert_eq!(cut, whole, "scan of {:?}", shown(bytes));
    for method in [Method::Get, Method::Head] {
        let read = ResponseHead::read(bytes, method, &mut HeadScan::default(), &mut Fields::default());
        let apart = match whole {
            Err(error) => Err(error),
            Ok(Scanned::Incomplete) => Ok(None),
            Ok(Scanned::Complete(n)) => ResponseHead::parse(&bytes[..n], method, Fields::default()).map(Some),
        };
        assert_eq!(read, apart, "read of {:?}", shown(bytes));
        let (mut scan, mut spare) = (HeadScan::default(), Fields::default());
        let cut = growing(bytes, |b| ResponseHead::read(b, method, &mut scan, &mut spare), Option::is_some);
        assert_eq!(cut, read, "read in pieces of {:?}", shown(bytes));
        let _ = ResponseHead::parse(bytes, method, Fields::default());
        if let Ok(Some(head)) = read {
            delivered(&bytes[..head.length], &head, method);
        }
    }
}

fn delivered(text: &[u8], head: &ResponseHead, method: Method) {
    let bodiless = method == Method::Head || matches!(head.status, 100..=199 | 204 | 304);
    let declared = naive::response_framing(&naive::lines(text));
    let expect = declared.map(|framing| if bodiless { Framing::None } else { framing });
    assert_eq!(Some(head.framing), expect, "{:?}", shown(text));

    let mut headers = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    assert_eq!(response.parse(text), Ok(httparse::Status::Complete(text.len())), "{:?}", shown(text));
    assert_eq!(response.code, Some(head.status));
    assert_eq!(response.reason.map(str::as_bytes), Some(head.reason.of(text)));
    assert_eq!(response.version, Some(u8::from(head.version == Version::Http11)));
    same_fields(text, response.headers, &head.fields);

    let framing = if head.framing == Framing::Close { Framing::Chunked } else { head.framing };
    let delivery = Delivery { framing, add: b"X-Node: n\r\n", ..Delivery::default() };
    let mut out = vec![];
    write_response(&mut out, text, head, &delivery);
    assert_eq!(out, naive::response(text, head, &delivery), "{:?}", shown(text));
    assert_eq!(HeadScan::default().response(&out), Ok(Scanned::Complete(out.len())), "one head, and whole");
    if !fits(&out) {
        return;
    }
    let again = ResponseHead::parse(&out, method, Fields::default());
    let again = again.unwrap_or_else(|e| panic!("{e}: {:?} from {:?}", shown(&out), shown(text)));
    assert_eq!(
        (again.status, again.framing, again.keep_alive),
        (head.status, framing, true),
        "{:?}",
        shown(&out)
    );
    if head.upgrade.is_some() {
        let mut out = vec![];
        write_switching(&mut out, text, head, &delivery);
        let again = ResponseHead::parse(&out, method, Fields::default()).unwrap();
        assert!(again.upgrade.is_some() && again.length == out.len(), "{:?}", shown(&out));
    }
}

type Body = (Vec<u8>, Vec<u8>, usize);

/// Body, trailers, and the number of bytes they took, in pieces of `step`; `None`: not complete.
fn decode(bytes: &[u8], step: usize) -> Result<Option<Body>, ChunkedError> {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let (mut body, mut start) = (vec![], 0);
    for piece in bytes.chunks(step) {
        let mut piece = piece.to_vec();
        let decoded = decoder.decode(&mut piece)?;
        assert!(decoded.consumed <= piece.len());
        body.extend_from_slice(&piece[decoded.start..decoded.start + decoded.length]);
        if decoder.is_done() {
            let trailers = decoder.take_trailers(Default::default()).unwrap_or_default();
            return Ok(Some((body, trailers, start + decoded.consumed)));
        }
        assert_eq!(decoded.consumed, piece.len(), "an incomplete body takes everything");
        start += piece.len();
    }
    Ok(None)
}

pub(crate) fn chunked(bytes: &[u8]) {
    let whole = decode(bytes, bytes.len().max(1));
    for step in [1, 2, 7] {
        assert_eq!(decode(bytes, step), whole, "{:?} in steps of {step}", shown(bytes));
    }
    let naive = naive::chunked(bytes);
    let Ok(Some((body, trailers, taken))) = whole else {
        assert_eq!(naive, None, "{:?}", shown(bytes));
        return;
    };
    let (naive_body, naive_trailers, naive_taken) = naive.unwrap_or_default();
    assert_eq!((&body, taken), (&naive_body, naive_taken), "{:?}", shown(bytes));
    // Some are left out; the others are there in their order.
    let mut all = naive_trailers.iter();
    for kept in trailers.split_inclusive(|b| *b == b'\n') {
        assert!(all.any(|line| line == kept), "{:?} in {:?}", shown(kept), shown(bytes));
        let name = shown(kept).to_lowercase();
        let worst =
            ["content-length:", "transfer-encoding:", "host:", "connection:", "authorization:", "cookie:"];
        assert!(!worst.iter().any(|start| name.starts_with(start)), "{name}");
    }
    // What was decoded and framed anew is decoded to the same.
    let mut out = vec![];
    for piece in body.chunks(5) {
        append_chunk(&mut out, piece, false);
    }
    append_last_chunk(&mut out, &trailers);
    let length = out.len();
    assert_eq!(decode(&out, 3), Ok(Some((body.clone(), trailers, length))), "{:?}", shown(&out));
    let mut buffer = vec![0; CHUNK_HEADROOM];
    buffer.extend_from_slice(&body);
    buffer.resize(buffer.len() + CHUNK_TAILROOM, 0);
    let range = frame_chunk(&mut buffer, CHUNK_HEADROOM, body.len(), true);
    let length = range.len();
    assert_eq!(decode(&buffer[range], 4), Ok(Some((body, vec![], length))));
}

#[path = "naive.rs"]
mod naive;
