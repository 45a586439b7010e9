//! The ARP socket: whole Ethernet frames on one interface, past the kernel's own ARP and its filters. Needs NET_RAW.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::socket::{MsgFlags, recv, send};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use super::raw::drain;

/// An ARP packet for IPv4 over Ethernet with the padding that the shortest Ethernet frame has.
pub const BUFFER: usize = 64;
/// Ethernet header (14) and ARP packet (28), RFC 826.
pub const FRAME: u32 = 42;
/// What may wait in the socket, in bytes.
const QUEUE: usize = 64 * 1024;
/// More than `QUEUE` can hold.
const DRAIN_LIMIT: usize = 4096;
const ETH_P_ARP: u16 = 0x0806;
/// Each address takes four instructions of the 4096 that the kernel admits.
const MAX_ADDRESSES: usize = 1000;

pub struct ArpSocket {
    socket: Socket,
}

impl ArpSocket {
    /// Receives ARP packets about `addresses` only, so that the chatter of a busy network wakes nobody. A socket for
    /// one protocol is never given what this machine sends, and PACKET_IGNORE_OUTGOING has nothing to add.
    pub fn open(index: u32, addresses: &[Ipv4Addr]) -> io::Result<Self> {
        // Protocol 0 receives nothing until `bind`, when the filter is in place.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(QUEUE)?;
        let this = Self { socket };
        this.watch(addresses)?;
        this.socket.bind(&link_address(index, ETH_P_ARP)?)?;
        Ok(this)
    }

    /// Takes other addresses from now on.
    pub fn watch(&self, addresses: &[Ipv4Addr]) -> io::Result<()> {
        if addresses.len() > MAX_ADDRESSES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many addresses for one ARP filter"));
        }
        self.socket.attach_filter(&filter(addresses))
    }

    /// The next frame, longer ones cut. WouldBlock: the queue is empty. NetworkDown: the interface went down.
    pub fn receive<'b>(&self, buffer: &'b mut [u8; BUFFER]) -> io::Result<&'b [u8]> {
        let length = recv(self.socket.as_raw_fd(), buffer, MsgFlags::empty())?;
        Ok(buffer.get(..length).unwrap_or_default())
    }

    /// Sends a whole frame, Ethernet header included.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        send(self.socket.as_raw_fd(), frame, MsgFlags::empty())?;
        Ok(())
    }

    /// Discards what has queued up, and says how many frames that was.
    pub fn drain(&self) -> io::Result<usize> {
        drain(self.socket.as_raw_fd(), DRAIN_LIMIT)
    }
}

impl AsRawFd for ArpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for ArpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Every frame of an interface, both ways: what a third party on the link sees, and can send.
#[cfg(test)]
pub(crate) fn tap(index: u32) -> io::Result<Socket> {
    const ETH_P_ALL: u16 = 3;
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    socket.bind(&link_address(index, ETH_P_ALL)?)?;
    socket.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
    Ok(socket)
}

fn link_address(index: u32, protocol: u16) -> io::Result<SockAddr> {
    let index = i32::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the storage is zeroed, aligned for every address and longer than `sockaddr_ll`; zero is a value of each
    // of its fields, and the length is the one of the type written.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let link = &mut *storage.cast::<libc::sockaddr_ll>();
            link.sll_family = libc::AF_PACKET.unsigned_abs() as libc::sa_family_t;
            link.sll_protocol = protocol.to_be();
            link.sll_ifindex = index;
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    Ok(address)
}

/// Classic BPF: whole ARP packets of hardware type 1, protocol 0x0800, lengths 6 and 4, whose sender or target address
/// is one of these.
fn filter(addresses: &[Ipv4Addr]) -> Vec<SockFilter> {
    const LOAD_LENGTH: u16 = 0x80;
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const ETHERNET_AND_IPV4: u32 = 0x0001_0800;
    const HARDWARE_TYPE: u32 = 14;
    const LENGTHS_AND_OPERATION: u32 = 18;
    const SENDER: u32 = 28;
    const TARGET: u32 = 38;
    let refuse = || SockFilter::new(RETURN, 0, 0, 0);
    let accept = || SockFilter::new(RETURN, 0, 0, u32::MAX);
    let mut program = vec![
        SockFilter::new(LOAD_LENGTH, 0, 0, 0),
        SockFilter::new(JUMP_IF_AT_LEAST, 1, 0, FRAME),
        refuse(),
        SockFilter::new(LOAD_WORD, 0, 0, HARDWARE_TYPE),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, ETHERNET_AND_IPV4),
        refuse(),
        SockFilter::new(LOAD_WORD, 0, 0, LENGTHS_AND_OPERATION),
        // Operation 1 or 2: request or reply.
        SockFilter::new(JUMP_IF_EQUAL, 2, 0, 0x0604_0001),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, 0x0604_0002),
        refuse(),
    ];
    for field in [SENDER, TARGET] {
        program.push(SockFilter::new(LOAD_WORD, 0, 0, field));
        for address in addresses {
            program.push(SockFilter::new(JUMP_IF_EQUAL, 0, 1, address.to_bits()));
            program.push(accept());
        }
    }
    program.push(refuse());
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::netns;

    const VIP: [u8; 4] = [10, 0, 0, 99];

    fn frame(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, 1]);
        frame.extend(sender);
        frame.extend([0; 6]);
        frame.extend(target);
        frame
    }

    #[test]
    fn only_sound_arp_about_the_addresses_arrives() {
        netns::with("only_sound_arp_about_the_addresses_arrives", || {
            let Some((left, right)) = netns::veth() else { return };
            let from = ArpSocket::open(left.index, &[]).unwrap();
            let to = ArpSocket::open(right.index, &[[10, 0, 0, 98].into(), VIP.into()]).unwrap();
            let (request, reply) = (frame(1, [10, 0, 0, 1], VIP), frame(2, VIP, [10, 0, 0, 1]));
            let mut wrong_type = request.clone();
            wrong_type[15] = 6;
            let mut wrong_operation = request.clone();
            wrong_operation[21] = 3;
            let refused =
                [frame(1, [10, 0, 0, 1], [10, 0, 0, 2]), request[..41].to_vec(), wrong_type, wrong_operation];
            for frame in refused.iter().chain([&request, &reply]) {
                from.send(frame).unwrap();
            }
            let mut buffer = [0; BUFFER];
            for expect in [&request, &reply] {
                netns::readable(&to);
                assert_eq!(to.receive(&mut buffer).unwrap(), &expect[..]);
            }
            assert_eq!(to.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);

            to.send(&request).unwrap();
            assert_eq!(to.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock, "no echo");

            to.watch(&[]).unwrap();
            from.send(&request).unwrap();
            to.watch(&[VIP.into()]).unwrap();
            for _ in 0..2 {
                from.send(&request).unwrap();
            }
            netns::readable(&to);
            assert_eq!(to.drain().unwrap(), 2);
        });
    }

    #[test]
    fn the_longest_filter_is_one_that_the_kernel_takes() {
        netns::with("the_longest_filter_is_one_that_the_kernel_takes", || {
            let many = vec![Ipv4Addr::LOCALHOST; MAX_ADDRESSES + 1];
            ArpSocket::open(1, &many[..MAX_ADDRESSES]).unwrap();
            assert!(ArpSocket::open(1, &many).is_err());
        });
    }
}
