//! One request: read its head, find out what it gets, give it that.

use std::borrow::Cow;
use std::cell::Cell;
use std::time::{Duration, Instant};

use super::buffers::Lent;
use super::chronicle::Subject;
use super::client::{Client, Waited};
use super::counters::Count;
use super::deadline::Wait;
use super::files;
use super::forward::{Bound, forward};
use super::respond::{Reply, own, unread};
use super::tally::Tally;
use super::worker::{View, Worker};
use crate::gateway::{Answer, Deed, PathError, Route, Site, normalise, redirect_lines};
use crate::http1::{
    BodyDecoder, ChunkedError, Decoded, HeadError, HeadScan, Method, REQUEST_HEAD_MAX, RequestHead, Version,
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
pub(super) struct Exchange<'a, 'w> {
    pub(super) worker: &'w Worker,
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
    /// Times are of interest: something that is written names them.
    pub(super) timed: bool,
    /// The client is told that its connection ends with this answer.
    pub(super) close: Cell<bool>,
}

/// What came of a request's body along with its head.
pub(super) struct FirstPiece<'a> {
    pub(super) data: &'a [u8],
    /// What came behind the body, if that is complete.
    pub(super) behind: &'a [u8],
    pub(super) body: &'a mut BodyDecoder,
}

impl Exchange<'_, '_> {
    pub(super) fn method(&self) -> Method {
        self.head.method
    }

    pub(super) fn version(&self) -> Version {
        self.head.version
    }

    /// The upstream that the request goes to; empty: none.
    pub(super) fn upstream(&self) -> &str {
        match self.route.map(|route| &route.deed) {
            Some(Deed::Proxy(to)) => {
                self.view.snapshot.upstreams.get(to.upstream).map_or("", |group| &group.config.name)
            }
            Some(Deed::Files { .. } | Deed::Respond { .. } | Deed::AddSlash) | None => "",
        }
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
    let (mut input, head) = match read_head(worker, client, pipelined).await {
        Ok(read) => read,
        Err(Stop::Outcome(outcome)) => return outcome,
        Err(Stop::Refuse(error, input)) => {
            worker.vitals.count(Count::Malformed);
            tracing::debug!(client = %client.peer, status = error.status(), "{error}");
            return Box::pin(last_words(worker, client, error.status(), &input)).await;
        }
        Err(Stop::TooSlow(input)) => {
            worker.vitals.count(Count::Timeouts);
            return Box::pin(last_words(worker, client, 408, &input)).await;
        }
    };
    let started = Instant::now();
    worker.vitals.count(Count::Requests);
    client.requests.set(client.requests.get().saturating_add(1));
    let length = head.length;
    if head.upgrade.is_some() {
        // What follows may last for days.
        input.shrink();
    }
    let (bytes, behind) = input.parts(length);
    let view = worker.view_for(&client.listener);
    let host = head.host.map(|h| h.of(bytes));
    let place = client.listener.place(&view);
    let Some(site) = place.and_then(|place| view.snapshot.gateway.site(place, host)) else {
        return Outcome::Close;
    };
    client.limits.set(site.client);
    let path = normalise(head.target.path.of(bytes));
    let route = path.as_ref().ok().and_then(|path| site.route(path));
    let mut body = BodyDecoder::new(head.framing);
    let first = body.decode(behind);
    let behind = &*behind;
    let consumed = first.as_ref().map_or(0, |decoded| decoded.consumed);
    let tally = Tally::new(started, (length + consumed) as u64);
    let exchange = Exchange {
        worker,
        client,
        view: &view,
        site,
        route,
        head: &head,
        bytes,
        path: path.as_deref().unwrap_or_default(),
        tally,
        timed: view.snapshot.names_times,
        close: Cell::new(
            !head.keep_alive
                || client.is_leaving()
                || site.client.keepalive_timeout.is_zero()
                || client.requests.get() >= site.client.keepalive_requests,
        ),
    };
    let data = match &first {
        Ok(Decoded { start, length, .. }) => behind.get(*start..start + length).unwrap_or_default(),
        Err(_) => b"",
    };
    let piece = FirstPiece { data, behind: behind.get(consumed..).unwrap_or_default(), body: &mut body };
    let bound = answer(&exchange, &path, first.as_ref().err(), piece).await;
    exchange.conclude();
    let polite = !head.keep_alive;
    worker.give_fields(head.fields);
    input.consume(length + consumed);
    finish(client, bound, polite && body.is_done(), input)
}

/// What becomes of the connection once the answer is out.
/// `polite`: the client has sent all it wanted, and said that it closes then.
fn finish<'w>(client: &Client, bound: Bound<'w>, polite: bool, input: Lent<'w>) -> Outcome<'w> {
    let (close, rest) = match bound {
        Bound::Answered { close, rest } => (close, rest.unwrap_or(input)),
        Bound::Gone => return Outcome::Close,
        Bound::Cut => return Outcome::Reset,
    };
    if !close {
        return Outcome::Next((!rest.is_empty()).then_some(rest));
    }
    match polite && rest.is_empty() && (client.wire.is_fresh() || client.wire.is_quiet()) {
        true => Outcome::Close,
        false => Outcome::Linger,
    }
}

async fn answer<'w>(
    exchange: &Exchange<'_, 'w>,
    path: &Result<Cow<'_, [u8]>, PathError>,
    fault: Option<&ChunkedError>,
    piece: FirstPiece<'_>,
) -> Bound<'w> {
    let (worker, client, node) = (exchange.worker, exchange.client, exchange.node());
    if let Err(error) = path {
        worker.vitals.count(Count::Malformed);
        tracing::debug!(client = %client.peer, "{error}");
        return Box::pin(own(exchange, Reply::error(400, node), piece.body)).await;
    }
    if let Some(error) = fault {
        worker.vitals.count(Count::Malformed);
        tracing::debug!(client = %client.peer, "malformed request body: {error}");
        return Box::pin(own(exchange, Reply::error(400, node), piece.body)).await;
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
            Box::pin(files::reply(worker, node, root, index, exchange.path, exchange.head, exchange.bytes))
                .await
        }
        Some(Deed::Proxy(to)) => return forward(exchange, to, piece).await,
    };
    Box::pin(own(exchange, reply, piece.body)).await
}

