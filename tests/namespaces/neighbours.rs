//! Clients as the kernel of a master knows them, although it does not see their questions.

use std::net::TcpStream;
use std::time::Duration;

use vipgate::link::VrrpState;

use crate::lan::{Lan, mac};
use crate::node::Node;

/// A client whose answers go astray waits for its whole length.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// The kernel believes what it knows for 15 s at least.
const ATTEMPTS: usize = 3;

/// As a container that was made anew with its old address.
#[test]
fn a_client_that_comes_back_with_another_mac_address_is_answered() {
    let Some(lan) = Lan::for_test("neighbours") else { return };
    let node = Node::start(&lan, 11, &["priority: 200"]);
    node.becomes(VrrpState::Master);
    let client = lan.attach(50);
    let address = (lan.vip(), lan.port).into();
    let connects = || client.enter(|| TcpStream::connect_timeout(&address, HANDSHAKE));
    let is_answered = || (0..ATTEMPTS).any(|_| connects().is_ok());
    assert!(is_answered());
    // As if it had just heard from it: a connection that has ended confirms nothing.
    let entry = format!("{} lladdr {} dev eth0 nud reachable", lan.address(50), mac(50));
    node.namespace.run(&format!("ip neigh replace {entry}"));
    client.run(&format!("ip link set eth0 address {}", mac(51)));
    client.run("ip neigh flush dev eth0");
    assert!(is_answered(), "the node goes on answering to where the client was");
}
