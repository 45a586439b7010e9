//! TCP segments without a socket of TCP's: one ACK that belongs to no connection of this kernel. Needs NET_RAW.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, SockaddrIn, sendto};
use socket2::{Domain, Protocol, Socket, Type};

/// RFC 791 and RFC 9293, without options.
const IP: usize = 20;
const SEGMENT: usize = IP + 20;
const TCP: u8 = 6;
const TTL: u8 = 64;
const ACK: u8 = 0x10;

/// Sends what it is given, header included; receives nothing.
pub struct SegmentSocket {
    socket: Socket,
}

impl SegmentSocket {
    pub fn open() -> io::Result<Self> {
        let socket = Socket::new_raw(Domain::IPV4, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// One bare ACK out of the blue. Whoever has that connection answers with where it is (RFC 9293 section 3.10.7.4, RFC
    /// 5961), and whoever has none, with a reset.
    pub fn acknowledge(&self, from: SocketAddrV4, to: SocketAddrV4) -> io::Result<()> {
        let target = SockaddrIn::from(SocketAddrV4::new(*to.ip(), 0));
        sendto(self.socket.as_raw_fd(), &segment(from, to), &target, MsgFlags::empty())?;
        Ok(())
    }
}

/// Sequence and acknowledgement numbers are 0: to be outside the window of all connections but few.
fn segment(from: SocketAddrV4, to: SocketAddrV4) -> [u8; SEGMENT] {
    let mut bytes = [0; SEGMENT];
    let (ip, tcp) = bytes.split_at_mut(IP);
    ip[0] = 0x45;
    ip[3] = SEGMENT as u8;
    ip[8] = TTL;
    ip[9] = TCP;
    // Its checksum is the kernel's.
    ip[12..16].copy_from_slice(&from.ip().octets());
    ip[16..20].copy_from_slice(&to.ip().octets());
    tcp[..2].copy_from_slice(&from.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&to.port().to_be_bytes());
    tcp[12] = 5 << 4;
    tcp[13] = ACK;
    let length = (SEGMENT - IP) as u32;
    let sum = [&ip[12..20], &*tcp]
        .iter()
        .flat_map(|part| part.chunks_exact(2))
        .fold(u32::from(TCP) + length, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::time::Duration;

    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;
    use crate::os::netlink::Route;
    use crate::os::netns;

    /// The far end is first the node that has the connection, and then one that does not.
    #[test]
    fn an_ack_makes_a_client_ask_and_be_reset() {
        netns::with("an_ack_makes_a_client_ask_and_be_reset", || {
            let Some((near, far)) = netns::veth() else { return };
            let server = SocketAddrV4::new([10, 9, 0, 99].into(), 80);
            let mut route = Route::open().unwrap();
            route.put_address(near.index, false, "10.9.0.1/24".parse().unwrap(), None).unwrap();
            let (listener, socket) = netns::far_end(&near, &far, |far| {
                let mut route = Route::open().unwrap();
                route.put_address(far.index, false, "10.9.0.99/24".parse().unwrap(), None).unwrap();
                (TcpListener::bind("10.9.0.99:80").unwrap(), SegmentSocket::open().unwrap())
            });
            for (forgotten, patience, expect) in
                [(false, 200, ErrorKind::WouldBlock), (true, 20_000, ErrorKind::ConnectionReset)]
            {
                let mut waiting = TcpStream::connect(server).unwrap();
                let SocketAddr::V4(at) = waiting.local_addr().unwrap() else { unreachable!() };
                let (served, _) = listener.accept().unwrap();
                if forgotten {
                    // Without a word to the other end.
                    setsockopt(&served, sockopt::TcpRepair, &1).unwrap();
                    drop(served);
                }
                socket.acknowledge(server, at).unwrap();
                waiting.set_read_timeout(Some(Duration::from_millis(patience))).unwrap();
                assert_eq!(waiting.read(&mut [0]).unwrap_err().kind(), expect, "{forgotten}");
            }
        });
    }
}
