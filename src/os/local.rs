//! Whether this kernel takes what comes for an address. An IPv6 address is listed before it does: its route is made by
//! another thread of the kernel, a moment later.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_micros(100);
/// Nothing is sent there.
const PORT: u16 = 9;

/// False: not by then. `scope`: the interface of a link-local address.
pub fn wait(address: IpAddr, scope: u32, until: Instant) -> bool {
    while !is_local(address, scope) {
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(PAUSE);
    }
    true
}

/// What goes to an address of this machine comes from there.
fn is_local(address: IpAddr, scope: u32) -> bool {
    let IpAddr::V6(address) = address else { return true };
    let scope = if address.is_unicast_link_local() { scope } else { 0 };
    let to = SocketAddr::from(SocketAddrV6::new(address, PORT, 0, scope));
    let from = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect(to)?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == IpAddr::V6(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::netlink::Route;
    use crate::os::netns;

    #[test]
    fn an_address_is_waited_for_until_packets_for_it_are_taken() {
        netns::with("an_address_is_waited_for_until_packets_for_it_are_taken", || {
            let Some((left, _right)) = netns::veth() else { return };
            netns::loopback_up();
            let mut route = Route::open().unwrap();
            for (link, address) in [(1, "2001:db8::99"), (left.index, "fe80::99")] {
                let ip: IpAddr = address.parse().unwrap();
                assert!(!wait(ip, left.index, Instant::now()), "{address} is nowhere");
                route.put_address(link, link == 1, address.parse().unwrap(), None).unwrap();
                assert!(wait(ip, left.index, Instant::now() + Duration::from_secs(10)), "{address}");
            }
            assert!(wait([10, 0, 0, 1].into(), 0, Instant::now()), "IPv4 is there at once");
        });
    }
}
