//! Where a virtual router lives: the interface that carries its subnet, whatever it is called at the moment. No socket:
//! links and addresses are handed in.

use std::net::{IpAddr, Ipv4Addr};

use crate::config::VrrpInstance;
use crate::net::{Cidr, Family, InterfaceName, MacAddr, is_link_local};
use crate::os::netlink::{Address, Link};

/// What the kernel has, listed at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    pub(super) links: Vec<Link>,
    pub(super) addresses: Vec<Address>,
}

impl Survey {
    pub(super) fn loopback(&self) -> Option<u32> {
        self.links.iter().find(|link| link.loopback && link.up).map(|link| link.index)
    }
}

/// An interface that can send adverts and answer for addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) index: u32,
    pub(super) name: InterfaceName,
    pub(super) mac: MacAddr,
    /// The own address, from which adverts are sent.
    pub(super) own: IpAddr,
    /// From which this node asks for its neighbours: the same, or of IPv6 the link-local one.
    pub(super) asker: IpAddr,
}

impl Place {
    /// `virtual_addresses`: of every virtual router of this node; none of them is an own address, wherever it is found.
    /// `had`: where it was until now. Peers list an own address, so that it stays where another one would do as well.
    /// The error is what a person reads.
    pub(super) fn find(
        instance: &VrrpInstance,
        virtual_addresses: &[IpAddr],
        survey: &Survey,
        had: Option<&Self>,
    ) -> Result<Self, String> {
        let candidates: Vec<(&Link, Cidr)> = survey
            .addresses
            .iter()
            .filter(|address| Family::of(address.cidr.address()) == instance.family() && address.usable)
            .filter(|address| !virtual_addresses.contains(&address.cidr.address()))
            .filter_map(|address| {
                Some((survey.links.iter().find(|l| l.index == address.index)?, address.cidr))
            })
            .filter(|(link, _)| !link.loopback)
            .collect();
        let found = match (&instance.interface, instance.subnet) {
            (Some(name), _) => named(instance, name, &candidates, had)?,
            (None, Some(subnet)) => {
                let inside = |(_, cidr): &&(&Link, Cidr)| subnet.contains(cidr.address());
                let lost = || format!("no interface has an address in {subnet}");
                best(candidates.iter().filter(inside), had).ok_or_else(lost)?
            }
            (None, None) => {
                let address = locating(instance);
                let around = |(_, cidr): &&(&Link, Cidr)| cidr.contains(address);
                let lost = || format!("no interface has an address in a subnet that contains {address}");
                best(candidates.iter().filter(around), had).ok_or_else(lost)?
            }
        };
        usable(found, speaker(instance, found, &candidates, had)?)
    }
}

/// The virtual address whose subnet tells the interface. Link-local ones are on every link.
fn locating(instance: &VrrpInstance) -> IpAddr {
    let tells = |address: &IpAddr| !is_link_local(*address);
    let mut addresses = instance.addresses();
    let first = addresses.next().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    if tells(&first) { first } else { addresses.find(tells).unwrap_or(first) }
}

/// From which adverts are sent, and from which neighbours are asked for. IPv6 speaks to its group, and to peers that are
/// listed so, from the link-local address (RFC 9568 section 5.1.2.1).
fn speaker(
    instance: &VrrpInstance,
    (link, cidr): (&Link, Cidr),
    candidates: &[(&Link, Cidr)],
    had: Option<&Place>,
) -> Result<(IpAddr, IpAddr), String> {
    if instance.family() == Family::V4 {
        return Ok((cidr.address(), cidr.address()));
    }
    let on_it = |wanted: bool| {
        let of_it = |(other, cidr): &&(&Link, Cidr)| {
            other.index == link.index && is_link_local(cidr.address()) == wanted
        };
        let mut others = candidates.iter().filter(of_it);
        let kept = others.clone().find(|candidate| is_had(candidate, had));
        kept.or_else(|| others.next()).map(|(_, cidr)| cidr.address())
    };
    let name = &link.name;
    let link_local = on_it(true).ok_or_else(|| format!("{name} has no IPv6 link-local address"))?;
    if instance.speaks_link_local() {
        return Ok((link_local, link_local));
    }
    let own = if is_link_local(cidr.address()) { on_it(false) } else { Some(cidr.address()) };
    let own = own.ok_or_else(|| format!("{name} has no IPv6 address beside its link-local one"))?;
    Ok((own, link_local))
}

