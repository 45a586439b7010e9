//! One request: read its head, find out what it gets, give it that.

use std::time::Instant;

use tokio::io::AsyncReadExt;
use tokio::time::timeout_at;

use super::buffers::Lent;
use super::client::Client;
use super::counters::Count;
use super::files;
use super::forward::{self, Call};
use super::limits::{BODY_MAX, HEADER_TIMEOUT};
use super::respond::{Manner, Reply, respond};
use super::worker::{View, Worker};
use crate::gateway::{Answer, Deed, Site, normalise, redirect_lines};
use crate::http1::{
    BodyDecoder, Fields, Forwarded, Framing, HeadError, HeadScan, Method, REQUEST_HEAD_MAX, RequestHead,
    Scanned, Version, write_request,
};

/// What becomes of the connection.
pub(super) enum Outcome<'w> {
    /// It waits for the next request, of which some bytes may be here.
    Next(Option<Lent<'w>>),
    Close,
    /// Close once the client has had time to read the answer.
    Linger,
    /// The client must not take what it got for an answer.
    Reset,
}

/// What matters about a request once its head has been let go.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) version: Version,
    /// The client would go on with this connection.
    pub(super) keep_alive: bool,
    pub(super) repeatable: bool,
    pub(super) expects_continue: bool,
    pub(super) framing: Framing,
    started: Instant,
    /// For the log, if anybody reads it.
    line: Option<String>,
}

impl Request {
    fn new(head: &RequestHead, bytes: &[u8], started: Instant) -> Self {
        let line = tracing::enabled!(tracing::Level::DEBUG).then(|| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            let host = head.host.map(|h| text(h.of(bytes))).unwrap_or_default();
            format!(
                "{} {host} {}",
                text(head.method_name.of(bytes)),
                text(head.target.path_and_query.of(bytes))
            )
        });
        Self {
            method: head.method,
            version: head.version,
            keep_alive: head.keep_alive,
            repeatable: head.is_repeatable(),
            expects_continue: head.expects_continue,
            framing: head.framing,
            started,
            line,
        }
    }

    pub(super) fn log(&self, client: &Client, status: u16, by: &str) {
        if let Some(line) = &self.line {
            let us = self.started.elapsed().as_micros();
            tracing::debug!(client = %client.facts.peer, status, us, by, "{line}");
        }
    }
}

enum Plan<'a> {
    Own(Reply<'a>),
    Forward { upstream: usize, head: Vec<u8> },
}

pub(super) async fn exchange<'w>(
    worker: &'w Worker,
    client: &mut Client,
    mut input: Lent<'w>,
) -> Outcome<'w> {
    let started = Instant::now();
    let length = match read_head(worker, client, &mut input).await {
        Ok(length) => length,
        Err(Stop::Outcome(outcome)) => return outcome,
        Err(Stop::Refuse(error)) => return refuse(worker, client, error).await,
        Err(Stop::TooSlow) => return too_slow(worker, client).await,
    };
    worker.vitals.count(Count::Requests);
    let bytes = input.filled().get(..length).unwrap_or_default();
    let head = match RequestHead::parse(bytes, Fields::default()) {
        Ok(head) => head,
        Err(error) => return refuse(worker, client, error).await,
    };
    let request = Request::new(&head, bytes, started);
    let view = worker.view_for(client.facts.listener.address);
    let Some(site) = view.snapshot.gateway.site(client.facts.listener.address, host(&head, bytes)) else {
        return Outcome::Close;
    };
    let plan = plan(worker, client, &view, site, &head, bytes);
    drop(head);
    input.consume(length);
    let mut body = BodyDecoder::new(request.framing);
    match plan {
        Plan::Own(reply) => own(worker, client, site, &request, reply, &mut body, input).await,
        Plan::Forward { upstream, mut head } => {
            let (request, body) = (&request, &mut body);
            let call = Call { worker, view: &view, site, upstream, request, head: &mut head, body };
            let outcome = forward::forward(call, client, input).await;
            worker.buffers.give_text(head);
            outcome
        }
    }
}

enum Stop<'w> {
    Outcome(Outcome<'w>),
    Refuse(HeadError),
    TooSlow,
}

/// Reads until the head is whole; its length.
async fn read_head<'w>(
    worker: &'w Worker,
    client: &mut Client,
    input: &mut Lent<'w>,
) -> Result<usize, Stop<'w>> {
    let deadline = tokio::time::Instant::now() + HEADER_TIMEOUT;
    let mut scan = HeadScan::default();
    loop {
        if !input.is_empty() {
            // Bytes that lay here, or in the kernel, while the process was frozen look like any others.
            if !client.is_cleared(worker).await {
                return Err(Stop::Outcome(Outcome::Reset));
            }
            match scan.request(input.filled()) {
                Ok(Scanned::Complete(length)) => return Ok(length),
                Ok(Scanned::Incomplete) => (),
                Err(error) => return Err(Stop::Refuse(error)),
            }
        }
        if input.space().is_empty() {
            input.grow(REQUEST_HEAD_MAX);
        }
        match timeout_at(deadline, client.stream.read(input.space())).await {
            Ok(Ok(n @ 1..)) => input.fill(n),
            Ok(Ok(0) | Err(_)) => return Err(Stop::Outcome(Outcome::Close)),
            Err(_) if input.is_empty() => return Err(Stop::Outcome(Outcome::Close)),
            Err(_) => return Err(Stop::TooSlow),
        }
    }
}

