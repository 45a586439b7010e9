//! The request's way: head and body to the upstream.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::attempt::Progress;
use super::deadline::Wait;
use super::exchange::Exchange;
use super::forward::Call;
use super::limits::LARGE_FROM;
use super::wire::Wire;
use crate::http1::{Framing, append_decoded};

pub(super) struct Upload<'a, 'b, 'w> {
    pub(super) exchange: &'a Exchange<'a, 'w>,
    pub(super) call: &'a mut Call<'b, 'w>,
    pub(super) to: &'a Wire,
    pub(super) progress: &'a Progress,
}

pub(super) enum Up {
    Gone,
    /// Status for the client.
    Faulty(u16),
    Fenced,
    /// The upstream takes no more.
    Broken,
}

impl Upload<'_, '_, '_> {
    /// What did not come along with the head.
    pub(super) async fn run(mut self) -> Result<(), Up> {
        let mut out = self.exchange.worker.buffers.take_text();
        let sent = self.send_rest(&mut out).await;
        self.exchange.worker.buffers.give_text(out);
        sent
    }

    async fn send_rest(&mut self, out: &mut Vec<u8>) -> Result<(), Up> {
        let (worker, client) = (self.exchange.worker, self.exchange.client);
        let timeout = self.exchange.site.client.client_body_timeout;
        let large = self.call.body.left().is_some_and(|left| left > LARGE_FROM);
        let mut input =
            large.then(|| worker.buffers.take_large()).flatten().unwrap_or_else(|| worker.buffers.take());
        while !self.call.body.is_done() {
            client.arm(&worker.deadlines, Wait::ClientRead, timeout);
            match client.read(worker, &mut input).await {
                None => return Err(Up::Faulty(408)),
                Some(Ok(0) | Err(_)) => return Err(Up::Gone),
                Some(Ok(_)) => self.call.judge.consume(),
            }
            if !client.is_cleared(worker).await {
                return Err(Up::Fenced);
            }
            let decoded = self.call.body.decode(input.filled_mut()).map_err(|error| {
                tracing::debug!(client = %client.peer, "malformed request body: {error}");
                Up::Faulty(400)
            })?;
            self.call.total += decoded.length as u64;
            if self.call.body_max.is_some_and(|max| self.call.total > max) {
                return Err(Up::Faulty(413));
            }
            let data = input.filled().get(decoded.start..decoded.start + decoded.length).unwrap_or_default();
            let timeout = self.call.group.config.send_timeout;
            let sent = match self.exchange.head.framing {
                Framing::Chunked => {
                    out.clear();
                    append_decoded(out, data, self.call.body, Default::default());
                    send(self.exchange, self.to, out, self.progress, timeout).await
                }
                // As it came, without a copy.
                Framing::None | Framing::Length(_) | Framing::Close => {
                    send(self.exchange, self.to, data, self.progress, timeout).await
                }
            };
            sent.map_err(|()| Up::Broken)?;
            input.consume(decoded.consumed);
        }
        client.alarm.disarm(Wait::ClientRead);
        self.call.more = Some(input);
        Ok(())
    }
}

/// An error: the upstream takes no more.
pub(super) async fn send(
    exchange: &Exchange<'_, '_>,
    to: &Wire,
    bytes: &[u8],
    progress: &Progress,
    timeout: Duration,
) -> Result<(), ()> {
    let (worker, client) = (exchange.worker, exchange.client);
    let (mut rest, mut armed) = (bytes, false);
    poll_fn(|cx| {
        while !rest.is_empty() {
            match to.poll_write(cx, rest) {
                Poll::Ready(Ok(n @ 1..)) => {
                    progress.sent.set(true);
                    rest = rest.get(n..).unwrap_or_default();
                    armed = false;
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(())),
                Poll::Pending => {
                    if !std::mem::replace(&mut armed, true) {
                        client.arm(&worker.deadlines, Wait::UpstreamWrite, timeout);
                    }
                    let up = worker.deadlines.poll(&client.alarm, Wait::UpstreamWrite, cx);
                    return up.map(|()| Err(()));
                }
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}
