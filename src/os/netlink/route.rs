//! Links and IP addresses (rtnetlink). Needs NET_ADMIN to change anything, nothing to look.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use nix::sys::socket::SockProtocol;

use super::message::{Attributes, Message, Received, u32_at};
use super::socket::Socket;
use crate::net::{Cidr, InterfaceName, MacAddr, is_link_local};

const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

pub(super) const REPLACE: u16 = 0x100;
pub(super) const CREATE: u16 = 0x400;

const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;
const RTMSG: usize = 12;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;

pub(super) const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_RUNNING: u32 = 0x40;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_HOST: u8 = 254;
const RTN_LOCAL: u8 = 2;
const NO_WAY: [i32; 4] = [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES, libc::EINVAL];
const FOREVER: u32 = u32::MAX;
/// Nobody asks on the link whether somebody has it already.
const IFA_F_NODAD: u32 = 0x02;
/// Duplicate address detection has found somebody, or is not over.
const IFA_F_TEMPORARY: u32 = 0x01;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: InterfaceName,
    /// `None`: not Ethernet-like (a tunnel without a link address).
    pub mac: Option<MacAddr>,
    /// Switched on by the administrator (IFF_UP).
    pub up: bool,
    /// Has a carrier as well (IFF_RUNNING).
    pub running: bool,
    pub loopback: bool,
}

/// An IP address of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub index: u32,
    /// The address with the prefix of its network.
    pub cidr: Cidr,
    /// What is left of its life, in whole seconds; `None`: for ever.
    pub valid: Option<Duration>,
    /// The kernel sends from it. Of IPv6, not before it knows that nobody else has it.
    pub usable: bool,
}

/// A socket for questions and changes.
pub struct Route(pub(super) Socket);

impl Route {
    pub fn open() -> io::Result<Self> {
        Socket::open(SockProtocol::NetlinkRoute).map(Self)
    }

    /// Interfaces in the kernel's order; those whose name is not text are left out, since no configuration can name
    /// them.
    pub fn links(&mut self) -> io::Result<Vec<Link>> {
        self.0.dump(&Message::new(RTM_GETLINK, 0, &[0; IFINFOMSG]), read_link)
    }

    pub fn addresses(&mut self) -> io::Result<Vec<Address>> {
        self.0.dump(&Message::new(RTM_GETADDR, 0, &[AF_UNSPEC; IFADDRMSG]), read_address)
    }

