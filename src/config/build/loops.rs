//! Where servers listen, beside where requests go and come from: one that is forwarded to the proxy that forwards it goes
//! round until something breaks.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use crate::config::document::{Document, UpstreamServerEntry};
use crate::config::model::Host;
use crate::config::report::Report;

/// Looks at what is written, so that it is said beside all other problems.
pub(in crate::config) fn refuse_loops(document: &Document, report: &mut Report<'_>) {
    let virtual_addresses: HashSet<IpAddr> = document
        .vrrp
        .get()
        .iter()
        .flat_map(|instances| instances.iter())
        .filter_map(|(_, entry)| entry.virtual_addresses.get())
        .flat_map(|list| list.iter().map(|(cidr, _)| cidr.address()))
        .collect();
    let listen = listeners(document);
    for (_, upstream) in document.upstreams.get().iter().flat_map(|upstreams| upstreams.iter()) {
        for (UpstreamServerEntry(server), _) in upstream.servers.get().iter().flat_map(|list| list.iter()) {
            let Some(target) = server.address.get() else { continue };
            let Host::Address(address) = target.host else { continue };
            let ours = match address {
                _ if virtual_addresses.contains(&address) => "a virtual address of this node",
                _ if address.is_loopback() || address.is_unspecified() => "this node",
                _ => continue,
            };
            let accepts = |l: &SocketAddr| {
                l.port() == target.port
                    && (l.ip() == address || l.ip().is_unspecified() || address.is_unspecified())
            };
            if listen.iter().any(accepts) {
                let what = format!("{address} is {ours}, which would forward to itself");
                report.error(server.address.at, what, "name the servers behind this proxy");
            }
        }
    }
}

fn listeners(document: &Document) -> HashSet<SocketAddr> {
    document
        .servers
        .get()
        .iter()
        .flat_map(|servers| servers.iter())
        .filter_map(|(entry, _)| entry.listen.get())
        .flat_map(|list| list.iter().map(|(listen, _)| listen.0))
        .collect()
}

/// A port alone listens on IPv4 only.
pub(in crate::config) fn warn_deaf(document: &Document, report: &mut Report<'_>) {
    let listen = listeners(document);
    if listen.is_empty() || listen.iter().any(SocketAddr::is_ipv6) {
        return;
    }
    for (_, entry) in document.vrrp.get().iter().flat_map(|instances| instances.iter()) {
        let addresses = entry.virtual_addresses.get().into_iter().flat_map(|list| list.iter());
        let mut v6 = addresses.filter(|(cidr, _)| cidr.address().is_ipv6());
        if let Some((cidr, at)) = v6.next() {
            let what = format!("no server listens on IPv6, so that nobody is served at {}", cidr.address());
            report.warn(at, what, "add \"[::]:80\" to the listen of a server");
        }
    }
}
