//! Requests written anew: no head is ever copied raw from one side to the other.
//!
//! What belongs to one connection stays on it (RFC 9110 section 7.6.1); framing is stated once, by whoever frames.

use std::net::IpAddr;

use super::connection::is_named;
use super::copy::{Run, copy_fields, framing_line, line};
use super::fields::{Field, is_token_byte};
use super::framing::Framing;
use super::head::Version;
use super::known::{Known, KnownSet, Scope};
use super::request::{Method, RequestHead};
use super::rules::{Rules, is_value};
use super::target::is_target_byte;

/// What an upstream is told about the client, and how the body follows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forwarded<'a> {
    /// The client's address.
    pub client: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host for a client of HTTP/1.0 that named none.
    pub default_host: &'a str,
    /// The upstream connection may be used again.
    pub keep_alive: bool,
    /// Pass on the wish for another protocol, if the request has a valid one.
    pub upgrade: bool,
    /// In place of path and query. What a target must not contain is percent-encoded.
    pub target: Option<&'a [u8]>,
    /// Add an element to Forwarded (RFC 7239).
    pub forwarded: bool,
    /// Name of this proxy in Via (RFC 9110 section 7.6.3), a token or host.
    pub via: Option<&'a str>,
    pub rules: Rules<'a>,
}

/// Room for the lines that are written besides the client's.
const OWN_LINES: usize = 512;

/// Appends the head of `request`, which was parsed from `head`, as an upstream gets it: HTTP/1.1, origin-form, Host as
/// the client wrote it (nginx's `proxy_set_header Host $http_host`). The body, if there is one, follows with the
/// framing it came with. Expect stays here, because the 100 is ours to send.
pub fn write_request(out: &mut Vec<u8>, head: &[u8], request: &RequestHead, forwarded: &Forwarded<'_>) {
    let rules = &forwarded.rules;
    out.reserve(head.len() + OWN_LINES);
    let run = request_line(out, head, request, forwarded.target);
    let own_host = request.host.map(|h| h.of(head)).unwrap_or(forwarded.default_host.as_bytes());
    let host = rules.host.filter(|v| is_value(v) && !v.is_empty());
    let run = host_line(out, head, request, run, host, own_host);

    let named = request.fields.options.named;
    let plain = !named && rules.drop.is_empty();
    let mut stays_here = STAYS_HERE;
    if forwarded.forwarded {
        stays_here.insert(Known::Forwarded);
    }
    if request.framing != Framing::Chunked {
        // It speaks of a chunked body's end.
        stays_here.insert(Known::Trailer);
    }
    copy_fields(out, head, &request.fields, run, |field| {
        let name = field.name;
        !stays_here.has(field.known)
            && (plain || !(is_named(head, &request.fields, name.of(head)) || rules.drop.has(name.of(head))))
    });
    out.extend_from_slice(rules.add);

    if !set(out, b"X-Forwarded-For", rules.forwarded_for) {
        // One line with the whole chain, as nginx's `$proxy_add_x_forwarded_for`.
        chain(out, head, request, b"X-Forwarded-For", Known::XForwardedFor, |_| true);
        out.extend_from_slice(forwarded.client.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !set(out, b"X-Forwarded-Proto", rules.forwarded_proto) {
        line(out, b"X-Forwarded-Proto", forwarded.scheme.as_bytes());
    }
    if !set(out, b"X-Forwarded-Host", rules.forwarded_host) {
        line(out, b"X-Forwarded-Host", own_host);
    }
    if !set(out, b"X-Real-IP", rules.real_ip) {
        line(out, b"X-Real-IP", forwarded.client.as_bytes());
    }
    if forwarded.forwarded {
        chain(out, head, request, b"Forwarded", Known::Forwarded, is_balanced);
        forwarded_element(out, forwarded, own_host);
    }
    if let Some(via) = forwarded.via {
        via_line(out, request.version, via);
    }
    framing_line(out, request.framing);
    connection_lines(out, head, request, forwarded);
    out.extend_from_slice(b"\r\n");
}

/// The request line; as a run if it is to be written just as it came.
fn request_line(out: &mut Vec<u8>, head: &[u8], request: &RequestHead, replaced: Option<&[u8]>) -> Run {
    let target = &request.target;
    match (replaced, target.authority, request.version) {
        (None, None, Version::Http11) => {
            return Run::new(
                request.method_name.start(),
                target.path_and_query.end() + b" HTTP/1.1\r\n".len(),
            );
        }
        (_, _, Version::Http10 | Version::Http11) => (),
    }
    out.extend_from_slice(request.method_name.of(head));
    out.push(b' ');
    match (replaced, target.path_and_query.of(head), request.method) {
        (Some(target), _, _) => {
            if !matches!(target, [b'/', ..] | b"*") {
                out.push(b'/');
            }
            for byte in target {
                escaped(out, *byte, is_target_byte(*byte));
            }
        }
        // RFC 9112 sections 3.2.1 and 3.2.4: an absolute-form target without a path.
        (None, b"", Method::Options) => out.push(b'*'),
        (None, b"", _) => out.push(b'/'),
        (None, target, _) => out.extend_from_slice(target),
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    Run::default()
}

/// Appends a path as it is meant, so that it can stand in a target: what nginx escapes when it replaces one.
pub fn append_path(out: &mut Vec<u8>, path: &[u8]) {
    for byte in path {
        escaped(out, *byte, is_target_byte(*byte) && !matches!(byte, b'%' | b'?'));
    }
}

fn escaped(out: &mut Vec<u8>, byte: u8, legal: bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if legal {
        out.push(byte);
    } else {
        let digit = |n: u8| DIGITS.get(usize::from(n & 15)).copied().unwrap_or_default();
        out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte)]);
    }
}

