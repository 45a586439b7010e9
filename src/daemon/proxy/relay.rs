//! The response's way: from the upstream's first byte to the client's last.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::attempt::{Progress, Sending};
use super::buffers::Lent;
use super::client::GoneWatch;
use super::deadline::Wait;
use super::exchange::Exchange;
use super::forward::Judge;
use super::limits::{COPIED_MAX, FRESH_PATIENCE, INTERIM_MAX, LARGE_FROM, PIPE, PIPED_FROM};
use super::pipes::LentPipe;
use super::pool::Pool;
use super::wire::Wire;
use crate::balance::Failure;
use crate::http1::{
    BodyDecoder, Delivery, Framing, HeadScan, LAST_CHUNK, Names, RESPONSE_HEAD_MAX, ResponseHead, Version,
    append_last_chunk, frame_chunk, write_interim, write_response, write_switching,
};

pub(super) struct Relay<'a, 'w> {
    pub(super) exchange: &'a Exchange<'a, 'w>,
    pub(super) began: Instant,
    pub(super) pool: &'a Pool,
    pub(super) judge: &'a Judge<'a>,
    /// Fields that the client does not get.
    pub(super) hide: &'a Names,
    /// Name of this proxy in Via.
    pub(super) via: Option<&'a str>,
    pub(super) from: &'a Wire,
    pub(super) progress: &'a Progress,
    /// How long the first byte may take.
    pub(super) first_byte: Cell<Option<Duration>>,
    pub(super) read_timeout: Duration,
    /// Whom the log complains about.
    pub(super) address: SocketAddr,
    pub(super) gone: GoneWatch,
}

pub(super) enum Down<'w> {
    /// `reusable`: the upstream's connection is at the start of a next response. `close`: the client was told that
    /// its own ends.
    Complete {
        reusable: bool,
        close: bool,
    },
    /// The client has been told that another protocol is spoken from here on; some of it came along.
    Switched(Lent<'w>),
    /// Nothing of this response went to the client: another server is to be asked.
    NextServer(u16),
    Failed(Failure),
    /// The answer had begun and cannot be completed.
    Cut,
    ClientGone,
    /// The answer has not begun and is another node's to give.
    Fenced,
}

/// Why a read brought nothing.
enum Unread {
    Failed(Failure),
    ClientGone,
}

