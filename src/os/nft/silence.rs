//! The table that keeps this kernel silent about virtual addresses: in ARP, or in neighbour discovery. What asks for them
//! is not answered, and what the kernel itself asks names another sender. What this machine sends through a packet socket
//! passes neither chain.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::Error;
use super::expression::{
    Base, Field, Verdict, compare, counter, octets, protocol, verdict, write_address, write_field,
};
use super::table::{self, Table};
use crate::net::{Family, Vrid};

/// Of ARP.
const ARP_INPUT: u32 = 0;
const ARP_OUTPUT: u32 = 1;
/// Of IPv6.
const IPV6_INPUT: u32 = 1;
const IPV6_OUTPUT: u32 = 3;

/// Where the fields of an ARP packet for IPv4 over Ethernet are (RFC 826).
const OPERATION: Field = Field { base: Base::Network, offset: 6, length: 2 };
const SENDER_ADDRESS: Field = Field { base: Base::Network, offset: 14, length: 4 };
const TARGET_ADDRESS: Field = Field { base: Base::Network, offset: 24, length: 4 };
const ARP_REQUEST: [u8; 2] = [0, 1];

/// Where those of neighbour discovery are (RFC 4861 section 4).
const ICMPV6: u8 = 58;
const TYPE: Field = Field { base: Base::Transport, offset: 0, length: 1 };
const TARGET: Field = Field { base: Base::Transport, offset: 8, length: 16 };
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const WORD: &str = "silence";

/// Each address is a rule in each chain; a VRRP advert carries at most as many.
pub const MAX_ADDRESSES: usize = 255;

