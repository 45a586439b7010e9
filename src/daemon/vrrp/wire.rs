//! The two sockets of a virtual router on its interface: adverts, and ARP or neighbour discovery about its addresses.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::task::Context;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::place::Place;
use crate::daemon::event_loop::readable;
use crate::net::Family;
use crate::os::packet::{self, NeighbourSocket};
use crate::os::raw::{self, Packet, VrrpSocket};

pub(super) struct Wire {
    pub(super) place: Place,
    adverts: AsyncFd<VrrpSocket>,
    neighbours: AsyncFd<NeighbourSocket>,
}

impl Wire {
    /// Opened afresh whenever the interface is another one: a socket stays with the interface that it was bound to,
    /// also after that is gone.
    pub(super) fn open(place: Place, multicast: bool, addresses: &[IpAddr]) -> io::Result<Self> {
        let family = Family::of(place.own);
        let adverts = VrrpSocket::open(&place.name, place.index, family, multicast)?;
        let neighbours = NeighbourSocket::open(place.index, family, addresses)?;
        Ok(Self { adverts: readable(adverts)?, neighbours: readable(neighbours)?, place })
    }

    /// Also arranges to be woken when it is not.
    pub(super) fn is_readable(&self, context: &mut Context<'_>) -> bool {
        // Both are to be asked, each registers its own wake-up.
        let adverts = self.adverts.poll_read_ready(context).is_ready();
        let neighbours = self.neighbours.poll_read_ready(context).is_ready();
        adverts || neighbours
    }

    /// `None`: nothing waits.
    pub(super) fn next_advert<'b>(
        &self,
        buffer: &'b mut [u8; raw::BUFFER],
    ) -> Option<io::Result<Packet<'b>>> {
        next(&self.adverts, |socket| socket.receive(buffer))
    }

    /// A frame about where an address is.
    pub(super) fn next_frame<'b>(
        &self,
        buffer: &'b mut [u8; packet::BUFFER],
    ) -> Option<io::Result<&'b [u8]>> {
        next(&self.neighbours, |socket| socket.receive(buffer))
    }

    pub(super) fn send_advert(&self, destination: IpAddr, bytes: &[u8]) -> io::Result<()> {
        self.adverts.get_ref().send(self.place.own, destination, bytes)
    }

    pub(super) fn send_frame(&self, frame: &[u8]) -> io::Result<()> {
        self.neighbours.get_ref().send(frame)
    }

    pub(super) fn watch(&mut self, addresses: &[IpAddr]) -> io::Result<()> {
        self.neighbours.get_mut().watch(addresses)
    }

    /// Forgets everything that has queued up.
    pub(super) fn discard(&self) -> io::Result<usize> {
        Ok(self.adverts.get_ref().drain()? + self.neighbours.get_ref().drain()?)
    }
}

/// The socket is asked whether or not the runtime has seen it readable yet: what has arrived counts before a timer that
/// is due.
fn next<S: AsRawFd, T>(
    socket: &AsyncFd<S>,
    receive: impl FnOnce(&S) -> io::Result<T>,
) -> Option<io::Result<T>> {
    match receive(socket.get_ref()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            // Tells the runtime to wait for the next arrival; what arrives meanwhile makes it readable again.
            let empty: io::Result<()> = socket.try_io(Interest::READABLE, |_| Err(error));
            debug_assert!(empty.is_err());
            None
        }
        other => Some(other),
    }
}
