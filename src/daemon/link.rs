//! One end of the link between PID 1 and a role: whole messages, in order, some of them with a descriptor.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Mutex, mpsc};

use crate::daemon::event_loop::{readable, writable};
use crate::link::frame::{self, Assembler, FrameError};
use crate::os::descriptor;

/// Sends `Tx`, receives `Rx`.
pub struct Link<Tx, Rx> {
    sender: Sender<Tx>,
    incoming: Incoming,
    receives: PhantomData<fn() -> Rx>,
}

impl<Tx: Serialize, Rx: DeserializeOwned> Link<Tx, Rx> {
    /// Takes a connected unix stream socket. Must be called inside a tokio runtime that drives I/O.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        descriptor::set_nonblocking(fd.as_fd())?;
        let socket = Arc::new(fd);
        let outgoing = Mutex::new(Outgoing::default());
        Ok(Self {
            sender: Sender {
                shared: Arc::new(Shared { socket: Arc::clone(&socket), outgoing }),
                sends: PhantomData,
            },
            incoming: Incoming { socket: readable(socket)?, assembler: Assembler::default(), passed: None },
            receives: PhantomData,
        })
    }

    /// Sends whole frames in the order of the calls. A call that is dropped before it ends has either sent nothing
    /// or leaves the rest of its frame to be sent first by the next call.
    pub async fn send(&self, message: &Tx, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        self.sender.send(message, fd).await
    }

    /// The next message and the descriptor that came with it; `None` at the end of the stream. Cancel safe: what
    /// has arrived is kept for the next call. After an error the stream is of no further use.
    pub async fn receive(&mut self) -> io::Result<Option<(Rx, Option<OwnedFd>)>> {
        let Some((body, fd)) = self.incoming.frame().await? else { return Ok(None) };
        Ok(Some((frame::decode(&body).map_err(invalid)?, fd)))
    }

    /// The sending half, for a task of its own; both may send.
    pub fn sender(&self) -> Sender<Tx> {
        self.sender.clone()
    }
}

/// The sending half of a `Link`; all its clones share one order.
pub struct Sender<Tx> {
    shared: Arc<Shared>,
    sends: PhantomData<fn(Tx)>,
}

impl<Tx> Clone for Sender<Tx> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), sends: PhantomData }
    }
}

impl<Tx: Serialize> Sender<Tx> {
    /// As `Link::send`.
    pub async fn send(&self, message: &Tx, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let bytes = frame::encode(message).map_err(invalid)?;
        let fd = fd.map(|fd| fd.try_clone_to_owned()).transpose()?;
        let mut outgoing = self.shared.outgoing.lock().await;
        outgoing.flush(&self.shared.socket).await?;
        *outgoing = Outgoing { bytes, sent: 0, fd };
        outgoing.flush(&self.shared.socket).await
    }

    /// Everything that comes into `queue`, in order, until it closes or the link fails.
    pub async fn send_all(self, mut queue: mpsc::Receiver<Tx>) -> io::Result<()> {
        while let Some(message) = queue.recv().await {
            self.send(&message, None).await?;
        }
        Ok(())
    }
}

struct Shared {
    socket: Arc<OwnedFd>,
    outgoing: Mutex<Outgoing>,
}

/// The frame that is being sent.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fd: Option<OwnedFd>,
}

