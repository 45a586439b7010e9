//! Starting without a file.

use std::net::SocketAddr;

use nix::sys::signal::Signal;

use crate::cases::BOTH;
use crate::node::{Node, Options, document};
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
