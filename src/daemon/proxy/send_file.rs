//! Sends a file's content behind the head of its answer.
//!
//! Through a buffer, and not with sendfile(2): what that hands over are the file's own pages, which show whatever is
//! written to them until the client has acknowledged them, after the file has been found unchanged.

use std::borrow::Cow;
use std::io;

use super::buffers::Lent;
use super::client::Client;
use super::content::{Content, ReadError};
use super::counters::Count;
use super::limits::LARGE_FROM;
use super::respond::{begin, write_all};
use super::worker::Worker;
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
    worker: &Worker,
    client: &mut Client,
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
        return begin(worker, client, text).await;
    };
    text.extend_from_slice(first.filled());
    drop(first);
    begin(worker, client, text).await?;
    if content.is_done() {
        return Ok(());
    }
    let large = (content.left() > LARGE_FROM).then(|| worker.buffers.take_large()).flatten();
    let mut buffer = large.unwrap_or_else(|| worker.buffers.take());
    while !content.is_done() {
        if let Err(error) = content.fill(&mut buffer).await {
            return Err(cut(worker, client, error));
        }
        write_all(&mut client.stream, buffer.filled()).await?;
        let n = buffer.filled().len();
        buffer.consume(n);
    }
    Ok(())
}

fn cut(worker: &Worker, client: &Client, error: ReadError) -> io::Error {
    match error {
        ReadError::Changed => {
            worker.vitals.count(Count::FilesChanged);
            tracing::debug!(client = %client.facts.peer, "cut: {error}");
            io::Error::other(error)
        }
        ReadError::Io(error) => {
            tracing::warn!(client = %client.facts.peer, "cannot read on: {error}");
            error
        }
    }
}
