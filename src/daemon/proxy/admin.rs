//! The admin endpoint: GET only, one request per connection, by hyper, on the main thread.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::limits::{
    ACCEPT_PAUSE, ADMIN_ANSWER_MAX, ADMIN_CONNECTION, ADMIN_CONNECTIONS_MAX, ADMIN_HEAD_MAX, ADMIN_HEADER,
};
use super::metrics::{self, Measured};
use crate::link::control::Status;
use crate::os::descriptor;

const PAGES: &str = "/healthz: 200 if this node does its work, 503 and why if not\n\
                     /status: what vipgate status --json says\n\
                     /metrics: for Prometheus\n";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// What a page is made of, from the main thread; the node's part is missing where PID 1 does not answer in time.
#[derive(Debug)]
pub(super) struct Question(pub(super) oneshot::Sender<Measured>);

/// An open endpoint: closed when dropped. Connections that it has accepted come to their own end.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) address: SocketAddr,
    accepting: AbortHandle,
}

impl Admin {
    pub(super) fn open(
        address: SocketAddr,
        socket: OwnedFd,
        questions: mpsc::Sender<Question>,
    ) -> io::Result<Self> {
        descriptor::set_nonblocking(socket.as_fd())?;
        let listener = TcpListener::from_std(socket.into())?;
        Ok(Self { address, accepting: tokio::spawn(accept(listener, questions)).abort_handle() })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, questions: mpsc::Sender<Question>) {
    let places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    // Whoever comes when all places are taken waits in the kernel's queue.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("the admin endpoint cannot accept: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let questions = questions.clone();
        tokio::spawn(async move {
            // A client that sends nothing, or reads nothing, gives its place up with this.
            let _ = timeout(ADMIN_CONNECTION, converse(stream, questions)).await;
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, questions: mpsc::Sender<Question>) {
    let service = service_fn(|request| {
        let questions = questions.clone();
        async move { Ok::<_, Infallible>(answer(&request, &questions).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ADMIN_HEADER)
        .max_buf_size(ADMIN_HEAD_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!("the admin endpoint: {error}");
    }
}

type Answer = Response<Full<Bytes>>;

async fn answer(request: &Request<Incoming>, questions: &mpsc::Sender<Question>) -> Answer {
    let path = request.uri().path();
    let page = match path {
        "/healthz" => Page::Health,
        "/status" => Page::Status,
        "/metrics" => Page::Metrics,
        _ => return text(StatusCode::NOT_FOUND, format!("there is no {path} here, but:\n{PAGES}")),
    };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n".into());
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    let (reply, measured) = oneshot::channel();
    // Either ends with the main thread, and so does this.
    let _ = questions.send(Question(reply)).await;
    match measured.await {
        Ok(measured) => page.of(measured),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the proxy is leaving\n".into()),
    }
}

#[derive(Clone, Copy, Debug)]
enum Page {
    Health,
    Status,
    Metrics,
}

impl Page {
    fn of(self, measured: Measured) -> Answer {
        match (self, measured.node) {
            (Self::Metrics, node) => match metrics::render(Measured { node, ..measured }) {
                Ok(page) => sized(metrics::CONTENT_TYPE, page),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
            (Self::Health | Self::Status, None) => {
                let reason = format!("process 1 did not answer within {NODE_PATIENCE:?}\n");
                text(StatusCode::SERVICE_UNAVAILABLE, reason)
            }
            (Self::Health, Some(node)) => match node.health(None) {
                Ok(why) => text(StatusCode::OK, why + "\n"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
            },
            (Self::Status, Some(node)) => match serde_json::to_string_pretty(&*node) {
                Ok(page) => sized(JSON, page + "\n"),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
        }
    }
}

fn sized(content_type: &'static str, page: String) -> Answer {
    if page.len() > ADMIN_ANSWER_MAX {
        let reason = format!("{} bytes are more than the {ADMIN_ANSWER_MAX} that are sent\n", page.len());
        return text(StatusCode::INTERNAL_SERVER_ERROR, reason);
    }
    respond(StatusCode::OK, content_type, page)
}

fn text(status: StatusCode, body: String) -> Answer {
    respond(status, TEXT, body)
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // It is about this moment.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// How long PID 1 may take to say how the node is. It asks both roles, and waits for them for a fifth of that.
pub(super) const NODE_PATIENCE: Duration = Duration::from_secs(1);

/// Those who wait for PID 1's word about the node. However many they are, it is asked once at a time.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    askers: Vec<Question>,
    asked: u64,
    /// When they are answered without.
    until: Option<tokio::time::Instant>,
}

impl Waiting {
    /// The number of the question that PID 1 is to be asked, unless one is on its way.
    pub(super) fn add(&mut self, question: Question, now: tokio::time::Instant) -> Option<u64> {
        self.askers.push(question);
        if self.until.is_some() {
            return None;
        }
        self.until = Some(now + NODE_PATIENCE);
        self.asked += 1;
        Some(self.asked)
    }

    /// Everybody's question, if `query` is the one that they wait for.
    pub(super) fn answered(&mut self, query: u64) -> Vec<Question> {
        if query == self.asked { self.release() } else { vec![] }
    }

    /// When to `release` them.
    pub(super) fn deadline(&self) -> Option<tokio::time::Instant> {
        self.until
    }

    pub(super) fn release(&mut self) -> Vec<Question> {
        self.until = None;
        std::mem::take(&mut self.askers)
    }
}

/// Answers them all.
pub(super) fn tell(askers: Vec<Question>, node: Option<Box<Status>>, measure: impl Fn() -> Measured) {
    for Question(reply) in askers {
        // Whoever has gone needs no answer.
        let _ = reply.send(Measured { node: node.clone(), ..measure() });
    }
}
