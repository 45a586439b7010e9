//! TCP sockets by their local address: looked up with INET_DIAG, ended with SOCK_DESTROY, which resets the peer's
//! connection as well. Needs NET_ADMIN and CONFIG_INET_DIAG_DESTROY.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use super::netlink::{Message, Received, Socket, be_u16_at};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// TCP states as bits (include/net/tcp_states.h).
const ESTABLISHED: u32 = 1 << 1;
/// The other side has said all that it had to say, and may wait for an answer.
const CLOSE_WAIT: u32 = 1 << 8;
const LISTEN: u32 = 1 << 10;
const TIME_WAIT: u32 = 1 << 6;
const ALL_STATES: u32 = 0x1fff;
/// A listener belongs to PID 1 and is wanted again; what sits in its queue is found as established. What waits for the
/// end of its time has nothing to say, and a busy proxy has thousands of those: `forget_waiting` is for them.
const TO_BE_ENDED: u32 = ALL_STATES & !LISTEN & !TIME_WAIT;
/// `inet_diag_msg` starts with family, state, timer and retransmissions; the socket's identity follows.
const IDENTITY_AT: usize = 4;
const IDENTITY: usize = 48;
/// Names no socket in particular.
const NO_SOCKET: [u8; IDENTITY] = [0; IDENTITY];
/// INET_DIAG_NOCOOKIE, twice.
const ANY_COOKIE: [u8; 8] = [0xff; 8];

/// What became of the sockets of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Destroyed {
    pub destroyed: usize,
    /// The kernel would not end these; the last such error is logged by the caller as the reason.
    pub refused: usize,
    pub last_error: Option<Errno>,
    /// The time was up; there are more.
    pub unfinished: bool,
}

/// Ends every TCP socket whose local address is one of `addresses`, in every state of `TO_BE_ENDED`. The other
/// end is told only if the address is still there: a reset has it as its source. Stops after `patience`, some microseconds per socket.
pub fn destroy_tcp(addresses: &[IpAddr], patience: Duration) -> io::Result<Destroyed> {
    destroy(addresses, TO_BE_ENDED, patience)
}

/// Ends what only waits for the end of its time at one of `addresses`, which move between nodes: the kernel would answer
/// for a connection of another node's that has the same ports by chance. An older kernel
/// may refuse (EOPNOTSUPP), and then nothing can be done.
pub fn forget_waiting(addresses: &[IpAddr], patience: Duration) -> io::Result<Destroyed> {
    destroy(addresses, TIME_WAIT, patience)
}

