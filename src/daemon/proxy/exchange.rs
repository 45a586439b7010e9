//! One request: read its head, find out what it gets, give it that.

use std::borrow::Cow;
use std::cell::Cell;

use super::buffers::Lent;
use super::client::Client;
use super::counters::Count;
use super::deadline::Wait;
use super::files;
use super::forward::{Bound, forward};
use super::respond::{Reply, own, respond};
use super::tally::Tally;
use super::worker::{View, Worker};
use crate::gateway::{Answer, Deed, PathError, Route, Site, normalise, redirect_lines};
use crate::http1::{
    BodyDecoder, ChunkedError, Decoded, HeadError, HeadScan, Method, REQUEST_HEAD_MAX, RequestHead, Scanned,
    Version,
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

/// A request that has been understood, and what is known about where it goes.
pub(super) struct Exchange<'a> {
    pub(super) worker: &'a Worker,
    pub(super) client: &'a Client,
    pub(super) view: &'a View,
    pub(super) site: &'a Site,
    pub(super) route: Option<&'a Route>,
    pub(super) head: &'a RequestHead,
    /// The head as it came.
    pub(super) bytes: &'a [u8],
    /// Normalised.
    pub(super) path: &'a [u8],
    pub(super) tally: Tally,
    /// The client is told that its connection ends with this answer.
    pub(super) close: Cell<bool>,
}

/// What came of a request's body along with its head.
pub(super) struct FirstPiece<'a> {
    pub(super) data: &'a [u8],
    pub(super) body: &'a mut BodyDecoder,
}

impl Exchange<'_> {
    pub(super) fn method(&self) -> Method {
        self.head.method
    }

    pub(super) fn version(&self) -> Version {
        self.head.version
    }

    pub(super) fn node(&self) -> &str {
        &self.view.snapshot.node
    }
}

/// `pipelined`: what came behind the last request.
pub(super) async fn exchange<'w>(
    worker: &'w Worker,
    client: &Client,
    pipelined: Option<Lent<'w>>,
) -> Outcome<'w> {
    let (mut input, length) = match read_head(worker, client, pipelined).await {
        Ok(read) => read,
        Err(Stop::Outcome(outcome)) => return outcome,
        Err(Stop::Refuse(error)) => return refuse(worker, client, error).await,
        Err(Stop::TooSlow) => return too_slow(worker, client).await,
    };
    worker.vitals.count(Count::Requests);
    client.requests.set(client.requests.get().saturating_add(1));
    let (bytes, behind) = input.split_at(length);
    let head = match RequestHead::parse(bytes, worker.take_fields()) {
        Ok(head) => head,
        Err(error) => return refuse(worker, client, error).await,
    };
    let view = worker.view_for(client.listener.address);
    let host = head.host.map(|h| h.of(bytes));
    let Some(site) = client.listener.place(&view).and_then(|place| view.snapshot.gateway.site(place, host))
    else {
        return Outcome::Close;
    };
    client.limits.set(site.client);
    let path = normalise(head.target.path.of(bytes));
    let route = path.as_ref().ok().and_then(|path| site.route(path));
    let mut body = BodyDecoder::new(head.framing);
    let first = body.decode(behind);
    let consumed = first.as_ref().map_or(0, |decoded| decoded.consumed);
    let exchange = Exchange {
        worker,
        client,
        view: &view,
        site,
        route,
        head: &head,
        bytes,
        path: path.as_deref().unwrap_or_default(),
        tally: Tally::default(),
        close: Cell::new(
            !head.keep_alive
                || client.shared.is_leaving()
                || site.client.keepalive_timeout.is_zero()
                || client.requests.get() >= site.client.keepalive_requests,
        ),
    };
    let data = match &first {
        Ok(Decoded { start, length, .. }) => behind.get(*start..start + length).unwrap_or_default(),
        Err(_) => b"",
    };
    let piece = FirstPiece { data, body: &mut body };
    let bound = answer(&exchange, &path, first.as_ref().err(), piece).await;
    drop(exchange);
    drop(path);
    worker.give_fields(head.fields);
    input.consume(length + consumed);
    finish(client, bound, &body, input)
}

