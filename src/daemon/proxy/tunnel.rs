//! A connection that has switched to another protocol: bytes both ways, with buffers only while they flow.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::buffers::Lent;
use super::deadline::Wait;
use super::exchange::Exchange;
use super::wire::Wire;

/// Until one side ends, nothing has moved for `idle`, or the worker wants the end: then each side is told by the end of
/// the stream (FIN), since only they know where a message of their protocol ends. What the two have already said goes first: `early` of the
/// client, `left` of the upstream. False: what waited in a process that was frozen is not this node's to pass on.
pub(super) async fn tunnel(
    exchange: &Exchange<'_, '_>,
    upstream: &Wire,
    early: &[u8],
    left: Lent<'_>,
    idle: Duration,
) -> bool {
    let (worker, client) = (exchange.worker, exchange.client);
    let arm = || client.arm(&worker.deadlines, Wait::UpstreamRead, idle);
    arm();
    let fenced = Cell::new(false);
    let up = async {
        write_all(upstream, early).await?;
        pump(exchange, &client.wire, upstream, &arm, &fenced).await
    };
    let down = async {
        write_all(&client.wire, left.filled()).await?;
        drop(left);
        pump(exchange, upstream, &client.wire, &arm, &fenced).await
    };
    let (mut up, mut down) = (pin!(up), pin!(down));
    let (mut up_open, mut down_open) = (true, true);
    poll_fn(|cx| {
        let mut broken = false;
        if up_open && let Poll::Ready(result) = up.as_mut().poll(cx) {
            up_open = false;
            broken = result.is_err();
        }
        // Also if the other one broke: an upstream's last words lie before its reset.
        if down_open && let Poll::Ready(result) = down.as_mut().poll(cx) {
            down_open = false;
            broken |= result.is_err();
        }
        if broken || fenced.get() || !up_open && !down_open {
            return Poll::Ready(());
        }
        if client.must_end() {
            worker.count_cut(client);
            return Poll::Ready(());
        }
        worker.deadlines.poll(&client.alarm, Wait::UpstreamRead, cx)
    })
    .await;
    // The client's side is closed by whoever reads from it last. Where it broke already nothing is left to say.
    let _ = upstream.shut_write();
    !fenced.get()
}

/// One direction, until its source ends; that is passed on, and the other direction goes on.
async fn pump(
    exchange: &Exchange<'_, '_>,
    from: &Wire,
    to: &Wire,
    moved: &impl Fn(),
    fenced: &Cell<bool>,
) -> io::Result<()> {
    let (worker, client) = (exchange.worker, exchange.client);
    loop {
        poll_fn(|cx| from.poll_readable(cx)).await?;
        let mut buffer = worker.buffers.take();
        // As much as there is, then the buffer is given back.
        loop {
            let n = poll_fn(|cx| match from.poll_read(cx, buffer.space()) {
                Poll::Ready(result) => Poll::Ready(result.map(Some)),
                Poll::Pending => Poll::Ready(Ok(None)),
            })
            .await?;
            match n {
                None => break,
                Some(0) => return to.shut_write(),
                Some(n) => buffer.fill(n),
            }
            if !client.is_cleared(worker).await {
                fenced.set(true);
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            moved();
            write_all(to, buffer.filled()).await?;
            moved();
            let n = buffer.filled().len();
            buffer.consume(n);
        }
    }
}

async fn write_all(to: &Wire, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    poll_fn(|cx| {
        while !rest.is_empty() {
            match to.poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => rest = rest.get(n..).unwrap_or_default(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}
