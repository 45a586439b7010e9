//! The table that keeps this kernel silent about virtual addresses in ARP: requests for them are not answered, and
//! requests that the kernel itself sends name another sender. What this machine sends through a packet socket passes
//! neither chain.

use std::net::Ipv4Addr;

use super::error::Error;
use super::expression::{Base, Field, Verdict, compare, counter, verdict, write_field};
use super::table::{Family, Table};
use crate::net::Vrid;

const HOOK_INPUT: u32 = 0;
const HOOK_OUTPUT: u32 = 1;

/// Where the fields of an ARP packet for IPv4 over Ethernet are (RFC 826).
const OPERATION: Field = Field { base: Base::Network, offset: 6, length: 2 };
const SENDER_ADDRESS: Field = Field { base: Base::Network, offset: 14, length: 4 };
const TARGET_ADDRESS: Field = Field { base: Base::Network, offset: 24, length: 4 };
const ARP_REQUEST: [u8; 2] = [0, 1];

/// Each address is a rule in each chain; a VRRP advert carries at most as many.
pub const MAX_ADDRESSES: usize = 255;

/// Puts the table in place of whatever has its name, in one step: at no moment does the kernel answer for an address
/// that was fenced and stays so. `own`: the sender that takes the virtual address's place in the kernel's requests.
pub fn install(vrid: Vrid, addresses: &[Ipv4Addr], own: Ipv4Addr) -> Result<(), Error> {
    if addresses.len() > MAX_ADDRESSES {
        return Err(Error::TooManyAddresses(addresses.len()));
    }
    let mut table = Table::new(Family::Arp, vrid);
    table.base_chain("input", HOOK_INPUT, 0);
    table.base_chain("output", HOOK_OUTPUT, 0);
    for address in addresses {
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
    table.replace()
}

/// Takes the table away; it need not be there.
pub fn remove(vrid: Vrid) -> Result<(), Error> {
    Table::new(Family::Arp, vrid).remove()
}

/// Whether the table is still there: a foreign `flush ruleset` takes it away without a word.
pub fn present(vrid: Vrid) -> Result<bool, Error> {
    Table::new(Family::Arp, vrid).present()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::netns;

    const VIPS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 9, 0, 99), Ipv4Addr::new(10, 9, 0, 98)];

    /// The fence as nft prints it, without counts.
    fn printed() -> Option<String> {
        let text = netns::output("nft", &["list", "ruleset"])?;
        Some(text.replace("packets 0 bytes 0 ", "").replace("packets 0 bytes 0", ""))
    }

    #[test]
    fn the_table_is_the_one_that_nft_itself_would_write() {
        netns::with("the_table_is_the_one_that_nft_itself_would_write", || {
            let vrid = Vrid::try_from(51).unwrap();
            let own = Ipv4Addr::new(10, 9, 0, 2);
            install(vrid, &VIPS[..1], own).unwrap();
            install(vrid, &VIPS, own).unwrap();
            let Some(ours) = printed() else { return };
            assert!(present(vrid).unwrap());
            remove(vrid).unwrap();
            assert!(!present(vrid).unwrap());
            assert_eq!(printed().as_deref(), Some(""));
            remove(vrid).unwrap();
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
    fn without_net_admin_it_says_so() {
        netns::without_capabilities("without_net_admin_it_says_so", || {
            let refused = install(Vrid::try_from(51).unwrap(), &VIPS, Ipv4Addr::LOCALHOST);
            assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
        });
    }

    #[test]
    fn as_many_addresses_as_an_advert_holds_and_no_more() {
        netns::with("as_many_addresses_as_an_advert_holds_and_no_more", || {
            let vrid = Vrid::try_from(1).unwrap();
            let many: Vec<Ipv4Addr> = (0..256u32).map(|n| Ipv4Addr::from_bits(0x0a00_0001 + n)).collect();
            install(vrid, &many[..255], Ipv4Addr::LOCALHOST).unwrap();
            let refused = install(vrid, &many, Ipv4Addr::LOCALHOST);
            assert!(matches!(refused, Err(Error::TooManyAddresses(256))), "{refused:?}");
            let Some(text) = printed() else { return };
            assert_eq!(text.matches("drop").count(), 255);
        });
    }
}
