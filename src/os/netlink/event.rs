//! The kernel's news about links and IP addresses, on a socket that never blocks.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{SockFlag, SockProtocol};

use super::message::{Received, u32_at};
use super::route::{Address, read_address};
use super::socket::{open_fd, receive};

const RTMGRP_LINK: u32 = 0x1;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const BUFFER: usize = 64 * 1024;
/// Datagrams read in one go; the rest waits for the next turn, so that a storm of news cannot hold the caller.
const DATAGRAMS_PER_TURN: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The link of this index came, went or changed.
    Link {
        index: u32,
    },
    AddressAdded(Address),
    AddressRemoved(Address),
    /// The kernel had more to say than the socket could hold: list everything again.
    Lost,
}

pub struct EventSocket {
    fd: OwnedFd,
}

impl EventSocket {
    pub fn open() -> io::Result<Self> {
        let groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
        let fd = open_fd(SockProtocol::NetlinkRoute, SockFlag::SOCK_NONBLOCK, groups)?;
        Ok(Self { fd })
    }

    /// What has happened since the last call. WouldBlock: nothing.
    pub fn receive(&self) -> io::Result<Vec<Event>> {
        let mut buffer = vec![0; BUFFER];
        let mut events = Vec::new();
        for turn in 0..DATAGRAMS_PER_TURN {
            match receive(self.fd.as_fd(), &mut buffer) {
                Ok(datagram) => events.extend(Received::all(datagram).filter_map(|r| read_event(&r))),
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => events.push(Event::Lost),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && turn > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    }
}

impl AsRawFd for EventSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for EventSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn read_event(received: &Received<'_>) -> Option<Event> {
    match received.kind {
        RTM_NEWLINK | RTM_DELLINK => u32_at(received.payload, 4).map(|index| Event::Link { index }),
        RTM_NEWADDR => read_address(received).map(Event::AddressAdded),
        RTM_DELADDR => read_address(received).map(Event::AddressRemoved),
        _ => None,
    }
}
