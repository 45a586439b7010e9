//! Answers of this node's own: sent with one write where they fit.

use std::fs::File;
use std::io::{self, Read};

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::client::{Client, within};
use super::limits::{LARGE_FROM, SEND_TIMEOUT};
use super::worker::Worker;
use crate::gateway::Answer;
use crate::http1::{Delivery, Method, OwnHead, Version, write_own};

/// Sent together with the head, up to so many bytes of a file.
const WITH_HEAD_MAX: usize = 16 << 10;

#[derive(Debug)]
pub(super) enum Reply<'a> {
    Whole(Answer<'a>),
    /// The first `length` bytes.
    File {
        content_type: &'static str,
        /// Whole lines, each with its CRLF.
        lines: Vec<u8>,
        file: File,
        length: u64,
    },
}

impl Reply<'_> {
    pub(super) fn error(status: u16, node: &str) -> Self {
        Self::Whole(Answer::error(status, node))
    }

    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Whole(answer) => answer.status,
            Self::File { .. } => 200,
        }
    }
}

/// How it is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    pub(super) version: Version,
    pub(super) method: Method,
    pub(super) close: bool,
    /// The server's own lines.
    pub(super) add: &'a [u8],
}

/// An error leaves the client with a part of an answer, or with none: its connection is to be reset.
pub(super) async fn respond(
    worker: &Worker,
    client: &mut Client,
    reply: Reply<'_>,
    manner: &Manner<'_>,
) -> io::Result<()> {
    let mut text = worker.buffers.take_text();
    let date = worker.date();
    let delivery =
        Delivery { version: manner.version, close: manner.close, add: manner.add, ..Delivery::default() };
    let result = match reply {
        Reply::Whole(answer) => {
            answer.write(&mut text, manner.method, &date, &delivery);
            begin(worker, client, &text).await
        }
        Reply::File { content_type, lines, file, length } => {
            let own = OwnHead {
                status: 200,
                content_type: Some(content_type),
                content_length: Some(length),
                date: &date,
                lines: &lines,
            };
            write_own(&mut text, &own, &delivery);
            let length = if manner.method == Method::Head { 0 } else { length };
            send_file(worker, client, &mut text, file, length).await
        }
    };
    worker.buffers.give_text(text);
    result
}

/// Exactly `length` bytes, or an error: a file that shrinks meanwhile must not pass for a whole one.
async fn send_file(
    worker: &Worker,
    client: &mut Client,
    text: &mut Vec<u8>,
    file: File,
    length: u64,
) -> io::Result<()> {
    let mut left = length;
    let first = WITH_HEAD_MAX as u64;
    let read = (&file).take(left.min(first)).read_to_end(text)?;
    left -= read as u64;
    if left > 0 && (read as u64) < first {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    begin(worker, client, text).await?;
    if left == 0 {
        return Ok(());
    }
    let large = (left > LARGE_FROM).then(|| worker.buffers.take_large()).flatten();
    let mut buffer = large.unwrap_or_else(|| worker.buffers.take());
    while left > 0 {
        let space = buffer.space();
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(space.len());
        let n = (&file).read(space.get_mut(..most).unwrap_or_default())?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= n as u64;
        buffer.fill(n);
        write_all(&mut client.stream, buffer.filled()).await?;
        buffer.consume(n);
    }
    Ok(())
}

/// Writes what an answer begins with, unless a freeze since the request was read made it another node's to give.
async fn begin(worker: &Worker, client: &mut Client, text: &[u8]) -> io::Result<()> {
    if !client.is_cleared(worker).await {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    write_all(&mut client.stream, text).await
}

/// All of `bytes` to a client that takes some of them at least once per `SEND_TIMEOUT`.
pub(super) async fn write_all(to: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = within(SEND_TIMEOUT, to.write(bytes)).await.ok_or(io::ErrorKind::TimedOut)??;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(n..).unwrap_or_default();
    }
    Ok(())
}
