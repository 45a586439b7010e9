//! The response's way: from the upstream's first byte to the client's last.

use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Duration, Instant, timeout_at};

use super::attempt::{Progress, Sending};
use super::buffers::Lent;
use super::client::{Facts, local};
use super::exchange::Request;
use super::limits::{INTERIM_MAX, LARGE_FROM};
use super::respond::write_all;
use super::worker::Worker;
use crate::balance::Failure;
use crate::http1::{
    BodyDecoder, Delivery, Fields, Framing, HeadScan, LAST_CHUNK, RESPONSE_HEAD_MAX, ResponseHead, Scanned,
    Version, append_chunk, frame_chunk, write_interim, write_response,
};

pub(super) struct Relay<'a> {
    pub(super) worker: &'a Worker,
    pub(super) request: &'a Request,
    pub(super) facts: &'a Facts,
    /// The server's own lines.
    pub(super) add: &'a [u8],
    pub(super) from: ReadHalf<'a>,
    pub(super) to: WriteHalf<'a>,
    pub(super) progress: &'a Progress,
    /// The first byte has to be there by then.
    pub(super) first_byte: Option<Instant>,
    pub(super) read_timeout: Duration,
    /// Whom the log complains about.
    pub(super) address: SocketAddr,
}

pub(super) enum Down {
    /// `reusable`: the upstream's connection is at the start of a next response. `close`: the client was told that
    /// its own ends.
    Complete {
        status: u16,
        reusable: bool,
        close: bool,
    },
    Failed(Failure),
    /// The answer had begun and cannot be completed.
    Cut,
    ClientGone,
    /// The answer has not begun and is another node's to give.
    Fenced,
}

