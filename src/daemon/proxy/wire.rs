//! One TCP connection, of a client or of an upstream, that may be read and written by two hands of the same task.
//!
//! A connection that was just accepted is tried without the runtime: its first bytes are there (deferred accept), and
//! one that ends with its first answer never has to be told to epoll at all.

use std::cell::RefCell;
use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use nix::libc;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::os::pipe::Pipe;
use crate::os::{accept, tcp};

#[derive(Debug)]
pub(super) struct Wire(RefCell<Inner>);

#[derive(Debug)]
enum Inner {
    /// Non-blocking, and unknown to the runtime.
    Fresh(std::net::TcpStream),
    Watched(TcpStream),
    /// Could not be watched.
    Lost,
}

impl Wire {
    pub(super) fn fresh(stream: std::net::TcpStream) -> Self {
        Self(RefCell::new(Inner::Fresh(stream)))
    }

    pub(super) fn watched(stream: TcpStream) -> Self {
        Self(RefCell::new(Inner::Watched(stream)))
    }

    pub(super) fn is_fresh(&self) -> bool {
        matches!(*self.0.borrow(), Inner::Fresh(_))
    }

    pub(super) fn poll_read(&self, cx: &mut Context<'_>, space: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        if let Inner::Fresh(stream) = &mut *inner {
            match stream.read(space) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => inner.watch(),
                result => return Poll::Ready(result),
            }
        }
        let mut buffer = ReadBuf::new(space);
        let stream = inner.stream()?;
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        if let Inner::Fresh(stream) = &mut *inner {
            match stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => inner.watch(),
                result => return Poll::Ready(result),
            }
        }
        Pin::new(inner.stream()?).poll_write(cx, bytes)
    }

    /// Both in one system call, as far as the kernel takes them.
    pub(super) fn poll_write_both(
        &self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let slices = [IoSlice::new(first), IoSlice::new(second)];
        let mut inner = self.0.borrow_mut();
        if let Inner::Fresh(stream) = &mut *inner {
            match stream.write_vectored(&slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => inner.watch(),
                result => return Poll::Ready(result),
            }
        }
        Pin::new(inner.stream()?).poll_write_vectored(cx, &slices)
    }

    /// As many of the last bytes as the kernel takes at once, held back until the connection is closed, so that they
    /// share a segment with its end. For a fresh connection only.
    pub(super) fn write_last(&self, bytes: &[u8]) -> io::Result<usize> {
        match &*self.0.borrow() {
            Inner::Fresh(stream) => {
                SockRef::from(stream).send_with_flags(bytes, libc::MSG_MORE | libc::MSG_NOSIGNAL)
            }
            Inner::Watched(_) | Inner::Lost => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// From the socket into `pipe`, which is empty, at most `most` bytes; 0 at the end of the connection.
    pub(super) fn poll_fill(
        &self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        inner.watch();
        let stream = inner.stream()?;
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_io(Interest::READABLE, || pipe.fill(&*stream, most)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                result => return Poll::Ready(result),
            }
        }
    }

    /// As much of `pipe` as the socket takes.
    pub(super) fn poll_drain(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        inner.watch();
        let stream = inner.stream()?;
        loop {
            ready!(stream.poll_write_ready(cx))?;
            match stream.try_io(Interest::WRITABLE, || pipe.drain(&*stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                result => return Poll::Ready(result),
            }
        }
    }

    /// Ready when there is something to read, the end of the connection included.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        if let Inner::Fresh(stream) = &mut *inner {
            match stream.peek(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => inner.watch(),
                result => return Poll::Ready(result.map(drop)),
            }
        }
        inner.stream()?.poll_read_ready(cx)
    }

    /// The first byte that waits, without taking it; 0 at the end.
    pub(super) fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        inner.watch();
        let mut byte = [0];
        inner.stream()?.poll_peek(cx, &mut ReadBuf::new(&mut byte))
    }

    /// Neither closed nor with bytes that nobody asked for. The kernel is asked: what came since the runtime's last look
    /// would be taken for the answer to the next request.
    pub(super) fn is_quiet(&self) -> bool {
        let quiet = |socket: SockRef<'_>| {
            let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
            matches!(
                socket.recv_with_flags(&mut [MaybeUninit::uninit()], flags),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock
            )
        };
        match &*self.0.borrow() {
            Inner::Watched(stream) => quiet(SockRef::from(stream)),
            Inner::Fresh(stream) => quiet(SockRef::from(stream)),
            Inner::Lost => false,
        }
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match &*self.0.borrow() {
            Inner::Fresh(stream) => stream.local_addr(),
            Inner::Watched(stream) => stream.local_addr(),
            Inner::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// No more will be written.
    pub(super) fn shut_write(&self) -> io::Result<()> {
        let how = std::net::Shutdown::Write;
        match &*self.0.borrow() {
            Inner::Fresh(stream) => stream.shutdown(how),
            Inner::Watched(stream) => SockRef::from(stream).shutdown(how),
            Inner::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// How many bytes the client's kernel has not taken; an end that was said is one.
    pub(super) fn unacknowledged(&self) -> u32 {
        match &*self.0.borrow() {
            Inner::Fresh(stream) => tcp::unacknowledged(stream),
            Inner::Watched(stream) => tcp::unacknowledged(stream),
            Inner::Lost => 0,
        }
    }

    /// Closing it will send a reset and throw away whatever has not been sent or read.
    pub(super) fn reset_on_close(&self) -> io::Result<()> {
        match &*self.0.borrow() {
            Inner::Fresh(stream) => accept::reset_on_close(stream.as_fd()),
            Inner::Watched(stream) => accept::reset_on_close(stream.as_fd()),
            Inner::Lost => Ok(()),
        }
    }
}

impl Inner {
    /// From here on the runtime knows it.
    fn watch(&mut self) {
        *self = match std::mem::replace(self, Self::Lost) {
            Self::Fresh(stream) => TcpStream::from_std(stream).map_or(Self::Lost, Self::Watched),
            other => other,
        };
    }

    fn stream(&mut self) -> io::Result<&mut TcpStream> {
        match self {
            Self::Watched(stream) => Ok(stream),
            // No memory or descriptor was left for watching it.
            Self::Fresh(_) | Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::net::TcpListener;

    fn pair() -> (std::net::TcpStream, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        (ours, theirs)
    }

    #[test]
    fn a_fresh_connection_is_watched_as_soon_as_it_has_to_wait() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, mut theirs) = pair();
            theirs.write_all(b"hello").unwrap();
            let wire = Wire::fresh(ours);
            let mut space = [0; 16];
            assert_eq!(poll_fn(|cx| wire.poll_read(cx, &mut space)).await.unwrap(), 5);
            assert_eq!(poll_fn(|cx| wire.poll_write(cx, b"answer")).await.unwrap(), 6);
            assert!(wire.is_fresh() && wire.is_quiet());
            let mut read = Box::pin(poll_fn(|cx| wire.poll_read(cx, &mut space)));
            assert!(std::future::poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())).await);
            theirs.write_all(b"again").unwrap();
            assert_eq!(read.await.unwrap(), 5);
            assert!(!wire.is_fresh() && wire.is_quiet());
            // With bytes that it has not read it would reset the connection instead of ending it.
            theirs.read_exact(&mut [0; 6]).unwrap();
            drop(theirs);
            assert_eq!(poll_fn(|cx| wire.poll_peek(cx)).await.unwrap(), 0);
        });
    }

    #[test]
    fn last_bytes_arrive_with_the_end() {
        let (ours, mut theirs) = pair();
        let wire = Wire::fresh(ours);
        assert_eq!(wire.write_last(b"bye").unwrap(), 3);
        drop(wire);
        let mut text = String::new();
        theirs.read_to_string(&mut text).unwrap();
        assert_eq!(text, "bye");
    }
}
