//! One try at one address: connect or reuse, send and receive at the same time, see how it ended.

use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::buffers::Lent;
use super::client::{Client, unless_gone, within};
use super::forward::Call;
use super::pool::Pool;
use super::relay::{Down, Relay};
use super::respond::write_all;
use super::snapshot::Group;
use super::upload::{Up, Upload};
use crate::balance::Failure;

/// Where to try.
pub(super) struct Start<'a> {
    pub(super) group: &'a Group,
    pub(super) pool: &'a Rc<Pool>,
    pub(super) address: SocketAddr,
    /// A connection that has been used before will do.
    pub(super) reuse: bool,
}

pub(super) enum End {
    /// To the last byte. `close`: the client has been told that its connection ends.
    Answered {
        status: u16,
        close: bool,
    },
    Failed(Failed),
    /// The request turned out to be faulty.
    Refuse(u16),
    /// The client left.
    Gone,
    /// The client holds a part of an answer that will not be completed.
    Cut,
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

pub(super) async fn attempt(
    call: &mut Call<'_, '_>,
    client: &mut Client,
    input: &mut Lent<'_>,
    start: Start<'_>,
) -> End {
    let config = &start.group.config;
    let first_byte =
        config.first_byte_timeout.filter(|_| call.request.repeatable && call.request.method.is_retrieval());
    let begun = Instant::now();
    let (mut stream, reused) = match start.reuse.then(|| start.pool.take(start.address)).flatten() {
        Some(stream) => (stream, true),
        None => {
            let bound = first_byte.map_or(config.connect_timeout, |b| b.min(config.connect_timeout));
            match connect(call, client, start.address, bound).await {
                Ok(stream) => (stream, false),
                Err(end) => return end,
            }
        }
    };
    // The last look at the clock before the first byte leaves.
    if !client.is_cleared(call.worker).await {
        return End::Fenced;
    }
    if call.request.expects_continue
        && !call.body.is_done()
        && input.is_empty()
        && write_all(&mut client.stream, b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err()
    {
        return End::Gone;
    }
    let progress = Progress::default();
    let first_byte = first_byte.map(|b| begun + b);
    let end = both_ways(call, client, input, &mut stream, &progress, &start, first_byte).await;
    match end {
        Ended::Down(Down::Complete { status, reusable, close }) => {
            if reusable && progress.request.get() == Sending::Complete {
                start.pool.keep(stream, start.address, config.keepalive);
            }
            End::Answered { status, close }
        }
        Ended::Down(Down::Failed(failure)) => End::Failed(Failed {
            failure,
            reused,
            sent: progress.sent.get(),
            answered: progress.answered.get(),
        }),
        Ended::Down(Down::Cut) => End::Cut,
        Ended::Down(Down::ClientGone) | Ended::Up(Up::Gone) => End::Gone,
        Ended::Down(Down::Fenced) | Ended::Up(Up::Fenced) => End::Fenced,
        Ended::Up(Up::Faulty(_)) if progress.answered.get() => End::Cut,
        Ended::Up(Up::Faulty(status)) => End::Refuse(status),
        Ended::Up(Up::Broken) => End::Cut,
    }
}

async fn connect(
    call: &Call<'_, '_>,
    client: &Client,
    address: SocketAddr,
    bound: Duration,
) -> Result<TcpStream, End> {
    let failed = |failure| End::Failed(Failed { failure, reused: false, sent: false, answered: false });
    let connecting = within(bound, TcpStream::connect(address));
    let stream = match unless_gone(&client.stream, call.body.is_done(), connecting).await {
        None => return Err(End::Gone),
        Some(None) => return Err(failed(Failure::ConnectTimeout)),
        Some(Some(Err(error))) => {
            tracing::debug!(%address, "cannot connect: {error}");
            return Err(failed(Failure::Connect));
        }
        Some(Some(Ok(stream))) => stream,
    };
    // Without it only speed is lost.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

enum Ended {
    Down(Down),
    Up(Up),
}

async fn both_ways(
    call: &mut Call<'_, '_>,
    client: &mut Client,
    input: &mut Lent<'_>,
    stream: &mut TcpStream,
    progress: &Progress,
    start: &Start<'_>,
    first_byte: Option<Instant>,
) -> Ended {
    let config = &start.group.config;
    let (from_client, to_client) = client.stream.split();
    let (from_upstream, to_upstream) = stream.split();
    let up = Upload {
        worker: call.worker,
        facts: &client.facts,
        from: from_client,
        to: to_upstream,
        head: &mut *call.head,
        framing: call.request.framing,
        body: call.body,
        input,
        progress,
        send_timeout: config.send_timeout,
    };
    let down = Relay {
        worker: call.worker,
        request: call.request,
        facts: &client.facts,
        add: &call.site.add,
        from: from_upstream,
        to: to_client,
        progress,
        first_byte,
        read_timeout: config.read_timeout,
        address: start.address,
    };
    let (mut up, mut down) = (pin!(up.run()), pin!(down.run()));
    // Sending first: it usually ends at once, and there is nothing to receive before.
    let mut sending = true;
    loop {
        tokio::select! {
            biased;
            end = &mut up, if sending => match end {
                // An upstream that does not read to the end may have answered before.
                Up::Broken => {
                    sending = false;
                    progress.request.set(Sending::Broken);
                }
                end => return Ended::Up(end),
            },
            end = &mut down => return Ended::Down(end),
        }
    }
}