impl<'w> Relay<'_, 'w> {
    pub(super) async fn run(self) -> Down<'w> {
        // Whoever waits for a slow upstream holds no buffer.
        let ready = self.wait(|cx| self.from.poll_readable(cx)).await;
        let buffers = &self.exchange.worker.buffers;
        let large = if self.pool.expects_large() { buffers.take_large() } else { None };
        let mut buffer = large.unwrap_or_else(|| buffers.take());
        let head = match ready {
            Ok(()) | Err(Unread::Failed(Failure::Empty)) => self.final_head(&mut buffer).await,
            Err(Unread::Failed(failure)) => Err(Down::Failed(failure)),
            Err(Unread::ClientGone) => Err(Down::ClientGone),
        };
        match head {
            Ok(head) if head.status == 101 => Box::pin(self.switch(&head, buffer)).await,
            Ok(head) if self.judge.gives_up(self.pool, head.status) => Down::NextServer(head.status),
            Ok(head) => self.answer(head, buffer).await,
            Err(down) => down,
        }
    }

    /// The first head that is not informational; it lies at the start of `buffer`.
    async fn final_head(&self, buffer: &mut Lent<'w>) -> Result<ResponseHead, Down<'w>> {
        for _ in 0..=INTERIM_MAX {
            let head = self.read_head(buffer).await?;
            let (version, asked) = (self.exchange.version(), self.exchange.head.upgrade.is_some());
            match (head.status, version) {
                (101, _) if asked && head.upgrade.is_some() => return Ok(head),
                (101, _) => return Err(self.malformed(&"101 without an upgrade")),
                // The 100 is ours to send; HTTP/1.0 knows none of them.
                (100, _) | (102..=199, Version::Http10) => (),
                (102..=199, Version::Http11) => Box::pin(self.pass_interim(&head, buffer)).await?,
                _ => return Ok(head),
            }
            buffer.consume(head.length);
            self.exchange.worker.give_fields(head.fields);
        }
        Err(self.malformed(&"too many informational responses"))
    }

    async fn pass_interim(&self, head: &ResponseHead, buffer: &Lent<'w>) -> Result<(), Down<'w>> {
        let buffers = &self.exchange.worker.buffers;
        let mut text = buffers.take_text();
        write_interim(&mut text, buffer.filled().get(..head.length).unwrap_or_default(), head, self.hide);
        self.may_begin().await?;
        let written = self.exchange.write(&text, 0).await;
        buffers.give_text(text);
        written.map_err(|_| Down::ClientGone)
    }

    async fn read_head(&self, buffer: &mut Lent<'w>) -> Result<ResponseHead, Down<'w>> {
        let worker = self.exchange.worker;
        let (mut scan, mut spare) = (HeadScan::default(), worker.take_fields());
        loop {
            if !buffer.is_empty() {
                let read = ResponseHead::read(buffer.filled(), self.exchange.method(), &mut scan, &mut spare);
                if let Some(head) = read.map_err(|error| self.malformed(&error))? {
                    self.exchange.tally.note(|t| {
                        t.header_time = self.exchange.timed.then(|| self.began.elapsed());
                        t.status = Some(head.status);
                    });
                    return Ok(head);
                }
            }
            if buffer.space().is_empty() {
                buffer.grow(RESPONSE_HEAD_MAX);
            }
            match self.read(buffer).await {
                Ok(1..) => self.first_byte.set(None),
                // Closed in the middle of a head: bytes have come, but no response.
                Ok(0) | Err(Unread::Failed(Failure::Empty)) if !buffer.is_empty() => {
                    tracing::warn!(address = %self.address, "upstream response refused: closed within the head");
                    return Err(Down::Failed(Failure::CutShort));
                }
                Ok(0) => return Err(Down::Failed(Failure::Empty)),
                Err(Unread::Failed(failure)) => return Err(Down::Failed(failure)),
                Err(Unread::ClientGone) => return Err(Down::ClientGone),
            }
        }
    }

    async fn read(&self, buffer: &mut Lent<'w>) -> Result<usize, Unread> {
        let n = self.wait(|cx| self.from.poll_read(cx, buffer.space())).await?;
        buffer.fill(n);
        Ok(n)
    }

    /// For what `poll` waits for; a time-out counts only when the request is out.
    async fn wait<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Result<T, Unread> {
        let (worker, client) = (self.exchange.worker, self.exchange.client);
        let (mut waits, mut sending) = (0, self.progress.request.get());
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(result) = poll(cx) {
                    return Poll::Ready(result.map_err(|_| Unread::Failed(Failure::Empty)));
                }
                if std::mem::replace(&mut sending, self.progress.request.get()) != sending {
                    // The upstream's time begins when it has the whole request.
                    waits = 0;
                }
                if self.progress.request.get() == Sending::Complete && self.is_gone(waits, cx) {
                    return Poll::Ready(Err(Unread::ClientGone));
                }
                let first_byte = self.first_byte.get();
                if waits == 0 {
                    client.arm(
                        &worker.deadlines,
                        Wait::UpstreamRead,
                        first_byte.unwrap_or(self.read_timeout),
                    );
                }
                waits += 1;
                if worker.deadlines.poll(&client.alarm, Wait::UpstreamRead, cx).is_pending() {
                    return Poll::Pending;
                }
                let failure = match (first_byte, self.progress.request.get()) {
                    (Some(_), _) => Failure::FirstByteTimeout,
                    (None, Sending::Complete | Sending::Broken) => Failure::Timeout,
                    (None, Sending::Going) => {
                        waits = 0;
                        continue;
                    }
                };
                return Poll::Ready(Err(Unread::Failed(failure)));
            }
        })
        .await
    }

    /// Whether the client has left. A fresh connection is not watched at once: most answers come before that pays.
    fn is_gone(&self, waits: u32, cx: &mut Context<'_>) -> bool {
        let (worker, client) = (self.exchange.worker, self.exchange.client);
        if client.wire.is_fresh() {
            let alarm = &client.alarm;
            if waits == 0 {
                client.arm(&worker.deadlines, Wait::ClientRead, FRESH_PATIENCE);
            }
            if worker.deadlines.poll(alarm, Wait::ClientRead, cx).is_pending() {
                return false;
            }
            alarm.disarm(Wait::ClientRead);
        }
        self.gone.poll(&client.wire, cx).is_ready()
    }

    async fn switch(&self, head: &ResponseHead, mut buffer: Lent<'w>) -> Down<'w> {
        let (exchange, buffers) = (self.exchange, &self.exchange.worker.buffers);
        let (mut text, mut scratch) = (buffers.take_text(), buffers.take_text());
        let bytes = buffer.filled().get(..head.length).unwrap_or_default();
        exchange.tally.status.set(head.status);
        let add = exchange.subject().added(exchange.rules(), Some((bytes, head)), &mut scratch);
        let delivery = Delivery { add, hide: self.hide, via: self.via, ..Delivery::default() };
        write_switching(&mut text, bytes, head, &delivery);
        buffers.give_text(scratch);
        buffer.consume(head.length);
        if let Err(down) = self.may_begin().await {
            return down;
        }
        self.progress.answered.set(true);
        let written = self.exchange.write(&text, 0).await;
        buffers.give_text(text);
        if written.is_err() { Down::ClientGone } else { Down::Switched(buffer) }
    }

    async fn answer(&self, head: ResponseHead, mut buffer: Lent<'w>) -> Down<'w> {
        let exchange = self.exchange;
        let framing = match (head.framing, exchange.version()) {
            // What has no length can be delimited for a client of HTTP/1.1 all the same.
            (Framing::Chunked | Framing::Close, Version::Http11) => Framing::Chunked,
            (Framing::Chunked | Framing::Close, Version::Http10) => Framing::Close,
            (framing @ (Framing::None | Framing::Length(_)), _) => framing,
        };
        if framing == Framing::Close
            || exchange.client.is_leaving()
            || self.progress.request.get() != Sending::Complete
        {
            exchange.close.set(true);
        }
        let close = exchange.close.get();
        let buffers = &exchange.worker.buffers;
        let (mut text, mut scratch) = (buffers.take_text(), buffers.take_text());
        let bytes = buffer.filled().get(..head.length).unwrap_or_default();
        exchange.tally.status.set(head.status);
        let add = exchange.subject().added(exchange.rules(), Some((bytes, &head)), &mut scratch);
        let delivery =
            Delivery { version: exchange.version(), close, framing, add, hide: self.hide, via: self.via };
        write_response(&mut text, bytes, &head, &delivery);
        buffers.give_text(scratch);
        if exchange.view.snapshot.logs_response {
            *exchange.tally.response.borrow_mut() = Some((bytes.to_vec(), head.clone()));
        }
        buffer.consume(head.length);

        let filled = buffer.is_full();
        let mut body = BodyDecoder::new(head.framing);
        let decoded = match body.decode(buffer.filled_mut()) {
            Ok(decoded) => decoded,
            Err(error) => return self.malformed(&error),
        };
        let done = body.is_done();
        let trailers = if done { body.take_trailers(self.hide) } else { None };
        let trailers = trailers.filter(|_| framing == Framing::Chunked);
        if let Err(down) = self.may_begin().await {
            return down;
        }
        self.progress.answered.set(true);
        let (whole, at) = buffer.whole();
        let start = at + decoded.start;
        let range = match framing {
            // The head has left room in front.
            Framing::Chunked => frame_chunk(whole, start, decoded.length, done && trailers.is_none()),
            Framing::None | Framing::Length(_) | Framing::Close => start..start + decoded.length,
        };
        let piece = whole.get(range).unwrap_or_default();
        let mut written = match piece.len() <= COPIED_MAX {
            true => {
                text.extend_from_slice(piece);
                match done && trailers.is_none() {
                    true => exchange.write_end(&text, decoded.length).await,
                    false => exchange.write(&text, decoded.length).await,
                }
            }
            false => exchange.write_both(&text, piece, decoded.length).await,
        };
        if let Some(trailers) = trailers.filter(|_| written.is_ok()) {
            text.clear();
            append_last_chunk(&mut text, &trailers);
            written = exchange.write(&text, 0).await;
        }
        buffer.consume(decoded.consumed);
        exchange.worker.buffers.give_text(text);
        if written.is_err() {
            return Down::ClientGone;
        }
        let pipe = match body.left() {
            Some(left) if left >= PIPED_FROM => exchange.worker.pipes.take(),
            Some(_) | None => None,
        };
        let clean = match pipe {
            _ if body.is_done() => Ok(buffer.is_empty()),
            Some(pipe) => Box::pin(self.piped(&mut body, pipe, buffer)).await,
            None => Box::pin(self.body(&mut body, framing, buffer, filled)).await,
        };
        self.pool.note_size(exchange.tally.body_sent.get());
        exchange.worker.give_fields(head.fields);
        match clean {
            Ok(clean) => Down::Complete { reusable: clean && head.keep_alive && body.is_done(), close },
            Err(down) => down,
        }
    }

    /// The last look at the clock before an answer begins: what the upstream said may have waited in a process that
    /// was frozen.
    async fn may_begin(&self) -> Result<(), Down<'w>> {
        if self.exchange.client.is_cleared(self.exchange.worker).await { Ok(()) } else { Err(Down::Fenced) }
    }

    /// The rest of a body of known length, which nobody has to look at. `buffer` is empty, and needed only where the
    /// kernel turns out to have no such way.
    async fn piped(
        &self,
        body: &mut BodyDecoder,
        mut pipe: LentPipe<'w>,
        buffer: Lent<'w>,
    ) -> Result<bool, Down<'w>> {
        let mut buffer = Some(buffer);
        while let Some(left @ 1..) = body.left() {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(PIPE);
            let filled = self.wait(|cx| self.from.poll_fill(cx, &mut pipe, most).map(Ok)).await;
            match (filled, buffer.take()) {
                (Err(Unread::ClientGone), _) => return Err(Down::ClientGone),
                (Ok(Err(error)), Some(buffer)) if !is_of_connection(&error) => {
                    self.exchange.worker.pipes.give_up();
                    return self.body(body, Framing::Length(left), buffer, false).await;
                }
                (Ok(Ok(0) | Err(_)) | Err(Unread::Failed(_)), _) => return Err(Down::Cut),
                (Ok(Ok(n)), _) => body.pass(n),
            }
            self.exchange.write_piped(&mut pipe).await.map_err(|_| Down::ClientGone)?;
        }
        self.exchange.worker.pipes.give(pipe);
        Ok(true)
    }

    /// The rest of the body; `filled`: there was more to read than there was room for. True: nothing that follows it
    /// has come.
    async fn body(
        &self,
        body: &mut BodyDecoder,
        framing: Framing,
        mut buffer: Lent<'w>,
        mut filled: bool,
    ) -> Result<bool, Down<'w>> {
        let exchange = self.exchange;
        let mut small = !buffer.is_large();
        while !body.is_done() {
            // Without a known length a full small buffer shows that a large one pays.
            if small
                && body.left().map_or(filled, |left| left > LARGE_FROM)
                && let Some(large) = exchange.worker.buffers.take_large()
            {
                buffer = large;
                small = false;
            }
            match self.read(&mut buffer).await {
                Ok(0) if body.ends_with_connection() => {
                    if framing == Framing::Chunked {
                        exchange.write(LAST_CHUNK, 0).await.map_err(|_| Down::ClientGone)?;
                    }
                    return Ok(false);
                }
                Err(Unread::ClientGone) => return Err(Down::ClientGone),
                Ok(0) | Err(Unread::Failed(_)) => return Err(Down::Cut),
                Ok(_) => (),
            }
            filled = buffer.space().is_empty();
            let decoded = body.decode(buffer.filled_mut()).map_err(|error| {
                tracing::warn!(address = %self.address, "upstream response cut: {error}");
                Down::Cut
            })?;
            let clean = decoded.consumed == buffer.filled().len();
            let trailers = if body.is_done() { body.take_trailers(self.hide) } else { None };
            let last = body.is_done() && trailers.is_none();
            let (bytes, start) = buffer.whole();
            let start = start + decoded.start;
            let range = match framing {
                Framing::Chunked => frame_chunk(bytes, start, decoded.length, last),
                Framing::None | Framing::Length(_) | Framing::Close => start..start + decoded.length,
            };
            let bytes = bytes.get(range).unwrap_or_default();
            exchange.write(bytes, decoded.length).await.map_err(|_| Down::ClientGone)?;
            if let Some(trailers) = trailers.filter(|_| framing == Framing::Chunked) {
                let mut text = exchange.worker.buffers.take_text();
                append_last_chunk(&mut text, &trailers);
                let written = exchange.write(&text, 0).await;
                exchange.worker.buffers.give_text(text);
                written.map_err(|_| Down::ClientGone)?;
            }
            if body.is_done() {
                return Ok(clean);
            }
            buffer.consume(decoded.consumed);
        }
        Ok(true)
    }

    fn malformed(&self, error: &dyn std::fmt::Display) -> Down<'w> {
        tracing::warn!(address = %self.address, "upstream response refused: {error}");
        Down::Failed(Failure::Malformed)
    }
}

/// The connection broke; otherwise it is the way of reading that failed.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    !matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported)
}
