//! Virtual routers of IPv6: the same stories, told by neighbour discovery.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::instance;
use super::link::{KeyFile, count, linked, report};
use super::network::{Namespace, Node, WITHOUT_NFT, config, eventually, goes_last, run, server, with_bridge};
use crate::config::{Config, Host, Transport, VrrpInstance};
use crate::link::{ArpFence, FromVrrp, ProxyHealth, ToVrrp, VrrpState, Wish};
use crate::net::{Family, MacAddr, Priority};
use crate::os::netlink::Route;
use crate::os::packet::{self, NeighbourSocket};
use crate::vrrp::ndp::Frame;
use crate::vrrp::neighbour::Meaning;

pub(super) const VIP: &str = "2001:db8:50::99";
/// The virtual router's own, made out of its number.
pub(super) const LINK_LOCAL: &str = "fe80::112:33";

/// With IPv6 on `br0`: 2001:db8:50::1 and fe80::1.
pub(super) fn with_ipv6_bridge(name: &str, test: impl FnOnce() + Send + 'static) {
    with_bridge(name, || {
        for address in ["2001:db8:50::1/64", "fe80::1/64"] {
            run(&["ip", "addr", "add", address, "dev", "br0", "nodad"]);
        }
        test();
    });
}

/// 2001:db8:50::`last` and fe80::`last` on `eth0`, whose own link-local address would have to be waited for.
pub(super) fn namespace(last: u8) -> Namespace {
    let namespace = Namespace::new();
    namespace.plug_in("eth0", [10, 50, 0, last].into());
    namespace.run(&["ip", "link", "set", "eth0", "addrgenmode", "none"]);
    namespace.run(&["ip", "-6", "addr", "flush", "dev", "eth0"]);
    for prefix in ["2001:db8:50::", "fe80::"] {
        namespace.run(&["ip", "addr", "add", &format!("{prefix}{last}/64"), "dev", "eth0", "nodad"]);
    }
    namespace
}

pub(super) fn router(priority: u8, transport: Transport) -> VrrpInstance {
    let priority = Priority::try_from(i64::from(priority)).unwrap();
    let addresses = vec![LINK_LOCAL.parse().unwrap(), format!("{VIP}/64").parse().unwrap()];
    VrrpInstance { priority, transport, virtual_addresses: addresses, ..instance(VIP) }
}

pub(super) fn unicast(nodes: &[u8]) -> Transport {
    let host = |last: &u8| Host::Address(format!("2001:db8:50::{last}").parse().unwrap());
    Transport::Unicast { peers: nodes.iter().map(host).collect() }
}

pub(super) fn start(last: u8, instance: VrrpInstance) -> Node {
    start_with(last, config(vec![instance]))
}

fn start_with(last: u8, config: Config) -> Node {
    let mut node = Node::unconfigured("", namespace(last), config);
    node.commit();
    node
}

#[test]
fn whose_kernel_refuses_an_address_takes_it_from_nobody() {
    with_ipv6_bridge("whose_kernel_refuses_an_address_takes_it_from_nobody", || {
        let mut b = start(12, router(100, Transport::Multicast));
        b.becomes(VrrpState::Master);
        let refusing = |namespace: &Namespace, refuses: &str| {
            let switch = "/proc/sys/net/ipv6/conf/lo/disable_ipv6";
            namespace.enter(|| std::fs::write(switch, refuses).unwrap());
        };
        let namespace = namespace(11);
        refusing(&namespace, "1");
        let mut a = Node::unconfigured("", namespace, config(vec![router(200, Transport::Multicast)]));
        a.commit();
        a.becomes(VrrpState::Master);
        let why = a.becomes(VrrpState::Fault);
        assert!(why.contains("the kernel does not take"), "{why}");
        assert_eq!((a.holds(VIP), a.holds(LINK_LOCAL)), (None, None));
        assert_eq!((b.counter("advert_received"), b.counter("advert_received_release")), (0, 0));
        assert_eq!(b.report().instances[0].state, VrrpState::Master);
        refusing(&a.namespace, "0");
        a.becomes(VrrpState::Master);
        b.becomes(VrrpState::Backup);
        assert!(a.holds(VIP).is_some());
    });
}

