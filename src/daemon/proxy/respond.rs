//! Answers of this node's own: sent with one write where they fit.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::client::{Client, within};
use super::limits::SEND_TIMEOUT;
use super::send_file::{FileReply, send_file};
use super::worker::Worker;
use crate::gateway::Answer;
use crate::http1::{Delivery, Framing, Method, Version};

#[derive(Debug)]
pub(super) enum Reply<'a> {
    Whole(Answer<'a>),
    File(FileReply<'a>),
}

impl Reply<'_> {
    pub(super) fn error(status: u16, node: &str) -> Self {
        Self::Whole(Answer::error(status, node))
    }

    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Whole(answer) => answer.status,
            Self::File(file) => file.status,
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
        Delivery { version: manner.version, close: manner.close, framing: Framing::None, add: manner.add };
    let result = match reply {
        Reply::Whole(answer) => {
            answer.write(&mut text, manner.method, &date, &delivery);
            begin(worker, client, &text).await
        }
        Reply::File(file) => send_file(worker, client, &mut text, file, &date, &delivery).await,
    };
    worker.buffers.give_text(text);
    result
}

/// Writes what an answer begins with, unless a freeze since the request was read made it another node's to give.
pub(super) async fn begin(worker: &Worker, client: &mut Client, text: &[u8]) -> io::Result<()> {
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
