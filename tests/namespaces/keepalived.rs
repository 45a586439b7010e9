//! With keepalived on the same wire: neither it nor tcpdump has anything to complain of, whoever is master.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vipgate::link::VrrpState;

use crate::capture::{Capture, Mark};
use crate::lan::{Lan, Namespace, mac, until};
use crate::node::Node;

const COMPLAINTS: [&str; 8] =
    ["invalid", "mismatch", "bogus", "checksum", "Dropping", "expected", "incorrect", "received an"];

struct Keepalived {
    process: Child,
    namespace: Namespace,
    folder: PathBuf,
}

impl Keepalived {
    /// 10.x.y.12, priority 100, version 3, a fifth of a second, unicast to 10.x.y.11.
    fn start(lan: &Lan) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vipgate-namespaces-keepalived-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "vrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n version 3\n virtual_router_id {}\n \
             priority 100\n advert_int 0.2\n unicast_src_ip {}\n unicast_peer {{ {} }}\n virtual_ipaddress \
             {{ {}/24 }}\n}}\n",
            lan.vrid,
            lan.address(12),
            lan.address(11),
            lan.vip()
        );
        let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        fs::write(file("conf"), text).unwrap();
        let log = fs::File::create(file("log")).unwrap();
        let mut command = Command::new("keepalived");
        command.args(["-n", "-l", "-D", "-P"]);
        command.args(["-f", &file("conf"), "-p", &file("pid"), "-r", &file("vrrp_pid")]);
        command.stdout(Stdio::from(log.try_clone().unwrap())).stderr(Stdio::from(log));
        let namespace = lan.attach(12);
        let process = namespace.enter(|| command.spawn().unwrap());
        Self { process, namespace, folder }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn holds_the_address(&self, lan: &Lan, expect: bool) {
        until(&format!("keepalived holds the address: {expect}"), || {
            let shown = self.namespace.run(&format!("ip -o -4 addr show to {}", lan.vip()));
            (shown.is_empty() != expect).then_some(())
        });
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        // Its own children end with it.
        if kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM).is_ok() {
            let _ = self.process.wait();
        }
        if std::thread::panicking() {
            println!("{}", self.log());
        }
        // What is left over is in the way of nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn nobody_complains_beside_keepalived() {
    let Some(lan) = Lan::for_test("keepalived") else { return };
    let capture = Capture::start(&lan);
    let start = capture.mark();
    let keepalived = Keepalived::start(&lan);
    let adverts = |last: u8, priority: u8, count: usize, mark: Mark| {
        let expect = format!(
            ", Advertisement, vrid {}, prio {priority}, intvl 20cs, length 12, addrs: {}",
            lan.vrid,
            lan.vip()
        );
        let is = |frame: &crate::capture::Frame| frame.from == mac(last) && frame.text.ends_with(&expect);
        capture.wait(&format!("adverts of {last} with {priority}"), mark, count, is);
    };
    let peers = format!("peers: [{}, {}]", lan.address(11), lan.address(12));
    let better = ["priority: 150", "advert_interval: 200ms", &peers];
    let worse = ["priority: 50", "advert_interval: 200ms", &peers];

    // keepalived is master, this one its backup.
    keepalived.holds_the_address(&lan, true);
    let mut node = Node::start(&lan, 11, &worse);
    node.becomes(VrrpState::Backup);
    adverts(12, 100, 10, capture.mark());
    let hears = |count| {
        until("it hears keepalived", || {
            let report = node.report()?;
            let heard = report.counters.iter().find(|(name, _)| name == "advert_received")?.1;
            (heard > count).then_some(report)
        })
    };
    let report = hears(10);
    assert_eq!((report.state, report.master), (VrrpState::Backup, Some((lan.address(12).into(), 100))));
    let dropped: Vec<_> = report.counters.iter().filter(|(name, _)| name.starts_with("drop")).collect();
    assert!(dropped.is_empty(), "{dropped:?}");

    // The other way round, by an edit of the file.
    node.configure(&lan, &better);
    node.becomes(VrrpState::Master);
    keepalived.holds_the_address(&lan, false);
    adverts(11, 150, 10, capture.mark());

    // And back, by a stop.
    let told = capture.mark();
    node.terminate();
    assert_eq!(node.exits().code(), Some(0), "{}", node.log());
    keepalived.holds_the_address(&lan, true);
    adverts(11, 0, 1, told);
    adverts(12, 100, 10, told);

    assert!(capture.since(start).iter().any(|frame| frame.priority() == Some(150)));
    assert!(capture.complaints().is_empty(), "{:?}", capture.complaints());
    let log = keepalived.log();
    let complaints: Vec<_> =
        log.lines().filter(|line| COMPLAINTS.iter().any(|word| line.contains(word))).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}
