//! Bytes from one socket to another without a copy: through a pipe, which holds the kernel's own pages.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

#[derive(Debug)]
pub struct Pipe {
    from: OwnedFd,
    into: OwnedFd,
    holds: usize,
}

impl Pipe {
    /// One that holds about `capacity` bytes, or as much as this user may have.
    pub fn new(capacity: usize) -> io::Result<Self> {
        let (from, into) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let capacity = i32::try_from(capacity).unwrap_or(i32::MAX);
        // Beyond the user's share of memory for pipes (pipe(7)) this one stays as small as they are made.
        let _ = fcntl(&into, FcntlArg::F_SETPIPE_SZ(capacity));
        Ok(Self { from, into, holds: 0 })
    }

    pub fn is_empty(&self) -> bool {
        self.holds == 0
    }

    /// Takes at most `most` bytes that wait in `socket`; 0 at its end. To be asked of an empty pipe: from a full one
    /// `WouldBlock` says nothing about the socket.
    pub fn fill(&mut self, socket: impl AsFd, most: usize) -> io::Result<usize> {
        let n = splice(socket, None, &self.into, None, most, flags())?;
        self.holds += n;
        Ok(n)
    }

    /// Gives as much as `socket` takes.
    pub fn drain(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let n = splice(&self.from, None, socket, None, self.holds, flags())?;
        self.holds -= n.min(self.holds);
        Ok(n)
    }
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, theirs)
    }

    #[test]
    fn bytes_pass_as_they_are_and_no_more_than_asked_for() {
        let ((from, mut sender), (to, mut receiver)) = (pair(), pair());
        from.set_nonblocking(true).unwrap();
        let mut pipe = Pipe::new(64 << 10).unwrap();
        assert_eq!(pipe.fill(&from, 10).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        sender.write_all(b"hello, world").unwrap();
        from.peek(&mut [0]).unwrap_or_default();
        let mut got = 0;
        while got < 5 {
            got += pipe.fill(&from, 5 - got).unwrap_or(0);
        }
        assert_eq!((got, pipe.is_empty()), (5, false));
        while !pipe.is_empty() {
            pipe.drain(&to).unwrap();
        }
        let mut text = [0; 5];
        receiver.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hello");
        let mut rest = String::new();
        drop(sender);
        from.set_nonblocking(false).unwrap();
        (&from).read_to_string(&mut rest).unwrap();
        assert_eq!(rest, ", world");
        assert_eq!(pipe.fill(&from, 5).unwrap(), 0, "the end");
    }
}
