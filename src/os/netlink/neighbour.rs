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
/// Of a control plane.
const NTF_EXT_LEARNED: u8 = 0x10;
const NTF_ROUTER: u8 = 0x80;
const NUD_FAILED_OR_INCOMPLETE: u16 = 0x20 | 0x01;
const NUD_STALE: u16 = 0x04;
/// Permanent, or one that needs none.
const NUD_BY_HAND: u16 = 0x80 | 0x40;

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
        self.0.execute(about(RTM_NEWNEIGH, CREATE | REPLACE, link, address, 0, NTF_USE))
    }

    /// Somebody asks from this address and MAC address: what the kernel has learnt of it otherwise is out of date. It does
    /// the same with every question that it sees itself (RFC 826, "merge flag"). What somebody else has put there stays,
    /// and who is not known is not made known. Whether anything had to be corrected.
    pub fn correct(&mut self, link: u32, address: IpAddr, mac: MacAddr) -> io::Result<bool> {
        let known = match self.0.ask(about(RTM_GETNEIGH, 0, link, address, 0, 0), read_learnt) {
            Ok(known) => known,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => None,
            Err(error) => return Err(error),
        };
        let Some((_, flags)) = known.filter(|(known, _)| known.mac != mac) else { return Ok(false) };
        let message = about(RTM_NEWNEIGH, REPLACE, link, address, NUD_STALE, flags & NTF_ROUTER);
        self.0.execute(message.attribute(NDA_LLADDR, &mac.0)).map(|()| true)
    }
}

fn about(kind: u16, flags: u16, link: u32, address: IpAddr, state: u16, how: u8) -> Message {
    let ([a, b, c, d], [e, f]) = (link.to_ne_bytes(), state.to_ne_bytes());
    let header = [family(address), 0, 0, 0, a, b, c, d, e, f, how, 0];
    Message::new(kind, flags, &header).attribute(NDA_DST, &octets(address))
}

/// The kernel's own knowledge only, with its flags.
fn read_learnt(received: &Received<'_>) -> Option<(Neighbour, u8)> {
    let (state, flags) = (u16_at(received.payload, 8)?, *received.payload.get(10)?);
    let is_own = state & NUD_BY_HAND == 0 && flags & NTF_EXT_LEARNED == 0;
    read_neighbour(received).filter(|_| is_own).map(|neighbour| (neighbour, flags))
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
            // Multicast groups may be known from the start.
            let known = |route: &mut Route| {
                let all = route.neighbours().unwrap();
                all.into_iter().find(|neighbour| neighbour.address == far.address())
            };
            assert_eq!(known(&mut route), None);
            route.look_up(left.index, far.address()).unwrap();
            let expect = Neighbour { index: left.index, address: far.address(), mac };
            while known(&mut route) != Some(expect) {
                std::thread::yield_now();
            }
        });
    }

    #[test]
    fn what_is_out_of_date_is_corrected_and_nothing_else() {
        netns::with("what_is_out_of_date_is_corrected_and_nothing_else", || {
            let Some((left, _right)) = netns::veth() else { return };
            let mut route = Route::open().unwrap();
            let device = left.name.as_str();
            let [old, new] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];
            for (network, asker) in [("10.9.0.1/24", "10.9.0.7"), ("2001:db8::1/64", "2001:db8::7")] {
                let address: IpAddr = asker.parse().unwrap();
                netns::output("ip", &["address", "replace", network, "dev", device, "nodad"]).unwrap();
                let known = |route: &mut Route| {
                    let all = route.neighbours().unwrap();
                    all.into_iter().find(|n| n.address == address).map(|neighbour| neighbour.mac)
                };
                assert!(!route.correct(left.index, address, new).unwrap());
                assert_eq!(known(&mut route), None, "{asker} is not made known");
                for (state, expect) in
                    [("reachable", new), ("stale", new), ("permanent", old), ("extern_learn", old)]
                {
                    let how: &[&str] =
                        if state == "extern_learn" { &["nud", "reachable", state] } else { &["nud", state] };
                    let mac = old.to_string();
                    let entry = ["neighbour", "replace", asker, "lladdr", &mac, "dev", device];
                    let command = [entry.as_slice(), how].concat();
                    netns::output("ip", &command).unwrap();
                    assert!(
                        !route.correct(left.index, address, old).unwrap(),
                        "{asker} {state}: nothing new"
                    );
                    assert_eq!(
                        route.correct(left.index, address, new).unwrap(),
                        expect == new,
                        "{asker} {state}"
                    );
                    assert_eq!(known(&mut route), Some(expect), "{asker} {state}");
                }
            }
        });
    }
}
