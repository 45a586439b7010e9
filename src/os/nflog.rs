//! Packets that a rule of nf_tables hands over (`log group`, nfnetlink_log), each as it came, from its IP header on. Needs
//! NET_ADMIN.

use std::io;
use std::thread;

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use super::netlink::{Message, Received, Socket};

const SUBSYSTEM: u16 = 4;
const PACKET: u16 = SUBSYSTEM << 8;
const CONFIG: u16 = SUBSYSTEM << 8 | 1;
/// `nfgenmsg`: family, version and group.
const HEADER: usize = 4;
/// Longer ones are cut.
const LONGEST: u32 = 2048;
/// What may wait, in bytes, which the kernel doubles: more than a thousand short packets, since each takes three quarters
/// of a kilobyte.
const QUEUE: usize = 512 * 1024;

pub struct PacketLog {
    /// Until it is dropped.
    socket: Option<Socket>,
}

impl PacketLog {
    /// Of this group, in the network namespace of whoever calls. PermissionDenied: somebody else
    /// has it, or NET_ADMIN is missing.
    pub fn open(group: u16) -> io::Result<Self> {
        const NFULA_CFG_CMD: u16 = 1;
        const NFULA_CFG_MODE: u16 = 2;
        const NFULA_CFG_QTHRESH: u16 = 5;
        const NFULNL_CFG_CMD_BIND: u8 = 1;
        const NFULNL_COPY_PACKET: u8 = 2;
        let [high, low] = group.to_be_bytes();
        let [a, b, c, d] = LONGEST.to_be_bytes();
        let message = Message::new(CONFIG, 0, &[0, 0, high, low])
            .attribute(NFULA_CFG_CMD, &[NFULNL_CFG_CMD_BIND])
            .attribute(NFULA_CFG_MODE, &[a, b, c, d, NFULNL_COPY_PACKET, 0])
            // None waits for a second one.
            .attribute(NFULA_CFG_QTHRESH, &1u32.to_be_bytes());
        let mut log = Self { socket: Some(Socket::open(SockProtocol::NetlinkNetFilter)?) };
        if let Some(socket) = &mut log.socket {
            socket.execute(message)?;
            socket.listen(QUEUE)?;
        }
        Ok(log)
    }

    /// Hands up to `most` of those that wait to `each`. False: there may be more.
    pub fn read(&mut self, most: usize, mut each: impl FnMut(&[u8])) -> io::Result<bool> {
        let Some(socket) = &mut self.socket else { return Ok(true) };
        for _ in 0..most {
            match socket.unasked() {
                Ok(datagram) => Received::all(datagram).filter_map(packet).for_each(&mut each),
                // Some found no room.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => (),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

impl Drop for PacketLog {
    /// Elsewhere: whoever closes such a socket waits until the kernel has freed what changes of nftables have replaced.
    fn drop(&mut self) {
        let socket = self.socket.take();
        // Without a thread it is closed here and now.
        drop(thread::Builder::new().name("close".to_owned()).spawn(move || drop(socket)));
    }
}

fn packet(received: Received<'_>) -> Option<&[u8]> {
    const NFULA_PAYLOAD: u16 = 9;
    (received.kind == PACKET).then(|| received.attributes(HEADER).value(NFULA_PAYLOAD))?
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::os::netns;

    const GROUP: u16 = 7;

    fn read(log: &mut PacketLog) -> Vec<Vec<u8>> {
        let mut packets = vec![];
        assert!(log.read(100, |packet| packets.push(packet.to_vec())).unwrap());
        packets
    }

    #[test]
    fn a_rule_hands_packets_over_as_they_came() {
        netns::with("a_rule_hands_packets_over_as_they_came", || {
            netns::loopback_up();
            let mut log = PacketLog::open(GROUP).unwrap();
            assert_eq!(PacketLog::open(GROUP).err().unwrap().kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(read(&mut log), [[0; 0]; 0]);
            let script = "table ip t {
                chain c { type filter hook input priority filter; tcp dport 81 log group 7 drop
                }
            }";
            let Some(_) = netns::output("nft", &[script]) else { return };
            let open = TcpListener::bind("127.0.0.1:82").unwrap();
            TcpStream::connect(open.local_addr().unwrap()).unwrap();
            assert_eq!(read(&mut log), [[0; 0]; 0], "of no rule");
            let shut = TcpListener::bind("127.0.0.1:81").unwrap().local_addr().unwrap();
            TcpStream::connect_timeout(&shut, Duration::from_millis(20)).unwrap_err();
            let packets = read(&mut log);
            let [packet] = packets.as_slice() else { panic!("{packets:?}") };
            assert_eq!((packet[0], packet[9], packet[13 + 20] & 0x12), (0x45, 6, 0x02), "a SYN");
            assert_eq!((&packet[12..20], &packet[22..24]), (&[127, 0, 0, 1, 127, 0, 0, 1][..], &[0, 81][..]));
            assert_eq!(usize::from(packet[2]) << 8 | usize::from(packet[3]), packet.len());
        });
    }
}
