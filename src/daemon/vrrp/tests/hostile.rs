//! Whatever else is on the link changes nothing but a counter.

use std::net::{IpAddr, Ipv4Addr};

use super::forge;
use super::network::{Namespace, Node, VIP, answering, eventually, unicast, with_bridge};
use crate::link::VrrpState;
use crate::net::{Family, InterfaceName};
use crate::os::netlink::Route;
use crate::os::packet::NeighbourSocket;

const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 11));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 12));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 50, 0, 13));

#[test]
fn hostile_packets_are_dropped_and_counted_and_move_nothing() {
    with_bridge("hostile_packets_are_dropped_and_counted_and_move_nothing", || {
        let mut node = Node::start(11, unicast(100, &[11, 12]));
        node.becomes(VrrpState::Master);
        let (peer, stranger) = (Namespace::new(), Namespace::new());
        peer.plug_in("eth0", PEER);
        stranger.plug_in("eth0", STRANGER);
        let sound = forge::advert(PEER, NODE);
        let changed = |at: usize, value: u8| {
            let mut bytes = sound.clone();
            bytes[at] = value;
            bytes
        };
        for (counter, namespace, ttl, bytes) in [
            ("drop_sender", &stranger, 255, forge::advert(STRANGER, NODE)),
            ("drop_ttl", &peer, 254, sound.clone()),
            ("drop_ttl", &peer, 1, sound.clone()),
            ("drop_checksum", &peer, 255, changed(2, 253)),
            ("drop_version", &peer, 255, changed(0, 0x41)),
            ("drop_type", &peer, 255, changed(0, 0x32)),
            ("drop_length", &peer, 255, changed(3, 200)),
            ("drop_length", &peer, 255, sound[..7].to_vec()),
            ("drop_length", &peer, 255, vec![]),
            ("drop_ip_header", &peer, 255, vec![0x31; 9000]),
        ] {
            let before = node.counter(counter);
            forge::send(namespace, ttl, NODE, &bytes);
            eventually(counter, || node.counter(counter) == before + 1);
        }
        let says = |node: &mut Node, who: IpAddr| {
            let dropped = format!("adverts from {who} are dropped: ");
            node.report().warnings.iter().any(|warning| warning.contains(&dropped))
        };
        eventually("it is said", || says(&mut node, PEER));
        assert!(!says(&mut node, STRANGER), "what is none of its peers' is nothing to speak of");

        // Any ARP frame: cut, of another kind, with every operation, from and to nobody.
        let arp = peer.enter(|| {
            let eth0 = InterfaceName::try_from("eth0".to_owned()).unwrap();
            let link = Route::open().unwrap().links().unwrap().into_iter().find(|l| l.name == eth0).unwrap();
            NeighbourSocket::open(link.index, Family::V4, &[]).unwrap()
        });
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9]);
        frame.extend([0; 10]);
        frame.extend(VIP.parse::<Ipv4Addr>().unwrap().octets());
        for at in 14..frame.len() {
            for value in [0, 1, 2, 0x7f, 0xff] {
                let mut bytes = frame.clone();
                bytes[at] = value;
                arp.send(&bytes).unwrap();
                arp.send(&bytes[..at]).unwrap();
            }
        }
        assert_eq!(answering(VIP), [node.mac()]);
        assert_eq!(node.report().instances[0].state, VrrpState::Master);
        assert_eq!(node.log().matches("to=Master").count(), 1, "{}", node.log());
    });
}
