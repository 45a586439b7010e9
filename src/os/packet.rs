//! The socket for where addresses are on the link, ARP or neighbour discovery: whole Ethernet frames on one interface, past
//! the kernel's own and its filters. Needs NET_RAW.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::sys::socket::{MsgFlags, recv, send};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use super::raw::drain;
use crate::net::Family;

/// An ARP packet with its padding (64), or an Ethernet header, an IPv6 header and neighbour discovery with more options
/// than one has that is answered; what is longer arrives cut and is refused by its length.
pub const BUFFER: usize = 256;
/// Ethernet header (14) and ARP packet (28), RFC 826.
const ARP_FRAME: u32 = 42;
/// Ethernet header (14), IPv6 header (40) and a solicitation without options (24), RFC 4861.
const NDP_FRAME: u32 = 78;
/// What may wait in the socket, in bytes.
const QUEUE: usize = 64 * 1024;
/// More than `QUEUE` can hold.
const DRAIN_LIMIT: usize = 4096;
const ETH_P_ARP: u16 = 0x0806;
const ETH_P_IPV6: u16 = 0x86dd;
/// Each address takes four instructions of the 4096 that the kernel admits.
const MAX_ADDRESSES: usize = 1000;

pub struct NeighbourSocket {
    socket: Socket,
    /// IPv6: keeps this interface in the groups that solicitations for the addresses go to, so that switches and network
    /// cards let them through. The kernel is in none of them for an address on `lo`.
    groups: Option<Groups>,
}

struct Groups {
    socket: Socket,
    joined: Vec<Ipv6Addr>,
    interface: u32,
}

impl NeighbourSocket {
    /// Receives ARP or neighbour discovery about `addresses` only, so that the chatter of a busy network wakes nobody.
    /// For IPv6 the filter sees each IPv6 packet of the interface, and lets most go at the second look. A socket for one
    /// protocol is never given what this machine sends, and PACKET_IGNORE_OUTGOING has nothing to add.
    pub fn open(index: u32, family: Family, addresses: &[IpAddr]) -> io::Result<Self> {
        // Protocol 0 receives nothing until `bind`, when the filter is in place.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(QUEUE)?;
        let (protocol, groups) = match family {
            Family::V4 => (ETH_P_ARP, None),
            Family::V6 => (ETH_P_IPV6, Some(Groups::new(index)?)),
        };
        let mut this = Self { socket, groups };
        this.watch(addresses)?;
        this.socket.bind(&link_address(index, protocol)?)?;
        Ok(this)
    }

    /// Takes other addresses from now on.
    pub fn watch(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        if addresses.len() > MAX_ADDRESSES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many addresses for one filter"));
        }
        let filter = match &mut self.groups {
            None => arp_filter(addresses),
            Some(groups) => {
                groups.join(addresses)?;
                ndp_filter(addresses)
            }
        };
        self.socket.attach_filter(&filter)
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

impl Groups {
    fn new(interface: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        Ok(Self { socket, joined: vec![], interface })
    }

    fn join(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        let mut wanted: Vec<Ipv6Addr> = addresses.iter().filter_map(|a| solicited_node(*a)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        for group in self.joined.iter().filter(|group| !wanted.contains(group)) {
            self.socket.leave_multicast_v6(group, self.interface)?;
        }
        self.joined.retain(|group| wanted.contains(group));
        for group in wanted {
            if !self.joined.contains(&group) {
                self.socket.join_multicast_v6(&group, self.interface)?;
                self.joined.push(group);
            }
        }
        Ok(())
    }
}

/// RFC 4291 section 2.7.1.
fn solicited_node(address: IpAddr) -> Option<Ipv6Addr> {
    const PREFIX: u128 = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).to_bits();
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(PREFIX | address.to_bits() & 0x00ff_ffff)),
    }
}

