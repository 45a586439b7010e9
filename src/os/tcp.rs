//! What the kernel counts of TCP, in the network namespace of whoever asks.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;

use nix::libc;

/// More than the names and the numbers of all protocols take.
const SPACE: usize = 8192;

/// Of both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Connections there are, in ESTABLISHED or CLOSE-WAIT (RFC 4022: tcpCurrEstab).
    pub established: u64,
    /// Connections there have ever been that somebody else began (tcpPassiveOpens).
    pub accepted: u64,
}

/// Takes microseconds to read, where a list of all connections takes milliseconds however few there are: the kernel
/// walks through a table for all that the machine could have.
#[derive(Debug)]
pub struct Counters(File);

impl Counters {
    pub fn open() -> io::Result<Self> {
        File::open("/proc/thread-self/net/snmp").map(Self)
    }

    /// `None`: this kernel does not say.
    pub fn read(&self) -> Option<Counts> {
        let mut space = [0; SPACE];
        let n = self.0.read_at(&mut space, 0).ok()?;
        counts(std::str::from_utf8(space.get(..n)?).ok()?)
    }
}

/// How many bytes of a connection its other end has not acknowledged; the end that this side has said is one of them.
/// 0 as well where the kernel does not say.
pub fn unacknowledged(connection: impl AsFd) -> u32 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the pointer is valid, and the kernel writes one integer.
    let result = unsafe { libc::ioctl(connection.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { u32::try_from(bytes).unwrap_or_default() } else { 0 }
}

/// Two lines for each protocol: the names, and their numbers.
fn counts(snmp: &str) -> Option<Counts> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let field = |name: &str| {
        let at = names.split(' ').position(|known| known == name)?;
        numbers.split(' ').nth(at)?.parse().ok()
    };
    Some(Counts { established: field("CurrEstab")?, accepted: field("PassiveOpens")? })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::os::netns;

    #[test]
    fn the_numbers_are_found_by_their_names() {
        let ip = "Ip: Forwarding DefaultTTL\nIp: 1 64\n";
        let table = [
            ("Tcp: MaxConn PassiveOpens CurrEstab\nTcp: -1 7 3\nUdp: A\nUdp: 1\n", Some((3, 7))),
            ("Tcp: CurrEstab New PassiveOpens\nTcp: 3 9 7\n", Some((3, 7))),
            ("Tcp: CurrEstab PassiveOpens\nTcp: 3\n", None),
            ("Tcp: CurrEstab PassiveOpens\n", None),
            ("Tcp: CurrEstab\nTcp: 3\n", None),
            ("Tcp: CurrEstab PassiveOpens\nTcp: x y\n", None),
            ("", None),
        ];
        for (text, expect) in table {
            let found = counts(&format!("{ip}{text}")).map(|counts| (counts.established, counts.accepted));
            assert_eq!(found, expect, "{text}");
        }
    }

    #[test]
    fn a_connection_that_comes_and_goes_is_counted() {
        netns::with("a_connection_that_comes_and_goes_is_counted", || {
            netns::loopback_up();
            let counters = Counters::open().unwrap();
            let seen = || counters.read().map(|counts| (counts.established, counts.accepted)).unwrap();
            assert_eq!(seen(), (0, 0));
            let listener = TcpListener::bind("127.0.0.1:7000").unwrap();
            let client = TcpStream::connect("127.0.0.1:7000").unwrap();
            let served = listener.accept().unwrap();
            assert_eq!(seen(), (2, 1), "both ends are here");
            drop((served, client));
            assert_eq!(seen(), (0, 1));
        });
    }

    #[test]
    fn what_nobody_has_taken_is_not_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut from = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut to, _) = listener.accept().unwrap();
        from.set_nonblocking(true).unwrap();
        assert_eq!(unacknowledged(&from), 0);
        // More than both kernels keep.
        while from.write(&[0; 1 << 16]).is_ok() {}
        assert!(unacknowledged(&from) > 1);
        from.shutdown(Shutdown::Write).unwrap();
        to.read_to_end(&mut vec![]).unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while unacknowledged(&from) > 0 {
            assert!(Instant::now() < end);
            std::thread::yield_now();
        }
    }
}
