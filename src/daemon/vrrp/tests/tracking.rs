//! What is tracked moves the priority, or the addresses.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use super::network::{Node, VIP, answering, eventually, unicast, with_bridge};
use crate::config::{Track, TrackCheck, TrackCheckKind, Tracked, VrrpInstance};
use crate::link::{CommandEnd, Ended, FromVrrp, ToVrrp, VrrpState};

/// Nobody accepts what the checks connect to: its queue has to last for the test.
const SOON: Duration = Duration::from_millis(100);

fn tracking(priority: u8, what: Tracked, weight: i16) -> VrrpInstance {
    VrrpInstance { track: vec![Track { what, weight }], ..unicast(priority, &[11, 12]) }
}

fn tcp(address: SocketAddr) -> Tracked {
    Tracked::Check(TrackCheck {
        kind: TrackCheckKind::Tcp(address),
        interval: SOON,
        timeout: Duration::from_secs(5),
        rise: 1,
        fall: 1,
        init_fail: false,
    })
}

/// Priority, and whether what is tracked is well.
fn standing(node: &mut Node) -> (u8, Option<bool>) {
    let report = node.report().instances.remove(0);
    (report.priority, report.tracks[0].ok)
}

#[test]
fn a_check_that_fails_costs_the_weight_or_the_address() {
    with_bridge("a_check_that_fails_costs_the_weight_or_the_address", || {
        let address: SocketAddr = "127.0.0.1:5432".parse().unwrap();
        let mut a = Node::start(11, tracking(200, tcp(address), -150));
        let mut b = Node::start(12, unicast(100, &[11, 12]));
        let listen = |node: &Node| node.namespace.enter(|| TcpListener::bind(address).unwrap());
        eventually("the first look", || standing(&mut a) == (50, Some(false)));
        b.becomes(VrrpState::Master);
        let service = listen(&a);
        eventually("it comes back", || standing(&mut a) == (200, Some(true)));
        a.becomes(VrrpState::Master);
        b.becomes(VrrpState::Backup);
        drop(service);
        eventually("it fails", || standing(&mut a) == (50, Some(false)));
        b.becomes(VrrpState::Master);
        eventually("it gives way", || answering(VIP) == [b.mac()]);
        let report = a.report().instances.remove(0);
        assert_eq!((report.state, report.configured_priority), (VrrpState::Backup, 200));

        // The same without a weight: it does not stand at all.
        a.config.vrrp = vec![tracking(200, tcp(address), 0)];
        a.commit();
        let reason = a.becomes(VrrpState::Fault);
        assert!(reason.starts_with("tcp 127.0.0.1:5432: "), "{reason}");
        let service = listen(&a);
        a.becomes(VrrpState::Master);
        drop(service);
        a.becomes(VrrpState::Fault);
        assert!(b.becomes(VrrpState::Master).contains("has released it"), "{}", b.log());
        eventually("it has left", || a.holds(VIP).is_none());
    });
}

/// The test is PID 1, and leaves the program running.
#[test]
fn a_check_that_an_edit_brings_costs_a_master_nothing_until_it_fails() {
    with_bridge("a_check_that_an_edit_brings_costs_a_master_nothing_until_it_fails", || {
        let check = |interval: Duration| {
            let kind = TrackCheckKind::Command(vec!["/check".to_owned()]);
            let timeout = Duration::from_secs(60);
            Tracked::Check(TrackCheck { kind, interval, timeout, rise: 1, fall: 1, init_fail: false })
        };
        let mut a = Node::start(11, unicast(100, &[11, 12]));
        a.becomes(VrrpState::Master);
        // What was well stays well when only the times are others.
        for (interval, known, code) in [(SOON, None, 0), (SOON * 2, Some(true), 1)] {
            a.config.vrrp = vec![tracking(100, check(interval), 0)];
            a.commit();
            let FromVrrp::Run(run) = a.expect("a run", |m| matches!(m, FromVrrp::Run(_))) else { return };
            let report = a.report().instances.remove(0);
            let track = &report.tracks[0];
            assert_eq!((report.state, track.ok, track.fault), (VrrpState::Master, known, false));
            let end = CommandEnd::Exited { code };
            a.tell(&ToVrrp::Ended(Ended { id: run.id, end, output: String::new() }));
            if code == 0 {
                eventually("it is well", || standing(&mut a) == (100, Some(true)));
            }
        }
        assert!(a.becomes(VrrpState::Fault).contains("exited with code 1"));
    });
}

