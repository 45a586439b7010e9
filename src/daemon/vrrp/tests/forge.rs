//! Adverts by hand, of somebody who has NET_RAW and plays nothing.

use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use super::network::{Namespace, VIP};
use crate::config::VrrpVersion;
use crate::net::{Centiseconds, Vrid};
use crate::vrrp::{Advert, ChecksumForm, packet_v3};

/// A sound one of the virtual router that the tests play, better than those of all nodes.
pub(super) fn advert(source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let advert = Advert {
        version: VrrpVersion::V3,
        vrid: Vrid::try_from(51).unwrap(),
        priority: 254,
        interval: Centiseconds::try_from(20).unwrap(),
        addresses: vec![VIP.parse().unwrap()],
    };
    packet_v3::emit(&advert, ChecksumForm::PseudoHeader, source, destination)
}

/// From the namespace's own address.
pub(super) fn send(namespace: &Namespace, ttl: u32, destination: IpAddr, bytes: &[u8]) {
    let sent = namespace.enter(|| {
        let socket = Socket::new_raw(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
        socket.set_ttl_v4(ttl).unwrap();
        socket.send_to(bytes, &SocketAddr::new(destination, 0).into()).unwrap()
    });
    assert_eq!(sent, bytes.len());
}
