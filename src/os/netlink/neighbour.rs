//! Who is where on the link, as the kernel knows it.

use std::io;
use std::net::IpAddr;

use super::message::{Message, Received, u16_at, u32_at};
use super::route::{AF_UNSPEC, CREATE, REPLACE, Route, family, octets, read_octets};
use crate::net::MacAddr;

const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
const NDMSG: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NTF_USE: u8 = 0x01;
const NUD_FAILED_OR_INCOMPLETE: u16 = 0x20 | 0x01;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    pub index: u32,
    pub address: IpAddr,
    pub mac: MacAddr,
}

impl Route {
    /// Neighbours whose link address is known.
    pub fn neighbours(&mut self) -> io::Result<Vec<Neighbour>> {
        self.0.dump(&Message::new(RTM_GETNEIGH, 0, &[AF_UNSPEC; NDMSG]), read_neighbour)
    }

    /// Lets the kernel find out who has the address, as if it had something to send there; `neighbours` shows the answer
    /// later.
    pub fn look_up(&mut self, link: u32, address: IpAddr) -> io::Result<()> {
        let mut header = [family(address), 0, 0, 0, 0, 0, 0, 0, 0, 0, NTF_USE, 0];
        if let Some(field) = header.get_mut(4..8) {
            field.copy_from_slice(&link.to_ne_bytes());
        }
        self.0.execute(
            Message::new(RTM_NEWNEIGH, CREATE | REPLACE, &header).attribute(NDA_DST, &octets(address)),
        )
    }
}

fn read_neighbour(received: &Received<'_>) -> Option<Neighbour> {
    let state = u16_at(received.payload, 8)?;
    if received.kind != RTM_NEWNEIGH || state & NUD_FAILED_OR_INCOMPLETE != 0 {
        return None;
    }
    let attributes = received.attributes(NDMSG);
    Some(Neighbour {
        index: u32_at(received.payload, 4)?,
        address: read_octets(*received.payload.first()?, attributes.value(NDA_DST)?)?,
        mac: MacAddr(attributes.value(NDA_LLADDR)?.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Cidr;
    use crate::os::netns;

    #[test]
    fn a_neighbour_is_looked_up_and_has_its_mac() {
        netns::with("a_neighbour_is_looked_up_and_has_its_mac", || {
            let Some((left, right)) = netns::veth() else { return };
            let mac = right.mac.unwrap();
            let mut route = Route::open().unwrap();
            let (near, far): (Cidr, Cidr) = ("10.0.0.1/24".parse().unwrap(), "10.0.0.7/24".parse().unwrap());
            route.put_address(left.index, false, near, None).unwrap();
            let _far = netns::far_end(&left, &right, move |right| {
                let mut route = Route::open().unwrap();
                route.put_address(right.index, false, far, None).unwrap();
                route
            });
            assert_eq!(route.neighbours().unwrap(), []);
            route.look_up(left.index, far.address()).unwrap();
            let expect = Neighbour { index: left.index, address: far.address(), mac };
            while route.neighbours().unwrap() != [expect] {
                std::thread::yield_now();
            }
        });
    }
}
