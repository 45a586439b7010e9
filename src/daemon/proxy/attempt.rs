//! One try at one address: connect or reuse, send and receive at the same time, see how it ended.

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::client::GoneWatch;
use super::deadline::Wait;
use super::exchange::Exchange;
use super::forward::Call;
use super::pool::Upstream;
use super::relay::{Down, Relay};
use super::tunnel::tunnel;
use super::upload::{Up, Upload, send};
use super::wire::Wire;
use crate::balance::{Failure, PeerId};

/// Where to try.
pub(super) struct Start {
    pub(super) id: PeerId,
    pub(super) address: SocketAddr,
    /// A connection that has been used before will do.
    pub(super) reuse: bool,
    pub(super) now: Instant,
}

pub(super) enum End {
    /// To the last byte. `close`: the client has been told that its connection ends.
    Answered {
        close: bool,
        /// The connection is at the start of a next response.
        reusable: Option<Upstream>,
    },
    /// Another protocol was spoken, until one side had enough.
    Upgraded,
    /// This status is a reason to ask another server.
    NextServer(u16),
    Failed(Failed),
    /// The request turned out to be faulty.
    Refuse(u16),
    /// The client left.
    Gone,
    /// The client holds a part of an answer that will not be completed.
    Cut {
        /// And it is the upstream's fault.
        upstream: bool,
    },
    /// The request may have been another node's to answer.
    Fenced,
}

pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) reused: bool,
    pub(super) sent: bool,
    pub(super) answered: bool,
}

/// What the two directions of a try know of each other.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) request: Cell<Sending>,
    /// Bytes of the request were handed to the kernel.
    pub(super) sent: Cell<bool>,
    /// Bytes of the final response were handed to the kernel, or may have been.
    pub(super) answered: Cell<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sending {
    #[default]
    Going,
    Complete,
    /// The upstream takes no more; its answer may be on the way.
    Broken,
}

pub(super) async fn attempt<'w>(exchange: &Exchange<'_, 'w>, call: &mut Call<'_, 'w>, start: Start) -> End {
    let config = &call.group.config;
    // A second answer to it would do no harm.
    let repeatable = exchange.head.is_repeatable() && exchange.method().is_retrieval();
    let first_byte = config.first_byte_timeout.filter(|_| repeatable);
    let reusable = if start.reuse { call.pool.take(call.group, start.id, start.now) } else { None };
    let (upstream, reused) = match reusable {
        Some(upstream) => (upstream, true),
        None => {
            let bound = first_byte.map_or(config.connect_timeout, |b| b.min(config.connect_timeout));
            match Box::pin(connect(exchange, call, start.address, bound)).await {
                Ok(wire) => (Upstream::new(wire, start.now), false),
                Err(end) => return end,
            }
        }
    };
    if exchange.timed {
        let connected = if reused { Duration::ZERO } else { start.now.elapsed() };
        exchange.tally.note(|t| t.connect_time = Some(connected));
    }
    // The last look at the clock before the first byte leaves.
    if !exchange.client.is_cleared(exchange.worker).await {
        return End::Fenced;
    }
    if exchange.head.expects_continue
        && !call.body.is_done()
        && call.total == 0
        && !std::mem::replace(&mut call.continued, true)
        && exchange.write(b"HTTP/1.1 100 Continue\r\n\r\n", 0).await.is_err()
    {
        return End::Gone;
    }
    let progress = Progress::default();
    let first_byte = first_byte.map(|bound| bound.saturating_sub(start.now.elapsed()));
    let end = both_ways(exchange, call, &upstream.wire, &progress, &start, first_byte).await;
    match end {
        Ended::Down(Down::Complete { reusable, close }) => {
            let reusable = (reusable && progress.request.get() == Sending::Complete).then_some(upstream);
            End::Answered { close, reusable }
        }
        Ended::Down(Down::Switched(left)) => {
            // Both may say what they like, for as long as they like.
            exchange.worker.buffers.give_text(std::mem::take(&mut call.text));
            match Box::pin(tunnel(exchange, &upstream.wire, call.behind, left, config.read_timeout)).await {
                true => End::Upgraded,
                false => End::Fenced,
            }
        }
        Ended::Down(Down::NextServer(status)) => End::NextServer(status),
        Ended::Down(Down::Failed(failure)) => End::Failed(Failed {
            failure,
            reused,
            sent: progress.sent.get(),
            answered: progress.answered.get(),
        }),
        Ended::Down(Down::Cut) => End::Cut { upstream: true },
        Ended::Down(Down::ClientGone) | Ended::Up(Up::Gone) => End::Gone,
        Ended::Down(Down::Fenced) | Ended::Up(Up::Fenced) => End::Fenced,
        Ended::Up(Up::Faulty(_)) if progress.answered.get() => End::Cut { upstream: false },
        Ended::Up(Up::Faulty(status)) => End::Refuse(status),
        // The relay goes on then, and says how it ends.
        Ended::Up(Up::Broken) => End::Cut { upstream: true },
    }
}

