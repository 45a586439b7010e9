//! File descriptors that travel between processes (SCM_RIGHTS) and the pair of sockets that they travel on.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};

/// The kernel's limit of descriptors in one message.
const SCM_MAX_FD: usize = 253;

/// Two connected stream sockets that close on exec.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?)
}

pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Sends a part of `bytes`, at least one; `passed` travels with the first of them. A closed peer is EPIPE, never a
/// signal.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], passed: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    let fds = passed.map(|fd| [fd.as_raw_fd()]);
    let rights = fds.as_ref().map(|fds| ControlMessage::ScmRights(fds));
    loop {
        match sendmsg::<()>(
            socket.as_raw_fd(),
            &[IoSlice::new(bytes)],
            rights.as_slice(),
            MsgFlags::MSG_NOSIGNAL,
            None,
        ) {
            Err(Errno::EINTR) => (),
            other => return Ok(other?),
        }
    }
}

/// Receives into `bytes` (0 at the end of the stream) and the descriptors that came with them, which close on exec.
/// More of them than the protocol's one are all closed and reported as an error.
pub fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    // Room for as many as the kernel lets anybody send: what has no room is cut off together with the knowledge of
    // what was installed.
    let mut control = nix::cmsg_space!([RawFd; SCM_MAX_FD]);
    loop {
        let mut parts = [IoSliceMut::new(bytes)];
        let message = match recvmsg::<()>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_CMSG_CLOEXEC,
        ) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        // Adopted before anything can fail, so that none of them leaks.
        let mut fds = message
            .cmsgs()?
            .filter_map(|c| match c {
                ControlMessageOwned::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            // SAFETY: the kernel has just installed this descriptor for this call; nobody else knows its number.
            .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
            .collect::<Vec<_>>();
        let passed = fds.pop();
        if !fds.is_empty() || message.flags.contains(MsgFlags::MSG_CTRUNC) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "more than one descriptor in one message",
            ));
        }
        return Ok((message.bytes, passed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_descriptor_travels_and_closes_on_exec() {
        let (a, b) = pair().unwrap();
        let (c, d) = pair().unwrap();
        assert_eq!(send(a.as_fd(), b"x", Some(c.as_fd())).unwrap(), 1);
        let mut bytes = [0; 8];
        let (n, passed) = receive(b.as_fd(), &mut bytes).unwrap();
        let passed = passed.unwrap();
        assert_eq!((n, bytes[0]), (1, b'x'));
        let flags = fcntl(&passed, FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & nix::libc::FD_CLOEXEC, nix::libc::FD_CLOEXEC);
        drop(c);
        send(passed.as_fd(), b"y", None).unwrap();
        assert_eq!(receive(d.as_fd(), &mut bytes).unwrap().0, 1);
        drop(a);
        assert_eq!(receive(b.as_fd(), &mut bytes).unwrap().0, 0);
        assert_eq!(send(b.as_fd(), b"z", None).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_second_descriptor_is_refused_and_does_not_leak() {
        for count in [2, 3, SCM_MAX_FD] {
            let (a, b) = pair().unwrap();
            let fds = vec![a.as_raw_fd(); count];
            let rights = [ControlMessage::ScmRights(&fds)];
            sendmsg::<()>(a.as_raw_fd(), &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None).unwrap();
            let error = receive(b.as_fd(), &mut [0; 8]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            // Had a copy of `a` stayed open in this process, `b` would not see the end of the stream.
            drop(a);
            assert_eq!(receive(b.as_fd(), &mut [0; 8]).unwrap().0, 0, "{count} descriptors");
        }
    }
}
