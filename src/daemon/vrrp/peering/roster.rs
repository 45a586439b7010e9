//! Whose links there are to be: every peer of every virtual router, from the address that the router speaks from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::instance::Instance;
use crate::config::Transport;
use crate::net::InterfaceName;

/// Peers with a link; a virtual router has a handful.
const MAX_PEERS: usize = 64;

/// Own address and the peer's.
pub(super) type Pairing = (IpAddr, IpAddr);

/// By the interface that it goes over. In a multicast group those that were heard are the peers.
pub(super) fn wanted(instances: &[Instance]) -> BTreeMap<Pairing, InterfaceName> {
    let mut wanted = BTreeMap::new();
    for instance in instances.iter().filter(|instance| !instance.leaving) {
        let Some(place) = instance.wire.as_ref().map(|wire| &wire.place) else { continue };
        for peer in peers(instance) {
            if wanted.len() < MAX_PEERS && peer != place.own {
                wanted.insert((place.own, peer), place.name.clone());
            }
        }
    }
    wanted
}

/// Where this node listens: its own addresses, and the interfaces that they are on.
pub(super) fn places(instances: &[Instance]) -> BTreeMap<IpAddr, InterfaceName> {
    let instances = instances.iter().filter(|instance| !instance.leaving);
    let places = instances.filter_map(|instance| Some(&instance.wire.as_ref()?.place));
    places.map(|place| (place.own, place.name.clone())).collect()
}

/// Own addresses that speak to a group: backups do not advertise, so that a master hears of one from its greeting. With
/// `drill` all of them, for whoever has the key.
pub(super) fn open_to_all(instances: &[Instance], drill: bool) -> BTreeSet<IpAddr> {
    let is_open = |instance: &&Instance| drill || instance.config.transport == Transport::Multicast;
    let open = instances.iter().filter(is_open);
    open.filter_map(|instance| Some(instance.wire.as_ref()?.place.own)).collect()
}

/// Somebody who has the key has come to a group.
pub(super) fn welcome(instances: &mut [Instance], (own, peer): Pairing) -> Option<InterfaceName> {
    let mut interface = None;
    for instance in instances.iter_mut().filter(|i| i.config.transport == Transport::Multicast) {
        let Some(place) = instance.wire.as_ref().map(|wire| &wire.place).filter(|place| place.own == own)
        else {
            continue;
        };
        if instance.heard.len() < MAX_PEERS || instance.heard.contains(&peer) {
            interface = Some(place.name.clone());
            instance.heard.insert(peer);
        }
    }
    interface
}

fn peers(instance: &Instance) -> Vec<IpAddr> {
    match instance.config.transport {
        Transport::Multicast => instance.heard.iter().copied().collect(),
        Transport::Unicast { .. } => instance.peers.clone(),
    }
}

/// The virtual routers that this peer plays as well.
pub(super) fn shared(
    instances: &mut [Instance],
    (own, peer): Pairing,
) -> impl Iterator<Item = &mut Instance> {
    instances.iter_mut().filter(move |instance| {
        let is_here = instance.wire.as_ref().is_some_and(|wire| wire.place.own == own);
        is_here && !instance.leaving && peers(instance).contains(&peer)
    })
}