    /// Adds the address, or renews it. `lease`: how long the kernel keeps it if nobody renews it, rounded up to whole
    /// seconds; `None`: for ever. The kernel never picks it as the source of what this machine sends elsewhere: on `lo`
    /// IPv4's has the scope "host", and IPv6's is deprecated from the start. IPv6's is there at once, since whoever has it
    /// is agreed by other means than duplicate address detection.
    pub fn put_address(
        &mut self,
        link: u32,
        loopback: bool,
        cidr: Cidr,
        lease: Option<Duration>,
    ) -> io::Result<()> {
        let lifetime = lease.map_or(FOREVER, |d| {
            u32::try_from(d.as_millis().div_ceil(1000)).unwrap_or(FOREVER).clamp(1, FOREVER)
        });
        let preferred = match cidr.address() {
            IpAddr::V4(_) => lifetime,
            IpAddr::V6(_) => 0,
        };
        let cache_info: Vec<u8> =
            [preferred, lifetime, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
        let message = address_message(RTM_NEWADDR, CREATE | REPLACE, link, loopback, cidr)
            .attribute(IFA_CACHEINFO, &cache_info);
        self.0.execute(match cidr.address() {
            IpAddr::V4(_) => message,
            IpAddr::V6(_) => message.attribute(IFA_FLAGS, &(IFA_F_NODAD | IFA_F_NOPREFIXROUTE).to_ne_bytes()),
        })
    }

    /// EADDRNOTAVAIL if it is not there.
    pub fn delete_address(&mut self, link: u32, cidr: Cidr) -> io::Result<()> {
        self.0.execute(address_message(RTM_DELADDR, 0, link, false, cidr))
    }

    /// Whether what comes for the address is taken. An IPv6 address is listed before it is: its route is made by another
    /// thread of the kernel, a moment later. `link`: where it is, if it is a link-local one.
    pub fn takes(&mut self, address: IpAddr, link: u32) -> io::Result<bool> {
        let mut header = [0; RTMSG];
        [header[0], header[1]] = [family(address), Cidr::host(address).prefix()];
        let mut message = Message::new(RTM_GETROUTE, 0, &header).attribute(RTA_DST, &octets(address));
        if is_link_local(address) {
            message = message.attribute(RTA_OIF, &link.to_ne_bytes());
        }
        match self.0.ask(message, read_route_type) {
            Ok(kind) => Ok(kind == Some(RTN_LOCAL)),
            // There is no route, or one that refuses.
            Err(error) if error.raw_os_error().is_some_and(|errno| NO_WAY.contains(&errno)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    #[cfg(test)]
    pub(crate) fn switch_on(&mut self, link: u32) -> io::Result<()> {
        let mut header = [0; IFINFOMSG];
        header[4..8].copy_from_slice(&link.to_ne_bytes());
        header[8..12].copy_from_slice(&IFF_UP.to_ne_bytes());
        header[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
        self.0.execute(Message::new(RTM_NEWLINK, 0, &header))
    }
}

pub(super) const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address_message(kind: u16, flags: u16, link: u32, loopback: bool, cidr: Cidr) -> Message {
    let scope = if loopback { SCOPE_HOST } else { SCOPE_UNIVERSE };
    let [a, b, c, d] = link.to_ne_bytes();
    let octets = octets(cidr.address());
    Message::new(kind, flags, &[family(cidr.address()), cidr.prefix(), 0, scope, a, b, c, d])
        .attribute(IFA_LOCAL, &octets)
        .attribute(IFA_ADDRESS, &octets)
}

fn read_link(received: &Received<'_>) -> Option<Link> {
    if received.kind != RTM_NEWLINK {
        return None;
    }
    let flags = u32_at(received.payload, 8)?;
    let attributes = received.attributes(IFINFOMSG);
    let name = attributes.value(IFLA_IFNAME)?;
    let name = std::str::from_utf8(name.strip_suffix(&[0]).unwrap_or(name)).ok()?;
    Some(Link {
        index: u32_at(received.payload, 4)?,
        name: InterfaceName::try_from(name.to_owned()).ok()?,
        mac: attributes.value(IFLA_ADDRESS).and_then(|mac| mac.try_into().ok()).map(MacAddr),
        up: flags & IFF_UP != 0,
        running: flags & IFF_RUNNING != 0,
        loopback: flags & IFF_LOOPBACK != 0,
    })
}

pub(super) fn read_address(received: &Received<'_>) -> Option<Address> {
    if !matches!(received.kind, RTM_NEWADDR | RTM_DELADDR) {
        return None;
    }
    let attributes = received.attributes(IFADDRMSG);
    let local = attributes.value(IFA_LOCAL).or_else(|| attributes.value(IFA_ADDRESS))?;
    let flags = attributes.value(IFA_FLAGS).and_then(|flags| u32_at(flags, 0)).unwrap_or(0);
    // Privacy addresses come and go; of IPv4 the same bit says something else.
    let is_v6 = received.payload.first().is_some_and(|family| i32::from(*family) == libc::AF_INET6);
    let unusable = IFA_F_TENTATIVE | IFA_F_DADFAILED | if is_v6 { IFA_F_TEMPORARY } else { 0 };
    Some(Address {
        index: u32_at(received.payload, 4)?,
        cidr: Cidr::try_new(read_octets(*received.payload.first()?, local)?, *received.payload.get(1)?)
            .ok()?,
        valid: valid_lifetime(attributes),
        usable: flags & unusable == 0,
    })
}

fn valid_lifetime(attributes: Attributes<'_>) -> Option<Duration> {
    let seconds = u32_at(attributes.value(IFA_CACHEINFO)?, 4)?;
    (seconds != FOREVER).then(|| Duration::from_secs(u64::from(seconds)))
}

fn read_route_type(received: &Received<'_>) -> Option<u8> {
    (received.kind == RTM_NEWROUTE).then(|| received.payload.get(7).copied())?
}

pub(super) fn read_octets(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        AF_INET6 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::os::netlink::{Event, EventSocket};
    use crate::os::netns;

    #[test]
    fn links_are_those_that_ip_shows() {
        netns::with("links_are_those_that_ip_shows", || {
            let Some((left, right)) = netns::veth() else { return };
            let lo = Route::open().unwrap().links().unwrap().remove(0);
            assert_eq!((lo.index, lo.name.as_str(), lo.loopback, lo.up), (1, "lo", true, false));
            for link in [&left, &right] {
                let shown = netns::output("ip", &["-br", "link", "show", link.name.as_str()]).unwrap();
                assert!(shown.contains(&link.mac.unwrap().to_string()), "{shown}");
                assert!(link.up && link.running && !link.loopback, "{link:?}");
            }
        });
    }

    #[test]
    fn an_address_lives_as_long_as_its_lease_is_renewed() {
        netns::with("an_address_lives_as_long_as_its_lease_is_renewed", || {
            netns::loopback_up();
            let mut route = Route::open().unwrap();
            let events = EventSocket::open().unwrap();
            let vip: Cidr = "10.9.0.99/32".parse().unwrap();
            let find = |route: &mut Route| route.addresses().unwrap().into_iter().find(|a| a.cidr == vip);
            assert_eq!(events.receive().unwrap_err().kind(), io::ErrorKind::WouldBlock);

            route.put_address(1, true, vip, Some(Duration::from_secs(60))).unwrap();
            assert!(find(&mut route).unwrap().valid > Some(Duration::from_secs(57)));
            let added = |e: &Event| matches!(e, Event::AddressAdded(a) if a.cidr == vip && a.index == 1);
            assert!(events.receive().unwrap().iter().any(added));
            if let Some(shown) = netns::output("ip", &["-4", "addr", "show", "dev", "lo"]) {
                assert!(shown.contains("inet 10.9.0.99/32 scope host dynamic lo"), "{shown}");
            }

            route.put_address(1, true, vip, None).unwrap();
            assert_eq!(find(&mut route).unwrap().valid, None);
            route.delete_address(1, vip).unwrap();
            assert_eq!(find(&mut route), None);
            let removed = |e: &Event| matches!(e, Event::AddressRemoved(a) if a.cidr == vip);
            assert!(events.receive().unwrap().iter().any(removed));
            let gone = route.delete_address(1, vip).unwrap_err();
            assert_eq!(gone.raw_os_error(), Some(Errno::EADDRNOTAVAIL as i32));

            route.put_address(1, true, vip, Some(Duration::from_millis(1))).unwrap();
            while find(&mut route).is_some() {
                netns::readable(&events);
                events.receive().unwrap();
            }
        });
    }

    #[test]
    fn an_address_is_taken_once_its_own_route_is_there() {
        netns::with("an_address_is_taken_once_its_own_route_is_there", || {
            let Some((left, _right)) = netns::veth() else { return };
            netns::loopback_up();
            let mut route = Route::open().unwrap();
            for network in ["10.9.0.1/24", "2001:db8::1/64"] {
                netns::output("ip", &["addr", "add", network, "dev", left.name.as_str(), "nodad"]).unwrap();
            }
            for (link, address) in
                [(1, "10.9.0.99"), (1, "2001:db8::99"), (left.index, "fe80::99"), (1, "192.0.2.1")]
            {
                let ip: IpAddr = address.parse().unwrap();
                assert!(!route.takes(ip, left.index).unwrap(), "{address} is nowhere");
                route.put_address(link, link == 1, Cidr::host(ip), None).unwrap();
                let end = std::time::Instant::now() + Duration::from_secs(10);
                while !route.takes(ip, left.index).unwrap() {
                    assert!(std::time::Instant::now() < end, "{address}");
                }
                route.delete_address(link, Cidr::host(ip)).unwrap();
                assert!(!route.takes(ip, left.index).unwrap(), "{address} is gone");
            }
        });
    }

    #[test]
    fn an_ipv6_address_is_there_at_once_and_nothing_is_sent_from_it() {
        netns::with("an_ipv6_address_is_there_at_once_and_nothing_is_sent_from_it", || {
            let Some((left, _right)) = netns::veth() else { return };
            netns::loopback_up();
            let mut route = Route::open().unwrap();
            let events = EventSocket::open().unwrap();
            for (link, vip) in [(1, "2001:db8::99/128"), (left.index, "fe80::99/128")] {
                let vip: Cidr = vip.parse().unwrap();
                let find = |route: &mut Route| route.addresses().unwrap().into_iter().find(|a| a.cidr == vip);
                for _ in 0..2 {
                    route.put_address(link, link == 1, vip, Some(Duration::from_secs(60))).unwrap();
                    let found = find(&mut route).unwrap();
                    assert!(found.usable && found.valid > Some(Duration::from_secs(57)), "{found:?}");
                }
                let added =
                    |e: &Event| matches!(e, Event::AddressAdded(a) if a.cidr == vip && a.index == link);
                assert!(events.receive().unwrap().iter().any(added));
                if let Some(shown) = netns::output("ip", &["-6", "addr", "show", "to", &vip.to_string()]) {
                    assert!(shown.contains("deprecated") && shown.contains("nodad"), "{shown}");
                    assert!(!shown.contains("tentative"), "{shown}");
                }
                route.delete_address(link, vip).unwrap();
                assert_eq!(find(&mut route), None);
                let gone = route.delete_address(link, vip).unwrap_err();
                assert_eq!(gone.raw_os_error(), Some(Errno::EADDRNOTAVAIL as i32));
                route.put_address(link, link == 1, vip, Some(Duration::from_millis(1))).unwrap();
                while find(&mut route).is_some() {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
    }

    #[test]
    fn errors_are_the_kernels() {
        netns::with("errors_are_the_kernels", || {
            let cidr = "10.9.0.99/32".parse().unwrap();
            let no_link = Route::open().unwrap().put_address(4711, false, cidr, None).unwrap_err();
            assert_eq!(no_link.raw_os_error(), Some(Errno::ENODEV as i32));
        });
        netns::without_capabilities("errors_are_the_kernels", || {
            let cidr = "10.9.0.99/32".parse().unwrap();
            let mut route = Route::open().unwrap();
            let refused = route.put_address(1, true, cidr, None).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(Errno::EPERM as i32));
            assert!(route.links().is_ok(), "looking is free");
        });
    }
}
