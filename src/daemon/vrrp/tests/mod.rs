//! Two vrrp roles on one network, each in a network namespace of its own, with this test in PID 1's place.

use std::time::Duration;

use crate::config::{Transport, VrrpInstance, VrrpVersion};
use crate::net::{Centiseconds, Priority, Vrid};

pub(super) fn instance(address: &str) -> VrrpInstance {
    VrrpInstance {
        name: "VI_1".to_owned(),
        version: VrrpVersion::V3,
        vrid: Vrid::try_from(51).unwrap(),
        priority: Priority::DEFAULT,
        advert_interval: Centiseconds::try_from(10).unwrap(),
        preempt: true,
        virtual_addresses: vec![address.parse().unwrap()],
        subnet: None,
        interface: None,
        transport: Transport::Multicast,
        password: None,
        lease: Duration::from_secs(1),
    }
}
