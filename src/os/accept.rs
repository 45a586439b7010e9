//! Connections taken from a listening socket's queue, and how they are thrown away.

use std::io;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
use std::time::Duration;

use nix::libc;
use socket2::{SockAddr, SockAddrStorage, SockRef};

/// The next waiting connection, non-blocking, with its peer's address, by one system call; `WouldBlock` where none
/// waits.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<(TcpStream, SocketAddr)> {
    let mut storage = SockAddrStorage::zeroed();
    let mut length = storage.size_of();
    // SAFETY: both pointers are valid for the call; the kernel writes at most `length` bytes and says how many.
    let fd = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            (&raw mut storage).cast(),
            &raw mut length,
            libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for this call.
    let stream = unsafe { TcpStream::from_raw_fd(fd) };
    // SAFETY: the kernel has filled `storage` with an address of `length` bytes.
    let peer = unsafe { SockAddr::new(storage, length) };
    let peer = peer.as_socket().ok_or_else(|| io::Error::other("a peer without an internet address"))?;
    Ok((stream, peer))
}

/// Closing `socket` sends a reset and throws away whatever has not been sent or read.
pub fn reset_on_close(socket: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    #[test]
    fn a_connection_is_accepted_and_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(accept(listener.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(b"x").unwrap();
        let (mut stream, peer) = accept(listener.as_fd()).unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        // Non-blocking: nothing is sent to it after the first byte.
        while stream.read(&mut [0; 8]).is_ok() {}
        reset_on_close(stream.as_fd()).unwrap();
        drop(stream);
        assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
