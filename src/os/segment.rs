//! TCP segments without a socket of TCP's: one ACK that belongs to no connection of this kernel. Needs NET_RAW.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrIn, SockaddrIn6, sendto};
use socket2::{Domain, Protocol, Socket, Type};

/// RFC 791 and RFC 9293 without options, RFC 8200.
const IPV4: usize = 20;
const IPV6: usize = 40;
const SEGMENT: usize = 20;
const TCP: u8 = 6;
const TTL: u8 = 64;
const ACK: u8 = 0x10;

/// Sends what it is given, header included; receives nothing.
pub struct SegmentSocket {
    v4: Socket,
    /// `None`: this kernel has no IPv6.
    v6: Option<Socket>,
}

impl SegmentSocket {
    pub fn open() -> io::Result<Self> {
        let open = |domain| {
            let socket = Socket::new_raw(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        Ok(Self { v4: open(Domain::IPV4)?, v6: open(Domain::IPV6).ok() })
    }

    /// One bare ACK out of the blue. Whoever has that connection answers with where it is (RFC 9293 section 3.10.7.4, RFC
    /// 5961), and whoever has none, with a reset.
    pub fn acknowledge(&self, from: SocketAddr, to: SocketAddr) -> io::Result<()> {
        let bytes = segment(from, to);
        match (to.ip(), &self.v6) {
            (IpAddr::V4(ip), _) => {
                let target = SockaddrIn::from(SocketAddrV4::new(ip, 0));
                sendto(self.v4.as_raw_fd(), &bytes, &target, MsgFlags::empty())?;
            }
            (IpAddr::V6(ip), Some(socket)) => {
                let target = SockaddrIn6::from(SocketAddrV6::new(ip, 0, 0, 0));
                sendto(socket.as_raw_fd(), &bytes, &target, MsgFlags::empty())?;
            }
            (IpAddr::V6(_), None) => return Err(Errno::EAFNOSUPPORT.into()),
        }
        Ok(())
    }
}

/// Sequence and acknowledgement numbers are 0: to be outside the window of all connections but few. The checksum of the
/// IPv4 header is the kernel's.
fn segment(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let (mut bytes, addresses) = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut ip = vec![0x45, 0, 0, (IPV4 + SEGMENT) as u8, 0, 0, 0, 0, TTL, TCP, 0, 0];
            ip.extend(from.octets());
            ip.extend(to.octets());
            (ip, 12..IPV4)
        }
        (from, to) => {
            let octets = |ip| match ip {
                IpAddr::V4(ip) => std::net::Ipv4Addr::to_ipv6_mapped(&ip).octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            let mut ip = vec![0x60, 0, 0, 0, 0, SEGMENT as u8, TCP, TTL];
            ip.extend(octets(from));
            ip.extend(octets(to));
            (ip, 8..IPV6)
        }
    };
    let mut tcp = [0; SEGMENT];
    tcp[..2].copy_from_slice(&from.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&to.port().to_be_bytes());
    tcp[12] = 5 << 4;
    tcp[13] = ACK;
    let sum = [bytes.get(addresses).unwrap_or_default(), &tcp]
        .iter()
        .flat_map(|part| part.chunks_exact(2))
        .fold(u32::from(TCP) + SEGMENT as u32, |sum, pair| {
            sum + u32::from(u16::from_be_bytes([pair[0], pair[1]]))
        });
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    bytes.extend(tcp);
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use nix::sys::socket::{setsockopt, sockopt};

    use super::*;
    use crate::os::netns;

    /// The far end is first the node that has the connection, and then one that does not.
    #[test]
    fn an_ack_makes_a_client_ask_and_be_reset() {
        netns::with("an_ack_makes_a_client_ask_and_be_reset", || {
            let Some((near, far)) = netns::veth() else { return };
            let address = |link: &str, address: &str| {
                netns::output("ip", &["addr", "add", address, "dev", link]).unwrap();
            };
            let v6 = |link: &str, address: &str| {
                netns::output("ip", &["addr", "add", address, "dev", link, "nodad"]).unwrap();
            };
            address("left", "10.9.0.1/24");
            v6("left", "2001:db8::1/64");
            let servers = ["10.9.0.99:80", "[2001:db8::99]:80"].map(|at| at.parse::<SocketAddr>().unwrap());
            let (listeners, socket) = netns::far_end(&near, &far, move |_| {
                address("right", "10.9.0.99/24");
                v6("right", "2001:db8::99/64");
                (servers.map(|at| TcpListener::bind(at).unwrap()), SegmentSocket::open().unwrap())
            });
            let cases = [(false, 200, ErrorKind::WouldBlock), (true, 20_000, ErrorKind::ConnectionReset)];
            for (server, listener) in servers.into_iter().zip(&listeners) {
                for (forgotten, patience, expect) in cases {
                    let mut waiting = TcpStream::connect(server).unwrap();
                    let at = waiting.local_addr().unwrap();
                    let (served, _) = listener.accept().unwrap();
                    if forgotten {
                        // Without a word to the other end.
                        setsockopt(&served, sockopt::TcpRepair, &1).unwrap();
                        drop(served);
                    }
                    socket.acknowledge(server, at).unwrap();
                    waiting.set_read_timeout(Some(Duration::from_millis(patience))).unwrap();
                    assert_eq!(waiting.read(&mut [0]).unwrap_err().kind(), expect, "{server} {forgotten}");
                }
            }
        });
    }
}