/// The MAC addresses that answer who asks for the address from `asker`, asked so often that nobody stays unheard.
pub(super) fn answering_to(asker: &str, address: &str) -> Vec<String> {
    let (asker, address): (Ipv6Addr, Ipv6Addr) = (asker.parse().unwrap(), address.parse().unwrap());
    let link =
        Route::open().unwrap().links().unwrap().into_iter().find(|l| l.name.as_str() == "br0").unwrap();
    let own = link.mac.unwrap();
    let socket = NeighbourSocket::open(link.index, Family::V6, &[address.into()]).unwrap();
    let ask = match asker {
        Ipv6Addr::UNSPECIFIED => Frame::probe(own, address),
        _ => Frame { source: asker, link_address: Some(own), ..Frame::probe(own, address) },
    };
    let (mut macs, mut buffer) = (vec![], [0; packet::BUFFER]);
    for _ in 0..2 {
        socket.send(&ask.emit()).unwrap();
        let until = Instant::now() + Duration::from_millis(500);
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::try_from(left).unwrap()).unwrap();
            let Ok(bytes) = socket.receive(&mut buffer) else { continue };
            let meaning = Frame::parse(bytes).map(|frame| frame.meaning(own, &[address.into()]));
            if let Ok(Meaning::Claim { mac, .. }) = meaning {
                macs.push(MacAddr::to_string(&mac).to_uppercase());
            }
        }
    }
    macs.sort_unstable();
    macs.dedup();
    macs
}

pub(super) fn answering(address: &str) -> Vec<String> {
    answering_to("2001:db8:50::1", address)
}

/// As the client's kernel knows it.
fn known(address: &str) -> String {
    let shown = run(&["ip", "-6", "neigh", "show", address, "dev", "br0"]);
    shown.split_once("lladdr ").map_or(shown.clone(), |(_, rest)| rest[..17].to_uppercase())
}

fn listen(node: &Node) -> TcpListener {
    node.namespace.enter(|| TcpListener::bind("[::]:80").unwrap())
}

fn connect(address: &str) -> TcpStream {
    let mut stream = None;
    eventually("it is connected", || {
        stream = TcpStream::connect((address, 80)).ok();
        stream.is_some()
    });
    stream.unwrap()
}

/// As soon as it may: a peer has to be seen first.
fn hand_over(node: &mut Node, instance: &str) {
    let mut question = 0;
    eventually("it hands over", || {
        question += 1;
        node.tell(&ToVrrp::StepDown {
            question,
            wish: Wish::Failover { instance: Some(instance.to_owned()) },
        });
        let answer = node.expect("an answer", |m| matches!(m, FromVrrp::SteppedDown { .. }));
        matches!(answer, FromVrrp::SteppedDown { outcome: Ok(_), .. })
    });
}

#[test]
fn the_addresses_move_to_the_survivor() {
    with_ipv6_bridge("the_addresses_move_to_the_survivor", || {
        for transport in [Transport::Multicast, unicast(&[11, 12])] {
            let mut a = start(11, router(200, transport.clone()));
            a.becomes(VrrpState::Master);
            let mut b = start(12, router(100, transport));
            b.becomes(VrrpState::Backup);
            eventually("the master is heard", || b.counter("advert_received") > 3);
            assert_eq!(b.report().instances[0].state, VrrpState::Backup);
            for (address, at) in [(VIP, "lo"), (LINK_LOCAL, "eth0")] {
                eventually("the address", || a.holds(address).as_deref() == Some(at));
                eventually("it answers alone", || answering(address) == [a.mac()]);
                // Duplicate address detection.
                eventually("it answers alone", || answering_to("::", address) == [a.mac()]);
                eventually("it alone holds it", || b.holds(address).is_none());
            }
            // Over the kernel of the client, which keeps what it has learnt until it is told otherwise.
            let _served = (listen(&a), listen(&b));
            drop(connect(VIP));
            drop(connect(&format!("{LINK_LOCAL}%br0")));
            assert_eq!(known(VIP), a.mac());

            a.kill();
            b.becomes(VrrpState::Master);
            eventually("the client is told", || known(VIP) == b.mac() && known(LINK_LOCAL) == b.mac());
            assert_eq!(answering(VIP), [b.mac()]);
            drop(connect(VIP));

            let mut a = a.restart();
            a.becomes(VrrpState::Master);
            b.becomes(VrrpState::Backup);
            eventually("the client is told", || known(VIP) == a.mac());
            eventually("one holds it", || a.holds(VIP).is_some() && b.holds(VIP).is_none());
            let counters = b.report().instances.remove(0).counters;
            let drops: Vec<_> = counters.into_iter().filter(|(name, _)| name.starts_with("drop")).collect();
            assert_eq!(drops, []);
        }
    });
}

