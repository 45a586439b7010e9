//! A request that an upstream answers: tries, and what comes after each of them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::attempt::{End, Start, attempt};
use super::buffers::Lent;
use super::client::GoneWatch;
use super::counters::Count;
use super::deadline::Wait;
use super::exchange::{Exchange, FirstPiece};
use super::pool::Pool;
use super::respond::{Reply, own};
use super::snapshot::Group;
use crate::balance::{Attempt, Failure, Next, Outcome, PeerId, Progress, Retry, Tried};
use crate::gateway::{Forward, OwnField, replaced_target};
use crate::http1::{BodyDecoder, Forwarded, Framing, Names, Rules, append_decoded, write_request};

/// How an exchange ended.
pub(super) enum Bound<'w> {
    /// To the last byte. `rest`: a buffer with what came behind the request, if it is not the one that the head is in.
    Answered { close: bool, rest: Option<Lent<'w>> },
    /// The client left.
    Gone,
    /// The client must not take what it got for an answer.
    Cut,
}

/// A request on its way.
pub(super) struct Call<'a, 'w> {
    pub(super) group: &'a Group,
    pub(super) pool: &'a Rc<Pool>,
    /// As the upstream gets it, together with what came along of the body.
    pub(super) text: Vec<u8>,
    pub(super) body: &'a mut BodyDecoder,
    /// Bytes of the body so far, and how many there may be.
    pub(super) total: u64,
    pub(super) body_max: Option<u64>,
    /// The client has been told to go on with the body.
    pub(super) continued: bool,
    /// Where the rest of the body is read into; what is left in it at the end is the next request.
    pub(super) more: Option<Lent<'w>>,
    /// What came behind the request. After an upgrade it is the upgraded protocol's.
    pub(super) behind: &'a [u8],
    /// Fields of the response that the client does not get.
    pub(super) hide: &'a Names,
    /// Name of this proxy in Via.
    pub(super) via: Option<&'a str>,
    /// Decides whether a response is given up for the next server.
    pub(super) judge: &'a Judge<'a>,
}

/// The tries of one request.
pub(super) struct Judge<'a> {
    group: &'a Group,
    retry: RefCell<Retry>,
    pub(super) tried: RefCell<Tried>,
    idempotent: bool,
    intact: Cell<bool>,
    began: Instant,
}

impl Judge<'_> {
    fn progress(&self, pool: &Pool, answered: bool) -> Progress {
        let now = Instant::now();
        Progress {
            idempotent: self.idempotent,
            intact: self.intact.get(),
            answered,
            alternative: pool.has_another(self.group, now, &self.tried.borrow()),
            elapsed: now.saturating_duration_since(self.began),
        }
    }

    /// A part of the body is gone: the request cannot be sent a second time.
    pub(super) fn consume(&self) {
        self.intact.set(false);
    }

    pub(super) fn is_intact(&self) -> bool {
        self.intact.get()
    }

    pub(super) fn gives_up(&self, pool: &Pool, status: u16) -> bool {
        self.group.policy.next.lists_status(status)
            && self.retry.borrow_mut().decide_status(&self.group.policy, status, &self.progress(pool, false))
    }
}

