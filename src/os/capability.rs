//! Capabilities: which are missing, and which to give up.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};

/// What the vrrp role works with: addresses, nftables, SOCK_DESTROY; VRRP and ARP sockets.
const VRRP: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];

/// The names, as Compose's `cap_add` writes them, of what a vrrp role could not be given.
pub fn missing_for_vrrp() -> io::Result<Vec<&'static str>> {
    let permitted = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let bounding = caps::read(None, CapSet::Bounding).map_err(io::Error::other)?;
    let names = ["NET_ADMIN", "NET_RAW"];
    let lacks = |c: &Capability| !permitted.contains(c) || !bounding.contains(c);
    Ok(VRRP.iter().zip(names).filter(|(c, _)| lacks(c)).map(|(_, name)| name).collect())
}

/// Gives up everything but what the vrrp role needs, for good. To be called before there is a second thread.
pub fn keep_for_vrrp() -> io::Result<()> {
    keep(VRRP.into_iter().collect())
}

/// Gives up everything, for good. To be called before there is a second thread.
pub fn keep_none() -> io::Result<()> {
    keep(CapsHashSet::new())
}

fn keep(kept: CapsHashSet) -> io::Result<()> {
    (|| {
        // Only with SETPCAP, which a hardened container lacks: there no-new-privileges keeps them away.
        if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
            for capability in caps::read(None, CapSet::Bounding)?.difference(&kept) {
                caps::drop(None, CapSet::Bounding, *capability)?;
            }
        }
        if caps::runtime::ambient_set_supported().is_ok() {
            caps::clear(None, CapSet::Ambient)?;
        }
        caps::clear(None, CapSet::Inheritable)?;
        let permitted = caps::read(None, CapSet::Permitted)?;
        let kept = kept.intersection(&permitted).copied().collect();
        caps::set(None, CapSet::Effective, &kept)?;
        caps::set(None, CapSet::Permitted, &kept)
    })()
    .map_err(io::Error::other)
}
