//! A netlink socket on which every request waits for its answer. The kernel works on a request within the system call
//! that sends it, so that the wait is short; `PATIENCE` bounds it all the same.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, recvfrom, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::message::{Message, Received, u32_at};

/// Larger than the 32 KiB that the kernel puts into one datagram of a dump.
const BUFFER: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);
/// A dump that changed while it was read is read again this often.
const DUMP_ATTEMPTS: usize = 8;

const REQUEST: u16 = 0x01;
const ACK: u16 = 0x04;
const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;
const ERROR: u16 = 2;
const DONE: u16 = 3;

pub(in crate::os) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub(in crate::os) fn open(protocol: SockProtocol) -> io::Result<Self> {
        let fd = open_fd(protocol, SockFlag::empty(), 0)?;
        let patience = TimeVal::new(PATIENCE.as_secs().cast_signed(), 0);
        setsockopt(&fd, sockopt::ReceiveTimeout, &patience)?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Sends one request and waits for its acknowledgement: the kernel's errno becomes the error.
    pub(in crate::os) fn execute(&mut self, message: Message) -> io::Result<()> {
        self.ask(message, |_| Some(())).map(|_| ())
    }

    /// The same, for a request that has an answer: what `read` recognises in it.
    pub(in crate::os) fn ask<T>(
        &mut self,
        message: Message,
        read: impl Fn(&Received<'_>) -> Option<T>,
    ) -> io::Result<Option<T>> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        self.send(&message.finish(REQUEST | ACK, sequence))?;
        let mut found = None;
        loop {
            let datagram = receive(self.fd.as_fd(), &mut self.buffer)?;
            for received in Received::all(datagram).filter(|r| r.sequence == sequence) {
                if received.kind == ERROR {
                    return acknowledged(received.payload).map(|()| found);
                }
                found = found.or_else(|| read(&received));
            }
        }
    }

    /// Sends a batch and returns its first error. The kernel applies all of it or nothing; only the last message asks
    /// for an acknowledgement, since a long batch of them would not fit the receive buffer.
    pub(in crate::os) fn execute_batch(
        &mut self,
        begin: Message,
        mut middle: Vec<Message>,
        end: Message,
    ) -> io::Result<()> {
        let Some(last_message) = middle.pop() else { return Ok(()) };
        let first = self.sequence.wrapping_add(1);
        let mut sequence = first;
        let mut bytes = begin.finish(REQUEST, sequence);
        for message in middle {
            sequence = sequence.wrapping_add(1);
            bytes.extend(message.finish(REQUEST, sequence));
        }
        let last = sequence.wrapping_add(1);
        bytes.extend(last_message.finish(REQUEST | ACK, last));
        self.sequence = last.wrapping_add(1);
        bytes.extend(end.finish(REQUEST, self.sequence));
        self.send(&bytes)?;
        loop {
            let datagram = receive(self.fd.as_fd(), &mut self.buffer)?;
            // An error of the batch as a whole carries the first sequence number and comes before the acknowledgement.
            for received in Received::all(datagram).filter(|r| r.kind == ERROR) {
                if received.sequence.wrapping_sub(first) <= last.wrapping_sub(first) {
                    acknowledged(received.payload)?;
                    return Ok(());
                }
            }
        }
    }

    /// Answers that nobody waited for until their end, of a request that has failed: as long as they fill its queue, the
    /// next answer finds no room.
    pub(in crate::os) fn forget_answers(&mut self) {
        loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) => (),
                Err(_) => return,
            }
        }
    }

    /// From now on only for `unasked`, of which so many bytes may wait; fewer in a user namespace.
    pub(in crate::os) fn listen(&self, room: usize) -> io::Result<()> {
        setsockopt(&self.fd, sockopt::RcvBufForce, &room)
            .or_else(|_| setsockopt(&self.fd, sockopt::RcvBuf, &room))?;
        fcntl(&self.fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(())
    }

    /// What the kernel has sent of its own accord. WouldBlock: nothing waits.
    pub(in crate::os) fn unasked(&mut self) -> io::Result<&[u8]> {
        receive(self.fd.as_fd(), &mut self.buffer)
    }

    /// Everything that `read` recognises in a dump that did not change while it was read.
    pub(in crate::os) fn dump<T>(
        &mut self,
        message: &Message,
        read: impl Fn(&Received<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..DUMP_ATTEMPTS {
            self.sequence = self.sequence.wrapping_add(1);
            self.send(&message.clone().finish(REQUEST | DUMP, self.sequence))?;
            if let Some(found) = self.read_dump(&read)? {
                return Ok(found);
            }
        }
        Err(Errno::EINTR.into())
    }

    /// `None`: the kernel's table changed underneath.
    fn read_dump<T>(&mut self, read: impl Fn(&Received<'_>) -> Option<T>) -> io::Result<Option<Vec<T>>> {
        let mut found = Vec::new();
        let mut interrupted = false;
        loop {
            let datagram = receive(self.fd.as_fd(), &mut self.buffer)?;
            for received in Received::all(datagram).filter(|r| r.sequence == self.sequence) {
                interrupted |= received.flags & DUMP_INTERRUPTED != 0;
                match received.kind {
                    ERROR => acknowledged(received.payload)?,
                    DONE => {
                        acknowledged(received.payload)?;
                        return Ok((!interrupted).then_some(found));
                    }
                    _ => found.extend(read(&received)),
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = sendto(self.fd.as_raw_fd(), bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        if sent == bytes.len() { Ok(()) } else { Err(Errno::EMSGSIZE.into()) }
    }
}

pub(super) fn open_fd(protocol: SockProtocol, flags: SockFlag, groups: u32) -> io::Result<OwnedFd> {
    let flags = flags | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

/// One datagram of the kernel; what another process sends to this port is skipped.
pub(super) fn receive<'b>(fd: BorrowedFd<'_>, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    loop {
        let (length, from) = match recvfrom::<NetlinkAddr>(fd.as_raw_fd(), buffer) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        if from.is_some_and(|from| from.pid() == 0) {
            return Ok(buffer.get(..length).unwrap_or_default());
        }
    }
}

/// The error field of an NLMSG_ERROR, which is 0 in an acknowledgement, or of an NLMSG_DONE.
fn acknowledged(payload: &[u8]) -> io::Result<()> {
    match u32_at(payload, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
        None => Err(Errno::EBADMSG.into()),
    }
}
