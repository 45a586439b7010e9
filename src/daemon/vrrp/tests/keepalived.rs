//! With keepalived as the peer, in both roles: one node of a pair can be replaced at a time.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::ipv6;
use super::network::{Namespace, Node, VIP, answering, eventually, unicast, with_bridge};
use crate::config::{Transport, VrrpInstance, VrrpVersion};
use crate::link::VrrpState;
use crate::net::Centiseconds;

pub(super) struct Keepalived {
    process: Child,
    namespace: Namespace,
    directory: std::path::PathBuf,
}

impl Keepalived {
    /// 10.50.0.12 with priority 150.
    pub(super) fn start(what: &str, lines: &str) -> Self {
        Self::start_with(what, "", lines)
    }

    fn start_with(what: &str, before: &str, lines: &str) -> Self {
        let namespace = Namespace::new();
        namespace.plug_in("eth0", [10, 50, 0, 12].into());
        Self::start_in(namespace, what, before, lines, &format!("{VIP}/24"))
    }

    fn start_in(namespace: Namespace, what: &str, before: &str, lines: &str, addresses: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("vipgate-{}-{}", std::process::id(), what.replace(' ', "-")));
        fs::create_dir_all(&directory).unwrap();
        let file = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        let text = format!(
            "{before}vrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority 150\n {lines}\n \
             virtual_ipaddress {{ {addresses} }}\n}}\n"
        );
        fs::write(file("conf"), text).unwrap();
        let (conf, pid, vrrp_pid) = (file("conf"), file("pid"), file("vrrp_pid"));
        let log = fs::File::create(file("log")).unwrap();
        let process = namespace.enter(|| {
            Command::new("keepalived")
                .args(["-n", "-l", "-D", "-P", "-f", &conf, "-p", &pid, "-r", &vrrp_pid])
                .stdout(Stdio::from(log.try_clone().unwrap()))
                .stderr(Stdio::from(log))
                .spawn()
                .unwrap()
        });
        Self { process, namespace, directory }
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap()
    }

    /// It says priority 0 and ends.
    fn stop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.process.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.process.wait().unwrap();
    }

    pub(super) fn holds_the_address(&self) -> bool {
        self.holds(VIP)
    }

    fn holds(&self, address: &str) -> bool {
        !self.namespace.run(&["ip", "addr", "show", "to", address]).is_empty()
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        // Its own children end with it.
        let pid = nix::unistd::Pid::from_raw(self.process.id().cast_signed());
        if nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).is_ok() {
            drop(self.process.wait());
        }
        if std::thread::panicking() {
            println!("{}", self.log());
        }
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Says so, for a test that has nothing to do then.
pub(super) fn is_missing() -> bool {
    let missing = Command::new("keepalived").arg("--version").output().is_err();
    if missing {
        println!("skipped: keepalived is not installed");
    }
    missing
}

#[test]
fn keepalived_is_a_peer_in_both_roles() {
    if is_missing() {
        return;
    }
    with_bridge("keepalived_is_a_peer_in_both_roles", || {
        let v3 = |priority| unicast(priority, &[11, 12]);
        let v2 = |priority| VrrpInstance {
            version: VrrpVersion::V2,
            password: Some("secret".to_owned()),
            advert_interval: Centiseconds::try_from(100).unwrap(),
            ..unicast(priority, &[11, 12])
        };
        let multicast = |instance: VrrpInstance| VrrpInstance { transport: Transport::Multicast, ..instance };
        let peers = "unicast_src_ip 10.50.0.12\n unicast_peer { 10.50.0.11 }\n";
        let three = "version 3\n advert_int 0.2\n";
        let two = "version 2\n advert_int 1\n authentication { auth_type PASS\n auth_pass secret\n }\n";
        for (what, keepalived, ours) in [
            ("v3 unicast", format!("{three}{peers}"), [v3(200), v3(100)]),
            ("v3 multicast", three.to_owned(), [multicast(v3(200)), multicast(v3(100))]),
            ("v2 unicast", format!("{two}{peers}"), [v2(200), v2(100)]),
            ("v2 multicast", two.to_owned(), [multicast(v2(200)), multicast(v2(100))]),
        ] {
            let keepalived = Keepalived::start(what, &keepalived);
            let [better, worse] = ours;
            let mut node = Node::start(11, worse);
            eventually(what, || keepalived.holds_the_address());
            eventually("it is heard", || node.counter("advert_received") > 3);
            assert_eq!(node.report().instances[0].state, VrrpState::Backup, "{what}");

            node.config.vrrp = vec![better];
            node.commit();
            node.becomes(VrrpState::Master);
            eventually("keepalived gives way", || !keepalived.holds_the_address());
            assert_eq!(answering(VIP), [node.mac()], "{what}");
            let drops: Vec<_> = node
                .report()
                .instances
                .remove(0)
                .counters
                .into_iter()
                .filter(|(n, _)| n.starts_with("drop"))
                .collect();
            assert_eq!(drops, [], "{what}");

            drop(node.orphan());
            eventually("keepalived takes over", || keepalived.holds_the_address());
            for complaint in ["invalid", "mismatch", "bogus", "checksum", "Dropping", "expected"] {
                assert!(!keepalived.log().contains(complaint), "{what}: {complaint}: {}", keepalived.log());
            }
        }
    });
}

