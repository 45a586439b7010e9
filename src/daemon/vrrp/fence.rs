//! The ARP layer of the fence (of IPv6, that of neighbour discovery): the first way that this kernel offers to keep it silent about an address, so
//! that only this process answers for it and a frozen node answers nobody.

use std::net::IpAddr;

use crate::link::ArpFence;
use crate::net::Vrid;
use crate::os::nft;
use crate::os::sysctl::ArpSysctls;

use super::place::Place;

/// What keeps this kernel silent about the addresses on `place`, put in place where that takes doing; the text says why
/// it is nothing.
pub(super) fn raise(vrid: Vrid, addresses: &[IpAddr], place: &Place) -> (ArpFence, Result<(), String>) {
    let nft_error = match nft::silence::install(vrid, addresses, place.asker) {
        Ok(()) => return (ArpFence::Nftables, Ok(())),
        Err(error) => error,
    };
    if place.asker.is_ipv6() {
        let text = format!(
            "a frozen node goes on answering for the link-local virtual address until its lease ends, and accepts \
             connections to the others: {nft_error}"
        );
        return (ArpFence::Loopback, Err(text));
    }
    match ArpSysctls::read(&place.name) {
        Ok(sysctls) if sysctls.silent() => (ArpFence::Sysctl, Ok(())),
        Ok(ArpSysctls { ignore, announce }) => {
            let text = format!(
                "a frozen node goes on answering for the virtual addresses until their lease ends: {nft_error}, and on \
                 {} arp_ignore is {ignore} and arp_announce {announce}; set the sysctls net.ipv4.conf.all.arp_ignore=1 \
                 and net.ipv4.conf.all.arp_announce=2",
                place.name
            );
            (ArpFence::None, Err(text))
        }
        Err(error) => {
            let text = format!(
                "a frozen node goes on answering for the virtual addresses until their lease ends: {nft_error}, and \
                 the ARP sysctls of {} cannot be read: {error}",
                place.name
            );
            (ArpFence::None, Err(text))
        }
    }
}