/// What becomes of the connection once the answer is out.
fn finish<'w>(client: &Client, bound: Bound<'w>, body: &BodyDecoder, input: Lent<'w>) -> Outcome<'w> {
    let (close, rest) = match bound {
        Bound::Answered { close, rest } => (close, rest.unwrap_or(input)),
        Bound::Gone => return Outcome::Close,
        Bound::Cut => return Outcome::Reset,
        Bound::Upgraded => return Outcome::Close,
    };
    if !close {
        return Outcome::Next((!rest.is_empty()).then_some(rest));
    }
    // A client that has sent all it wanted closes by itself, or has been told to.
    let all_read = body.is_done() && rest.is_empty();
    match all_read && (client.wire.is_fresh() || client.wire.is_quiet()) {
        true => Outcome::Close,
        false => Outcome::Linger,
    }
}

async fn answer<'w>(
    exchange: &Exchange<'w>,
    path: &Result<Cow<'_, [u8]>, PathError>,
    fault: Option<&ChunkedError>,
    piece: FirstPiece<'_>,
) -> Bound<'w> {
    let (worker, client, node) = (exchange.worker, exchange.client, exchange.node());
    if let Err(error) = path {
        worker.vitals.count(Count::Malformed);
        tracing::debug!(client = %client.peer, "{error}");
        return own(exchange, Reply::error(400, node), piece.body).await;
    }
    if let Some(error) = fault {
        worker.vitals.count(Count::Malformed);
        tracing::debug!(client = %client.peer, "malformed request body: {error}");
        return own(exchange, Reply::error(400, node), piece.body).await;
    }
    let reply = match exchange.route.map(|route| &route.deed) {
        None => Reply::error(404, node),
        Some(Deed::Respond { status, content_type, body }) => {
            Reply::Whole(Answer::respond(*status, content_type, body))
        }
        Some(Deed::AddSlash) => {
            let query = exchange.head.target.query(exchange.bytes);
            Reply::Whole(Answer::redirect(301, node, redirect_lines(exchange.path, query)))
        }
        Some(Deed::Files { root, index }) => {
            files::reply(node, root, index, exchange.path, exchange.head, exchange.bytes)
        }
        Some(Deed::Proxy(to)) => return forward(exchange, to, piece).await,
    };
    own(exchange, reply, piece.body).await
}

enum Stop<'w> {
    Outcome(Outcome<'w>),
    Refuse(HeadError),
    TooSlow,
}

/// Reads until a head is whole; its length.
async fn read_head<'w>(
    worker: &'w Worker,
    client: &Client,
    pipelined: Option<Lent<'w>>,
) -> Result<(Lent<'w>, usize), Stop<'w>> {
    let bound = client.limits.get().client_header_timeout;
    client.arm(&worker.deadlines, Wait::ClientRead, bound);
    let mut input = pipelined.unwrap_or_else(|| worker.buffers.take());
    let mut scan = HeadScan::default();
    loop {
        if !input.is_empty() {
            // Bytes that lay here, or in the kernel, while the process was frozen look like any others.
            if !client.is_cleared(worker).await {
                return Err(Stop::Outcome(Outcome::Reset));
            }
            match scan.request(input.filled()) {
                Ok(Scanned::Complete(length)) => {
                    client.shared.alarm.disarm(Wait::ClientRead);
                    return Ok((input, length));
                }
                Ok(Scanned::Incomplete) => (),
                Err(error) => return Err(Stop::Refuse(error)),
            }
        }
        if input.space().is_empty() {
            input.grow(REQUEST_HEAD_MAX);
        }
        match client.read(worker, &mut input).await {
            Some(Ok(1..)) => (),
            Some(Ok(0) | Err(_)) => return Err(Stop::Outcome(Outcome::Close)),
            None if input.is_empty() => return Err(Stop::Outcome(Outcome::Close)),
            None => return Err(Stop::TooSlow),
        }
    }
}

async fn refuse<'w>(worker: &'w Worker, client: &Client, error: HeadError) -> Outcome<'w> {
    worker.vitals.count(Count::Malformed);
    tracing::debug!(client = %client.peer, status = error.status(), "{error}");
    last_words(worker, client, error.status()).await
}

async fn too_slow<'w>(worker: &'w Worker, client: &Client) -> Outcome<'w> {
    worker.vitals.count(Count::Timeouts);
    last_words(worker, client, 408).await
}

/// Answers what cannot be understood, in the name of the address's first server, and ends the connection.
async fn last_words<'w>(worker: &'w Worker, client: &Client, status: u16) -> Outcome<'w> {
    let view = worker.view_for(client.listener.address);
    match respond::unread(worker, client, &view, status).await {
        Ok(()) => Outcome::Linger,
        Err(_) => Outcome::Reset,
    }
}
