//! Responses written anew, and the heads of answers that no upstream gave.

use super::connection::is_named;
use super::copy::{Run, copy_fields, framing_line, line, number};
use super::framing::Framing;
use super::head::Version;
use super::known::Known;
use super::response::ResponseHead;
use super::rewrite::{HOP_BY_HOP, via_line};
use super::rules::Names;

/// How a response reaches the client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivery<'a> {
    pub version: Version,
    /// The connection ends with this response.
    pub close: bool,
    /// How the body is framed for the client.
    pub framing: Framing,
    /// Whole lines to add, each with its CRLF.
    pub add: &'a [u8],
    /// Fields of the upstream's that the client does not get.
    pub hide: &'a Names,
    /// Name of this proxy in Via (RFC 9110 section 7.6.3), a token or host.
    pub via: Option<&'a str>,
}

impl Delivery<'_> {
    fn connection_line(&self, out: &mut Vec<u8>) {
        match (self.close, self.version) {
            (true, _) => out.extend_from_slice(b"Connection: close\r\n"),
            // A client of HTTP/1.0 has to be told that its wish was granted.
            (false, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
            (false, Version::Http11) => (),
        }
    }
}

/// Room for the lines that are written besides the upstream's and those to add.
const OWN_LINES: usize = 128;

/// Appends the head of `response`, which was parsed from `head`, as the client gets it.
pub fn write_response(out: &mut Vec<u8>, head: &[u8], response: &ResponseHead, delivery: &Delivery<'_>) {
    out.reserve(head.len() + delivery.add.len() + OWN_LINES);
    end_to_end(out, head, response, delivery);
    match (delivery.framing, response.status) {
        // RFC 9110 section 8.6: the length that a GET would have had.
        (Framing::None, status) if !matches!(status, 100..=199 | 204) => {
            if let Some(length) = response.fields.only(Known::ContentLength) {
                line(out, b"Content-Length", length.of(head));
            }
        }
        (framing, _) => framing_line(out, framing),
    }
    if let Some(via) = delivery.via {
        via_line(out, response.version, via);
    }
    out.extend_from_slice(delivery.add);
    delivery.connection_line(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends an informational response. Never for a client of HTTP/1.0 (RFC 9110 section 15.2).
pub fn write_interim(out: &mut Vec<u8>, head: &[u8], response: &ResponseHead, hide: &Names) {
    end_to_end(out, head, response, &Delivery { hide, ..Delivery::default() });
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a 101 that has its `upgrade`. Of `delivery`, what concerns the connection means nothing: its
/// bytes are another protocol's from here on.
pub fn write_switching(out: &mut Vec<u8>, head: &[u8], response: &ResponseHead, delivery: &Delivery<'_>) {
    end_to_end(out, head, response, &Delivery { framing: Framing::None, ..*delivery });
    if let Some(via) = delivery.via {
        via_line(out, response.version, via);
    }
    out.extend_from_slice(delivery.add);
    if let Some(protocol) = response.upgrade {
        line(out, b"Upgrade", protocol.of(head));
    }
    out.extend_from_slice(b"Connection: upgrade\r\n\r\n");
}

/// The head of an answer that no upstream gave.
#[derive(Clone, Copy, Debug)]
pub struct OwnHead<'a> {
    pub status: u16,
    pub content_type: Option<&'a str>,
    /// Not for 1xx, 204 and 304.
    pub content_length: Option<u64>,
    /// Date in the form of RFC 9110 section 5.6.7.
    pub date: &'a str,
    /// Whole lines, each with its CRLF: validators, Location, Allow.
    pub lines: &'a [u8],
}

pub fn write_own(out: &mut Vec<u8>, own: &OwnHead<'_>, delivery: &Delivery<'_>) {
    status_line(out, own.status, super::reason(own.status).as_bytes());
    line(out, b"Server", b"vipgate");
    line(out, b"Date", own.date.as_bytes());
    if let Some(content_type) = own.content_type {
        line(out, b"Content-Type", content_type.as_bytes());
    }
    if let Some(length) = own.content_length {
        framing_line(out, Framing::Length(length));
    }
    out.extend_from_slice(own.lines);
    out.extend_from_slice(delivery.add);
    delivery.connection_line(out);
    out.extend_from_slice(b"\r\n");
}

/// Status line and fields, without those of this hop.
fn end_to_end(out: &mut Vec<u8>, head: &[u8], response: &ResponseHead, delivery: &Delivery<'_>) {
    let fields = &response.fields;
    let run = match (response.version, response.reason.is_empty()) {
        (Version::Http11, false) => Run::new(0, response.reason.end() + b"\r\n".len()),
        (Version::Http10 | Version::Http11, _) => {
            status_line(out, response.status, response.reason.of(head));
            Run::default()
        }
    };
    let plain = !fields.options.named && delivery.hide.is_empty();
    let mut stays_here = HOP_BY_HOP;
    stays_here.insert(Known::ContentLength);
    if delivery.framing != Framing::Chunked {
        stays_here.insert(Known::Trailer);
    }
    copy_fields(out, head, fields, run, |field| {
        let name = field.name;
        !stays_here.has(field.known)
            && (plain || !(is_named(head, fields, name.of(head)) || delivery.hide.has(name.of(head))))
    });
}

fn status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    number(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
#[path = "deliver_tests.rs"]
mod tests;
