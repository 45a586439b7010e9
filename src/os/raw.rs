//! The VRRP socket: IP protocol 112 on one interface, with the TTL (or hop limit) of 255 that proves a sender on the same
//! link (RFC 9568 sections 5.1.1.3 and 5.1.2.3). Needs NET_RAW.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrLike, recv, recvmsg,
    sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use crate::net::{Family, InterfaceName};

/// 224.0.0.18 (RFC 9568 section 5.1.1.2).
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// FF02::12 (RFC 9568 section 5.1.2.2).
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
const VRRP: i32 = 112;
const TTL: u32 = 255;
/// Internetwork control, as keepalived marks its adverts.
const TOS: u32 = 0xc0;
/// An IP header with all options (60) and an advert with 255 IPv6 addresses (4,088) fit; what is longer arrives cut and
/// is refused by its length.
pub const BUFFER: usize = 4608;
/// What may wait in the socket, in bytes: hundreds of adverts.
const QUEUE: usize = 64 * 1024;
/// More than `QUEUE` can hold, so that a flood cannot keep `drain` busy.
const DRAIN_LIMIT: usize = 4096;

/// Of one family, as the virtual router is.
pub struct VrrpSocket {
    socket: Socket,
    family: Family,
    interface: u32,
}

/// What has arrived, put together from its fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'b> {
    /// With the IP header.
    V4(&'b [u8]),
    /// The kernel keeps the header, and tells what was in it.
    V6 { source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, payload: &'b [u8] },
}

impl VrrpSocket {
    /// `multicast`: also receive what is sent to the group.
    pub fn open(interface: &InterfaceName, index: u32, family: Family, multicast: bool) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let socket = Socket::new_raw(domain, Type::RAW, Some(Protocol::from(VRRP)))?;
        socket.bind_device(Some(interface.as_str().as_bytes()))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(QUEUE)?;
        match family {
            Family::V4 => set_up_v4(&socket, index, multicast)?,
            Family::V6 => set_up_v6(&socket, index, multicast)?,
        }
        Ok(Self { socket, family, interface: index })
    }

    /// The next packet. WouldBlock: the queue is empty.
    pub fn receive<'b>(&self, buffer: &'b mut [u8; BUFFER]) -> io::Result<Packet<'b>> {
        match self.family {
            Family::V4 => {
                let length = recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty())?;
                Ok(Packet::V4(buffer.get(..length).unwrap_or_default()))
            }
            Family::V6 => self.receive_v6(buffer),
        }
    }

    fn receive_v6<'b>(&self, buffer: &'b mut [u8; BUFFER]) -> io::Result<Packet<'b>> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let mut into = [IoSliceMut::new(buffer)];
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrIn6>(fd, &mut into, Some(&mut control), MsgFlags::empty())?;
        let source = message.address.map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip());
        // A packet that says nothing of its way came from anywhere.
        let (mut destination, mut hop_limit) = (Ipv6Addr::UNSPECIFIED, 0);
        for told in message.cmsgs()? {
            match told {
                ControlMessageOwned::Ipv6PacketInfo(info) => destination = info.ipi6_addr.s6_addr.into(),
                ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).unwrap_or(0),
                _ => {}
            }
        }
        let length = message.bytes;
        Ok(Packet::V6 { source, destination, hop_limit, payload: buffer.get(..length).unwrap_or_default() })
    }

    /// Sends from `source`, which must be an address of this machine, to one of the same family.
    pub fn send(&self, source: IpAddr, destination: IpAddr, payload: &[u8]) -> io::Result<()> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let from = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let to = SockaddrIn::from(SocketAddrV4::new(destination, 0));
                self.send_to(&to, &ControlMessage::Ipv4PacketInfo(&from), payload)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let from = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
                    ipi6_ifindex: self.interface,
                };
                let to = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, self.interface));
                self.send_to(&to, &ControlMessage::Ipv6PacketInfo(&from), payload)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                Err(Errno::EAFNOSUPPORT.into())
            }
        }
    }

    fn send_to<A: SockaddrLike>(
        &self,
        to: &A,
        control: &ControlMessage<'_>,
        payload: &[u8],
    ) -> io::Result<()> {
        let control = std::slice::from_ref(control);
        let fd = self.socket.as_raw_fd();
        sendmsg(fd, &[IoSlice::new(payload)], control, MsgFlags::empty(), Some(to))?;
        Ok(())
    }

    /// Discards what has queued up, and says how many packets that was.
    pub fn drain(&self) -> io::Result<usize> {
        drain(self.socket.as_raw_fd(), DRAIN_LIMIT)
    }
}

