//! The VRRP socket: IP protocol 112 on one interface, with the TTL of 255 that proves a sender on the same link
//! (RFC 9568 section 5.1.1.3). Needs NET_RAW.

use std::io;
use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, recv, sendmsg};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::net::InterfaceName;

/// 224.0.0.18 (RFC 9568 section 5.1.1.2).
pub const VRRP_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const VRRP: i32 = 112;
const TTL: u32 = 255;
/// Internetwork control, as keepalived marks its adverts.
const TOS: u32 = 0xc0;
/// An IP header with all options (60) and a version 2 advert with 255 addresses (1,036) fit; what is longer arrives
/// cut and is refused by its length.
pub const BUFFER: usize = 2048;
/// What may wait in the socket, in bytes: hundreds of adverts.
const QUEUE: usize = 64 * 1024;
/// More than `QUEUE` can hold, so that a flood cannot keep `drain` busy.
const DRAIN_LIMIT: usize = 4096;

pub struct VrrpSocket {
    socket: Socket,
}

impl VrrpSocket {
    /// `multicast`: also receive what is sent to 224.0.0.18.
    pub fn open(interface: &InterfaceName, index: u32, multicast: bool) -> io::Result<Self> {
        let socket = Socket::new_raw(Domain::IPV4, Type::RAW, Some(Protocol::from(VRRP)))?;
        socket.bind_device(Some(interface.as_str().as_bytes()))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(QUEUE)?;
        socket.set_ttl_v4(TTL)?;
        socket.set_tos_v4(TOS)?;
        socket.set_multicast_ttl_v4(TTL)?;
        socket.set_multicast_loop_v4(false)?;
        socket.set_multicast_all_v4(false)?;
        if multicast {
            socket.join_multicast_v4_n(&VRRP_GROUP, &InterfaceIndexOrAddress::Index(index))?;
        }
        Ok(Self { socket })
    }

    /// The next packet, IP header included, put together from its fragments. WouldBlock: the queue is empty.
    pub fn receive<'b>(&self, buffer: &'b mut [u8; BUFFER]) -> io::Result<&'b [u8]> {
        let length = recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty())?;
        Ok(buffer.get(..length).unwrap_or_default())
    }

    /// Sends from `source`, which must be an address of this machine.
    pub fn send(&self, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        let from = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let to = SockaddrIn::from(SocketAddrV4::new(destination, 0));
        let control = [ControlMessage::Ipv4PacketInfo(&from)];
        sendmsg(self.socket.as_raw_fd(), &[IoSlice::new(payload)], &control, MsgFlags::empty(), Some(&to))?;
        Ok(())
    }

    /// Discards what has queued up, and says how many packets that was.
    pub fn drain(&self) -> io::Result<usize> {
        drain(self.socket.as_raw_fd(), DRAIN_LIMIT)
    }
}

impl AsRawFd for VrrpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for VrrpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Reads a non-blocking socket until it is empty, or `limit` datagrams.
pub(super) fn drain(fd: RawFd, limit: usize) -> io::Result<usize> {
    for drained in 0..limit {
        match recv(fd, &mut [0; 1], MsgFlags::empty()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(drained),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::netlink::Route;
    use crate::os::netns;

    #[test]
    fn adverts_travel_over_a_link_with_the_source_and_ttl_they_should_have() {
        netns::with("adverts_travel_over_a_link_with_the_source_and_ttl_they_should_have", || {
            let Some((left, right)) = netns::veth() else { return };
            let mut route = Route::open().unwrap();
            for (link, address) in [(&left, "10.0.0.1/24"), (&left, "10.0.0.9/24")] {
                route.put_address(link.index, false, address.parse().unwrap(), None).unwrap();
            }
            let from = VrrpSocket::open(&left.name, left.index, true).unwrap();
            let to = netns::far_end(&left, &right, |right| {
                let mut route = Route::open().unwrap();
                route.put_address(right.index, false, "10.0.0.2/24".parse().unwrap(), None).unwrap();
                VrrpSocket::open(&right.name, right.index, true).unwrap()
            });
            // It had no carrier while the far end was moved.
            while !route.links().unwrap().iter().any(|l| l.index == left.index && l.running) {
                std::thread::yield_now();
            }
            let source = Ipv4Addr::new(10, 0, 0, 9);
            from.send(source, VRRP_GROUP, b"advert").unwrap();
            netns::readable(&to);
            let mut buffer = [0; BUFFER];
            let packet = to.receive(&mut buffer).unwrap();
            assert_eq!((packet.len(), packet[8], packet[9]), (26, 255, 112), "length, ttl, protocol");
            assert_eq!(&packet[12..], &[&source.octets()[..], &VRRP_GROUP.octets(), b"advert"].concat());
            let empty = to.receive(&mut buffer).unwrap_err();
            assert_eq!(empty.kind(), io::ErrorKind::WouldBlock, "nothing more, nor an echo");
            assert_eq!(from.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock, "no echo");

            for destination in [VRRP_GROUP, Ipv4Addr::new(10, 0, 0, 2), VRRP_GROUP] {
                from.send(source, destination, b"advert").unwrap();
            }
            netns::readable(&to);
            assert_eq!(to.drain().unwrap(), 3);
            assert_eq!(to.drain().unwrap(), 0);
        });
    }
}
