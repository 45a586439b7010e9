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

/// Whether the runtime knows of all that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It has looked, and nothing that came later counts yet.
    Known,
    /// The kernel is to be asked.
    Unknown,
}

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
        readiness: Readiness,
    ) -> Option<io::Result<Packet<'b>>> {
        next(&self.adverts, readiness, |socket| socket.receive(buffer))
    }

    /// A frame about where an address is.
    pub(super) fn next_frame<'b>(
        &self,
        buffer: &'b mut [u8; packet::BUFFER],
        readiness: Readiness,
    ) -> Option<io::Result<&'b [u8]>> {
        next(&self.neighbours, readiness, |socket| socket.receive(buffer))
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

fn next<S: AsRawFd, T>(
    socket: &AsyncFd<S>,
    readiness: Readiness,
    receive: impl FnOnce(&S) -> io::Result<T>,
) -> Option<io::Result<T>> {
    let received = match readiness {
        Readiness::Known => socket.try_io(Interest::READABLE, receive),
        Readiness::Unknown => receive(socket.get_ref()),
    };
    match received {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            // Tells the runtime to wait for the next arrival; what arrives meanwhile makes it readable again.
            let empty: io::Result<()> = socket.try_io(Interest::READABLE, |_| Err(error));
            debug_assert!(empty.is_err());
            None
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::daemon::event_loop;

    #[test]
    fn what_the_runtime_has_not_seen_is_there_for_who_asks_the_kernel() {
        let runtime = event_loop::build(1).unwrap();
        event_loop::play(&runtime, async {
            let (near, far) = UnixDatagram::pair().unwrap();
            far.set_nonblocking(true).unwrap();
            let far = readable(far).unwrap();
            let read =
                |readiness| next(&far, readiness, |socket| socket.recv(&mut [0; 8])).map(Result::unwrap);
            for (readiness, expect) in
                [(Readiness::Known, None), (Readiness::Unknown, Some(3)), (Readiness::Unknown, None)]
            {
                if expect.is_none() && readiness == Readiness::Known {
                    near.send(b"now").unwrap();
                }
                assert_eq!(read(readiness), expect, "{readiness:?}");
            }
            for _ in 0..2 {
                near.send(b"later").unwrap();
                drop(far.readable().await.unwrap());
                assert_eq!((read(Readiness::Known), read(Readiness::Known)), (Some(5), None));
            }
        });
    }
}