fn host<'a>(head: &RequestHead, bytes: &'a [u8]) -> Option<&'a [u8]> {
    head.host.map(|h| h.of(bytes))
}

fn plan<'a>(
    worker: &Worker,
    client: &Client,
    view: &View,
    site: &'a Site,
    head: &RequestHead,
    bytes: &[u8],
) -> Plan<'a> {
    let node = &view.snapshot.node;
    let path = match normalise(head.target.path.of(bytes)) {
        Ok(path) => path,
        Err(error) => {
            worker.vitals.count(Count::Malformed);
            tracing::debug!(client = %client.facts.peer, "{error}");
            return Plan::Own(Reply::error(400, node));
        }
    };
    match site.route(&path) {
        None => Plan::Own(Reply::error(404, node)),
        Some(Deed::Respond { status, content_type, body }) => {
            Plan::Own(Reply::Whole(Answer::respond(*status, content_type, body)))
        }
        Some(Deed::AddSlash) => {
            let query = head.target.query(bytes);
            Plan::Own(Reply::Whole(Answer::redirect(301, node, redirect_lines(&path, query))))
        }
        Some(Deed::Files { root, index }) => Plan::Own(files::reply(node, root, index, &path, head, bytes)),
        Some(Deed::Proxy { upstream }) => {
            if matches!(head.framing, Framing::Length(n) if n > BODY_MAX) {
                worker.vitals.count(Count::BodyTooLarge);
                return Plan::Own(Reply::error(413, node));
            }
            let Some(group) = view.snapshot.upstreams.get(*upstream) else {
                return Plan::Own(Reply::error(502, node));
            };
            let mut text = worker.buffers.take_text();
            let forwarded = Forwarded {
                client: client.facts.name(),
                scheme: "http",
                default_host: &site.name,
                keep_alive: group.config.keepalive > 0,
                ..Forwarded::default()
            };
            write_request(&mut text, bytes, head, &forwarded);
            Plan::Forward { upstream: *upstream, head: text }
        }
    }
}

/// Gives this node's own answer. A body that came along with the head is passed over; one that is still to come ends
/// the connection.
pub(super) async fn own<'w>(
    worker: &'w Worker,
    client: &mut Client,
    site: &Site,
    request: &Request,
    reply: Reply<'_>,
    body: &mut BodyDecoder,
    mut input: Lent<'w>,
) -> Outcome<'w> {
    let passed = body.decode(input.filled_mut()).map(|decoded| input.consume(decoded.consumed));
    let complete = passed.is_ok() && body.is_done();
    let status = reply.status();
    // After these nginx trusts nothing that follows, either.
    let distrusted = matches!(status, 400 | 413);
    let close = !complete || distrusted || !request.keep_alive || client.facts.shared.is_leaving();
    let manner = Manner { version: request.version, method: request.method, close, add: &site.add };
    let sent = respond(worker, client, reply, &manner).await;
    request.log(client, status, "own");
    match sent {
        Err(_) => Outcome::Reset,
        Ok(()) if !close => Outcome::Next((!input.is_empty()).then_some(input)),
        // The client closes, as it said, and sends nothing more.
        Ok(()) if complete && !request.keep_alive && input.is_empty() => Outcome::Close,
        Ok(()) => Outcome::Linger,
    }
}

async fn refuse<'w>(worker: &'w Worker, client: &mut Client, error: HeadError) -> Outcome<'w> {
    worker.vitals.count(Count::Malformed);
    tracing::debug!(client = %client.facts.peer, status = error.status(), "{error}");
    last_words(worker, client, error.status()).await
}

async fn too_slow<'w>(worker: &'w Worker, client: &mut Client) -> Outcome<'w> {
    worker.vitals.count(Count::Timeouts);
    last_words(worker, client, 408).await
}

/// Answers what cannot be understood, in the name of the address's first server, and ends the connection.
async fn last_words<'w>(worker: &'w Worker, client: &mut Client, status: u16) -> Outcome<'w> {
    let view = worker.view_for(client.facts.listener.address);
    let site = view.snapshot.gateway.site(client.facts.listener.address, None);
    let add = site.map(|s| s.add.as_slice()).unwrap_or_default();
    let manner = Manner { version: Version::Http11, method: Method::Get, close: true, add };
    let reply = Reply::error(status, &view.snapshot.node);
    match respond(worker, client, reply, &manner).await {
        Ok(()) => Outcome::Linger,
        Err(_) => Outcome::Reset,
    }
}