impl AsRawFd for NeighbourSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for NeighbourSocket {
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

const LOAD_LENGTH: u16 = 0x80;
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

const fn refuse() -> SockFilter {
    SockFilter::new(RETURN, 0, 0, 0)
}

const fn accept() -> SockFilter {
    SockFilter::new(RETURN, 0, 0, u32::MAX)
}

/// Classic BPF: whole ARP packets of hardware type 1, protocol 0x0800, lengths 6 and 4, whose sender or target address
/// is one of these.
fn arp_filter(addresses: &[IpAddr]) -> Vec<SockFilter> {
    const ETHERNET_AND_IPV4: u32 = 0x0001_0800;
    const HARDWARE_TYPE: u32 = 14;
    const LENGTHS_AND_OPERATION: u32 = 18;
    const SENDER: u32 = 28;
    const TARGET: u32 = 38;
    let mut program = vec![
        SockFilter::new(LOAD_LENGTH, 0, 0, 0),
        SockFilter::new(JUMP_IF_AT_LEAST, 1, 0, ARP_FRAME),
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
    program.extend(about(&[SENDER, TARGET], addresses));
    program
}

/// Classic BPF: whole solicitations and advertisements whose source or target ends as one of these addresses does. Whose
/// it is in whole is looked at by whoever reads it.
fn ndp_filter(addresses: &[IpAddr]) -> Vec<SockFilter> {
    const NEXT_HEADER_AND_HOP_LIMIT: u32 = 20;
    const TYPE_AND_CODE: u32 = 54;
    const END_OF_SOURCE: u32 = 34;
    const END_OF_TARGET: u32 = 74;
    let mut program = vec![
        // ICMPv6 that has come over no router.
        SockFilter::new(LOAD_HALF, 0, 0, NEXT_HEADER_AND_HOP_LIMIT),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, 0x3aff),
        refuse(),
        SockFilter::new(LOAD_LENGTH, 0, 0, 0),
        SockFilter::new(JUMP_IF_AT_LEAST, 1, 0, NDP_FRAME),
        refuse(),
        SockFilter::new(LOAD_HALF, 0, 0, TYPE_AND_CODE),
        SockFilter::new(JUMP_IF_EQUAL, 2, 0, 0x8700),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, 0x8800),
        refuse(),
    ];
    program.extend(about(&[END_OF_SOURCE, END_OF_TARGET], addresses));
    program
}

/// Accepts what has one of these addresses (of IPv6, its last four bytes) in one of these fields, and nothing else.
fn about(fields: &[u32], addresses: &[IpAddr]) -> Vec<SockFilter> {
    let mut program = vec![];
    for field in fields {
        program.push(SockFilter::new(LOAD_WORD, 0, 0, *field));
        for address in addresses {
            let value = match address {
                IpAddr::V4(address) => address.to_bits(),
                IpAddr::V6(address) => (address.to_bits() & u128::from(u32::MAX)) as u32,
            };
            program.push(SockFilter::new(JUMP_IF_EQUAL, 0, 1, value));
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
            let from = NeighbourSocket::open(left.index, Family::V4, &[]).unwrap();
            let mut to =
                NeighbourSocket::open(right.index, Family::V4, &[[10, 0, 0, 98].into(), VIP.into()]).unwrap();
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
            let many = vec![IpAddr::from([127, 0, 0, 1]); MAX_ADDRESSES + 1];
            NeighbourSocket::open(1, Family::V4, &many[..MAX_ADDRESSES]).unwrap();
            assert!(NeighbourSocket::open(1, Family::V4, &many).is_err());
        });
    }

    /// As a third party sends it, with every field right.
    fn solicitation(target: &str) -> Vec<u8> {
        let target: Ipv6Addr = target.parse().unwrap();
        let group = solicited_node(target.into()).unwrap().octets();
        let mut frame =
            vec![0x33, 0x33, group[12], group[13], group[14], group[15], 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
        frame.extend([0x60, 0, 0, 0, 0, 24, 58, 255]);
        frame.extend([0; 16]);
        frame.extend(group);
        frame.extend([135, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend(target.octets());
        frame
    }

    #[test]
    fn solicitations_reach_an_interface_that_does_not_have_the_address() {
        netns::with("solicitations_reach_an_interface_that_does_not_have_the_address", || {
            let Some((left, right)) = netns::veth() else { return };
            let vips = ["2001:db8::1:99", "fe80::2:98"];
            let addresses = vips.map(|address| address.parse().unwrap());
            let from = NeighbourSocket::open(left.index, Family::V6, &[]).unwrap();
            let mut to = NeighbourSocket::open(right.index, Family::V6, &addresses).unwrap();
            let groups = || netns::output("ip", &["maddr", "show", "dev", "right"]).unwrap();
            for group in ["ff02::1:ff01:99", "ff02::1:ff02:98"] {
                assert!(groups().contains(group), "{}", groups());
            }
            let mut routed = solicitation(vips[0]);
            routed[21] = 254;
            let mut echo = solicitation(vips[0]);
            echo[54] = 128;
            let refused =
                [solicitation("2001:db8::1:98"), routed, echo, solicitation(vips[0])[..77].to_vec()];
            let wanted = [solicitation(vips[0]), solicitation(vips[1])];
            for frame in refused.iter().chain(&wanted) {
                from.send(frame).unwrap();
            }
            let mut buffer = [0; BUFFER];
            for expect in &wanted {
                netns::readable(&to);
                assert_eq!(to.receive(&mut buffer).unwrap(), &expect[..]);
            }
            assert_eq!(to.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            to.watch(&addresses[..1]).unwrap();
            assert!(!groups().contains("ff02::1:ff02:98"), "{}", groups());
        });
    }
}