fn set_up_v4(socket: &Socket, index: u32, multicast: bool) -> io::Result<()> {
    socket.set_ttl_v4(TTL)?;
    socket.set_tos_v4(TOS)?;
    socket.set_multicast_ttl_v4(TTL)?;
    socket.set_multicast_loop_v4(false)?;
    socket.set_multicast_all_v4(false)?;
    if multicast {
        socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
    }
    Ok(())
}

/// The checksum is left to whoever counts wrong ones: the kernel would drop them without a word.
fn set_up_v6(socket: &Socket, index: u32, multicast: bool) -> io::Result<()> {
    socket.set_unicast_hops_v6(TTL)?;
    socket.set_tclass_v6(TOS)?;
    socket.set_multicast_hops_v6(TTL)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_loop_v6(false)?;
    // From Linux 4.20 on. The socket hears one interface only, and the destination is looked at anyway.
    match socket.set_multicast_all_v6(false) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {}
        outcome => outcome?,
    }
    socket.set_recv_hoplimit_v6(true)?;
    setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    if multicast {
        socket.join_multicast_v6(&GROUP_V6, index)?;
    }
    Ok(())
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
            let from = VrrpSocket::open(&left.name, left.index, Family::V4, true).unwrap();
            let to = netns::far_end(&left, &right, |right| {
                let mut route = Route::open().unwrap();
                route.put_address(right.index, false, "10.0.0.2/24".parse().unwrap(), None).unwrap();
                VrrpSocket::open(&right.name, right.index, Family::V4, true).unwrap()
            });
            // It had no carrier while the far end was moved.
            while !route.links().unwrap().iter().any(|l| l.index == left.index && l.running) {
                std::thread::yield_now();
            }
            let source = Ipv4Addr::new(10, 0, 0, 9);
            from.send(source.into(), GROUP_V4.into(), b"advert").unwrap();
            netns::readable(&to);
            let mut buffer = [0; BUFFER];
            let Packet::V4(packet) = to.receive(&mut buffer).unwrap() else { unreachable!() };
            assert_eq!((packet.len(), packet[8], packet[9]), (26, 255, 112), "length, ttl, protocol");
            assert_eq!(&packet[12..], &[&source.octets()[..], &GROUP_V4.octets(), b"advert"].concat());
            let empty = to.receive(&mut buffer).unwrap_err();
            assert_eq!(empty.kind(), io::ErrorKind::WouldBlock, "nothing more, nor an echo");
            assert_eq!(from.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock, "no echo");

            for destination in [GROUP_V4, Ipv4Addr::new(10, 0, 0, 2), GROUP_V4] {
                from.send(source.into(), destination.into(), b"advert").unwrap();
            }
            netns::readable(&to);
            assert_eq!(to.drain().unwrap(), 3);
            assert_eq!(to.drain().unwrap(), 0);
        });
    }

    #[test]
    fn over_ipv6_they_come_with_what_the_kernel_tells_of_their_header() {
        netns::with("over_ipv6_they_come_with_what_the_kernel_tells_of_their_header", || {
            let Some((left, right)) = netns::veth() else { return };
            let address = |link: &str, address: &str| {
                netns::output("ip", &["-6", "addr", "add", address, "dev", link, "nodad"]).unwrap();
            };
            address("left", "fe80::1/64");
            address("left", "2001:db8::1/64");
            let from = VrrpSocket::open(&left.name, left.index, Family::V6, true).unwrap();
            let to = netns::far_end(&left, &right, move |right| {
                address("right", "fe80::2/64");
                address("right", "2001:db8::2/64");
                VrrpSocket::open(&right.name, right.index, Family::V6, true).unwrap()
            });
            let mut buffer = [0; BUFFER];
            let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap();
            for (source, destination) in
                [("fe80::1", "ff02::12"), ("2001:db8::1", "2001:db8::2"), ("fe80::1", "fe80::2")]
            {
                let (source, destination) = (ip(source), ip(destination));
                from.send(source.into(), destination.into(), b"advert").unwrap();
                netns::readable(&to);
                let expect = Packet::V6 { source, destination, hop_limit: 255, payload: b"advert" };
                assert_eq!(to.receive(&mut buffer).unwrap(), expect);
            }
            assert_eq!(to.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert_eq!(from.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock, "no echo");
            let mixed = from.send(ip("fe80::1").into(), GROUP_V4.into(), b"advert").unwrap_err();
            assert_eq!(mixed.raw_os_error(), Some(Errno::EAFNOSUPPORT as i32));
        });
    }
}