/// The address whose subnet holds the first virtual address, else the interface's first.
fn named<'a>(
    instance: &VrrpInstance,
    name: &InterfaceName,
    candidates: &[(&'a Link, Cidr)],
    had: Option<&Place>,
) -> Result<(&'a Link, Cidr), String> {
    let first = locating(instance);
    let on_it = || candidates.iter().filter(|(link, _)| link.name == *name);
    best(on_it().filter(|(_, cidr)| cidr.contains(first)), had)
        .or_else(|| on_it().find(|candidate| is_had(candidate, had)).copied())
        .or_else(|| on_it().next().copied())
        .ok_or_else(|| format!("there is no interface {name} with an {} address", instance.family()))
}

/// The longest prefix; among equals one that runs, then the kernel's order, in which a primary address comes first. It
/// tells the interface; the address is that which it was there, if that is among them. The kernel's order changes: of
/// IPv6 the newest comes first.
fn best<'a, 'b>(
    mut candidates: impl Iterator<Item = &'b (&'a Link, Cidr)> + Clone,
    had: Option<&Place>,
) -> Option<(&'a Link, Cidr)>
where
    'a: 'b,
{
    let rank = |(link, cidr): &&(&Link, Cidr)| (u8::MAX - cidr.prefix(), !(link.up && link.running));
    let best = candidates.clone().min_by_key(rank)?;
    let is_kept = |other: &&(&Link, Cidr)| other.0.index == best.0.index && is_had(other, had);
    candidates.find(is_kept).or(Some(best)).copied()
}

/// On the same interface, from which it spoke or asked.
fn is_had((link, cidr): &(&Link, Cidr), had: Option<&Place>) -> bool {
    had.is_some_and(|had| had.index == link.index && [had.own, had.asker].contains(&cidr.address()))
}

fn usable((link, _): (&Link, Cidr), (own, asker): (IpAddr, IpAddr)) -> Result<Place, String> {
    let name = link.name.clone();
    match (link.mac, link.up, link.running) {
        (_, false, _) => Err(format!("{name} is down")),
        (_, true, false) => Err(format!("{name} has no carrier")),
        (None, true, true) => Err(format!("{name} has no Ethernet address")),
        (Some(mac), true, true) => Ok(Place { index: link.index, name, mac, own, asker }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Host, Transport};
    use crate::daemon::vrrp::tests::instance;

    fn link(index: u32, name: &str, state: &str) -> Link {
        Link {
            index,
            name: InterfaceName::try_from(name.to_owned()).unwrap(),
            mac: (!state.contains("no mac")).then_some(MacAddr([2, 0, 0, 0, 0, index as u8])),
            up: !state.contains("down"),
            running: !state.contains("no carrier"),
            loopback: name == "lo",
        }
    }

    /// What an interface has got beside what it has, and what the place is then.
    fn check_kept(
        instance: VrrpInstance,
        before: &[(&str, &str, &str)],
        after: &[(&str, &str, &str)],
        expect: &str,
    ) {
        let vips: Vec<IpAddr> = instance.addresses().collect();
        let had = Place::find(&instance, &vips, &survey(before), None).unwrap();
        let found = Place::find(&instance, &vips, &survey(after), Some(&had)).unwrap();
        assert_eq!(shown(&found), expect, "{before:?} {after:?}");
    }

    fn check(subnet: Option<&str>, interface: Option<&str>, has: &[(&str, &str, &str)], expect: &str) {
        check_of(instance("172.20.128.4/16"), subnet, interface, has, expect);
    }

    fn check_of(
        mut instance: VrrpInstance,
        subnet: Option<&str>,
        interface: Option<&str>,
        has: &[(&str, &str, &str)],
        expect: &str,
    ) {
        instance.subnet = subnet.map(|s| s.parse().unwrap());
        instance.interface = interface.map(|i| InterfaceName::try_from(i.to_owned()).unwrap());
        let vips: Vec<IpAddr> = instance.addresses().collect();
        let found = Place::find(&instance, &vips, &survey(has), None);
        let found = found.map_or_else(|reason| reason, |place| shown(&place));
        assert_eq!(found, expect, "{subnet:?} {interface:?} {has:?}");
    }

    fn shown(place: &Place) -> String {
        match place.own == place.asker {
            true => format!("{} {}", place.name, place.own),
            false => format!("{} {} {}", place.name, place.own, place.asker),
        }
    }

    fn survey(has: &[(&str, &str, &str)]) -> Survey {
        let mut survey = Survey::default();
        for (name, state, address) in has {
            let index = match survey.links.iter().find(|l| l.name.as_str() == *name) {
                Some(link) => link.index,
                None => {
                    let index = survey.links.len() as u32 + 1;
                    survey.links.push(link(index, name, state));
                    index
                }
            };
            let (address, usable) = match address.strip_suffix(" tentative") {
                Some(address) => (address, false),
                None => (*address, true),
            };
            survey.addresses.push(Address { index, cidr: address.parse().unwrap(), valid: None, usable });
        }
        survey
    }

    #[test]
    fn the_interface_is_found_by_its_subnet_or_its_name() {
        let lo = ("lo", "", "127.0.0.1/8");
        let eth = ("eth0", "", "172.20.128.2/16");
        let around = "no interface has an address in a subnet that contains 172.20.128.4";
        check(None, None, &[lo, eth], "eth0 172.20.128.2");
        check(None, None, &[lo, ("eth1", "", "10.0.0.1/8"), eth], "eth0 172.20.128.2");
        check(None, None, &[lo, ("eth1", "", "172.16.0.1/12"), eth], "eth0 172.20.128.2");
        check(None, None, &[lo, ("a", "no carrier", "172.20.0.9/16"), eth], "eth0 172.20.128.2");
        check(None, None, &[lo], around);
        check(None, None, &[("lo", "", "172.20.128.4/32")], around);
        check(None, None, &[("eth0", "", "172.20.128.4/16")], around);
        check(None, None, &[("eth0", "", "172.20.128.4/16"), eth], "eth0 172.20.128.2");
        check(None, None, &[("eth0", "down", "172.20.128.2/16")], "eth0 is down");
        check(None, None, &[("eth0", "no carrier", "172.20.128.2/16")], "eth0 has no carrier");
        check(None, None, &[("tun0", "no mac", "172.20.128.2/16")], "tun0 has no Ethernet address");
        check(Some("10.0.0.0/8"), None, &[lo, eth, ("eth1", "", "10.1.2.3/24")], "eth1 10.1.2.3");
        check(Some("10.0.0.0/8"), None, &[lo, eth], "no interface has an address in 10.0.0.0/8");
        check(None, Some("eth1"), &[lo, eth, ("eth1", "", "10.1.2.3/24")], "eth1 10.1.2.3");
        let two = [("eth0", "", "10.0.0.1/8"), eth];
        check(None, Some("eth0"), &two, "eth0 172.20.128.2");
        check(None, Some("eth7"), &two, "there is no interface eth7 with an IPv4 address");
    }

    #[test]
    fn ipv6_speaks_from_its_link_local_address_where_it_can() {
        let (group, mut listed) = (instance("fe80::99"), instance("fe80::99"));
        let vip: Cidr = "2001:db8::99/64".parse().unwrap();
        let group = VrrpInstance { virtual_addresses: vec![group.virtual_addresses[0], vip], ..group };
        listed.virtual_addresses.clone_from(&group.virtual_addresses);
        let unicast = |peer: &str| VrrpInstance {
            transport: Transport::Unicast { peers: vec![Host::Address(peer.parse().unwrap())] },
            ..listed.clone()
        };
        let eth = [
            ("lo", "", "::1/128"),
            ("eth0", "", "fe80::2/64"),
            ("eth0", "", "2001:db8::2/64"),
            ("eth1", "", "fe80::3/64"),
            ("eth1", "", "172.20.128.2/16"),
        ];
        check_of(group.clone(), None, None, &eth, "eth0 fe80::2");
        check_of(group.clone(), None, Some("eth1"), &eth, "eth1 fe80::3");
        check_of(unicast("2001:db8::3"), None, None, &eth, "eth0 2001:db8::2 fe80::2");
        check_of(unicast("fe80::4"), None, None, &eth, "eth0 fe80::2");
        check_of(
            unicast("2001:db8::3"),
            None,
            Some("eth1"),
            &eth,
            "eth1 has no IPv6 address beside its link-local one",
        );
        let only = [("eth0", "", "2001:db8::2/64")];
        check_of(group.clone(), None, None, &only, "eth0 has no IPv6 link-local address");
        let early = [("eth0", "", "2001:db8::2/64"), ("eth0", "", "fe80::2/64 tentative")];
        check_of(group.clone(), None, None, &early, "eth0 has no IPv6 link-local address");
        let held = [("eth0", "", "fe80::99/128"), ("eth0", "", "2001:db8::2/64"), ("eth0", "", "fe80::2/64")];
        check_of(group.clone(), None, None, &held, "eth0 fe80::2");
        check_of(
            group.clone(),
            Some("2001:db8:1::/64"),
            None,
            &eth,
            "no interface has an address in 2001:db8:1::/64",
        );
        check_of(group, None, Some("eth7"), &eth, "there is no interface eth7 with an IPv6 address");
    }

    #[test]
    fn an_own_address_stays_where_another_one_would_do_as_well() {
        let four = || instance("172.20.128.4/16");
        let eth = ("eth0", "", "172.20.128.2/16");
        let other = ("eth0", "", "172.20.128.3/16");
        check_kept(four(), &[eth], &[other, eth], "eth0 172.20.128.2");
        check_kept(four(), &[eth], &[other], "eth0 172.20.128.3");
        check_kept(four(), &[eth], &[("eth0", "", "172.20.128.3/24"), eth], "eth0 172.20.128.2");
        check_kept(four(), &[eth], &[other, ("eth0", "", "172.20.128.2/16 tentative")], "eth0 172.20.128.3");
        // It is another interface's by now, or another interface is better.
        check_kept(four(), &[eth], &[other, ("eth1", "", "172.20.128.2/16")], "eth0 172.20.128.3");
        check_kept(four(), &[eth], &[eth, ("eth1", "", "172.20.128.3/24")], "eth1 172.20.128.3");
        let on = |name: &str, instance: VrrpInstance| VrrpInstance {
            interface: Some(InterfaceName::try_from(name.to_owned()).unwrap()),
            ..instance
        };
        let far = [("eth0", "", "10.0.0.1/24"), ("eth0", "", "10.0.0.2/24")];
        check_kept(on("eth0", four()), &far[..1], &[far[1], far[0]], "eth0 10.0.0.1");
        check_kept(on("eth0", four()), &far[..1], &[far[0], eth], "eth0 172.20.128.2");
        let inside = || VrrpInstance { subnet: Some("10.0.0.0/8".parse().unwrap()), ..four() };
        check_kept(inside(), &far[..1], &[far[1], far[0]], "eth0 10.0.0.1");

        let group = || instance("2001:db8::99/64");
        let peers = vec![Host::Address("2001:db8::7".parse().unwrap())];
        let listed = || VrrpInstance { transport: Transport::Unicast { peers: peers.clone() }, ..group() };
        let eth = [("eth0", "", "2001:db8::2/64"), ("eth0", "", "fe80::2/64")];
        let newer = [("eth0", "", "2001:db8::3/64"), ("eth0", "", "fe80::3/64"), eth[0], eth[1]];
        check_kept(listed(), &eth, &newer, "eth0 2001:db8::2 fe80::2");
        check_kept(group(), &eth, &newer, "eth0 fe80::2");
        check_kept(listed(), &eth, &newer[..3], "eth0 2001:db8::2 fe80::3");
        check_kept(listed(), &eth, &newer[..2], "eth0 2001:db8::3 fe80::3");
        // Found by its name, or by its link-local address.
        check_kept(on("eth0", listed()), &eth, &newer, "eth0 2001:db8::2 fe80::2");
        let local = VrrpInstance { virtual_addresses: vec!["fe80::99/64".parse().unwrap()], ..listed() };
        check_kept(local, &eth, &newer, "eth0 2001:db8::2 fe80::2");
    }
}
