//! Connections that wait to be accepted: every one of them is served.

use nix::sys::signal::{Signal, kill};

use crate::peers::Client;
use crate::support::{Port, Vipgate, alone};

/// More than any number of connections that are taken at a time.
const WAITING: usize = 500;

#[test]
fn a_full_queue_is_served_to_the_last() {
    let _turn = alone();
    let port = Port::new();
    let vipgate = Vipgate::start(&format!(
        "node: node-1\nworkers: 1\nservers:\n  - listen: [\"{}\"]\n    routes: [{{path: /, respond: {{body: hello}}}}]\n",
        port.address
    ));
    let proxy = vipgate.proxy();
    kill(proxy, Signal::SIGSTOP).unwrap();
    let mut clients: Vec<_> = (0..WAITING).map(|_| Client::connect(port.address)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    // If PID 1 has lost its patience meanwhile, they are its successor's.
    let _ = kill(proxy, Signal::SIGCONT);
    for (n, client) in clients.iter_mut().enumerate() {
        match client.response("GET") {
            Ok(response) => assert_eq!(response.text(), "hello"),
            Err(error) => panic!("connection {n} of {WAITING}: {error}"),
        }
    }
}