#[test]
fn a_frozen_master_is_silent_in_neighbour_discovery_and_its_kernel_lets_nobody_in() {
    with_ipv6_bridge(
        "a_frozen_master_is_silent_in_neighbour_discovery_and_its_kernel_lets_nobody_in",
        || {
            let with = |priority| {
                let lease = Duration::from_secs(60);
                VrrpInstance { preempt: false, lease, ..router(priority, unicast(&[11, 12])) }
            };
            let mut a = start(11, with(200));
            a.becomes(VrrpState::Master);
            assert_eq!(a.report().instances[0].fence.arp, ArpFence::Nftables);
            let mut b = start(12, with(100));
            b.becomes(VrrpState::Backup);
            eventually("the master is heard", || b.counter("advert_received") > 3);
            let listener = listen(&a);
            let mut client = connect(VIP);
            let (mut served, _) = listener.accept().unwrap();

            a.freeze();
            b.becomes(VrrpState::Master);
            for address in [VIP, LINK_LOCAL] {
                assert_eq!(answering(address), [b.mac()], "{address}");
                assert_eq!(answering_to("::", address), [b.mac()], "{address}");
                assert!(a.holds(address).is_some(), "a frozen node cannot let go");
            }
            // Whoever still takes it for the address, and sends there.
            run(&["ip", "-6", "neigh", "replace", VIP, "lladdr", &a.mac(), "dev", "br0"]);
            let at = SocketAddr::new(VIP.parse().unwrap(), 80);
            assert!(
                TcpStream::connect_timeout(&at, Duration::from_millis(500)).is_err(),
                "the gate is closed"
            );
            run(&["ip", "-6", "neigh", "flush", "dev", "br0"]);

            // What its kernel sends from the link-local one makes it ask for the next hop in its own name.
            let socket = a.namespace.enter(|| {
                let index =
                    Route::open().unwrap().links().unwrap().into_iter().find(|l| !l.loopback).unwrap().index;
                let at = std::net::SocketAddrV6::new(LINK_LOCAL.parse().unwrap(), 0, 0, index);
                let socket = std::net::UdpSocket::bind(at).unwrap();
                socket
                    .send_to(b"x", std::net::SocketAddrV6::new("fe80::77".parse().unwrap(), 9, 0, index))
                    .unwrap();
                socket
            });
            drop(socket);
            let rule = format!("ip6 saddr {LINK_LOCAL} counter packets");
            eventually("the question is counted", || {
                let rules = a.namespace.run(&["nft", "list", "table", "ip6", "vipgate-51-silence"]);
                rules.contains(&rule) && !rules.contains(&format!("{rule} 0"))
            });
            assert_eq!(known(LINK_LOCAL), "", "and nobody learns it from that");

            a.thaw();
            let reason = a.becomes(VrrpState::Backup);
            assert!(reason.contains("did not run for"), "{reason}");
            assert_eq!(served.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
            assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset, "it is told");
            eventually("one holds it", || a.holds(VIP).is_none() && a.holds(LINK_LOCAL).is_none());
            assert_eq!(answering(VIP), [b.mac()]);
        },
    );
}

