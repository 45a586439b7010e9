//! Starting without a file, the admin endpoint's socket, and who of a pair applies an edit first.

use std::net::{SocketAddr, TcpListener};

use nix::sys::signal::Signal;
use vipgate::link::Generation;

use crate::cases::{BOTH, privileged};
use crate::node::{Node, Options, document, free_port};
use crate::runner::Outcome;

const BUILT_IN: &str = "(built in, from the environment)";

pub(crate) fn without_a_file() -> Outcome {
    let node = Node::serving(Options { without_vrrp: true, upstream: Some("app:80 192.0.2.1:81"), ..BOTH });
    let status = node.until_status("a status", Some);
    assert_eq!(status.config.path, BUILT_IN);
    assert_eq!(status.config.listen, [SocketAddr::from(([127, 0, 0, 1], node.port))]);
    node.ask().unwrap();
    // There is nothing to read again, and nothing wrong with that.
    node.signal(Signal::SIGHUP);
    // A file that appears counts, and one that goes leaves it in force.
    node.write_config("nonsense");
    node.until_status("the refusal", |s| s.config.refused);
    let file = node.folder.join("etc/vipgate.yaml");
    std::fs::remove_file(&file).unwrap();
    node.until_status("what it was", |s| {
        (s.config.path == BUILT_IN && s.config.refused.is_none()).then_some(())
    });
    node.write_config(&document("second", node.port, false));
    node.until_status("the file", |s| (s.node == "second").then_some(()));
    std::fs::remove_file(&file).unwrap();
    let refused = node.until_status("the refusal", |s| s.config.refused.filter(|_| s.node == "second"));
    assert!(refused.problems.contains("cannot be read"), "{}", refused.problems);
    Ok(())
}

pub(crate) fn admin() -> Outcome {
    let node = Node::serving(Options { without_vrrp: true, ..BOTH });
    let with = |name: &str, port: u16| {
        document(name, node.port, false) + &format!("admin: {{listen: 127.0.0.1:{port}}}\n")
    };
    let [first, second] = [free_port(), free_port()];
    node.write_config(&with("second", first));
    node.wait(&format!("proxy admin 127.0.0.1:{first}"));
    node.wait("proxy status 9 of ");
    let status = node.until_status("the second", |s| (s.node == "second").then_some(s));
    assert_eq!(status.config.admin, Some(SocketAddr::from(([127, 0, 0, 1], first))));
    assert_eq!(status.config.listen, [SocketAddr::from(([127, 0, 0, 1], node.port))], "not a server's");
    // One in all, and not again with each edit.
    node.write_config(&with("third", first));
    node.until_status("the third", |s| (s.node == "third").then_some(()));
    assert_eq!(node.count("proxy admin"), 1);
    // Another one, while the first one closes.
    node.write_config(&with("fourth", second));
    node.wait(&format!("proxy admin 127.0.0.1:{second}"));
    node.until("the old socket to close", || TcpListener::bind(("127.0.0.1", first)).ok());
    // One that is taken is refused like any other.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    node.write_config(&with("fifth", port));
    let refused = node.until_status("the refusal", |s| s.config.refused);
    assert!(refused.problems.contains("another program listens there"), "{}", refused.problems);
    node.write_config(&document("sixth", node.port, false));
    node.until_status("none", |s| (s.node == "sixth" && s.config.admin.is_none()).then_some(()));
    node.until("the last socket to close", || TcpListener::bind(("127.0.0.1", second)).ok());
    Ok(())
}

pub(crate) fn after_its_peer() -> Outcome {
    privileged()?;
    let node = Node::serving(BOTH);
    // A backup does not wait.
    node.tell("vrrp.peer");
    node.write_config(&node.document("second"));
    node.wait("vrrp commit 2");
    assert_eq!(node.count("vrrp asks"), 1);
    // The master does, until the peer has answered again: on the ports that it was to take.
    node.tell("vrrp.master");
    let port = free_port();
    node.write_config(&document("third", port, true));
    let waiting = node.until_status("it waits", |s| s.config.waiting.filter(|_| s.node == "second"));
    assert_eq!(waiting.digest.len(), 64);
    node.wait(&format!("vrrp asks 2 {}", node.port));
    node.wait(&format!("vrrp asks 3 {port}"));
    node.wait("vrrp commit 3");
    node.until_status("nothing waits", |s| s.config.waiting.is_none().then_some(()));
    // SIGHUP applies it at once.
    node.write_config(&node.document("fourth"));
    node.until_status("it waits", |s| s.config.waiting);
    node.signal(Signal::SIGHUP);
    node.wait("vrrp commit 4");
    assert_eq!(node.count("vrrp asks"), 4);
    node.until("it is read again", || node.log().contains("says the same as before").then_some(()));
    // What only both can do together waits for nobody.
    let fourth = node.document("fourth");
    node.write_config(&fourth.replace("vrid: 51", "vrid: 52"));
    node.wait("vrrp commit 5");
    assert!(node.log().contains("(generation 4) and is applied here once"), "the words are these");
    assert!(!node.log().contains("(generation 5) and is applied here once"), "{}", node.log());
    Ok(())
}

pub(crate) fn held_back() -> Outcome {
    privileged()?;
    let node = Node::serving(Options { told: &["vrrp.master", "vrrp.peer"], ..BOTH });
    node.write_config(&node.document("second"));
    node.until_status("it waits", |s| s.config.waiting);
    node.untell("vrrp.peer");
    let refused = node.until_status("it is held", |s| s.config.refused);
    assert!(refused.is_held && refused.is_retried);
    assert!(refused.problems.contains("192.0.2.3 stopped answering after this edit"), "{}", refused.problems);
    node.until("a word in the log", || node.log().contains("the edit is held back").then_some(()));
    node.wait("vrrp abort 2");
    // It is tried again, and the peer still does not answer.
    node.wait("vrrp abort 3");
    assert_eq!(node.status().unwrap().config.generation, Generation(1));
    // SIGHUP knows better.
    node.signal(Signal::SIGHUP);
    node.until_status("the second", |s| (s.node == "second" && s.config.refused.is_none()).then_some(()));
    // And so does the peer, once it is back.
    node.tell("vrrp.peer");
    node.write_config(&node.document("third"));
    node.until_status("it waits", |s| s.config.waiting);
    node.untell("vrrp.peer");
    node.until_status("it is held", |s| s.config.refused.filter(|refused| refused.is_held));
    node.tell("vrrp.peer");
    node.until_status("the third", |s| (s.node == "third").then_some(()));
    Ok(())
}