/// Host comes first. It belongs to the run if that is where and how it came.
fn host_line(
    out: &mut Vec<u8>,
    head: &[u8],
    request: &RequestHead,
    mut run: Run,
    replaced: Option<&[u8]>,
    own: &[u8],
) -> Run {
    let is_first =
        |field: &Field| field.known == Known::Host && field.canonical && field.name.of(head) == b"Host";
    match (replaced, request.target.authority, request.fields.iter().next()) {
        (None, None, Some(field)) if is_first(&field) => {
            run.add(out, head, field.line());
            run
        }
        _ => {
            run.write(out, head);
            line(out, b"Host", replaced.unwrap_or(own));
            Run::default()
        }
    }
}

/// Whether a rule speaks of the field, which is then written as it says.
fn set(out: &mut Vec<u8>, name: &[u8], rule: Option<&[u8]>) -> bool {
    let Some(value) = rule.filter(|v| is_value(v)) else { return false };
    if !value.is_empty() {
        line(out, name, value);
    }
    true
}

/// The start of a line, and what the client wrote in such fields, each followed by a comma.
fn chain(
    out: &mut Vec<u8>,
    head: &[u8],
    request: &RequestHead,
    name: &[u8],
    known: Known,
    legal: impl Fn(&[u8]) -> bool,
) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    if request.fields.has(known) && !is_named(head, &request.fields, name) {
        let values = request.fields.values(known).map(|v| v.of(head));
        for value in values.filter(|v| !v.is_empty() && legal(v)) {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    }
}

/// Every quoted string ends: else what is added behind it would be a part of it.
fn is_balanced(value: &[u8]) -> bool {
    let mut quoted = false;
    let mut bytes = value.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => _ = bytes.next(),
            _ => (),
        }
    }
    !quoted
}

/// RFC 7239 section 4; addresses as in section 6.
fn forwarded_element(out: &mut Vec<u8>, forwarded: &Forwarded<'_>, host: &[u8]) {
    out.extend_from_slice(b"for=");
    match forwarded.client.parse() {
        Ok(IpAddr::V4(_)) => out.extend_from_slice(forwarded.client.as_bytes()),
        Ok(IpAddr::V6(_)) => {
            out.extend_from_slice(b"\"[");
            out.extend_from_slice(forwarded.client.as_bytes());
            out.extend_from_slice(b"]\"");
        }
        Err(_) => out.extend_from_slice(b"unknown"),
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(forwarded.scheme.as_bytes());
    if !host.is_empty() && host.iter().all(|b| is_token_byte(*b)) {
        out.extend_from_slice(b";host=");
        out.extend_from_slice(host);
    } else if host.iter().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\')) {
        out.extend_from_slice(b";host=\"");
        out.extend_from_slice(host);
        out.push(b'"');
    }
    out.extend_from_slice(b"\r\n");
}

/// A line of its own continues the chain of the lines above it (RFC 9110 section 5.3).
pub(super) fn via_line(out: &mut Vec<u8>, received: Version, name: &str) {
    out.extend_from_slice(match received {
        Version::Http10 => b"Via: 1.0 ",
        Version::Http11 => b"Via: 1.1 ",
    });
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn connection_lines(out: &mut Vec<u8>, head: &[u8], request: &RequestHead, forwarded: &Forwarded<'_>) {
    let upgrade = request.upgrade.filter(|_| forwarded.upgrade);
    if let Some(protocols) = upgrade {
        line(out, b"Upgrade", protocols.of(head));
    }
    // RFC 9110 section 10.1.4: of TE, only this may be said again, and as an option of the connection.
    let te = request.accepts_trailers;
    if te {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    let options: &[u8] = match (upgrade.is_some(), te, forwarded.keep_alive) {
        (true, false, _) => b"Connection: upgrade\r\n",
        (true, true, _) => b"Connection: upgrade, TE\r\n",
        (false, true, true) => b"Connection: TE\r\n",
        (false, true, false) => b"Connection: close, TE\r\n",
        (false, false, false) => b"Connection: close\r\n",
        (false, false, true) => b"",
    };
    out.extend_from_slice(options);
}

/// Ends at this hop whether or not Connection names it (RFC 9110 section 7.6.1).
pub(super) const HOP_BY_HOP: KnownSet = KnownSet::of_those(Scope::Hop);

/// Not copied from a request: of this hop, or written anew.
const STAYS_HERE: KnownSet = HOP_BY_HOP.with(KnownSet::of_those(Scope::Anew));

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
