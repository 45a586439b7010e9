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
    /// The part of the body that came along with it is put behind it.
    pub(super) head: &'b mut Vec<u8>,
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
        match self.send().await {
            Err(up) => up,
            Ok(()) => {
                self.progress.request.set(Sending::Complete);
                gone(self.from.as_ref()).await;
                Up::Gone
            }
        }
    }

    async fn send(&mut self) -> Result<(), Up> {
        let mut total = 0;
        // Kept with the head: if not a byte of it can be sent, the next try has to send all of it.
        let mut head = std::mem::take(self.head);
        let taken = self.take_body(&mut head, &mut total);
        *self.head = head;
        taken?;
        write(&mut self.to, self.head, self.progress, self.send_timeout).await?;
        if self.body.is_done() {
            return Ok(());
        }
        let mut out = self.worker.buffers.take_text();
        let sent = self.send_rest(&mut out, &mut total).await;
        self.worker.buffers.give_text(out);
        sent
    }

    async fn send_rest(&mut self, out: &mut Vec<u8>, total: &mut u64) -> Result<(), Up> {
        while !self.body.is_done() {
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
            out.clear();
            self.take_body(out, total)?;
            write(&mut self.to, out, self.progress, self.send_timeout).await?;
        }
        Ok(())
    }

    /// Moves what is here of the body to `out`, framed. `total` counts its bytes.
    fn take_body(&mut self, out: &mut Vec<u8>, total: &mut u64) -> Result<(), Up> {
        if self.body.is_done() || self.input.is_empty() {
            return Ok(());
        }
        // Decoded and consumed in one step, before anything else may give up: what is left in the buffer is what the
        // decoder has not seen, and may be the next request.
        let filled = self.input.filled_mut();
        let decoded = self.body.decode(filled).map_err(|error| {
            tracing::debug!(client = %self.facts.peer, "malformed request body: {error}");
            Up::Faulty(400)
        })?;
        let data = filled.get(decoded.start..decoded.start + decoded.length).unwrap_or_default();
        *total += data.len() as u64;
        match self.framing {
            Framing::Chunked => append_chunk(out, data, self.body.is_done()),
            Framing::None | Framing::Length(_) | Framing::Close => out.extend_from_slice(data),
        }
        self.input.consume(decoded.consumed);
        if *total > BODY_MAX { Err(Up::Faulty(413)) } else { Ok(()) }
    }
}

async fn write(
    to: &mut WriteHalf<'_>,
    mut bytes: &[u8],
    progress: &Progress,
    send_timeout: Duration,
) -> Result<(), Up> {
    while !bytes.is_empty() {
        match within(send_timeout, to.write(bytes)).await {
            Some(Ok(n @ 1..)) => {
                progress.sent.set(true);
                bytes = bytes.get(n..).unwrap_or_default();
            }
            None | Some(Ok(0) | Err(_)) => return Err(Up::Broken),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::*;
    use crate::daemon::proxy::counters::Vitals;
    use crate::daemon::proxy::fence::Standing;
    use crate::daemon::proxy::listener::Listener;
    use crate::os::accept::reset_on_close;

    fn pair() -> (tokio::net::TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        ours.set_nonblocking(true).unwrap();
        (tokio::net::TcpStream::from_std(ours).unwrap(), listener.accept().unwrap().0)
    }

    /// A connection that was reset behind the runtime's back, then one that is in order: both are tried with the same
    /// request, since nothing of it was sent at first.
    async fn sent_at_second_try(framing: Framing, body: &[u8]) -> Vec<u8> {
        let (events, _events) = mpsc::channel(1);
        let vitals = Arc::new(Vitals::default());
        let worker = Worker::new(0, 1, Arc::default(), events, vitals);
        let (mut client, theirs) = pair();
        let address = theirs.local_addr().unwrap();
        let facts = Facts::new(address, std::rc::Rc::new(Listener::new(address, 0)), Standing::default());
        let mut input = worker.buffers.take();
        input.space()[..body.len()].copy_from_slice(body);
        input.fill(body.len());
        let mut decoder = BodyDecoder::new(framing);
        let mut head = b"HEAD\r\n\r\n".to_vec();
        let (mut stale, peer) = pair();
        stale.writable().await.unwrap();
        reset_on_close(peer.as_fd()).unwrap();
        drop(peer);
        let (mut good, mut peer) = pair();
        for (stream, expect_sent) in [(&mut stale, false), (&mut good, true)] {
            let progress = Progress::default();
            let (from, _) = client.split();
            let (_, to) = stream.split();
            let upload = Upload {
                worker: &worker,
                facts: &facts,
                from,
                to,
                head: &mut head,
                framing,
                body: &mut decoder,
                input: &mut input,
                progress: &progress,
                send_timeout: Duration::from_secs(9),
            };
            // One that has sent all waits for the client to leave.
            let mut run = std::pin::pin!(upload.run());
            let broken = tokio::select! {
                biased;
                end = &mut run => matches!(end, Up::Broken),
                () = async {
                    while progress.request.get() != Sending::Complete {
                        tokio::task::yield_now().await;
                    }
                } => false,
            };
            assert_eq!((progress.sent.get(), broken), (expect_sent, !expect_sent));
        }
        drop(good);
        let mut seen = vec![];
        peer.read_to_end(&mut seen).unwrap();
        seen
    }

    #[test]
    fn a_body_is_not_lost_with_a_connection_that_took_none_of_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for (framing, body) in [(Framing::Length(5), "hello"), (Framing::Chunked, "5\r\nhello\r\n0\r\n\r\n")]
        {
            let seen = runtime.block_on(sent_at_second_try(framing, body.as_bytes()));
            assert_eq!(String::from_utf8(seen).unwrap(), format!("HEAD\r\n\r\n{body}"));
        }
    }
}
