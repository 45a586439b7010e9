//! Vrrp roles as processes of their own, each in a network namespace, on one bridge, with the test in PID 1's place.
//! What they do is read from the kernel by foreign tools.

mod auth_hmac;
mod clients;
mod failover;
mod fencing;
mod forge;
mod groups;
mod hostile;
mod ipv6;
mod keepalived;
mod link;
mod network;
mod reload;
mod tracking;
mod turned_away;

use std::os::fd::AsFd;
use std::time::Duration;

use crate::config::{AuthHmac, Hooks, Transport, VrrpInstance, VrrpVersion};
use crate::net::{Centiseconds, Priority, Vrid};

pub(super) fn instance(address: &str) -> VrrpInstance {
    VrrpInstance {
        name: "VI_1".to_owned(),
        version: VrrpVersion::V3,
        vrid: Vrid::try_from(51).unwrap(),
        priority: Priority::DEFAULT,
        advert_interval: Centiseconds::try_from(20).unwrap(),
        preempt: true,
        preempt_delay: Duration::ZERO,
        virtual_addresses: vec![address.parse().unwrap()],
        subnet: None,
        interface: None,
        transport: Transport::Multicast,
        password: None,
        auth_hmac: AuthHmac::Linked,
        track: vec![],
        lease: Duration::from_secs(1),
        hooks: Hooks::default(),
        smtp_alert: false,
    }
}

/// Not a test: the process that the tests of this folder start, which can be frozen and killed. It has the capabilities
/// of the role and no others, and its link is its standard input.
#[test]
fn role_process() {
    let Ok(kind) = std::env::var(network::ROLE_PROCESS) else { return };
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    if kind == network::WITHOUT_NFT {
        network::forbid_nftables();
    }
    let granted = [caps::Capability::CAP_NET_ADMIN, caps::Capability::CAP_NET_RAW].into_iter().collect();
    for set in [caps::CapSet::Effective, caps::CapSet::Permitted] {
        caps::set(None, set, &granted).unwrap();
    }
    let link = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let code = super::run(link);
    assert_eq!(code, std::process::ExitCode::SUCCESS);
}
