//! Listening TCP sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that have arrived and wait to be accepted; the kernel takes net.core.somaxconn if that is less.
const BACKLOG: i32 = 4096;
/// Seconds that the kernel keeps a connection to itself until its first byte has come.
const DEFER_ACCEPT: libc::c_int = 1;

/// One of several sockets that share an address: the kernel spreads connections over them. The address need not be
/// on this machine yet.
pub fn listen(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_cloexec(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_freebind_v6(true)?;
            socket.set_only_v6(true)?;
        }
    }
    // Inherited by every connection: no system call for each.
    socket.set_tcp_nodelay(true)?;
    defer_accept(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn defer_accept(socket: &Socket) -> io::Result<()> {
    let seconds = DEFER_ACCEPT;
    // SAFETY: the pointer is valid for the size given, and the kernel copies from it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_workers_share_an_address_and_a_stranger_does_not() {
        let first = Socket::from(listen("127.0.0.1:0".parse().unwrap()).unwrap());
        let address = first.local_addr().unwrap().as_socket().unwrap();
        let second = Socket::from(listen(address).unwrap());
        assert_eq!(second.local_addr().unwrap().as_socket(), Some(address));
        assert!(second.tcp_nodelay().unwrap());
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = listen(taken.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn an_address_that_is_not_here_yet_can_be_bound() {
        listen("192.0.2.1:0".parse().unwrap()).unwrap();
    }
}
