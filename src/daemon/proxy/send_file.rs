//! Sends a file's content behind the head of its answer.
//!
//! Through a buffer, and not with sendfile(2): what that hands over are the file's own pages, which show whatever is
//! written to them until the client has acknowledged them, after the file has been found unchanged.

use std::borrow::Cow;
use std::io;

use super::buffers::Lent;
use super::content::{Content, ReadError};
use super::counters::Count;
use super::exchange::Exchange;
use super::limits::LARGE_FROM;
use crate::http1::{Delivery, OwnHead, write_own};

/// An answer with a file or parts of one.
#[derive(Debug)]
pub(super) struct FileReply<'a> {
    pub(super) status: u16,
    pub(super) content_type: Cow<'static, str>,
    /// Whole lines, each with its CRLF.
    pub(super) lines: String,
    pub(super) length: u64,
    /// The first bytes, and what is to be read yet. `None` for HEAD.
    pub(super) content: Option<(Lent<'a>, Content)>,
}

/// All of it, or an error: a file that changes meanwhile must not pass for a whole one.
pub(super) async fn send_file(
    exchange: &Exchange<'_, '_>,
    text: &mut Vec<u8>,
    reply: FileReply<'_>,
    date: &str,
    delivery: &Delivery<'_>,
) -> io::Result<()> {
    let own = OwnHead {
        status: reply.status,
        content_type: Some(&reply.content_type),
        content_length: Some(reply.length),
        date,
        lines: reply.lines.as_bytes(),
    };
    write_own(text, &own, delivery);
    let Some((first, mut content)) = reply.content else {
        return exchange.begin(text, 0).await;
    };
    let body = first.filled().len();
    text.extend_from_slice(first.filled());
    drop(first);
    exchange.begin(text, body).await?;
    if content.is_done() {
        return Ok(());
    }
    let worker = exchange.worker;
    let large = (content.left() > LARGE_FROM).then(|| worker.buffers.take_large()).flatten();
    let mut buffer = large.unwrap_or_else(|| worker.buffers.take());
    while !content.is_done() {
        if let Err(error) = content.fill(&mut buffer).await {
            return Err(cut(exchange, error));
        }
        let n = buffer.filled().len();
        exchange.write(buffer.filled(), n).await?;
        buffer.consume(n);
    }
    Ok(())
}

fn cut(exchange: &Exchange<'_, '_>, error: ReadError) -> io::Error {
    match error {
        ReadError::Changed => {
            exchange.worker.vitals.count(Count::FilesChanged);
            tracing::debug!(client = %exchange.client.peer, "cut: {error}");
            io::Error::other(error)
        }
        ReadError::Io(error) => {
            tracing::warn!(client = %exchange.client.peer, "cannot read on: {error}");
            error
        }
    }
}
