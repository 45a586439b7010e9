//! What is known about one exchange, and the value that each variable has by it. The meanings are nginx's.

use std::net::SocketAddr;
use std::time::Duration;

use super::digits::{SecondText, push_hex, push_number, push_padded, push_seconds};
use super::lookup::{argument, basic_user, cookie, field_values};
use super::path::normalise;
use super::select::host_name;
use super::sink::Sink;
use super::template::Variable;
use crate::http1::{Method, RequestHead, ResponseHead, Version};

/// Borrowed from whoever runs the exchange; nothing in it is computed before a template asks for it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub node: &'a str,
    /// The first name of the server that the request came to, as configured; empty: it has none.
    pub server_name: &'a str,
    pub scheme: &'a str,
    /// The client's address, without its port.
    pub client: &'a str,
    pub client_port: u16,
    /// Where the client connected to.
    pub local: SocketAddr,
    /// The connection's number, and that of the request on it, from 1.
    pub connection: u64,
    pub connection_requests: u64,
    /// From `RequestIds`; the same each time one exchange is asked.
    pub request_id: u128,
    /// Since 1970.
    pub now: Duration,
    /// The second of `now`.
    pub second: &'a SecondText,
    /// The bytes of the request's head; where it could not be parsed, as many as there are.
    pub head: &'a [u8],
    /// `None`: it could not be parsed.
    pub request: Option<&'a RequestHead>,
    /// The upstream that the request is forwarded to; empty: it is not.
    pub upstream: &'a str,
    pub outcome: Outcome<'a>,
}

/// What is not known before the response.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome<'a> {
    /// 0: none was sent.
    pub status: u16,
    /// In their order.
    pub tries: &'a [Try],
    /// The response's head as the upstream sent it, with its bytes.
    pub response: Option<(&'a [u8], &'a ResponseHead)>,
    /// Bytes sent to the client, with and without the head.
    pub bytes_sent: u64,
    pub body_bytes_sent: u64,
    /// Bytes of the request, head and body.
    pub request_length: u64,
    /// From the first byte of the request.
    pub request_time: Duration,
}

/// One server that was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Try {
    /// `None`: no server of the upstream could be asked.
    pub address: Option<SocketAddr>,
    /// As nginx counts: 502 and 504 for a try that brought no response; `None`: given up before anybody knew.
    pub status: Option<u16>,
    /// Until connected; zero on a connection that was there already.
    pub connect_time: Option<Duration>,
    /// Until the head of the response was there.
    pub header_time: Option<Duration>,
    /// Until the end of the try.
    pub response_time: Option<Duration>,
}