/// Puts the table in place of whatever has its name, in one step: at no moment does the kernel answer for an address
/// that was fenced and stays so. `own`: the sender that takes the virtual address's place in what the kernel itself asks;
/// of IPv6 the link-local one. All addresses are of its family.
pub fn install(vrid: Vrid, addresses: &[IpAddr], own: IpAddr) -> Result<(), Error> {
    if addresses.len() > MAX_ADDRESSES {
        return Err(Error::TooManyAddresses(addresses.len()));
    }
    let mut table = silence(Family::of(own), vrid);
    let (input, output) = match own {
        IpAddr::V4(_) => (ARP_INPUT, ARP_OUTPUT),
        IpAddr::V6(_) => (IPV6_INPUT, IPV6_OUTPUT),
    };
    table.base_chain("input", input, 0);
    table.base_chain("output", output, 0);
    for address in addresses {
        match (address, own) {
            (IpAddr::V4(address), IpAddr::V4(own)) => in_arp(&mut table, *address, own),
            (IpAddr::V6(address), IpAddr::V6(own)) => in_neighbour_discovery(&mut table, *address, own),
            // No virtual router has both.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        }
    }
    table.replace()
}

fn in_arp(table: &mut Table, address: Ipv4Addr, own: Ipv4Addr) {
    table.rule("input", |list| {
        let list = compare(list, OPERATION, &ARP_REQUEST);
        let list = compare(list, TARGET_ADDRESS, &address.octets());
        verdict(counter(list), Verdict::Drop)
    });
    table.rule("output", |list| {
        let list = compare(list, SENDER_ADDRESS, &address.octets());
        write_field(counter(list), SENDER_ADDRESS, &own.octets())
    });
}

/// For an address on `lo` the kernel says nothing as it is, unless it has been made a proxy for it.
fn in_neighbour_discovery(table: &mut Table, address: Ipv6Addr, own: Ipv6Addr) {
    let about =
        |list, kind: u8| compare(compare(protocol(list, ICMPV6), TYPE, &[kind]), TARGET, &address.octets());
    table.rule("input", |list| verdict(counter(about(list, SOLICITATION)), Verdict::Drop));
    table.rule("output", |list| verdict(counter(about(list, ADVERTISEMENT)), Verdict::Drop));
    table.rule("output", |list| {
        let source = Field::source(Family::V6);
        let list = compare(protocol(list, ICMPV6), TYPE, &[SOLICITATION]);
        let list = compare(list, source, &octets(address.into()));
        write_address(counter(list), source, own.into())
    });
}

fn silence(family: Family, vrid: Vrid) -> Table {
    match family {
        Family::V4 => Table::new(table::Family::Arp, vrid),
        Family::V6 => Table::second(table::Family::Ipv6, vrid, WORD),
    }
}

/// Takes the table away; it need not be there.
pub fn remove(family: Family, vrid: Vrid) -> Result<(), Error> {
    silence(family, vrid).remove()
}

/// Whether the table is still there: a foreign `flush ruleset` takes it away without a word.
pub fn present(family: Family, vrid: Vrid) -> Result<bool, Error> {
    silence(family, vrid).present()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::netns;

    const VIPS: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::new(10, 9, 0, 99)), IpAddr::V4(Ipv4Addr::new(10, 9, 0, 98))];
    const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));

    /// The fence as nft prints it, without counts.
    fn printed() -> Option<String> {
        let text = netns::output("nft", &["list", "ruleset"])?;
        Some(text.replace("packets 0 bytes 0 ", "").replace("packets 0 bytes 0", ""))
    }

    #[test]
    fn the_table_is_the_one_that_nft_itself_would_write() {
        netns::with("the_table_is_the_one_that_nft_itself_would_write", || {
            let vrid = Vrid::try_from(51).unwrap();
            install(vrid, &VIPS[..1], OWN).unwrap();
            install(vrid, &VIPS, OWN).unwrap();
            let Some(ours) = printed() else { return };
            assert!(present(Family::V4, vrid).unwrap());
            remove(Family::V4, vrid).unwrap();
            assert!(!present(Family::V4, vrid).unwrap());
            assert_eq!(printed().as_deref(), Some(""));
            remove(Family::V4, vrid).unwrap();
            let script = "table arp vipgate-51 {
                chain input { type filter hook input priority 0; policy accept;
                    arp operation request arp daddr ip 10.9.0.99 counter drop
                    arp operation request arp daddr ip 10.9.0.98 counter drop
                }
                chain output { type filter hook output priority 0; policy accept;
                    arp saddr ip 10.9.0.99 counter arp saddr ip set 10.9.0.2
                    arp saddr ip 10.9.0.98 counter arp saddr ip set 10.9.0.2
                }
            }";
            netns::output("nft", &[script]).unwrap();
            assert_eq!(Some(ours), printed());
        });
    }

    #[test]
    fn that_of_neighbour_discovery_is_too() {
        netns::with("that_of_neighbour_discovery_is_too", || {
            let vrid = Vrid::try_from(51).unwrap();
            let [vip, own] = ["2001:db8::99", "fe80::2"].map(|address| address.parse().unwrap());
            install(vrid, &[vip], own).unwrap();
            install(vrid, &VIPS[..1], OWN).unwrap();
            remove(Family::V4, vrid).unwrap();
            assert!(present(Family::V6, vrid).unwrap());
            let Some(ours) = printed() else { return };
            remove(Family::V6, vrid).unwrap();
            let script = "table ip6 vipgate-51-silence {
                chain input { type filter hook input priority 0; policy accept;
                    icmpv6 type nd-neighbor-solicit @th,64,128 0x20010db8000000000000000000000099 counter drop
                }
                chain output { type filter hook output priority 0; policy accept;
                    icmpv6 type nd-neighbor-advert @th,64,128 0x20010db8000000000000000000000099 counter drop
                    icmpv6 type nd-neighbor-solicit ip6 saddr 2001:db8::99 counter ip6 saddr set fe80::2
                }
            }";
            netns::output("nft", &[script]).unwrap();
            assert_eq!(Some(ours), printed());
        });
    }

    #[test]
    fn without_net_admin_it_says_so() {
        netns::without_capabilities("without_net_admin_it_says_so", || {
            let refused = install(Vrid::try_from(51).unwrap(), &VIPS, OWN);
            assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
        });
    }

    #[test]
    fn as_many_addresses_as_an_advert_holds_and_no_more() {
        netns::with("as_many_addresses_as_an_advert_holds_and_no_more", || {
            let vrid = Vrid::try_from(1).unwrap();
            let many: Vec<IpAddr> =
                (0..256u32).map(|n| Ipv4Addr::from_bits(0x0a00_0001 + n).into()).collect();
            install(vrid, &many[..255], OWN).unwrap();
            let refused = install(vrid, &many, OWN);
            assert!(matches!(refused, Err(Error::TooManyAddresses(256))), "{refused:?}");
            let Some(text) = printed() else { return };
            assert_eq!(text.matches("drop").count(), 255);
        });
    }
}