impl Relay<'_> {
    pub(super) async fn run(mut self) -> Down {
        let mut buffer = self.worker.buffers.take();
        match self.final_head(&mut buffer).await {
            Ok(head) => self.answer(head, buffer).await,
            Err(down) => down,
        }
    }

    /// The first head that is not informational; it lies at the start of `buffer`.
    async fn final_head(&mut self, buffer: &mut Lent<'_>) -> Result<ResponseHead, Down> {
        for _ in 0..=INTERIM_MAX {
            let length = self.read_head(buffer).await?;
            let bytes = buffer.filled().get(..length).unwrap_or_default();
            let head = ResponseHead::parse(bytes, self.request.method, Fields::default())
                .map_err(|error| malformed(self.address, &error))?;
            if !head.is_interim() {
                return Ok(head);
            }
            match (head.status, self.request.version) {
                // Nobody asked for another protocol: Upgrade is not passed on.
                (101, _) => return Err(malformed(self.address, &"101 without an upgrade")),
                // The 100 is ours to send; HTTP/1.0 knows none of them.
                (100, _) | (_, Version::Http10) => (),
                (_, Version::Http11) => {
                    let mut text = self.worker.buffers.take_text();
                    write_interim(&mut text, bytes, &head, Default::default());
                    self.may_begin().await?;
                    let written = write_all(&mut self.to, &text).await;
                    self.worker.buffers.give_text(text);
                    written.map_err(|_| Down::ClientGone)?;
                }
            }
            buffer.consume(length);
        }
        Err(malformed(self.address, &"too many informational responses"))
    }

    async fn read_head(&mut self, buffer: &mut Lent<'_>) -> Result<usize, Down> {
        let mut scan = HeadScan::default();
        loop {
            match scan.response(buffer.filled()).map_err(|error| malformed(self.address, &error))? {
                Scanned::Complete(length) => return Ok(length),
                Scanned::Incomplete => (),
            }
            if buffer.space().is_empty() {
                buffer.grow(RESPONSE_HEAD_MAX);
            }
            match self.read(buffer).await {
                Ok(1..) => self.first_byte = None,
                // Closed in the middle of a head: bytes have come, but no response.
                Ok(0) | Err(Failure::Empty) if !buffer.is_empty() => {
                    return Err(malformed(self.address, &"closed within the head"));
                }
                Ok(0) => return Err(Down::Failed(Failure::Empty)),
                Err(failure) => return Err(Down::Failed(failure)),
            }
        }
    }

    /// Reads once; a time-out counts only when the request is out.
    async fn read(&mut self, buffer: &mut Lent<'_>) -> Result<usize, Failure> {
        loop {
            let deadline = self.first_byte.unwrap_or_else(|| Instant::now() + self.read_timeout);
            match timeout_at(deadline, self.from.read(buffer.space())).await {
                Ok(Ok(n)) => {
                    buffer.fill(n);
                    return Ok(n);
                }
                Ok(Err(_)) => return Err(Failure::Empty),
                Err(_) if self.first_byte.is_some() => return Err(Failure::FirstByteTimeout),
                Err(_) if self.progress.request.get() == Sending::Going => (),
                Err(_) => return Err(Failure::Timeout),
            }
        }
    }

    async fn answer(mut self, head: ResponseHead, mut buffer: Lent<'_>) -> Down {
        let framing = match (head.framing, self.request.version) {
            // What has no length can be delimited for a client of HTTP/1.1 all the same.
            (Framing::Chunked | Framing::Close, Version::Http11) => Framing::Chunked,
            (Framing::Chunked | Framing::Close, Version::Http10) => Framing::Close,
            (framing @ (Framing::None | Framing::Length(_)), _) => framing,
        };
        let close = !self.request.keep_alive
            || framing == Framing::Close
            || self.facts.shared.is_leaving()
            || self.progress.request.get() != Sending::Complete;
        let mut text = self.worker.buffers.take_text();
        let bytes = buffer.filled().get(..head.length).unwrap_or_default();
        let delivery =
            Delivery { version: self.request.version, close, framing, add: self.add, ..Delivery::default() };
        write_response(&mut text, bytes, &head, &delivery);
        buffer.consume(head.length);

        let mut body = BodyDecoder::new(head.framing);
        let decoded = match body.decode(buffer.filled_mut()) {
            Ok(decoded) => decoded,
            Err(error) => return malformed(self.address, &error),
        };
        let data = buffer.filled().get(decoded.start..decoded.start + decoded.length).unwrap_or_default();
        match framing {
            Framing::Chunked => append_chunk(&mut text, data, body.is_done()),
            Framing::None | Framing::Length(_) | Framing::Close => text.extend_from_slice(data),
        }
        buffer.consume(decoded.consumed);
        if let Err(down) = self.may_begin().await {
            return down;
        }
        self.progress.answered.set(true);
        let written = write_all(&mut self.to, &text).await;
        self.worker.buffers.give_text(text);
        if written.is_err() {
            return Down::ClientGone;
        }
        match self.body(&mut body, framing, buffer).await {
            Ok(clean) => Down::Complete {
                status: head.status,
                reusable: clean && head.keep_alive && body.is_done(),
                close,
            },
            Err(down) => down,
        }
    }

    /// The last look at the clock before an answer begins: what the upstream said may have waited in a process that
    /// was frozen.
    async fn may_begin(&self) -> Result<(), Down> {
        let address = || local(self.to.local_addr());
        let cleared = self.worker.fence.clears(&self.facts.standing, address).await;
        if cleared { Ok(()) } else { Err(Down::Fenced) }
    }

    /// The rest of the body. True: nothing that follows it has come.
    async fn body(
        &mut self,
        body: &mut BodyDecoder,
        framing: Framing,
        first: Lent<'_>,
    ) -> Result<bool, Down> {
        if body.is_done() {
            return Ok(first.is_empty());
        }
        let mut buffer = first;
        let mut small = true;
        let mut filled = false;
        while !body.is_done() {
            // Without a known length a full small buffer shows that a large one pays.
            if small
                && body.left().map_or(filled, |left| left > LARGE_FROM)
                && let Some(large) = self.worker.buffers.take_large()
            {
                buffer = large;
                small = false;
            }
            match self.read(&mut buffer).await {
                Ok(0) if body.ends_with_connection() => {
                    if framing == Framing::Chunked {
                        write_all(&mut self.to, LAST_CHUNK).await.map_err(|_| Down::ClientGone)?;
                    }
                    return Ok(false);
                }
                Ok(0) | Err(_) => return Err(Down::Cut),
                Ok(_) => (),
            }
            filled = buffer.space().is_empty();
            let decoded = body.decode(buffer.filled_mut()).map_err(|error| {
                tracing::warn!(address = %self.address, "upstream response cut: {error}");
                Down::Cut
            })?;
            let clean = decoded.consumed == buffer.filled().len();
            let (bytes, start) = buffer.whole();
            let start = start + decoded.start;
            let range = match framing {
                Framing::Chunked => frame_chunk(bytes, start, decoded.length, body.is_done()),
                Framing::None | Framing::Length(_) | Framing::Close => start..start + decoded.length,
            };
            let bytes = bytes.get(range).unwrap_or_default();
            write_all(&mut self.to, bytes).await.map_err(|_| Down::ClientGone)?;
            if body.is_done() {
                return Ok(clean);
            }
            buffer.consume(decoded.consumed);
        }
        Ok(true)
    }
}

fn malformed(address: SocketAddr, error: &dyn std::fmt::Display) -> Down {
    tracing::warn!(%address, "upstream response refused: {error}");
    Down::Failed(Failure::Malformed)
}