/// The test is PID 1, and says what became of the program.
#[test]
fn a_command_is_run_by_somebody_else_and_its_end_counts() {
    with_bridge("a_command_is_run_by_somebody_else_and_its_end_counts", || {
        let argv = vec!["/check".to_owned(), "-v".to_owned()];
        let check = TrackCheck {
            kind: TrackCheckKind::Command(argv.clone()),
            interval: SOON,
            timeout: Duration::from_secs(5),
            rise: 1,
            fall: 2,
            init_fail: false,
        };
        let mut a = Node::start(11, tracking(100, Tracked::Check(check), -30));
        let ends = |node: &mut Node, code: i32, other: u64| {
            let FromVrrp::Run(run) = node.expect("a run", |m| matches!(m, FromVrrp::Run(_))) else { return };
            assert_eq!((&run.argv, run.timeout), (&argv, Duration::from_secs(5)));
            let end = CommandEnd::Exited { code };
            node.tell(&ToVrrp::Ended(Ended { id: run.id + other, end, output: "words".to_owned() }));
        };
        assert_eq!(standing(&mut a), (100, None));
        ends(&mut a, 0, 0);
        eventually("it is well", || standing(&mut a) == (100, Some(true)));
        ends(&mut a, 1, 0);
        ends(&mut a, 2, 0);
        eventually("it has failed twice", || standing(&mut a) == (70, Some(false)));
        let track = a.report().instances.remove(0).tracks.remove(0);
        assert_eq!(track.reason, "exited with code 2: words");
        // What another one has asked for is not this one's.
        ends(&mut a, 0, 1);
        assert_eq!(standing(&mut a), (70, Some(false)));
    });
}

#[test]
fn a_file_an_interface_and_an_upstream_are_tracked() {
    with_bridge("a_file_an_interface_and_an_upstream_are_tracked", || {
        let path: PathBuf = std::env::temp_dir().join(format!("vipgate-track-{}", std::process::id()));
        fs::write(&path, "3\n").unwrap();
        let file = Tracked::File { path: path.clone(), interval: SOON };
        let mut a = Node::start(11, tracking(100, file.clone(), -10));
        eventually("the number counts", || standing(&mut a) == (70, Some(true)));
        fs::write(&path, "-5\n").unwrap();
        eventually("the next one too", || standing(&mut a) == (150, Some(true)));
        let seldom = Tracked::File { path: path.clone(), interval: Duration::from_secs(1) };
        a.config.vrrp = vec![tracking(100, seldom, -10)];
        a.commit();
        assert_eq!(standing(&mut a), (150, Some(true)), "it counts until it is read anew");
        a.config.vrrp = vec![tracking(100, file, -10)];
        a.commit();
        fs::write(&path, "much\n").unwrap();
        eventually("no number is said", || {
            a.report().warnings.iter().any(|warning| warning.contains("its first line is no whole number"))
        });
        assert_eq!(standing(&mut a), (100, Some(true)), "and counts as 0");
        fs::write(&path, "26\n").unwrap();
        assert!(a.becomes(VrrpState::Fault).starts_with("file "));
        fs::remove_file(&path).unwrap();
        a.becomes(VrrpState::Master);

        a.namespace.run(&["ip", "link", "add", "back0", "type", "veth", "peer", "name", "back1"]);
        a.namespace.run(&["ip", "link", "set", "back1", "up"]);
        let interface = Tracked::Interface("back0".to_owned().try_into().unwrap());
        a.config.vrrp = vec![tracking(100, interface, -30)];
        a.commit();
        assert_eq!(standing(&mut a), (70, Some(false)), "it is down");
        a.namespace.run(&["ip", "link", "set", "back0", "up"]);
        eventually("it is up", || standing(&mut a) == (100, Some(true)));
        a.namespace.run(&["ip", "link", "del", "back0"]);
        eventually("it is gone", || standing(&mut a) == (70, Some(false)));

        a.config.vrrp = vec![tracking(100, Tracked::Upstream("app".to_owned()), 20)];
        a.commit();
        assert_eq!(standing(&mut a), (100, None), "nobody has said it yet");
        a.tell(&ToVrrp::Upstreams { down: vec!["other".to_owned()] });
        assert_eq!(standing(&mut a), (120, Some(true)));
        a.tell(&ToVrrp::Upstreams { down: vec!["other".to_owned(), "app".to_owned()] });
        assert_eq!(standing(&mut a), (100, Some(false)));
        assert_eq!(a.report().instances[0].state, VrrpState::Master, "all the while");
    });
}
