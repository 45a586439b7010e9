//! Asks the peers' proxies for an answer: a node that holds an address applies an edit after those who would serve if it
//! failed.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::task::JoinSet;

use super::door;
use super::instance::Instance;
use super::shell::Shell;
use crate::link::{FromVrrp, PeersAnswer, VrrpState};

/// Peers that are asked; a virtual router has a handful.
const PEERS_MAX: usize = 16;
/// Ports that are tried at each.
const PORTS_MAX: usize = 4;

/// The answer goes to PID 1, at once where there is nobody to ask.
pub(super) fn ask(question: u64, listen: &[SocketAddr], instances: &[Instance], shell: &Shell) {
    let goes_last = goes_last(instances.iter().map(|instance| {
        let own = instance.wire.as_ref().map(|wire| wire.place.own);
        let master = instance.machine.heard_master().map(|(address, _)| address);
        (instance.machine.state(), own, master)
    }));
    let masters = instances.iter().filter(|i| i.machine.state() == VrrpState::Master);
    let peers: BTreeSet<Ipv4Addr> = masters.flat_map(|instance| &instance.peers).copied().collect();
    let ports = ports(listen, &shell.virtual_addresses);
    if !goes_last || peers.is_empty() || ports.is_empty() {
        shell.tell(FromVrrp::Peers { question, answer: PeersAnswer { goes_last, answered: vec![] } });
        return;
    }
    let outbox = shell.outbox();
    // Ends within the patience of a knock, or with the role.
    drop(tokio::spawn(async move {
        let mut knocks = JoinSet::new();
        for peer in peers.into_iter().take(PEERS_MAX) {
            for port in &ports {
                let door = SocketAddr::from((peer, *port));
                knocks.spawn(async move { door::knock(door).await.map(|()| peer) });
            }
        }
        let answered: BTreeSet<Ipv4Addr> = knocks.join_all().await.into_iter().flatten().collect();
        let answer = PeersAnswer { goes_last, answered: answered.into_iter().collect() };
        // PID 1 that reads nothing is gone, and so is whoever wanted to know.
        let _ = outbox.send(FromVrrp::Peers { question, answer }).await;
    }));
}

/// A virtual router's state, its own address and that of the master it has heard.
type Router = (VrrpState, Option<Ipv4Addr>, Option<Ipv4Addr>);

/// A node that holds an address does; of two that each hold one and stand by for the other's, the one with the higher
/// address.
fn goes_last(routers: impl Iterator<Item = Router> + Clone) -> bool {
    let holds = routers.clone().any(|(state, ..)| state == VrrpState::Master);
    let waited_for = routers
        .filter(|(state, ..)| *state == VrrpState::Backup)
        .any(|(_, own, master)| own.zip(master).is_some_and(|(own, master)| own < master));
    holds && !waited_for
}

/// Where a peer that has the same file listens, whatever its own address.
fn ports(listen: &[SocketAddr], virtual_addresses: &[Ipv4Addr]) -> Vec<u16> {
    let is_asked = |address: &&SocketAddr| match address {
        SocketAddr::V4(address) => !address.ip().is_loopback() && !virtual_addresses.contains(address.ip()),
        SocketAddr::V6(_) => false,
    };
    let ports: BTreeSet<u16> = listen.iter().filter(is_asked).map(SocketAddr::port).collect();
    ports.into_iter().take(PORTS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_last() {
        use VrrpState::{Backup, Fault, Master};
        let ip = |n: u8| Some(Ipv4Addr::new(10, 0, 0, n));
        let table: [(&[Router], bool); 8] = [
            (&[], false),
            (&[(Master, ip(2), None)], true),
            (&[(Master, ip(2), ip(3))], true),
            (&[(Backup, ip(2), ip(3))], false),
            (&[(Fault, None, None)], false),
            // Each holds one.
            (&[(Master, ip(2), None), (Backup, ip(2), ip(3))], false),
            (&[(Backup, ip(3), ip(2)), (Master, ip(3), None)], true),
            (&[(Master, ip(2), None), (Fault, ip(2), ip(3))], true),
        ];
        for (routers, expect) in table {
            assert_eq!(goes_last(routers.iter().copied()), expect, "{routers:?}");
        }
    }

    #[test]
    fn where_a_peer_is_asked() {
        let vip = [Ipv4Addr::new(10, 0, 0, 99)];
        let table: [(&[&str], &[u16]); 4] = [
            (&["0.0.0.0:80", "10.0.0.2:81", "0.0.0.0:80"], &[80, 81]),
            (&["127.0.0.1:80", "10.0.0.99:81", "[::]:82"], &[]),
            (&["0.0.0.0:5", "0.0.0.0:4", "0.0.0.0:3", "0.0.0.0:2", "0.0.0.0:1"], &[1, 2, 3, 4]),
            (&[], &[]),
        ];
        for (listen, expect) in table {
            let listen: Vec<SocketAddr> = listen.iter().map(|a| a.parse().unwrap()).collect();
            assert_eq!(ports(&listen, &vip), expect, "{listen:?}");
        }
    }
}
