//! The table of a handover: once the new owner has announced itself, segments of connections that the old owner still
//! serves arrive here. Those that no socket of this node knows go on to the old owner instead of being reset.
//!
//! Who has a socket keeps his segment: an established one, or a handshake that is half done. A listener is no reason to
//! keep a segment that is not a bare SYN.

use std::net::IpAddr;

use super::error::Error;
use super::expression::{
    Base, Field, SocketKey, Verdict, compare, counter, duplicate_to, masked_differs, octets, protocol,
    socket, verdict,
};
use super::table::{self, Table};
use crate::net::{Family, MacAddr, Vrid};

const HOOK_PREROUTING: u32 = 0;
/// NF_IP_PRI_MANGLE: behind connection tracking, before the route is chosen.
const MANGLE: i32 = -150;

/// Ethernet and RFC 9293.
const LINK_SOURCE: Field = Field { base: Base::Link, offset: 6, length: 6 };
const FLAGS: Field = Field { base: Base::Transport, offset: 13, length: 1 };
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const TCP: u8 = 6;

/// From now on, until `remove`. All addresses are of `old`'s family. `interface`: the index of the one that both nodes and the clients are on. `mac`: the old
/// owner's. A node that has let go of the address forwards what it is handed, to this one, which knows by that that
/// nobody serves the connection; without it the segment would go to and fro until its TTL ends.
pub fn install(
    vrid: Vrid,
    addresses: &[IpAddr],
    old: IpAddr,
    mac: Option<MacAddr>,
    interface: u32,
) -> Result<(), Error> {
    let family = Family::of(old);
    let mut table = Table::new(table::Family::of(family), vrid);
    table.base_chain("prerouting", HOOK_PREROUTING, MANGLE);
    table.chain("relay");
    table.chain("hand");
    for address in addresses {
        table.rule("prerouting", |list| {
            let list = protocol(compare(list, Field::destination(family), &octets(*address)), TCP);
            verdict(masked_differs(list, FLAGS, SYN | ACK, SYN), Verdict::Jump("relay"))
        });
    }
    if let Some(MacAddr(mac)) = mac {
        table.rule("relay", |list| verdict(compare(list, LINK_SOURCE, &mac), Verdict::Accept));
    }
    // A listener on 0.0.0.0. A half-open socket has no such property and goes on to the next rule.
    table.rule("relay", |list| verdict(socket(list, SocketKey::Wildcard, 1), Verdict::Goto("hand")));
    // Any other socket; none of ours is transparent.
    table.rule("relay", |list| verdict(socket(list, SocketKey::Transparent, 0), Verdict::Accept));
    table.rule("relay", |list| verdict(list, Verdict::Goto("hand")));
    table.rule("hand", |list| verdict(duplicate_to(counter(list), old, interface), Verdict::Drop));
    table.replace()
}

/// It need not be there.
pub fn remove(family: Family, vrid: Vrid) -> Result<(), Error> {
    Table::new(table::Family::of(family), vrid).remove()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::netns;

    #[test]
    fn the_table_is_the_one_that_nft_itself_would_write() {
        netns::with("the_table_is_the_one_that_nft_itself_would_write", || {
            let vrid = Vrid::try_from(51).unwrap();
            let (vip, old) = (IpAddr::from([10, 9, 0, 99]), IpAddr::from([10, 9, 0, 2]));
            install(vrid, &[vip], old, Some(MacAddr([2, 0, 0, 0, 0, 7])), 1).unwrap();
            let Some(ours) = netns::output("nft", &["list", "ruleset"]) else { return };
            remove(Family::V4, vrid).unwrap();
            remove(Family::V4, vrid).unwrap();
            assert_eq!(netns::output("nft", &["list", "ruleset"]).as_deref(), Some(""));
            let script = "table ip vipgate-51 {
                chain prerouting { type filter hook prerouting priority mangle; policy accept;
                    ip daddr 10.9.0.99 tcp flags & (syn|ack) != syn jump relay
                }
                chain relay {
                    @ll,48,48 0x20000000007 accept
                    socket wildcard 1 goto hand
                    socket transparent 0 accept
                    goto hand
                }
                chain hand { counter dup to 10.9.0.2 device \"lo\" drop
                }
            }";
            netns::output("nft", &[script]).unwrap();
            assert_eq!(Some(ours), netns::output("nft", &["list", "ruleset"]));
        });
    }

    #[test]
    fn that_of_ipv6_is_too() {
        netns::with("that_of_ipv6_is_too", || {
            let vrid = Vrid::try_from(51).unwrap();
            let [vip, old] = ["2001:db8::99", "fe80::2"].map(|address| address.parse().unwrap());
            install(vrid, &[vip], old, None, 1).unwrap();
            let Some(ours) = netns::output("nft", &["list", "ruleset"]) else { return };
            remove(Family::V6, vrid).unwrap();
            let script = "table ip6 vipgate-51 {
                chain prerouting { type filter hook prerouting priority mangle; policy accept;
                    ip6 daddr 2001:db8::99 tcp flags & (syn|ack) != syn jump relay
                }
                chain relay {
                    socket wildcard 1 goto hand
                    socket transparent 0 accept
                    goto hand
                }
                chain hand { counter dup to fe80::2 device \"lo\" drop
                }
            }";
            netns::output("nft", &[script]).unwrap();
            assert_eq!(Some(ours), netns::output("nft", &["list", "ruleset"]));
        });
    }
}