enum Stop<'w> {
    Outcome(Outcome<'w>),
    Refuse(HeadError, Lent<'w>),
    TooSlow(Lent<'w>),
}

/// Reads until a head is whole.
async fn read_head<'w>(
    worker: &'w Worker,
    client: &Client,
    pipelined: Option<Lent<'w>>,
) -> Result<(Lent<'w>, RequestHead), Stop<'w>> {
    let bound = client.limits.get().client_header_timeout;
    let mut input = match pipelined {
        Some(input) => input,
        None => first_bytes(worker, client, bound).await.ok_or(Stop::Outcome(Outcome::Close))?,
    };
    client.arm(&worker.deadlines, Wait::ClientRead, bound);
    let (mut scan, mut spare) = (HeadScan::default(), worker.take_fields());
    loop {
        if !input.is_empty() {
            // Bytes that lay here, or in the kernel, while the process was frozen look like any others.
            if !client.is_cleared(worker).await {
                return Err(Stop::Outcome(Outcome::Reset));
            }
            match RequestHead::read(input.filled(), &mut scan, &mut spare) {
                Ok(Some(head)) => {
                    client.alarm.disarm(Wait::ClientRead);
                    return Ok((input, head));
                }
                Ok(None) => (),
                Err(error) => return Err(Stop::Refuse(error, input)),
            }
        }
        if input.space().is_empty() {
            input.grow(REQUEST_HEAD_MAX);
        }
        match client.read(worker, &mut input).await {
            Some(Ok(1..)) => (),
            Some(Ok(0) | Err(_)) => return Err(Stop::Outcome(Outcome::Close)),
            None if input.is_empty() => return Err(Stop::Outcome(Outcome::Close)),
            None => return Err(Stop::TooSlow(input)),
        }
    }
}

/// A buffer with what has come of a request. A client that only connects costs none.
async fn first_bytes<'w>(worker: &'w Worker, client: &Client, bound: Duration) -> Option<Lent<'w>> {
    loop {
        let mut input = worker.buffers.take();
        match client.read_now(&mut input).await {
            Some(Ok(1..)) => return Some(input),
            Some(Ok(0) | Err(_)) => return None,
            None => (),
        }
        drop(input);
        match client.has_request(worker, bound).await {
            Waited::Readable => (),
            Waited::TimeUp | Waited::Unwanted | Waited::Over => return None,
        }
    }
}

/// Answers what cannot be understood, in the name of the address's first server, and ends the connection.
async fn last_words<'w>(worker: &'w Worker, client: &Client, status: u16, input: &Lent<'_>) -> Outcome<'w> {
    client.requests.set(client.requests.get().saturating_add(1));
    let view = worker.view_for(&client.listener);
    let place = client.listener.place(&view);
    let site = place.and_then(|place| view.snapshot.gateway.site(place, None));
    let bytes = input.filled();
    let tally = Tally::new(Instant::now(), bytes.len() as u64);
    let subject =
        Subject { worker, client, view: &view, site, bytes, request: None, upstream: "", tally: &tally };
    let sent = unread(&subject, status).await;
    subject.log();
    match sent {
        Ok(()) => Outcome::Linger,
        Err(_) => Outcome::Reset,
    }
}
