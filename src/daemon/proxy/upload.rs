//! The request's way: head and body to the upstream, then an eye on the client.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::attempt::{Progress, Sending};
use super::buffers::Lent;
use super::client::{Facts, gone, local, within};
use super::limits::{BODY_MAX, BODY_TIMEOUT};
use super::worker::Worker;
use crate::http1::{BodyDecoder, Framing, append_chunk};

pub(super) struct Upload<'a, 'b, 'w> {
    pub(super) worker: &'a Worker,
    pub(super) facts: &'a Facts,
    pub(super) from: ReadHalf<'a>,
    pub(super) to: WriteHalf<'a>,
    pub(super) head: &'a [u8],
    pub(super) framing: Framing,
    pub(super) body: &'b mut BodyDecoder,
    pub(super) input: &'b mut Lent<'w>,
    pub(super) progress: &'a Progress,
    pub(super) send_timeout: Duration,
}

/// Never ends on success: then it watches until the client leaves.
pub(super) enum Up {
    Gone,
    /// Status for the client.
    Faulty(u16),
    Fenced,
    /// The upstream takes no more.
    Broken,
}

impl Upload<'_, '_, '_> {
    pub(super) async fn run(mut self) -> Up {
        let mut out = self.worker.buffers.take_text();
        out.extend_from_slice(self.head);
        let end = self.send(&mut out).await;
        self.worker.buffers.give_text(out);
        match end {
            Err(up) => up,
            Ok(()) => {
                self.progress.request.set(Sending::Complete);
                gone(self.from.as_ref()).await;
                Up::Gone
            }
        }
    }

    /// `out` already holds the head.
    async fn send(&mut self, out: &mut Vec<u8>) -> Result<(), Up> {
        let mut total = 0;
        loop {
            // Decoded and consumed in one step, before anything else may give up: what is left in the buffer is
            // what the decoder has not seen, and may be the next request.
            if !self.body.is_done() && !self.input.is_empty() {
                let filled = self.input.filled_mut();
                let decoded = self.body.decode(filled).map_err(|error| {
                    tracing::debug!(client = %self.facts.peer, "malformed request body: {error}");
                    Up::Faulty(400)
                })?;
                let data = filled.get(decoded.start..decoded.start + decoded.length).unwrap_or_default();
                total += data.len() as u64;
                match self.framing {
                    Framing::Chunked => append_chunk(out, data, self.body.is_done()),
                    Framing::None | Framing::Length(_) | Framing::Close => out.extend_from_slice(data),
                }
                self.input.consume(decoded.consumed);
                if total > BODY_MAX {
                    return Err(Up::Faulty(413));
                }
            }
            self.write(out).await?;
            out.clear();
            if self.body.is_done() {
                return Ok(());
            }
            let read = within(BODY_TIMEOUT, self.from.read(self.input.space())).await;
            match read {
                None => return Err(Up::Faulty(408)),
                Some(Ok(0) | Err(_)) => return Err(Up::Gone),
                Some(Ok(n)) => self.input.fill(n),
            }
            let address = || local(self.from.local_addr());
            if !self.worker.fence.clears(&self.facts.standing, address).await {
                return Err(Up::Fenced);
            }
        }
    }

    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Up> {
        while !bytes.is_empty() {
            match within(self.send_timeout, self.to.write(bytes)).await {
                Some(Ok(n @ 1..)) => {
                    self.progress.sent.set(true);
                    bytes = bytes.get(n..).unwrap_or_default();
                }
                None | Some(Ok(0) | Err(_)) => return Err(Up::Broken),
            }
        }
        Ok(())
    }
}