fn destroy(addresses: &[IpAddr], states: u32, patience: Duration) -> io::Result<Destroyed> {
    let mut socket = Socket::open(SockProtocol::NetlinkSockDiag)?;
    let mut outcome = Destroyed::default();
    for family in [AF_INET, AF_INET6] {
        let found = match socket.dump(&request(SOCK_DIAG_BY_FAMILY, family, states, &NO_SOCKET), identity) {
            Ok(found) => found,
            // A kernel without IPv6 has no such sockets.
            Err(error) if family == AF_INET6 && error.raw_os_error() == Some(Errno::ENOENT as i32) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        // To find them takes a time of its own, in which none would be ended.
        let end = Instant::now() + patience;
        for (local, identity) in found {
            if !addresses.contains(&local) {
                continue;
            }
            if Instant::now() >= end {
                outcome.unfinished = true;
                return Ok(outcome);
            }
            match socket.execute(request(SOCK_DESTROY, family, ALL_STATES, &identity)) {
                Ok(()) => outcome.destroyed += 1,
                // It ended by itself between the two questions.
                Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {}
                Err(error) => {
                    outcome.refused += 1;
                    outcome.last_error = error.raw_os_error().map(Errno::from_raw);
                }
            }
        }
    }
    Ok(outcome)
}

/// Reads which connections there are, again and again; `tcp::Counters` say when that is worth it.
pub struct Connections {
    socket: Socket,
}

impl Connections {
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: Socket::open(SockProtocol::NetlinkSockDiag)? })
    }

    /// Hands the local and the remote address of every TCP connection whose other end may wait for an answer to `each`.
    /// `port`: those of this local port only, which the kernel sees to. What IPv6 sockets have, which may speak IPv4 as
    /// well, comes with `v6`.
    pub fn list(
        &mut self,
        port: Option<u16>,
        v6: bool,
        mut each: impl FnMut(SocketAddr, SocketAddr),
    ) -> io::Result<()> {
        let mut of_port = NO_SOCKET;
        of_port[..2].copy_from_slice(&port.unwrap_or_default().to_be_bytes());
        for family in if v6 { &[AF_INET, AF_INET6][..] } else { &[AF_INET] } {
            let request = request(SOCK_DIAG_BY_FAMILY, *family, ESTABLISHED | CLOSE_WAIT, &of_port);
            match self.socket.dump(&request, ends) {
                Ok(found) => found.into_iter().for_each(|(local, remote)| each(local, remote)),
                // A kernel without IPv6 has no such sockets.
                Err(error) if *family == AF_INET6 && error.raw_os_error() == Some(Errno::ENOENT as i32) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether `destroy_tcp` works here, tried on a listener of its own: what is missing, the capability or the kernel's
/// option, is told only for a socket that exists.
pub fn probe() -> io::Result<()> {
    let victim = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut identity = NO_SOCKET;
    identity[..2].copy_from_slice(&victim.local_addr()?.port().to_be_bytes());
    identity[IDENTITY - 8..].copy_from_slice(&ANY_COOKIE);
    Socket::open(SockProtocol::NetlinkSockDiag)?.execute(request(SOCK_DESTROY, AF_INET, LISTEN, &identity))
}

/// `inet_diag_req_v2`.
fn request(kind: u16, family: u8, states: u32, identity: &[u8; IDENTITY]) -> Message {
    let mut header = vec![family, IPPROTO_TCP, 0, 0];
    header.extend_from_slice(&states.to_ne_bytes());
    header.extend_from_slice(identity);
    Message::new(kind, 0, &header)
}

/// The local address (IPv4's also of an IPv6 socket that speaks it) and what names the socket to the kernel.
fn identity(received: &Received<'_>) -> Option<(IpAddr, [u8; IDENTITY])> {
    let identity: [u8; IDENTITY] =
        received.payload.get(IDENTITY_AT..IDENTITY_AT + IDENTITY)?.try_into().ok()?;
    Some((end(*received.payload.first()?, &identity, 0, 4)?.ip(), identity))
}

/// Both ends of a connection.
fn ends(received: &Received<'_>) -> Option<(SocketAddr, SocketAddr)> {
    let identity = received.payload.get(IDENTITY_AT..IDENTITY_AT + IDENTITY)?;
    let family = *received.payload.first()?;
    Some((end(family, identity, 0, 4)?, end(family, identity, 2, 20)?))
}

/// One end, whose port and address are there in the identity.
fn end(family: u8, identity: &[u8], port: usize, at: usize) -> Option<SocketAddr> {
    let address = match family {
        AF_INET => IpAddr::from(<[u8; 4]>::try_from(identity.get(at..at + 4)?).ok()?),
        AF_INET6 => IpAddr::from(<[u8; 16]>::try_from(identity.get(at..at + 16)?).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(address.to_canonical(), be_u16_at(identity, port)?))
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::os::netns;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn it_stops_when_its_time_is_up() {
        netns::with("it_stops_when_its_time_is_up", || {
            netns::loopback_up();
            let _listener = TcpListener::bind("0.0.0.0:7000").unwrap();
            let _client = TcpStream::connect("127.9.9.9:7000").unwrap();
            let destroy = |patience| destroy_tcp(&[IpAddr::from([127, 9, 9, 9])], patience).unwrap();
            let outcome = destroy(Duration::ZERO);
            assert_eq!((outcome.destroyed, outcome.unfinished), (0, true));
            let outcome = destroy(LONG);
            assert_eq!((outcome.destroyed, outcome.unfinished), (1, false));
        });
    }

    #[test]
    fn what_only_waits_for_its_time_to_end_is_left_alone() {
        netns::with("what_only_waits_for_its_time_to_end_is_left_alone", || {
            netns::loopback_up();
            let listener = TcpListener::bind("0.0.0.0:7000").unwrap();
            let client = TcpStream::connect("127.9.9.9:7000").unwrap();
            drop(listener.accept().unwrap());
            drop(client);
            let Some(waiting) = netns::output("ss", &["-Htn", "state", "time-wait"]) else { return };
            assert!(waiting.contains("127.9.9.9:7000"), "{waiting}");
            let addresses = [IpAddr::from([127, 9, 9, 9])];
            assert_eq!(destroy_tcp(&addresses, LONG).unwrap(), Destroyed::default());
            assert_eq!(forget_waiting(&[IpAddr::from([127, 9, 9, 8])], LONG).unwrap(), Destroyed::default());
            let outcome = forget_waiting(&addresses, LONG).unwrap();
            if outcome.last_error == Some(Errno::EOPNOTSUPP) {
                return println!("skipped: this kernel ends nothing that waits");
            }
            assert_eq!((outcome.destroyed, outcome.refused), (1, 0), "{outcome:?}");
            assert_eq!(netns::output("ss", &["-Htn", "state", "time-wait"]).as_deref(), Some(""));
        });
    }

    #[test]
    fn only_sockets_of_the_address_end_and_listeners_stay() {
        netns::with("only_sockets_of_the_address_end_and_listeners_stay", || {
            netns::loopback_up();
            let vip = IpAddr::from([127, 9, 9, 9]);
            probe().unwrap();
            for listen in ["0.0.0.0:7000", "[::]:7001", "127.9.9.9:7002"] {
                let listener = TcpListener::bind(listen).unwrap();
                let port = listener.local_addr().unwrap().port();
                let mut client = TcpStream::connect((vip, port)).unwrap();
                let (mut served, _) = listener.accept().unwrap();
                let mut queued = TcpStream::connect((vip, port)).unwrap();
                let mut other = TcpStream::connect(("127.0.0.1", port)).ok();

                let outcome = destroy_tcp(&[vip], LONG).unwrap();
                assert_eq!((outcome.destroyed, outcome.refused), (2, 0), "{listen}: {outcome:?}");
                assert!(
                    served.read(&mut [0]).is_err() || served.write(b"x").is_err(),
                    "{listen}: accepted one"
                );
                for stream in [&mut client, &mut queued] {
                    assert_eq!(
                        stream.read(&mut [0]).unwrap_err().kind(),
                        ErrorKind::ConnectionReset,
                        "{listen}"
                    );
                }
                if let Some(other) = &mut other {
                    other.write_all(b"still there").unwrap();
                }
                drop(TcpStream::connect((vip, port)).unwrap());
                let sockets = netns::output("ss", &["-Htln"]).unwrap_or_default();
                assert!(sockets.is_empty() || sockets.contains(&format!(":{port}")), "{sockets}");
            }
        });
    }

    #[test]
    fn connections_are_listed_with_both_ends_and_nothing_else_is() {
        netns::with("connections_are_listed_with_both_ends_and_nothing_else_is", || {
            netns::loopback_up();
            let at = |port| SocketAddr::from(([127, 9, 9, 9], port));
            let listeners =
                [TcpListener::bind("0.0.0.0:7000").unwrap(), TcpListener::bind("[::]:7001").unwrap()];
            let plain = TcpStream::connect(at(7000)).unwrap();
            let mapped = TcpStream::connect(at(7001)).unwrap();
            let ended = TcpStream::connect(at(7000)).unwrap();
            ended.shutdown(std::net::Shutdown::Write).unwrap();
            drop(TcpStream::connect("[::1]:7001").unwrap());
            let accepted: Vec<_> = listeners.iter().map(|listener| listener.accept().unwrap()).collect();
            let remote = |stream: &TcpStream| stream.local_addr().unwrap();
            let mut connections = Connections::open().unwrap();
            let mut list = |port, mapped| {
                let mut found = vec![];
                connections
                    .list(port, mapped, |local, remote| {
                        if local.ip() == at(0).ip() {
                            found.push((local.port(), remote));
                        }
                    })
                    .unwrap();
                found.sort_unstable();
                found
            };
            let mut all = vec![(7000, remote(&plain)), (7000, remote(&ended)), (7001, remote(&mapped))];
            all.sort_unstable();
            assert_eq!(list(None, true), all);
            assert_eq!(list(Some(7001), true), [(7001, remote(&mapped))]);
            assert_eq!(list(Some(7001), false), []);
            assert_eq!(list(Some(7000), false), all[..2]);
            drop(accepted);
        });
    }

    #[test]
    fn a_half_open_connection_ends_as_well() {
        netns::with("a_half_open_connection_ends_as_well", || {
            netns::loopback_up();
            // The final ACK of the handshake is lost, so that the listener's side stays half open.
            let rule = "table ip t { chain c { type filter hook input priority 0; \
                        tcp dport 7003 tcp flags & (syn|ack) == ack drop; }; }";
            if netns::output("nft", &[rule]).is_none() {
                return;
            }
            let _listener = TcpListener::bind("0.0.0.0:7003").unwrap();
            let _client = TcpStream::connect("127.9.9.9:7003").unwrap();
            let half_open = || netns::output("ss", &["-Htn", "state", "syn-recv"]).unwrap_or_default();
            assert!(half_open().contains("7003"), "{}", half_open());
            let outcome = destroy_tcp(&[IpAddr::from([127, 9, 9, 9])], LONG).unwrap();
            assert_eq!((outcome.destroyed, outcome.refused), (1, 0), "{outcome:?}");
            assert_eq!(half_open(), "");
        });
    }

    #[test]
    fn without_net_admin_the_probe_says_so() {
        netns::without_capabilities("without_net_admin_the_probe_says_so", || {
            let error = probe().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::EPERM as i32), "{error}");
        });
    }
}