impl Facts<'_> {
    /// Writes the value of `variable`; false: there is none, which is not the same as an empty one.
    pub(super) fn write(&self, variable: &Variable, sink: &mut Sink<'_>) -> bool {
        let outcome = &self.outcome;
        match variable {
            Variable::Args | Variable::QueryString => {
                return self.query().is_some_and(|query| {
                    sink.text(query);
                    true
                });
            }
            Variable::BodyBytesSent => push_number(sink.out(), outcome.body_bytes_sent),
            Variable::BytesSent => push_number(sink.out(), outcome.bytes_sent),
            Variable::Connection => push_number(sink.out(), self.connection),
            Variable::ConnectionRequests => push_number(sink.out(), self.connection_requests),
            Variable::Host => match self.request.and_then(|r| r.host) {
                Some(host) => sink.lower_case(host_name(host.of(self.head))),
                None => sink.lower_case(self.server_name.as_bytes()),
            },
            Variable::Hostname => sink.text(self.node.as_bytes()),
            Variable::IsArgs => sink.own(if self.query().is_some() { b"?" } else { b"" }),
            Variable::Msec => push_seconds(sink.out(), self.now),
            Variable::ProxyAddXForwardedFor => {
                let values = self.request_values("x-forwarded-for").filter(|value| !value.is_empty());
                for value in values {
                    sink.text(value);
                    sink.own(b", ");
                }
                sink.own(self.client.as_bytes());
            }
            Variable::ProxyHost => {
                sink.text(self.upstream.as_bytes());
                return !self.upstream.is_empty();
            }
            Variable::RemoteAddr => sink.own(self.client.as_bytes()),
            Variable::RemotePort => push_number(sink.out(), self.client_port.into()),
            Variable::RemoteUser => {
                let fields = self.request.map(|request| &request.fields);
                let credentials =
                    fields.and_then(|fields| field_values(self.head, fields, "authorization").next());
                return credentials.and_then(basic_user).is_some_and(|user| {
                    sink.text(&user);
                    true
                });
            }
            Variable::Request => sink.text(self.request_line()),
            Variable::RequestId => push_hex(sink.out(), self.request_id),
            Variable::RequestLength => push_number(sink.out(), outcome.request_length),
            Variable::RequestMethod => {
                return self.of_request(sink, |request, head| request.method_name.of(head));
            }
            Variable::RequestTime => push_seconds(sink.out(), outcome.request_time),
            Variable::RequestUri => return self.of_request(sink, target),
            Variable::Scheme => sink.own(self.scheme.as_bytes()),
            Variable::ServerAddr => sink.own(self.local.ip().to_string().as_bytes()),
            Variable::ServerName => sink.text(self.server_name.as_bytes()),
            Variable::ServerPort => push_number(sink.out(), self.local.port().into()),
            Variable::ServerProtocol => {
                return self.of_request(sink, |request, _| match request.version {
                    Version::Http10 => b"HTTP/1.0",
                    Version::Http11 => b"HTTP/1.1",
                });
            }
            Variable::Status => push_padded(sink.out(), outcome.status.into(), 3),
            Variable::TimeIso8601 => sink.own(self.second.iso8601()),
            Variable::TimeLocal => sink.own(self.second.local()),
            Variable::UpstreamAddr => {
                return self.of_tries(sink, |one, sink| match one.address {
                    Some(address) => push_address(sink.out(), address),
                    None => sink.text(self.upstream.as_bytes()),
                });
            }
            Variable::UpstreamConnectTime => {
                return self.of_tries(sink, |one, sink| push_time(sink.out(), one.connect_time));
            }
            Variable::UpstreamHeaderTime => {
                return self.of_tries(sink, |one, sink| push_time(sink.out(), one.header_time));
            }
            Variable::UpstreamResponseTime => {
                return self.of_tries(sink, |one, sink| push_time(sink.out(), one.response_time));
            }
            Variable::UpstreamStatus => {
                return self.of_tries(sink, |one, sink| match one.status {
                    Some(status) => push_number(sink.out(), status.into()),
                    None => sink.own(b"-"),
                });
            }
            Variable::Uri => {
                let path = self.request.map(|r| normalise(r.target.path.of(self.head)));
                // Without a request that is worth the name there is no path.
                let Some(Ok(path)) = path else { return false };
                sink.text(&path);
            }
            Variable::RequestField(name) => return self.write_request_field(name, sink),
            Variable::UpstreamField(name) => {
                let Some((head, response)) = outcome.response else { return false };
                return join(sink, name, field_values(head, &response.fields, name));
            }
            Variable::Argument(name) => {
                let value = self.query().and_then(|query| argument(query, name.as_bytes()));
                return value.is_some_and(|value| {
                    sink.text(value);
                    true
                });
            }
            Variable::Cookie(name) => {
                let mut values = self.request_values("cookie");
                return values.find_map(|line| cookie(line, name.as_bytes())).is_some_and(|value| {
                    sink.text(value);
                    true
                });
            }
        }
        true
    }

    /// `$http_NAME`.
    pub(super) fn write_request_field(&self, name: &str, sink: &mut Sink<'_>) -> bool {
        self.request.is_some_and(|request| join(sink, name, field_values(self.head, &request.fields, name)))
    }

    fn of_request(
        &self,
        sink: &mut Sink<'_>,
        part: for<'r> fn(&'r RequestHead, &'r [u8]) -> &'r [u8],
    ) -> bool {
        self.request.is_some_and(|request| {
            sink.text(part(request, self.head));
            true
        })
    }

    fn of_tries(&self, sink: &mut Sink<'_>, each: impl Fn(&Try, &mut Sink<'_>)) -> bool {
        for (n, one) in self.outcome.tries.iter().enumerate() {
            if n > 0 {
                sink.own(b", ");
            }
            each(one, sink);
        }
        !self.outcome.tries.is_empty()
    }

    /// Behind the question mark, if there is anything.
    fn query(&self) -> Option<&[u8]> {
        let query = self.request?.target.query(self.head);
        query.strip_prefix(b"?").filter(|query| !query.is_empty())
    }

    fn request_values<'n>(&'n self, name: &'n str) -> impl Iterator<Item = &'n [u8]> {
        let fields = self.request.map(|request| &request.fields);
        fields.into_iter().flat_map(move |fields| field_values(self.head, fields, name))
    }

    /// As it was sent, also where nothing else could be made of it.
    fn request_line(&self) -> &[u8] {
        let head = self.head.strip_prefix(b"\r\n").unwrap_or(self.head);
        let end = memchr::memchr(b'\n', head).unwrap_or(head.len());
        let line = head.get(..end).unwrap_or_default();
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

/// An absolute-form target without its authority, as nginx has it.
fn target<'r>(request: &'r RequestHead, head: &'r [u8]) -> &'r [u8] {
    match (request.target.path_and_query.of(head), request.method) {
        (b"", Method::Options) => b"*",
        (b"", _) => b"/",
        (target, _) => target,
    }
}

/// The values of a repeated field are one list (RFC 9110 section 5.3); cookies are pairs (RFC 6265 section 4.2.1).
fn join<'v>(sink: &mut Sink<'_>, name: &str, values: impl Iterator<Item = &'v [u8]>) -> bool {
    let separator: &[u8] = if name == "cookie" { b"; " } else { b", " };
    let mut found = false;
    for value in values {
        if found {
            sink.own(separator);
        }
        sink.text(value);
        found = true;
    }
    found
}

fn push_time(out: &mut Vec<u8>, time: Option<Duration>) {
    match time {
        Some(time) => push_seconds(out, time),
        None => out.push(b'-'),
    }
}

fn push_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(v4) => {
            for (n, part) in v4.ip().octets().into_iter().enumerate() {
                if n > 0 {
                    out.push(b'.');
                }
                push_number(out, part.into());
            }
            out.push(b':');
            push_number(out, v4.port().into());
        }
        SocketAddr::V6(v6) => out.extend_from_slice(v6.to_string().as_bytes()),
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
pub(super) mod tests;
