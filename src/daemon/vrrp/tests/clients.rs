//! Clients of a master that falls silent while its kernel lives: they are told by the one that replaces it.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use super::link::{KeyFile, count, linked, report, second, start_with};
use super::network::{Node, VIP, answering, config, eventually, server, unicast, with_bridge};
use crate::config::Config;
use crate::link::{FromVrrp, ProxyHealth, ToVrrp, VrrpState};

const CLIENTS: usize = 8;
/// A client that is told hears it within milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// A client that is not told waits for longer than any that is.
const IN_VAIN: Duration = Duration::from_secs(1);

/// With a listener at port 80 of the virtual address only, so that no proxy is asked for an answer.
fn serving(priority: u8) -> Config {
    let mut config = config(vec![unicast(priority, &[11, 12])]);
    let mut server = server();
    server.listen = vec![format!("{VIP}:80").parse().unwrap()];
    config.servers.push(server);
    config
}

/// With a second virtual router and a listener at its address as well.
fn serving_both(priority: u8) -> Config {
    let mut config = serving(priority);
    config.vrrp.push(second(priority));
    config.servers[0].listen.push("10.50.0.98:80".parse().unwrap());
    config
}

fn start(last: u8, priority: u8, key: &KeyFile) -> Node {
    start_serving(last, serving(priority), key)
}

fn start_serving(last: u8, config: Config, key: &KeyFile) -> Node {
    let listen = config.servers[0].listen.clone();
    let node = start_with(last, config, &key.0);
    node.tell(&ToVrrp::Proxy(ProxyHealth::Serving { incarnation: 1, listen }));
    node
}

/// Served by nobody but the kernel of the node.
fn listen(node: &Node, port: u16) -> TcpListener {
    node.namespace.enter(|| TcpListener::bind((IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)).unwrap())
}

fn connect(number: usize, port: u16) -> Vec<TcpStream> {
    connect_to(VIP, number, port)
}

fn connect_to(address: &str, number: usize, port: u16) -> Vec<TcpStream> {
    (0..number)
        .map(|_| {
            let mut stream = None;
            eventually("it is connected", || {
                stream = TcpStream::connect((address, port)).ok();
                stream.is_some()
            });
            stream.unwrap()
        })
        .collect()
}

/// What ends the wait for an answer.
fn ends(stream: &mut TcpStream, within: Duration) -> ErrorKind {
    stream.set_read_timeout(Some(within)).unwrap();
    stream.read(&mut [0]).map_or_else(|error| error.kind(), |_| ErrorKind::UnexpectedEof)
}

fn told_of(node: &mut Node) -> u64 {
    report(node).peers.first().map_or(0, |peer| peer.clients)
}

#[test]
fn clients_of_a_frozen_master_are_reset_after_the_takeover() {
    with_bridge("clients_of_a_frozen_master_are_reset_after_the_takeover", || {
        let key = KeyFile::new("clients", "k");
        let (mut a, mut b) = linked(start(11, 200, &key), start(12, 100, &key));
        let (listener, _others) = (listen(&a, 80), (listen(&b, 80), listen(&a, 81)));
        let mut clients = connect(CLIENTS, 80);
        let mut strangers = connect(1, 81);
        eventually("it has told of them", || told_of(&mut b) == CLIENTS as u64);
        // One that leaves on both sides is not waited for.
        let mut served: Vec<_> = (0..CLIENTS).map(|_| listener.accept().unwrap()).collect();
        drop((clients.pop(), served.pop()));
        eventually("it has told of the end", || told_of(&mut b) == CLIENTS as u64 - 1);
        assert_eq!(told_of(&mut a), 0, "a backup has none");
        clients.extend(connect(1, 80));
        eventually("it has told of the new one", || told_of(&mut b) == CLIENTS as u64);

        a.freeze();
        let reason = b.becomes(VrrpState::Master);
        assert!(reason.contains("10.50.0.11 is silent"), "{reason}");
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(ends(client, PATIENCE), ErrorKind::ConnectionReset, "client {number}");
        }
        assert_eq!((count(&mut b, "clients_told"), told_of(&mut b)), (CLIENTS as u64, 0));
        assert_eq!(count(&mut b, "clients_untold"), 0);
        assert_eq!(ends(&mut strangers[0], IN_VAIN), ErrorKind::WouldBlock, "no listener of this node");

        // What comes afterwards is served here, and told of to the one that has come back.
        let _new = connect(2, 80);
        a.thaw();
        a.becomes(VrrpState::Backup);
        a.becomes(VrrpState::Master);
        b.becomes(VrrpState::Backup);
        assert_eq!(answering(VIP), [a.mac()]);
        assert_eq!(count(&mut a, "clients_told"), 0, "a planned move");
    });
}

