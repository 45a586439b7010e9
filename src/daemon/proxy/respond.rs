//! Answers of this node's own: sent with one write where they fit.

use std::fs::File;
use std::io::{self, Read};

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::client::within;
use super::limits::{LARGE_FROM, SEND_TIMEOUT};
use super::worker::Worker;
use crate::gateway;
use crate::http1::{Delivery, Framing, OwnHead, Version, write_own};

/// Sent together with the head, up to so many bytes.
const WITH_HEAD_MAX: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: Option<String>,
    /// Whole lines, each with its CRLF.
    pub(super) lines: Vec<u8>,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    /// None, and no length either: 204 and 304.
    Nothing,
    Bytes(Vec<u8>),
    /// The first `length` bytes.
    File {
        file: File,
        length: u64,
    },
}

impl Reply {
    pub(super) fn page(status: u16, node: &str) -> Self {
        let body = Body::Bytes(gateway::page(status, node).into_bytes());
        Self { status, content_type: Some("text/html".into()), lines: vec![], body }
    }

    pub(super) fn fixed(status: u16, content_type: &str, body: &str) -> Self {
        if matches!(status, 204 | 304) {
            return Self { status, content_type: None, lines: vec![], body: Body::Nothing };
        }
        let body = Body::Bytes(body.as_bytes().to_vec());
        Self { status, content_type: Some(content_type.to_owned()), lines: vec![], body }
    }

    pub(super) fn with_lines(mut self, lines: &[u8]) -> Self {
        self.lines.extend_from_slice(lines);
        self
    }
}

/// How it is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner<'a> {
    pub(super) version: Version,
    /// The request was a HEAD.
    pub(super) head_only: bool,
    pub(super) close: bool,
    /// The server's own lines.
    pub(super) add: &'a [u8],
}

/// An error leaves the client with a part of an answer, or with none.
pub(super) async fn respond(
    worker: &Worker,
    to: &mut (impl AsyncWrite + Unpin),
    reply: Reply,
    manner: &Manner<'_>,
) -> io::Result<()> {
    let mut text = worker.buffers.take_text();
    let date = worker.date();
    let own = OwnHead {
        status: reply.status,
        content_type: reply.content_type.as_deref(),
        content_length: match &reply.body {
            Body::Nothing => None,
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::File { length, .. } => Some(*length),
        },
        date: &date,
        lines: &reply.lines,
    };
    let delivery =
        Delivery { version: manner.version, close: manner.close, framing: Framing::None, add: manner.add };
    write_own(&mut text, &own, &delivery);
    let result = match reply.body {
        _ if manner.head_only => write_all(to, &text).await,
        Body::Nothing => write_all(to, &text).await,
        Body::Bytes(bytes) if bytes.len() <= WITH_HEAD_MAX => {
            text.extend_from_slice(&bytes);
            write_all(to, &text).await
        }
        Body::Bytes(bytes) => match write_all(to, &text).await {
            Ok(()) => write_all(to, &bytes).await,
            error => error,
        },
        Body::File { file, length } => send_file(worker, to, &mut text, file, length).await,
    };
    worker.buffers.give_text(text);
    result
}

/// Exactly `length` bytes, or an error: a file that shrinks meanwhile must not pass for a whole one.
async fn send_file(
    worker: &Worker,
    to: &mut (impl AsyncWrite + Unpin),
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
    write_all(to, text).await?;
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
        write_all(to, buffer.filled()).await?;
        buffer.consume(n);
    }
    Ok(())
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