pub(super) async fn forward<'w>(
    exchange: &Exchange<'_, 'w>,
    to: &Forward,
    piece: FirstPiece<'_>,
) -> Bound<'w> {
    let (worker, head) = (exchange.worker, exchange.head);
    let place = exchange.view.pools.get(to.upstream).zip(exchange.view.snapshot.upstreams.get(to.upstream));
    let Some((pool, group)) = place else { return fail(exchange, 502, piece.body).await };
    let body_max = exchange.route.and_then(|route| route.body_max);
    let declared = if let Framing::Length(n) = head.framing { n } else { piece.data.len() as u64 };
    if body_max.is_some_and(|max| declared > max) {
        worker.vitals.count(Count::BodyTooLarge);
        return fail(exchange, 413, piece.body).await;
    }
    let mut text = worker.buffers.take_text();
    write_head(exchange, to, group, &mut text);
    match head.framing {
        Framing::Chunked => append_decoded(&mut text, piece.data, piece.body, Default::default()),
        Framing::None | Framing::Length(_) | Framing::Close => text.extend_from_slice(piece.data),
    }
    let piece_length = piece.data.len() as u64;
    let judge = Judge {
        group,
        retry: RefCell::default(),
        tried: RefCell::default(),
        idempotent: head.method.is_idempotent(),
        intact: Cell::new(true),
        began: exchange.tally.started,
    };
    let mut call = Call {
        group,
        pool,
        text,
        total: piece.data.len() as u64,
        body: piece.body,
        body_max,
        continued: false,
        more: None,
        behind: piece.behind,
        hide: exchange.route.map(|route| &route.hide).unwrap_or_default(),
        via: to.via.then_some("vipgate"),
        judge: &judge,
    };
    let bound = tries(exchange, &mut call).await;
    let received = exchange.tally.received.get() + call.total.saturating_sub(piece_length);
    exchange.tally.received.set(received);
    worker.buffers.give_text(std::mem::take(&mut call.text));
    match bound {
        Ok(close) => Bound::Answered { close, rest: call.more.take() },
        Err(Stop::Own(status)) => match fail(exchange, status, call.body).await {
            Bound::Answered { close, .. } => Bound::Answered { close, rest: call.more.take() },
            bound @ (Bound::Gone | Bound::Cut) => bound,
        },
        Err(Stop::Gone) => {
            worker.vitals.count(Count::ClientGone);
            if exchange.tally.status.get() == 0 {
                // nginx's own, for the log only.
                exchange.tally.status.set(499);
                return Bound::Gone;
            }
            // To a client that is slow, and not gone, the plain end of a connection could be the end of the answer.
            Bound::Cut
        }
        // The last bytes are on their way: closed at once, unread input would make a reset overtake them.
        Err(Stop::Upgraded) => Bound::Answered { close: true, rest: None },
        Err(Stop::Cut) => {
            worker.vitals.count(Count::Cut);
            Bound::Cut
        }
        Err(Stop::Fenced) => Bound::Cut,
    }
}

fn write_head(exchange: &Exchange<'_, '_>, to: &Forward, group: &Group, text: &mut Vec<u8>) {
    let (worker, head, bytes) = (exchange.worker, exchange.head, exchange.bytes);
    let mut target = worker.buffers.take_text();
    let replaced = to.uri.as_deref().map(|uri| {
        let matched = exchange.route.and_then(|route| route.prefix);
        replaced_target(&mut target, uri, exchange.path, matched, head.target.query(bytes));
        target.as_slice()
    });
    let rules = exchange.rules();
    let mut fields = worker.request_fields.borrow_mut();
    let rules = match rules.leaves_requests() {
        true => Rules::default(),
        false => {
            exchange.set_fields(&mut fields);
            Rules {
                drop: exchange.route.map(|route| &route.drop).unwrap_or_default(),
                add: fields.lines(),
                host: fields.value(OwnField::Host),
                forwarded_for: fields.value(OwnField::ForwardedFor),
                forwarded_proto: fields.value(OwnField::ForwardedProto),
                forwarded_host: fields.value(OwnField::ForwardedHost),
                real_ip: fields.value(OwnField::RealIp),
            }
        }
    };
    let forwarded = Forwarded {
        client: exchange.client.name(),
        scheme: "http",
        default_host: &exchange.site.name,
        keep_alive: group.config.keepalive > 0,
        upgrade: head.upgrade.is_some(),
        target: replaced,
        forwarded: to.forwarded,
        via: to.via.then_some("vipgate"),
        rules,
    };
    write_request(text, bytes, head, &forwarded);
    drop(fields);
    worker.buffers.give_text(target);
}

/// Why an upstream's answer did not reach the client to its end.
enum Stop {
    /// This node answers, with this status.
    Own(u16),
    Gone,
    Upgraded,
    Cut,
    Fenced,
}