async fn connect(
    exchange: &Exchange<'_, '_>,
    call: &Call<'_, '_>,
    address: SocketAddr,
    bound: Duration,
) -> Result<Wire, End> {
    let (worker, client) = (exchange.worker, exchange.client);
    let failed = |failure| End::Failed(Failed { failure, reused: false, sent: false, answered: false });
    let gone = GoneWatch::default();
    client.arm(&worker.deadlines, Wait::UpstreamRead, bound);
    let mut connecting = pin!(TcpStream::connect(address));
    let connected = poll_fn(|cx| {
        if let Poll::Ready(result) = connecting.as_mut().poll(cx) {
            return Poll::Ready(result.map_err(|error| {
                tracing::debug!(%address, "cannot connect: {error}");
                failed(Failure::Connect)
            }));
        }
        if call.body.is_done() && !client.wire.is_fresh() && gone.poll(&client.wire, cx).is_ready() {
            return Poll::Ready(Err(End::Gone));
        }
        let up = worker.deadlines.poll(&client.alarm, Wait::UpstreamRead, cx);
        up.map(|()| Err(failed(Failure::ConnectTimeout)))
    });
    let stream = connected.await?;
    // Without it only speed is lost.
    let _ = stream.set_nodelay(true);
    Ok(Wire::watched(stream))
}

enum Ended<'w> {
    Down(Down<'w>),
    Up(Up),
}

async fn both_ways<'w>(
    exchange: &Exchange<'_, 'w>,
    call: &mut Call<'_, 'w>,
    wire: &Wire,
    progress: &Progress,
    start: &Start,
    first_byte: Option<Duration>,
) -> Ended<'w> {
    let config = &call.group.config;
    let relay = Relay {
        exchange,
        began: start.now,
        pool: call.pool,
        judge: call.judge,
        hide: call.hide,
        via: call.via,
        from: wire,
        progress,
        first_byte: Cell::new(first_byte),
        read_timeout: config.read_timeout,
        address: start.address,
        gone: GoneWatch::default(),
    };
    match send(exchange, wire, &call.text, progress, config.send_timeout).await {
        Ok(()) if call.body.is_done() => progress.request.set(Sending::Complete),
        // Boxed, as all that few requests need: every connection would hold room for it.
        Ok(()) => return Box::pin(at_once(exchange, call, wire, progress, relay)).await,
        // An upstream that does not read to the end may have answered before.
        Err(()) => progress.request.set(Sending::Broken),
    }
    Ended::Down(relay.run().await)
}

/// The rest of a long body goes up while the answer may already come down.
async fn at_once<'w>(
    exchange: &Exchange<'_, 'w>,
    call: &mut Call<'_, 'w>,
    wire: &Wire,
    progress: &Progress,
    relay: Relay<'_, 'w>,
) -> Ended<'w> {
    let judge = call.judge;
    let upload = Upload { exchange, call, to: wire, progress };
    let (mut up, mut down) = (pin!(upload.run()), pin!(relay.run()));
    let mut sending = true;
    let ended = poll_fn(|cx| {
        if sending {
            match up.as_mut().poll(cx) {
                Poll::Pending => (),
                Poll::Ready(Ok(())) => {
                    sending = false;
                    progress.request.set(Sending::Complete);
                }
                Poll::Ready(Err(Up::Broken)) => {
                    sending = false;
                    progress.request.set(Sending::Broken);
                }
                Poll::Ready(Err(up)) => return Poll::Ready(Ended::Up(up)),
            }
        }
        down.as_mut().poll(cx).map(Ended::Down)
    })
    .await;
    if progress.request.get() != Sending::Complete && !judge.is_intact() {
        // What was read and not sent may end with a part of the next request.
        exchange.close.set(true);
    }
    ended
}