#[test]
fn clients_of_a_planned_move_are_left_alone() {
    with_bridge("clients_of_a_planned_move_are_left_alone", || {
        let key = KeyFile::new("planned", "k");
        let (mut a, mut b) = linked(start(11, 200, &key), start(12, 100, &key));
        let _served = (listen(&a, 80), listen(&b, 80));
        let mut clients = connect(CLIENTS, 80);
        eventually("it has told of them", || told_of(&mut b) == CLIENTS as u64);
        a.tell(&ToVrrp::Resign { bound: Duration::from_secs(20) });
        let reason = b.becomes(VrrpState::Master);
        assert!(reason.contains("has released it"), "{reason}");
        a.expect("resigned", |m| matches!(m, FromVrrp::Resigned { .. }));
        eventually("they are forgotten", || told_of(&mut b) == 0);
        for client in &mut clients {
            assert_eq!(ends(client, IN_VAIN / 4), ErrorKind::WouldBlock);
        }
        assert_eq!(count(&mut b, "clients_told"), 0);
    });
}

/// Nodes take an edit one after the other, and clients do not wait for that.
#[test]
fn a_backup_is_told_again_once_it_has_another_configuration() {
    with_bridge("a_backup_is_told_again_once_it_has_another_configuration", || {
        let key = KeyFile::new("again", "k");
        let a = start_serving(11, serving_both(200), &key);
        let (a, mut b) = linked(a, start(12, 100, &key));
        let _served = listen(&a, 80);
        let _later = connect_to("10.50.0.98", CLIENTS, 80);
        let _known = connect(CLIENTS, 80);
        eventually("it is told of those that it could serve", || told_of(&mut b) == CLIENTS as u64);
        let Config { vrrp, servers, .. } = serving_both(100);
        let listen = servers[0].listen.clone();
        (b.config.vrrp, b.config.servers) = (vrrp, servers);
        b.commit();
        b.tell(&ToVrrp::Proxy(ProxyHealth::Serving { incarnation: 1, listen }));
        b.tell(&ToVrrp::Origin { digest: "another".to_owned() });
        eventually("it is told of all", || told_of(&mut b) == 2 * CLIENTS as u64);
    });
}

#[test]
fn without_a_link_clients_of_a_frozen_master_wait() {
    with_bridge("without_a_link_clients_of_a_frozen_master_wait", || {
        let (one, other) = (KeyFile::new("unlinked-a", "k"), KeyFile::new("unlinked-b", "o"));
        let (mut a, mut b) = (start(11, 200, &one), start(12, 100, &other));
        a.becomes(VrrpState::Master);
        b.becomes(VrrpState::Backup);
        eventually("the master is heard", || b.counter("advert_received") > 0);
        let _served = (listen(&a, 80), listen(&b, 80));
        let mut clients = connect(CLIENTS, 80);
        a.freeze();
        b.becomes(VrrpState::Master);
        assert_eq!(answering(VIP), [b.mac()]);
        for client in &mut clients {
            assert_eq!(ends(client, IN_VAIN), ErrorKind::WouldBlock);
        }
        assert_eq!(count(&mut b, "clients_told"), 0);
    });
}
