//! Sends a file's content behind the head of its answer.

use std::fs::File;
use std::io::{self, Read};

use super::client::Client;
use super::limits::LARGE_FROM;
use super::respond::{begin, write_all};
use super::worker::Worker;

/// Sent together with the head, up to so many bytes of a file.
const WITH_HEAD_MAX: usize = 16 << 10;

/// Exactly `length` bytes, or an error: a file that shrinks meanwhile must not pass for a whole one.
pub(super) async fn send_file(
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
