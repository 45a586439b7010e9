//! IP packets put into this machine's own stack as they are, as if they had come over `lo`. Needs NET_RAW.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::net::Family;

/// IPPROTO_RAW: whoever sends writes the IP header.
const RAW: i32 = 255;

pub struct LocalPackets(Socket);

impl LocalPackets {
    pub fn open(family: Family) -> io::Result<Self> {
        let domain = match family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let socket = Socket::new_raw(domain, Type::RAW, Some(Protocol::from(RAW)))?;
        socket.set_nonblocking(true)?;
        // Packets of this number, which nobody reads.
        socket.set_recv_buffer_size(0)?;
        Ok(Self(socket))
    }

    /// `to`: an address of this machine, and the packet's destination. Its source may be anybody's.
    pub fn send(&self, to: IpAddr, packet: &[u8]) -> io::Result<()> {
        self.0.send_to(packet, &SocketAddr::new(to, 0).into()).map(drop)
    }
}