#[test]
fn open_connections_outlive_a_planned_move() {
    with_ipv6_bridge("open_connections_outlive_a_planned_move", || {
        let mut a = start(11, router(200, Transport::Multicast));
        a.becomes(VrrpState::Master);
        let mut b = start(12, router(100, Transport::Multicast));
        b.becomes(VrrpState::Backup);
        eventually("the master is heard", || b.counter("advert_received") > 3);
        assert!(b.report().instances[0].handover.relays);
        let (listener, _other) = (listen(&a), listen(&b));
        let mut client = connect(VIP);
        let (mut served, _) = listener.accept().unwrap();

        hand_over(&mut a, "VI_1");
        b.becomes(VrrpState::Master);
        eventually("the client is told", || known(VIP) == b.mac());
        let mut byte = [0];
        for stream in [&client, &served] {
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        }
        for n in 0..20 {
            client.write_all(&[n]).unwrap();
            served.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [n], "through the new owner to the old one");
            served.write_all(&[n]).unwrap();
            client.read_exact(&mut byte).unwrap();
            assert_eq!(byte, [n]);
        }
        let relayed = b.namespace.run(&["nft", "list", "table", "ip6", "vipgate-51"]);
        assert!(!relayed.contains("counter packets 0 "), "{relayed}");
        // A new one is the new owner's.
        assert_eq!(answering(VIP), [b.mac()]);
    });
}

#[test]
fn clients_of_a_frozen_master_are_told() {
    with_ipv6_bridge("clients_of_a_frozen_master_are_told", || {
        let key = KeyFile::new("ipv6", "k");
        let (mut tried, at) = (vec![], |priority, transport| {
            let mut config = config(vec![router(priority, transport)]);
            let mut server = server();
            server.listen = vec![format!("[{VIP}]:80").parse().unwrap()];
            config.servers.push(server);
            config.link.key_file = Some(key.0.clone());
            config
        });
        for transport in [Transport::Multicast, unicast(&[11, 12])] {
            let serving = |last, priority| {
                let config = at(priority, transport.clone());
                let listen = config.servers[0].listen.clone();
                let node = start_with(last, config);
                node.tell(&ToVrrp::Proxy(ProxyHealth::Serving { incarnation: 1, listen }));
                node
            };
            let (a, mut b) = linked(serving(11, 200), serving(12, 100));
            let (listener, _other) = (listen(&a), listen(&b));
            let mut client = connect(VIP);
            let _served = listener.accept().unwrap();
            eventually("it has told of it", || {
                report(&mut b).peers.first().map(|peer| peer.clients) == Some(1)
            });
            tried.push(report(&mut b).peers[0].address);
            a.freeze();
            b.becomes(VrrpState::Master);
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert_eq!(count(&mut b, "clients_told"), 1);
        }
        assert_eq!(tried, ["fe80::11", "2001:db8:50::11"].map(|a| a.parse::<IpAddr>().unwrap()));
    });
}

#[test]
fn one_node_plays_the_same_number_in_both_families() {
    with_ipv6_bridge("one_node_plays_the_same_number_in_both_families", || {
        let both = |priority: u8| {
            let four =
                VrrpInstance { name: "four".to_owned(), ..super::network::unicast(priority, &[11, 12]) };
            config(vec![
                four,
                VrrpInstance { name: "six".to_owned(), ..router(priority, unicast(&[11, 12])) },
            ])
        };
        let mut a = start_with(11, both(200));
        for _ in 0..2 {
            a.becomes(VrrpState::Master);
        }
        let mut b = start_with(12, both(100));
        for _ in 0..2 {
            b.becomes(VrrpState::Backup);
        }
        let heard = |b: &mut Node| {
            let is_heard = |name: &str, count: u64| name == "advert_received" && count > 3;
            let counters = |i: &crate::link::InstanceReport| i.counters.iter().any(|(n, c)| is_heard(n, *c));
            b.report().instances.iter().all(counters)
        };
        eventually("both are heard", || heard(&mut b));
        assert!(b.report().instances.iter().all(|instance| instance.state == VrrpState::Backup));
        hand_over(&mut a, "six");
        b.becomes(VrrpState::Master);
        eventually("it moves alone", || answering(VIP) == [b.mac()]);
        assert_eq!(super::network::answering(super::network::VIP), [a.mac()]);
        assert_eq!((goes_last(&mut a), goes_last(&mut b)), (true, false));

        // It becomes one of the other family, and nothing of the old one stays.
        b.config.vrrp.remove(0);
        b.config.vrrp[0].virtual_addresses = vec!["10.50.0.98/24".parse().unwrap()];
        b.config.vrrp[0].transport = Transport::Multicast;
        b.commit();
        b.becomes(VrrpState::Master);
        eventually("the old one is gone", || b.holds(VIP).is_none() && b.holds("10.50.0.98").is_some());
        assert_eq!(b.namespace.run(&["nft", "list", "tables", "ip6"]), "");
        a.becomes(VrrpState::Master);
        assert_eq!(answering(VIP), [a.mac()]);
    });
}

