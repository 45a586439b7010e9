//! What the nodes track moves the address: a program that fails, an nginx beside them that is stopped.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vipgate::link::VrrpState;

use crate::lan::{Lan, Namespace, PATIENCE, until};
use crate::node::Node;

/// A folder of this test, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("vipgate-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left over is in the way of nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_command_that_fails_moves_the_address() {
    let Some(lan) = Lan::for_test("command") else { return };
    let folder = Folder::new("tracked");
    let proof = folder.0.join("well");
    fs::write(&proof, "").unwrap();
    let peers = format!("peers: [{}, {}]", lan.address(11), lan.address(12));
    let track = format!(
        "track: [{{command: [test, -e, {}], weight: -60, interval: 100ms, timeout: 10s}}]",
        proof.display()
    );
    let better = Node::start(&lan, 11, &["priority: 150", &peers, &track]);
    let worse = Node::start(&lan, 12, &["priority: 100", &peers]);
    better.becomes(VrrpState::Master);
    worse.becomes(VrrpState::Backup);
    fs::remove_file(&proof).unwrap();
    worse.becomes(VrrpState::Master);
    let report = until("it has stepped back", || better.report().filter(|r| r.state == VrrpState::Backup));
    assert_eq!((report.priority, report.configured_priority), (90, 150));
    assert_eq!(report.tracks[0].reason, "exited with code 1");
    fs::write(&proof, "").unwrap();
    better.becomes(VrrpState::Master);
}

/// The proxy finds it out, PID 1 passes it on, and the vrrp role acts on it.
#[test]
fn an_upstream_without_a_server_moves_the_address() {
    let Some(lan) = Lan::for_test("upstream") else { return };
    let start = |last: u8, priority: u8| {
        let namespace = lan.attach(last);
        let origin = namespace.enter(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let port = origin.local_addr().unwrap().port();
        let document = format!(
            "node: node{last}\nvrrp:\n  web:\n    vrid: {}\n    priority: {priority}\n    virtual_addresses: [{}/24]\n    \
             peers: [{}, {}]\n    track: [{{upstream: app, weight: -60}}]\nupstreams:\n  app:\n    \
             servers: [\"127.0.0.1:{port}\"]\n    check: {{inter: 200ms, timeout: 10s, fall: 1}}\nservers:\n  \
             - {{listen: [{}], routes: [{{path: /, respond: {{}}}}, {{path: /app, proxy: {{upstream: app}}}}]}}\n",
            lan.vrid,
            lan.vip(),
            lan.address(11),
            lan.address(12),
            lan.port
        );
        (origin, Node::start_with(namespace, last, lan.vrid, &document))
    };
    let (origin, better) = start(11, 150);
    let (_other, worse) = start(12, 100);
    better.becomes(VrrpState::Master);
    worse.becomes(VrrpState::Backup);
    drop(origin);
    worse.becomes(VrrpState::Master);
    let report = until("it has stepped back", || better.report().filter(|r| r.state == VrrpState::Backup));
    assert_eq!((report.priority, report.tracks[0].ok), (90, Some(false)));
}

/// nginx in a namespace, as in a container that vipgate shares the network with.
struct Nginx {
    process: Child,
    folder: Folder,
}

impl Nginx {
    fn start(lan: &Lan, namespace: &Namespace, last: u8) -> Self {
        let folder = Folder::new(&format!("nginx-{last}"));
        let text = format!(
            "daemon off;\npid pid;\nerror_log log;\nevents {{}}\nhttp {{\n access_log off;\n server {{\n listen {};\n \
             location / {{ return 200 node{last}; }}\n }}\n}}\n",
            lan.port
        );
        fs::write(folder.0.join("conf"), text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&folder.0).args(["-c", "conf", "-e", "log"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = namespace.enter(|| command.spawn().unwrap());
        Self { process, folder }
    }

    fn stop(&mut self) {
        // Its workers end with it.
        if kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM).is_ok() {
            let _ = self.process.wait();
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", fs::read_to_string(self.folder.0.join("log")).unwrap_or_default());
        }
        self.stop();
    }
}

/// What the client gets from the virtual address; `None`: nothing.
fn ask(lan: &Lan) -> Option<String> {
    lan.bridge.enter(|| {
        let address = SocketAddr::from((lan.vip(), lan.port));
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text.rsplit_once("\r\n\r\n")?.1.to_owned())
    })
}

#[test]
fn beside_an_nginx_that_is_stopped_the_address_moves() {
    if Command::new("nginx").arg("-v").output().is_err() {
        println!("skipped: nginx is not installed");
        return;
    }
    let Some(lan) = Lan::for_test("beside nginx") else { return };
    let start = |last: u8, priority: u8| {
        let namespace = lan.attach(last);
        let nginx = Nginx::start(&lan, &namespace, last);
        // No listener of its own.
        let document = format!(
            "node: node{last}\nvrrp:\n  web:\n    vrid: {}\n    priority: {priority}\n    virtual_addresses: [{}/24]\n    \
             peers: [{}, {}]\n    track: [{{http: {}, interval: 100ms, timeout: 10s}}]\n",
            lan.vrid,
            lan.vip(),
            lan.address(11),
            lan.address(12),
            lan.port
        );
        (nginx, Node::start_with(namespace, last, lan.vrid, &document))
    };
    let (mut nginx, better) = start(11, 150);
    let (_other, worse) = start(12, 100);
    better.becomes(VrrpState::Master);
    worse.becomes(VrrpState::Backup);
    until("the first nginx answers", || ask(&lan).filter(|text| text == "node11"));

    nginx.stop();
    worse.becomes(VrrpState::Master);
    let report = until("it is in fault", || better.report().filter(|r| r.state == VrrpState::Fault));
    assert!(report.reason.starts_with("http 127.0.0.1:"), "{}", report.reason);
    until("the second nginx answers", || ask(&lan).filter(|text| text == "node12"));
    assert_eq!(better.holds(&lan), None);

    let _again = Nginx::start(&lan, &better.namespace, 11);
    better.becomes(VrrpState::Master);
    until("home again", || ask(&lan).filter(|text| text == "node11"));
}
