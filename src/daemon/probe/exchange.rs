//! One request on one connection, and how its end is named.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::target::Target;
use crate::probe::{Failure, Outcome};

/// Bytes of a body that are read; a longer one is an answer all the same.
const BODY_MAX: usize = 16 << 20;
/// Bytes of a node's name that are kept.
const NAME_MAX: usize = 64;
/// What an answer may name its node with.
const SERVED_BY: &str = "x-served-by";
const AGENT: &str = concat!("vipgate-probe/", env!("CARGO_PKG_VERSION"));

pub(super) type Sender = SendRequest<Empty<Bytes>>;
pub(super) type Connection = hyper::client::conn::http1::Connection<TokioIo<TcpStream>, Empty<Bytes>>;

/// Opens a connection, asks, reads the whole answer.
pub(super) async fn fresh(address: SocketAddr, target: &Target) -> Outcome {
    let (mut sender, connection) = match open(address).await {
        Ok(opened) => opened,
        Err(how) => return Outcome::Failed { how },
    };
    let mut request = request(target);
    // The server closes first: else 200 requests a second fill the prober's ports with TIME_WAIT within minutes.
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    tokio::select! {
        outcome = ask(&mut sender, request) => outcome,
        never = drive(connection) => match never {},
    }
}

pub(super) async fn open(address: SocketAddr) -> Result<(Sender, Connection), Failure> {
    let stream = TcpStream::connect(address).await.map_err(|e| of_io(&e, true))?;
    // A request of one small segment leaves at once either way; a failure here changes nothing that is measured.
    let _ = stream.set_nodelay(true);
    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| of_hyper(&e))
}

pub(super) fn request(target: &Target) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = target.path.clone();
    request.headers_mut().insert(HOST, target.authority.clone());
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
    request
}

pub(super) async fn ask(sender: &mut Sender, request: Request<Empty<Bytes>>) -> Outcome {
    match sender.send_request(request).await {
        Ok(response) => read(response).await,
        Err(e) => Outcome::Failed { how: of_hyper(&e) },
    }
}

/// Moves the connection's bytes for as long as somebody waits for an answer on it, whose side learns of its end.
pub(super) async fn drive(connection: Connection) -> std::convert::Infallible {
    // The error reaches the request that it spoils.
    let _ = connection.await;
    std::future::pending().await
}

async fn read(response: Response<hyper::body::Incoming>) -> Outcome {
    let (head, mut body) = response.into_parts();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => length += frame.data_ref().map_or(0, Bytes::len),
            Err(e) => return Outcome::Failed { how: of_hyper(&e) },
        }
        if length > BODY_MAX {
            break;
        }
    }
    match head.status.as_u16() {
        200..=399 => Outcome::Answered {
            by: head
                .headers
                .get(SERVED_BY)
                .and_then(|name| name.to_str().ok())
                .map(|name| name.chars().take(NAME_MAX).collect()),
        },
        500.. => Outcome::Failed { how: Failure::ServerError },
        _ => Outcome::Failed { how: Failure::OtherStatus },
    }
}

fn of_hyper(e: &hyper::Error) -> Failure {
    let mut source = e.source();
    while let Some(inner) = source {
        if let Some(inner) = inner.downcast_ref::<io::Error>() {
            return of_io(inner, false);
        }
        source = inner.source();
    }
    if e.is_parse() { Failure::Malformed } else { Failure::Closed }
}

fn of_io(e: &io::Error, connecting: bool) -> Failure {
    use io::ErrorKind as Kind;
    match e.kind() {
        Kind::ConnectionRefused => Failure::Refused,
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Failure::Reset,
        Kind::HostUnreachable | Kind::NetworkUnreachable => Failure::Unreachable,
        Kind::UnexpectedEof => Failure::Closed,
        Kind::TimedOut => Failure::Timeout,
        _ if connecting => Failure::Local,
        _ => Failure::Closed,
    }
}