/// Until one of them answers; whether the client's connection ends then.
async fn tries<'w>(exchange: &Exchange<'_, 'w>, call: &mut Call<'_, 'w>) -> Result<bool, Stop> {
    let worker = exchange.worker;
    let mut again: Option<(PeerId, SocketAddr)> = None;
    let mut reuse = true;
    let mut first = Some(exchange.tally.started);
    loop {
        let now = first.take().unwrap_or_else(Instant::now);
        let choice = again.take().or_else(|| {
            let mut tried = call.judge.tried.borrow_mut();
            call.pool.pick(call.group, now, &mut tried, exchange.client.peer.ip().to_canonical())
        });
        let Some((id, address)) = choice else {
            worker.vitals.count(Count::NoUpstream);
            exchange.tally.begin(None);
            exchange.tally.note(|t| t.status = Some(502));
            // nginx's "no live upstreams", for which its error pages are written.
            return Err(Stop::Own(502));
        };
        exchange.tally.begin(Some(address));
        let pool = Rc::clone(call.pool);
        let turn = pool.begin(id);
        let end = attempt(exchange, call, Start { id, address, reuse, now }).await;
        let ended = Instant::now();
        let took = ended.saturating_duration_since(now);
        exchange.tally.ended.set(Some(ended));
        exchange.tally.note(|t| t.response_time = Some(took));
        let failed = match end {
            End::Answered { close, reusable } => {
                turn.ended(Outcome::Success, ended);
                if let Some(upstream) = reusable {
                    pool.keep(call.group, id, upstream, ended);
                }
                return Ok(close);
            }
            End::Upgraded => {
                turn.ended(Outcome::Success, ended);
                return Err(Stop::Upgraded);
            }
            End::NextServer(status) => {
                turn.ended(Outcome::of_given_up(status), ended);
                worker.vitals.count(Count::Retries);
                reuse = true;
                continue;
            }
            End::Failed(failed) => failed,
            End::Refuse(status) => {
                match status {
                    413 => worker.vitals.count(Count::BodyTooLarge),
                    408 => worker.vitals.count(Count::Timeouts),
                    _ => worker.vitals.count(Count::Malformed),
                }
                return Err(Stop::Own(status));
            }
            End::Gone => return Err(Stop::Gone),
            End::Cut { upstream } => {
                turn.ended(if upstream { Outcome::Failure } else { Outcome::Neutral }, ended);
                return Err(Stop::Cut);
            }
            End::Fenced => return Err(Stop::Fenced),
        };
        let tried = Attempt { failure: failed.failure, reused: failed.reused, sent: failed.sent, took };
        turn.ended(tried.outcome(), ended);
        exchange.tally.note(|t| t.status = Some(failed.failure.status()));
        note_failure(exchange, call, id, address, &failed.failure);
        let progress = call.judge.progress(&pool, failed.answered);
        let next = call.judge.retry.borrow_mut().decide(&call.group.policy, &tried, &progress);
        match next {
            Next::Again { after, other_server } => {
                worker.vitals.count(Count::Retries);
                if !after.is_zero() && !Box::pin(pause(exchange, call, after)).await {
                    return Err(Stop::Gone);
                }
                // To another server any connection will do.
                reuse = other_server;
                if !other_server {
                    again = pool.again(call.group, id).map(|address| (id, address));
                }
            }
            Next::GiveUp(status) => return Err(Stop::Own(status)),
            Next::Cut => return Err(Stop::Cut),
        }
    }
}

fn note_failure(
    exchange: &Exchange<'_, '_>,
    call: &Call<'_, '_>,
    id: PeerId,
    address: SocketAddr,
    failure: &Failure,
) {
    let vitals = &exchange.worker.vitals;
    vitals.count(Count::UpstreamFailed);
    tracing::debug!(upstream = %call.group.config.name, %address, ?failure, "try failed");
    match failure {
        Failure::Connect | Failure::ConnectTimeout => {
            call.pool.forget(address);
            if let Some(server) = call.pool.server(id).and_then(|place| call.group.servers.get(place)) {
                server.could_not_connect();
            }
        }
        // The others to the same place would hang as well.
        Failure::FirstByteTimeout | Failure::Timeout => call.pool.forget(address),
        Failure::Malformed | Failure::CutShort => vitals.count(Count::UpstreamMalformed),
        Failure::Empty => (),
    }
}

/// False: the client left meanwhile.
async fn pause(exchange: &Exchange<'_, '_>, call: &Call<'_, '_>, after: Duration) -> bool {
    let (worker, client) = (exchange.worker, exchange.client);
    let gone = GoneWatch::default();
    client.arm(&worker.deadlines, Wait::UpstreamRead, after);
    poll_fn(|cx| {
        if call.body.is_done() && gone.poll(&client.wire, cx).is_ready() {
            return Poll::Ready(false);
        }
        worker.deadlines.poll(&client.alarm, Wait::UpstreamRead, cx).map(|()| true)
    })
    .await
}

async fn fail<'w>(exchange: &Exchange<'_, 'w>, status: u16, body: &BodyDecoder) -> Bound<'w> {
    Box::pin(own(exchange, Reply::error(status, exchange.node()), body)).await
}