/// The kernel lists the newest first, and a peer's list has the one before.
#[test]
fn another_address_of_the_interface_is_no_new_own_one() {
    with_ipv6_bridge("another_address_of_the_interface_is_no_new_own_one", || {
        let mut a = start(11, router(200, unicast(&[11, 12])));
        let mut b = start(12, router(100, unicast(&[11, 12])));
        a.becomes(VrrpState::Master);
        b.becomes(VrrpState::Backup);
        a.namespace.run(&["ip", "addr", "add", "2001:db8:50::21/64", "dev", "eth0", "nodad"]);
        // By then the kernel has been looked at, on its news and without.
        let before = b.counter("advert_received");
        eventually("adverts of two seconds", || b.counter("advert_received") > before + 10);
        assert_eq!(b.report().instances[0].master, Some(("2001:db8:50::11".parse().unwrap(), 200)));
        assert!(!a.log().contains("instead of"), "{}", a.log());
        assert_eq!(b.log().matches("to=Master").count(), 0, "{}", b.log());
        a.namespace.run(&["ip", "addr", "del", "2001:db8:50::11/64", "dev", "eth0"]);
        eventually("it has only the other one", || a.log().contains("2001:db8:50::21 instead of"));
    });
}

#[test]
fn without_nftables_the_kernel_is_silent_about_what_is_on_lo() {
    with_ipv6_bridge("without_nftables_the_kernel_is_silent_about_what_is_on_lo", || {
        let lease = Duration::from_secs(60);
        let instance = VrrpInstance { lease, ..router(200, unicast(&[11, 12])) };
        let mut a = Node::unconfigured(WITHOUT_NFT, namespace(11), config(vec![instance]));
        a.commit();
        a.becomes(VrrpState::Master);
        let report = a.report();
        assert_eq!(report.instances[0].fence.arp, ArpFence::Loopback);
        assert!(report.warnings.iter().any(|w| w.contains("link-local")), "{report:?}");
        assert_eq!(answering(VIP), [a.mac()]);
        a.freeze();
        assert_eq!(answering(VIP), [] as [&str; 0]);
        assert_eq!(answering(LINK_LOCAL), [a.mac()], "which is what it warns of");
    });
}

/// Whoever has the address for itself, or claims it.
#[test]
fn a_stranger_is_seen_and_answered() {
    with_ipv6_bridge("a_stranger_is_seen_and_answered", || {
        let stranger = namespace(13);
        stranger.run(&["ip", "addr", "add", &format!("{VIP}/64"), "dev", "eth0", "nodad"]);
        let mut node = start(11, router(200, unicast(&[11, 12])));
        let reason = node.becomes(VrrpState::Fault);
        assert!(reason.contains(VIP) && reason.contains("no configured peer"), "{reason}");
        stranger.run(&["ip", "addr", "del", &format!("{VIP}/64"), "dev", "eth0"]);
        node.becomes(VrrpState::Master);

        // It takes it all the same, and says so.
        let before = node.counter("announcement");
        let claim = Frame::announcement(MacAddr([2, 0, 0, 0, 0, 0x77]), VIP.parse().unwrap());
        let index = Route::open()
            .unwrap()
            .links()
            .unwrap()
            .into_iter()
            .find(|l| l.name.as_str() == "br0")
            .unwrap()
            .index;
        let socket = NeighbourSocket::open(index, Family::V6, &[]).unwrap();
        socket.send(&claim.emit()).unwrap();
        eventually("a defence", || node.counter("defence") > 0 && node.counter("announcement") > before);
        assert!(node.report().warnings.iter().any(|w| w.contains("02:00:00:00:00:77")));
    });
}
