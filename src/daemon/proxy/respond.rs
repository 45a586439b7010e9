//! Answers of this node's own: sent with one write where they fit.

use std::io;

use super::chronicle::Subject;
use super::exchange::Exchange;
use super::forward::Bound;
use super::send_file::{FileReply, send_file};
use crate::gateway::Answer;
use crate::http1::{BodyDecoder, Delivery, Method, Version};
use crate::os::pipe::Pipe;

#[derive(Debug)]
pub(super) enum Reply<'a> {
    Whole(Answer<'a>),
    /// An error page: the server may have its own.
    Page(Answer<'a>),
    File(FileReply<'a>),
}

impl Reply<'_> {
    pub(super) fn error(status: u16, node: &str) -> Self {
        Self::Page(Answer::error(status, node))
    }

    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Whole(answer) | Self::Page(answer) => answer.status,
            Self::File(file) => file.status,
        }
    }
}

/// Gives this node's own answer. A body that came along with the head has been passed over; one that is still to come
/// ends the connection.
pub(super) async fn own<'w>(exchange: &Exchange<'_, 'w>, reply: Reply<'_>, body: &BodyDecoder) -> Bound<'w> {
    let status = reply.status();
    // After these nginx trusts nothing that follows, either.
    if !body.is_done() || matches!(status, 400 | 413) {
        exchange.close.set(true);
    }
    exchange.tally.status.set(status);
    match respond(exchange, reply).await {
        Ok(()) => Bound::Answered { close: exchange.close.get(), rest: None },
        Err(_) => Bound::Cut,
    }
}

/// An error leaves the client with a part of an answer, or with none: its connection is to be reset.
async fn respond(exchange: &Exchange<'_, '_>, reply: Reply<'_>) -> io::Result<()> {
    let worker = exchange.worker;
    let (mut text, mut scratch) = (worker.buffers.take_text(), worker.buffers.take_text());
    let date = worker.date();
    let add = exchange.subject().added(exchange.rules(), None, &mut scratch);
    let delivery =
        Delivery { version: exchange.version(), close: exchange.close.get(), add, ..Delivery::default() };
    let result = match reply {
        Reply::Whole(answer) => whole(exchange, &mut text, &answer, &date, &delivery).await,
        Reply::Page(answer) => {
            whole(exchange, &mut text, &answer.with_page(&exchange.site.pages), &date, &delivery).await
        }
        Reply::File(file) => Box::pin(send_file(exchange, &mut text, file, &date, &delivery)).await,
    };
    worker.buffers.give_text(text);
    worker.buffers.give_text(scratch);
    result
}

async fn whole(
    exchange: &Exchange<'_, '_>,
    text: &mut Vec<u8>,
    answer: &Answer<'_>,
    date: &str,
    delivery: &Delivery<'_>,
) -> io::Result<()> {
    answer.write(text, exchange.method(), date, delivery);
    let body = if exchange.method() == Method::Head { 0 } else { answer.body.len() };
    exchange.begin(text, body).await
}

/// Answers what could not be understood, in the name of the address's first server.
pub(super) async fn unread(subject: &Subject<'_>, status: u16) -> io::Result<()> {
    let (worker, client) = (subject.worker, subject.client);
    subject.tally.status.set(status);
    let (mut text, mut scratch) = (worker.buffers.take_text(), worker.buffers.take_text());
    let answer = Answer::error(status, &subject.view.snapshot.node);
    let (answer, add) = match subject.site {
        Some(site) => (answer.with_page(&site.pages), subject.added(&site.rules, None, &mut scratch)),
        None => (answer, &b""[..]),
    };
    let delivery = Delivery { version: Version::Http11, close: true, add, ..Delivery::default() };
    answer.write(&mut text, Method::Get, &worker.date(), &delivery);
    let result = match client.is_cleared(worker).await {
        true => client.write_all(worker, &text, client.limits.get().send_timeout).await,
        false => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    if result.is_ok() {
        subject.tally.count_sent(text.len(), answer.body.len());
    }
    worker.buffers.give_text(text);
    worker.buffers.give_text(scratch);
    result
}

impl Exchange<'_, '_> {
    /// Writes what an answer begins with, unless a freeze since the request was read made it another node's to give.
    /// `body`: so many of the bytes are of the answer's body.
    pub(super) async fn begin(&self, text: &[u8], body: usize) -> io::Result<()> {
        if !self.client.is_cleared(self.worker).await {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.write(text, body).await
    }

    pub(super) async fn write(&self, bytes: &[u8], body: usize) -> io::Result<()> {
        self.client.write_all(self.worker, bytes, self.site.client.send_timeout).await?;
        self.tally.count_sent(bytes.len(), body);
        Ok(())
    }

    /// All that is in `pipe`, which is of the answer's body.
    pub(super) async fn write_piped(&self, pipe: &mut Pipe) -> io::Result<()> {
        while !pipe.is_empty() {
            let n = self.client.drain_pipe(self.worker, pipe, self.site.client.send_timeout).await?;
            self.tally.count_sent(n, n);
        }
        Ok(())
    }

    /// A head and what follows it.
    pub(super) async fn write_both(&self, head: &[u8], piece: &[u8], body: usize) -> io::Result<()> {
        self.client.write_both(self.worker, head, piece, self.site.client.send_timeout).await?;
        self.tally.count_sent(head.len() + piece.len(), body);
        Ok(())
    }

    /// The end of an answer after which the client expects the end of the connection.
    pub(super) async fn write_end(&self, bytes: &[u8], body: usize) -> io::Result<()> {
        // With unread input the kernel would send a reset instead of the end.
        let ends = self.close.get() && !self.head.keep_alive;
        let written = if ends { self.client.wire.write_last(bytes).unwrap_or(0) } else { 0 };
        self.tally.count_sent(written, 0);
        self.write(bytes.get(written..).unwrap_or_default(), body).await
    }
}
