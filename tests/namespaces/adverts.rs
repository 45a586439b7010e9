//! The adverts of each version and transport, as tcpdump prints them.

use crate::capture::{Capture, Frame};
use crate::lan::Lan;
use crate::node::Node;

/// A node alone, and what tcpdump must print of each advert.
fn check(lan: &Lan, what: &str, lines: &[&str], to: &str, interval: &str, end: &str) {
    let capture = Capture::start(lan);
    let start = capture.mark();
    let node = Node::start(lan, 11, lines);
    // The last one may lack its second line when it is counted.
    let is = |frame: &Frame| frame.from == node.mac() && frame.text.contains("proto VRRP (112)");
    capture.wait(what, start, 4, is);
    let version = if interval.contains("cs") { "VRRPv3" } else { "VRRPv2" };
    let (source, vip, vrid) = (lan.address(11), lan.vip(), lan.vrid);
    let adverts: Vec<_> = capture.since(start).into_iter().filter(is).collect();
    for advert in adverts {
        for expect in [
            "ethertype IPv4 (0x0800)",
            "tos 0xc0, ttl 255,",
            &format!("{source} > {to}: {version}, Advertisement, vrid {vrid}, prio 142, {interval}"),
            &format!("addrs: {vip}{end}"),
        ] {
            assert!(advert.text.contains(expect), "{what}: {expect:?} is not in {:?}", advert.text);
        }
        assert!(advert.text.ends_with(&format!("addrs: {vip}{end}")), "{:?}", advert.text);
    }
    assert!(capture.complaints().is_empty(), "{what}: {:?}", capture.complaints());
}

#[test]
fn tcpdump_understands_every_advert() {
    let Some(lan) = Lan::for_test("adverts") else { return };
    let (client, group) = (lan.client().to_string(), "224.0.0.18");
    let peers = format!("peers: [{client}, {}]", lan.address(11));
    let password = "authentication: { password: secret12 }";
    check(&lan, "v3 unicast", &["priority: 142", &peers], &client, "intvl 10cs, length 12, ", "");
    check(&lan, "v3 multicast", &["priority: 142"], group, "intvl 10cs, length 12, ", "");
    check(
        &lan,
        "v2 with a password",
        &["priority: 142", "version: 2", password],
        group,
        "authtype simple, intvl 1s, length 20, ",
        " auth \"secret12\"",
    );
    check(
        &lan,
        "v2 without",
        &["priority: 142", "version: 2"],
        group,
        "authtype none, intvl 1s, length 20, ",
        "",
    );
}
