//! Virtual routers: what one of them must hold together, and what two of them must not share.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use super::auth_hmac::auth_hmac;
use super::servers::Surroundings;
use super::track::tracks;
use crate::config::argv::Argv;
use crate::config::document::VrrpEntry;
use crate::config::field::{Map, Named, Slot};
use crate::config::model::{Hooks, Host, Transport, VrrpInstance, VrrpVersion};
use crate::config::names;
use crate::config::report::{Report, Reported, Span};
use crate::config::values::{Peer, Profile, is_node};
use crate::net::{Centiseconds, Cidr, Family, Vrid, is_link_local};

/// The packet counts its addresses in 8 bits (RFC 9568 section 5.2.5).
const MAX_ADDRESSES: usize = 255;
/// Each advert is sent to every peer.
const MAX_PEERS: usize = 64;
/// There are no more virtual router identifiers.
const MAX_INSTANCES: usize = 255;

pub(in crate::config) fn instances(
    entries: Map<VrrpEntry>,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<Vec<VrrpInstance>, Reported> {
    if let Some(named) = entries.0.get(MAX_INSTANCES) {
        let what = format!("more than {MAX_INSTANCES} virtual routers");
        return Err(report.error(named.at, what, "put several addresses into one virtual router"));
    }
    refuse_shared_addresses(&entries, report);
    refuse_shared_vrids(&entries, report);
    let built: Vec<_> = entries.0.into_iter().map(|named| instance(named, surroundings, report)).collect();
    built.into_iter().collect()
}

fn instance(
    named: Named<VrrpEntry>,
    surroundings: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Result<VrrpInstance, Reported> {
    let Named { name, at, slot } = named;
    let name = names::label(&name).map_err(|fault| report.error(at, fault.what, fault.remedy));
    let entry = slot.take()?;
    check_addresses(&entry, report);
    check_peers(&entry, report);
    check_family(&entry, report);
    check_lease(&entry, report);
    check_preemption(&entry, report);
    let interval = advert_interval(&entry, surroundings.linked, report);
    let password = password(&entry, report);
    let auth_hmac = auth_hmac(&entry, interval.as_ref().ok(), surroundings, report);
    let track_at = entry.track.at;
    let track = entry.track.take().and_then(|entries| tracks(entries, track_at, surroundings, report));
    let transport = match entry.peers.take()? {
        None => Transport::Multicast,
        Some(peers) => Transport::Unicast { peers: peers.take()?.into_iter().map(|peer| peer.0).collect() },
    };
    let vrid = entry.vrid.copied();
    Ok(VrrpInstance {
        name: name?,
        version: entry.version.take()?,
        vrid: entry.vrid.take()?,
        priority: entry.priority.take()?,
        advert_interval: interval?,
        preempt: entry.preempt.take()?,
        preempt_delay: entry.preempt_delay.take()?.0,
        virtual_addresses: with_link_local(vrid?, entry.virtual_addresses.take()?.take()?),
        subnet: entry.subnet.take()?,
        interface: entry.interface.take()?,
        transport,
        password: password?,
        auth_hmac: auth_hmac?,
        track: track?,
        lease: entry.lease.take()?.0,
        hooks: Hooks {
            master: argv(entry.notify_master)?,
            backup: argv(entry.notify_backup)?,
            fault: argv(entry.notify_fault)?,
            stop: argv(entry.notify_stop)?,
            every: argv(entry.notify)?,
            timeout: entry.notify_timeout.take()?.0,
        },
        smtp_alert: entry.smtp_alert.take()?,
    })
}

fn argv(slot: Slot<Option<Argv>>) -> Result<Option<Vec<String>>, Reported> {
    Ok(slot.take()?.map(|argv| argv.0))
}

/// `linked`: a peer that is late can be told from one that is gone. Otherwise silence is all there is, and it takes more
/// of it to mean something.
fn advert_interval(
    entry: &VrrpEntry,
    linked: bool,
    report: &mut Report<'_>,
) -> Result<Centiseconds, Reported> {
    let at = entry.advert_interval.at;
    let version = entry.version.copied()?;
    let profile = entry.profile.copied()?;
    let interval = match (entry.advert_interval.copied()?, version) {
        (None, VrrpVersion::V2) if profile == Profile::Fast => {
            return Err(report.error(
                entry.profile.at,
                "version 2 counts the advertisement interval in whole seconds (RFC 3768 section 5.3.7)",
                "remove it, or use version: 3",
            ));
        }
        (Some(interval), VrrpVersion::V2) if interval.get() % 100 != 0 => {
            return Err(report.error(
                at,
                "version 2 counts the advertisement interval in whole seconds (RFC 3768 section 5.3.7)",
                "write 1s or more, or use version: 3",
            ));
        }
        (Some(interval), _) => return Ok(interval),
        (None, VrrpVersion::V2) => Centiseconds::try_from(100),
        (None, VrrpVersion::V3) => Centiseconds::try_from(match profile {
            Profile::Normal if linked => 2,
            Profile::Normal => 10,
            Profile::Fast => 1,
        }),
    };
    interval.map_err(|error| report.error(at, error.to_string(), "report this bug"))
}

fn password(entry: &VrrpEntry, report: &mut Report<'_>) -> Result<Option<String>, Reported> {
    let Some(authentication) = entry.authentication.as_ref()? else { return Ok(None) };
    if entry.version.get() == Some(&VrrpVersion::V3) {
        let what = "version 3 has no authentication";
        return Err(report.error(entry.authentication.at, what, "remove it, or use version: 2"));
    }
    authentication.r#type.copied()?;
    authentication.password.as_ref().map(|password| Some(password.0.clone()))
}

fn check_lease(entry: &VrrpEntry, report: &mut Report<'_>) {
    if entry.lease.get().is_some_and(|lease| lease.0.subsec_nanos() != 0) {
        report.error(entry.lease.at, "the kernel counts a lease in whole seconds", "write 1s to 60s");
    }
}

fn check_preemption(entry: &VrrpEntry, report: &mut Report<'_>) {
    let waits = entry.preempt_delay.get().is_some_and(|delay| !delay.0.is_zero());
    if waits && entry.preempt.get() == Some(&false) {
        let what = "preempt_delay means nothing where nobody preempts";
        report.error(entry.preempt_delay.at, what, "remove it, or preempt: false");
    }
}

fn check_addresses(entry: &VrrpEntry, report: &mut Report<'_>) {
    let Some(addresses) = entry.virtual_addresses.get() else { return };
    let at = entry.virtual_addresses.at;
    if addresses.0.is_empty() {
        report.error(at, "a virtual router without a virtual address has nothing to do", "add an address");
    }
    let has_none = addresses.iter().all(|(cidr, _)| !is_link_local(cidr.address()));
    let derived = usize::from(has_none && family(entry) == Some(Family::V6));
    if addresses.0.len() + derived > MAX_ADDRESSES {
        let what = format!("more than {MAX_ADDRESSES} virtual addresses do not fit into a packet");
        report.error(at, what, "divide them between several virtual routers");
    }
    let mut seen = HashMap::new();
    for (cidr, at) in addresses.iter() {
        let address = cidr.address();
        if !is_node(address) {
            let what = format!("{address} cannot be the address of a node");
            report.error(at, what, "write an unused address of the subnet");
        } else if seen.insert(address, ()).is_some() {
            report.error(at, format!("{address} is listed twice"), "keep one of the two");
        } else if let Some(subnet) = entry.subnet.some().filter(|_| !is_link_local(address)) {
            check_subnet(address, *subnet, at, report);
        }
    }
}

fn check_subnet(address: IpAddr, subnet: Cidr, at: Span, report: &mut Report<'_>) {
    let prefix = u32::from(subnet.prefix());
    let (host, host_bits) = match address {
        IpAddr::V4(address) => {
            let host_bits = u32::MAX.checked_shr(prefix).unwrap_or(0);
            (u128::from(address.to_bits() & host_bits), u128::from(host_bits))
        }
        IpAddr::V6(address) => {
            let host_bits = u128::MAX.checked_shr(prefix).unwrap_or(0);
            (address.to_bits() & host_bits, host_bits)
        }
    };
    if !subnet.contains(address) {
        let what = format!("the virtual address {address} is outside of the subnet {subnet}");
        report.error(at, what, "correct one of the two; nodes of the subnet could not reach it");
    } else if host_bits > 1 && (host == 0 || (host == host_bits && address.is_ipv4())) {
        let kind = if host == 0 { "the network itself" } else { "the broadcast address" };
        report.error(at, format!("{address} is {kind} in {subnet}"), "write an unused address of the subnet");
    }
}

/// What the first address says; all others are to follow it.
fn family(entry: &VrrpEntry) -> Option<Family> {
    entry.virtual_addresses.get()?.iter().next().map(|(cidr, _)| Family::of(cidr.address()))
}

/// "For IPv6, the first address MUST be the IPv6 link-local address associated with the virtual router" (RFC 9568 section
/// 5.2.9). Where none is listed: fe80::112:VRID, after the number of the protocol. Its MAC address must not be made into
/// one (section 7.4).
fn with_link_local(vrid: Vrid, mut addresses: Vec<Cidr>) -> Vec<Cidr> {
    let is_v6 = |cidr: &Cidr| cidr.address().is_ipv6();
    if addresses.first().is_some_and(|first| is_v6(first) && !is_link_local(first.address())) {
        let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x112, vrid.get().into());
        addresses.insert(0, Cidr::host(own.into()));
    }
    addresses
}

/// One virtual router has addresses and peers of one family, and a link-local address in its place (RFC 9568 section
/// 5.2.9).
fn check_family(entry: &VrrpEntry, report: &mut Report<'_>) {
    let (Some(own), Some(addresses)) = (family(entry), entry.virtual_addresses.get()) else { return };
    for (number, (cidr, at)) in addresses.iter().enumerate() {
        let address = cidr.address();
        if Family::of(address) != own {
            let what = format!("{address} is {}, and the first address is {own}", Family::of(address));
            let remedy = "make another virtual router of it, which may have the same vrid";
            report.error(at, what, remedy);
        } else if number > 0 && is_link_local(address) {
            let what = format!("{address} is link-local, and not the first address (RFC 9568 section 5.2.9)");
            report.error(
                at,
                what,
                "list one link-local address, first, or none, and one is made out of the vrid",
            );
        }
    }
    if own == Family::V6 {
        if entry.version.get() == Some(&VrrpVersion::V2) {
            report.error(
                entry.version.at,
                "version 2 knows no IPv6 (RFC 3768 section 1.2)",
                "use version: 3",
            );
        }
        let tells = addresses.iter().any(|(cidr, _)| !is_link_local(cidr.address()));
        if !tells && entry.interface.some().is_none() && entry.subnet.some().is_none() {
            let what = "a link-local address alone does not say which interface is meant";
            report.error(entry.virtual_addresses.at, what, "add interface, or another address");
        }
    }
    check_peers_family(own, entry, report);
}

fn check_peers_family(own: Family, entry: &VrrpEntry, report: &mut Report<'_>) {
    let mut first_is_link_local = None;
    for (Peer(host), at) in entry.peers.some().iter().flat_map(|list| list.iter()) {
        let link_local = match host {
            Host::Address(address) if Family::of(*address) != own => {
                let what =
                    format!("the peer {host} is {}, the virtual addresses are {own}", Family::of(*address));
                report.error(at, what, format!("write the peer's {own} address"));
                continue;
            }
            Host::Address(address) => is_link_local(*address),
            Host::Name(_) => false,
        };
        if *first_is_link_local.get_or_insert(link_local) != link_local {
            let what =
                format!("{host} and the first peer are not of one kind: one is link-local, the other is not");
            report.error(at, what, "list all peers by their link-local addresses, or none");
        }
    }
}

fn check_peers(entry: &VrrpEntry, report: &mut Report<'_>) {
    let Some(peers) = entry.peers.some() else { return };
    let at = entry.peers.at;
    if peers.0.is_empty() {
        let remedy = "list every node as an address or a service name, or leave peers out for multicast";
        report.error(at, "the list of peers is empty", remedy);
    }
    if peers.0.len() > MAX_PEERS {
        report.error(
            at,
            format!("more than {MAX_PEERS} peers"),
            "list the nodes of this virtual router only",
        );
    }
    let mut seen = HashMap::new();
    for (Peer(host), at) in peers.iter() {
        if seen.insert(host.clone(), ()).is_some() {
            report.error(at, format!("{host} is listed twice"), "keep one of the two");
        }
    }
}

/// An address moves with one virtual router only, and no node has it for itself.
fn refuse_shared_addresses(entries: &Map<VrrpEntry>, report: &mut Report<'_>) {
    let mut holders: HashMap<IpAddr, &str> = HashMap::new();
    for (name, entry) in entries.iter() {
        for (cidr, at) in entry.virtual_addresses.get().iter().flat_map(|list| list.iter()) {
            let holder = *holders.entry(cidr.address()).or_insert(name);
            if holder != name {
                let what = format!("{} is already a virtual address of {holder:?}", cidr.address());
                report.error(at, what, "list each address in one virtual router");
            }
        }
    }
    for (_, entry) in entries.iter() {
        for (peer, at) in entry.peers.some().iter().flat_map(|list| list.iter()) {
            let Peer(Host::Address(address)) = peer else { continue };
            if holders.contains_key(address) {
                let what = format!("the peer {address} is also a virtual address");
                report.error(at, what, "list the address that the node has for itself");
            }
        }
    }
}

/// What a virtual router keeps in the kernel has its vrid in its name, and a peer tells two routers apart by nothing else.
fn refuse_shared_vrids(entries: &Map<VrrpEntry>, report: &mut Report<'_>) {
    let mut routers: HashMap<(Option<Family>, u8), &str> = HashMap::new();
    for (name, entry) in entries.iter() {
        let Some(vrid) = entry.vrid.get() else { continue };
        let first = *routers.entry((family(entry), vrid.get())).or_insert(name);
        if first != name {
            report.error(
                entry.vrid.at,
                format!("the virtual router {first:?} already has vrid {vrid}"),
                "give each virtual router of a family its own vrid, the same on every node",
            );
        }
    }
}