impl Outgoing {
    async fn flush(&mut self, socket: &OwnedFd) -> io::Result<()> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let passed = self.fd.as_ref().map(|fd| fd.as_fd());
            match descriptor::send(socket.as_fd(), rest, passed) {
                Ok(n) => {
                    self.sent += n;
                    self.fd = None;
                }
                // The runtime hears of room only as long as somebody waits for it: a unix socket says that it has some
                // after each message that is read at the other end.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    drop(writable(socket.try_clone()?)?.writable().await?);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

struct Incoming {
    socket: AsyncFd<Arc<OwnedFd>>,
    assembler: Assembler,
    passed: Option<OwnedFd>,
}

impl Incoming {
    async fn frame(&mut self) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        loop {
            let first = self.assembler.is_between_frames();
            let space = self.assembler.space();
            let (n, passed) = self
                .socket
                .async_io(Interest::READABLE, |socket| descriptor::receive(socket.as_fd(), space))
                .await?;
            if n == 0 {
                return self.assembler.finish().map(|()| None).map_err(invalid);
            }
            if passed.is_some() {
                if !first {
                    let error = "a descriptor came in the middle of a frame";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
                self.passed = passed;
            }
            if let Some(body) = self.assembler.filled(n).map_err(invalid)? {
                return Ok(Some((body, self.passed.take())));
            }
        }
    }
}

fn invalid(error: FrameError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap().block_on(test);
    }

    fn links() -> (Link<String, String>, Link<String, String>) {
        let (a, b) = descriptor::pair().unwrap();
        (Link::from_fd(a).unwrap(), Link::from_fd(b).unwrap())
    }

    fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn each_descriptor_arrives_with_its_own_message() {
        run(async {
            let (near, mut far) = links();
            let (passed, kept) = descriptor::pair().unwrap();
            near.send(&"without".into(), None).await.unwrap();
            near.send(&"with".into(), Some(passed.as_fd())).await.unwrap();
            near.send(&"again without".into(), None).await.unwrap();
            drop((near, passed));
            let mut got = vec![];
            while let Some((text, fd)) = far.receive().await.unwrap() {
                if let Some(fd) = &fd {
                    descriptor::send(fd.as_fd(), b"!", None).unwrap();
                }
                got.push((text, fd.is_some()));
            }
            let expect = [("without", false), ("with", true), ("again without", false)];
            assert_eq!(got, expect.map(|(text, fd)| (text.to_owned(), fd)));
            assert_eq!(descriptor::receive(kept.as_fd(), &mut [0; 2]).unwrap().0, 1);
        });
    }

    #[test]
    fn calls_dropped_at_any_point_neither_lose_nor_cut_a_message() {
        run(async {
            let (near, mut far) = links();
            // Far more than a socket buffer: neither end can finish in one turn.
            let long = "x".repeat(8 << 20);
            let (passed, _kept) = descriptor::pair().unwrap();
            assert!(poll_once(near.send(&long, Some(passed.as_fd()))).is_pending());
            let sender = near.sender();
            let next = tokio::spawn(async move { sender.send(&"next".into(), None).await });
            let mut turns = 0;
            let (text, fd) = loop {
                match poll_once(far.receive()) {
                    Poll::Ready(message) => break message.unwrap().unwrap(),
                    Poll::Pending => turns += 1,
                }
                tokio::task::yield_now().await;
            };
            assert!(turns > 1, "the test must have cut the call");
            assert!(text == long && fd.is_some());
            assert_eq!(far.receive().await.unwrap().unwrap().0, "next");
            next.await.unwrap().unwrap();
        });
    }

    #[test]
    fn what_is_not_a_message_ends_the_link() {
        run(async {
            let table: [&[u8]; 3] = [&[0, 0, 0, 1, b'1'], &[0xff; 4], &[0, 0, 0, 9, b'"']];
            for bytes in table {
                let (a, b) = descriptor::pair().unwrap();
                let mut link = Link::<String, String>::from_fd(b).unwrap();
                descriptor::send(a.as_fd(), bytes, None).unwrap();
                drop(a);
                let error = link.receive().await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bytes:?}");
            }
        });
    }

    #[test]
    fn a_descriptor_in_the_middle_of_a_frame_is_refused() {
        run(async {
            let (a, b) = descriptor::pair().unwrap();
            let mut link = Link::<String, String>::from_fd(b).unwrap();
            descriptor::send(a.as_fd(), &[0, 0, 0, 2], None).unwrap();
            descriptor::send(a.as_fd(), b"\"\"", Some(a.as_fd())).unwrap();
            assert!(link.receive().await.is_err());
        });
    }
}