/// For a while one of the two has the address and answers for it, and the other one has not.
fn is_at_rest(what: &str, node: &Node, keepalived: &Keepalived, is_node: bool) {
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        let holders = (node.holds(VIP).is_some(), keepalived.holds_the_address());
        assert_eq!(holders, (is_node, !is_node), "{what}: node, keepalived");
    }
    let answers = answering(VIP);
    assert_eq!((answers.len(), answers.contains(&node.mac())), (1, is_node), "{what}: {answers:?}");
}

#[test]
fn keepalived_changes_its_priority_and_gives_up() {
    if is_missing() {
        return;
    }
    with_bridge("keepalived_changes_its_priority_and_gives_up", || {
        let peers = "unicast_src_ip 10.50.0.12\n unicast_peer { 10.50.0.11 }\n";
        let three = "version 3\n advert_int 0.2\n";
        let two = "version 2\n advert_int 1\n authentication { auth_type PASS\n auth_pass secret\n }\n";
        let v3 = unicast(140, &[11, 12]);
        let v2 = VrrpInstance {
            version: VrrpVersion::V2,
            password: Some("secret".to_owned()),
            advert_interval: Centiseconds::try_from(100).unwrap(),
            ..v3.clone()
        };
        let multicast = VrrpInstance { transport: Transport::Multicast, ..v3.clone() };
        for (what, lines, ours) in [
            ("v3-unicast-priority", format!("{three}{peers}"), v3),
            ("v3-multicast-priority", three.to_owned(), multicast),
            ("v2-pass-priority", format!("{two}{peers}"), v2),
        ] {
            let file = std::env::temp_dir().join(format!("vipgate-{what}-{}", std::process::id()));
            fs::write(&file, "0").unwrap();
            let path = file.display();
            let before = format!("track_file load {{\n file \"{path}\"\n weight 1\n }}\n");
            let tracks = format!("{lines}track_file {{\n load weight 1\n }}\n");
            let mut keepalived = Keepalived::start_with(what, &before, &tracks);
            let mut node = Node::start(11, ours);
            eventually(what, || keepalived.holds_the_address());
            eventually("it is heard", || node.counter("advert_received") > 3);
            is_at_rest(what, &node, &keepalived, false);

            fs::write(&file, "-20").unwrap();
            let reason = node.becomes(VrrpState::Master);
            assert!(reason.contains("130"), "{what}: {reason}");
            eventually("it gives way", || !keepalived.holds_the_address());
            is_at_rest(what, &node, &keepalived, true);

            fs::write(&file, "0").unwrap();
            node.becomes(VrrpState::Backup);
            eventually("it takes over", || keepalived.holds_the_address());
            // Silent by now, the node keeps the address a moment longer for the connections that it may have.
            eventually("it lets go", || node.holds(VIP).is_none());
            is_at_rest(what, &node, &keepalived, false);

            keepalived.stop();
            node.becomes(VrrpState::Master);
            assert!(node.counter("advert_received_release") > 0, "{what}");
            is_at_rest(what, &node, &keepalived, true);
            fs::remove_file(&file).unwrap();
        }
    });
}

#[test]
fn keepalived_is_a_peer_over_ipv6_in_both_roles() {
    if is_missing() {
        return;
    }
    ipv6::with_ipv6_bridge("keepalived_is_a_peer_over_ipv6_in_both_roles", || {
        let three = "version 3\n advert_int 0.2\n";
        let peers = "unicast_src_ip 2001:db8:50::12\n unicast_peer { 2001:db8:50::11 }\n";
        for (what, keepalived, transport) in [
            ("v6 multicast", three.to_owned(), Transport::Multicast),
            ("v6 unicast", format!("{three}{peers}"), ipv6::unicast(&[11, 12])),
        ] {
            let addresses = format!("{}\n{}", ipv6::LINK_LOCAL, ipv6::VIP);
            let namespace = ipv6::namespace(12);
            // keepalived leaves the hop limit of unicast adverts to the kernel's default, which is 64.
            namespace.enter(|| fs::write("/proc/sys/net/ipv6/conf/eth0/hop_limit", "255").unwrap());
            let keepalived = Keepalived::start_in(namespace, what, "", &keepalived, &addresses);
            let mut node = ipv6::start(11, ipv6::router(100, transport.clone()));
            eventually(what, || keepalived.holds(ipv6::VIP));
            eventually("it is heard", || node.counter("advert_received") > 3);
            assert_eq!(node.report().instances[0].state, VrrpState::Backup, "{what}");

            node.config.vrrp = vec![ipv6::router(200, transport)];
            node.commit();
            node.becomes(VrrpState::Master);
            eventually("keepalived gives way", || !keepalived.holds(ipv6::VIP));
            assert_eq!(ipv6::answering(ipv6::VIP), [node.mac()], "{what}");
            let report = node.report().instances.remove(0);
            let odd = |name: &str| name.starts_with("drop") || name.starts_with("advert_other");
            let odd: Vec<_> = report.counters.into_iter().filter(|(name, _)| odd(name)).collect();
            assert_eq!(odd, [], "{what}");

            drop(node.orphan());
            eventually("keepalived takes over", || keepalived.holds(ipv6::VIP));
            for complaint in ["invalid", "mismatch", "bogus", "checksum", "Dropping", "expected"] {
                assert!(!keepalived.log().contains(complaint), "{what}: {complaint}: {}", keepalived.log());
            }
        }
    });
}
