//! The network of these tests: a bridge with a client, and nodes in namespaces of their own.

use std::fs::{self, DirEntry, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::instance;
use crate::config::{Action, Config, Host, Server, Transport, VrrpInstance, example};
use crate::link::{FromVrrp, Generation, ToVrrp, VrrpReport, VrrpState, frame};
use crate::net::Priority;
use crate::os::{descriptor, netns};

/// In the environment of the process that plays the role.
pub(super) const ROLE_PROCESS: &str = "VIPGATE_TEST_ROLE_PROCESS";
pub(super) const WITHOUT_NFT: &str = "without nftables";
pub(super) const VIP: &str = "10.50.0.99";
/// Long enough for a busy machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `test` in the client's namespace, where `br0` is 10.50.0.1/24.
pub(super) fn with_bridge(name: &str, test: impl FnOnce() + Send + 'static) {
    netns::with(name, || {
        netns::loopback_up();
        let made = netns::output("ip", &["link", "add", "br0", "type", "bridge", "forward_delay", "0"])
            .and_then(|_| netns::output("ip", &["addr", "add", "10.50.0.1/24", "dev", "br0"]))
            .and_then(|_| netns::output("ip", &["link", "set", "br0", "up"]));
        if made.is_some() {
            test();
        }
    });
}

/// A namespace with `lo` switched on.
pub(super) struct Namespace(File);

impl Namespace {
    pub(super) fn new() -> Self {
        let open = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            netns::loopback_up();
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        Self(thread::spawn(open).join().unwrap())
    }

    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    pub(super) fn enter<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = || {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                action()
            };
            scope.spawn(inside).join().unwrap()
        })
    }

    /// A cable from `br0` to an interface of this name; called in the client's namespace.
    pub(super) fn plug_in(&self, interface: &str, address: IpAddr) {
        let port = format!("port{}", address.to_string().rsplit('.').next().unwrap());
        let path = self.path();
        // Of a namespace that is no more; the kernel takes its time.
        netns::output("ip", &["link", "del", &port]);
        run(&["ip", "link", "add", &port, "type", "veth", "peer", "name", interface, "netns", &path]);
        run(&["ip", "link", "set", &port, "master", "br0", "up"]);
        self.run(&["ip", "addr", "add", &format!("{address}/24"), "dev", interface]);
        self.run(&["ip", "link", "set", interface, "up"]);
    }

    pub(super) fn run(&self, command: &[&str]) -> String {
        run(&[&["nsenter", &format!("--net={}", self.path())], command].concat())
    }
}

pub(super) fn run(command: &[&str]) -> String {
    let (program, arguments) = command.split_first().unwrap();
    netns::output(program, arguments).unwrap_or_else(|| panic!("{command:?}"))
}

pub(super) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        thread::yield_now();
    }
}

#[derive(Default)]
struct Heard {
    messages: Vec<FromVrrp>,
    log: String,
}

/// A node with its vrrp role running.
pub(super) struct Node {
    pub(super) namespace: Namespace,
    pub(super) config: Config,
    process: Child,
    link: UnixStream,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    /// What the test has taken note of.
    seen: usize,
    generation: u64,
}

impl Node {
    /// 10.50.0.`last` on `eth0`, with this one virtual router.
    pub(super) fn start(last: u8, instance: VrrpInstance) -> Self {
        Self::start_kind("", last, instance)
    }

    pub(super) fn start_kind(kind: &str, last: u8, instance: VrrpInstance) -> Self {
        let namespace = Namespace::new();
        namespace.plug_in("eth0", IpAddr::V4(Ipv4Addr::new(10, 50, 0, last)));
        let mut node = Self::unconfigured(kind, namespace, config(vec![instance]));
        node.commit();
        node
    }

    pub(super) fn unconfigured(kind: &str, namespace: Namespace, config: Config) -> Self {
        let (ours, theirs) = descriptor::pair().unwrap();
        let link = UnixStream::from(ours);
        let process = namespace.enter(|| play_role(kind, theirs));
        let mut node =
            Self { namespace, config, process, link, heard: Arc::default(), seen: 0, generation: 0 };
        node.listen();
        node
    }

    /// A new process in the same namespace, after the end of the old one.
    pub(super) fn restart(mut self) -> Self {
        drop(self.process.kill());
        self.process.wait().unwrap();
        let (ours, theirs) = descriptor::pair().unwrap();
        self.link = UnixStream::from(ours);
        self.process = self.namespace.enter(|| play_role("", theirs));
        self.seen = self.heard.0.lock().unwrap().messages.len();
        self.listen();
        self.commit();
        self
    }

    pub(super) fn tell(&self, message: &ToVrrp) {
        (&self.link).write_all(&frame::encode(message).unwrap()).unwrap();
    }

    pub(super) fn commit(&mut self) {
        self.generation += 1;
        let generation = Generation(self.generation);
        self.tell(&ToVrrp::Prepare { generation, config: Box::new(self.config.clone()) });
        self.expect("prepared", |m| *m == FromVrrp::Prepared { generation });
        self.tell(&ToVrrp::Commit { generation });
        self.expect("committed", |m| *m == FromVrrp::Committed { generation });
    }

    /// The next message that fits; those before it are passed over.
    pub(super) fn expect(&mut self, what: &str, fits: impl Fn(&FromVrrp) -> bool) -> FromVrrp {
        let end = Instant::now() + PATIENCE;
        let mut heard = self.heard.0.lock().unwrap();
        loop {
            if let Some(at) = heard.messages.iter().skip(self.seen).position(&fits) {
                self.seen += at + 1;
                return heard.messages[self.seen - 1].clone();
            }
            assert!(Instant::now() < end, "never: {what}");
            heard = self.heard.1.wait_timeout(heard, Duration::from_millis(100)).unwrap().0;
        }
    }

    /// Returns why.
    pub(super) fn becomes(&mut self, state: VrrpState) -> String {
        let fits = |m: &FromVrrp| matches!(m, FromVrrp::Transition(t) if t.to == state);
        match self.expect(&format!("{state:?}"), fits) {
            FromVrrp::Transition(transition) => transition.reason,
            other => unreachable!("{other:?}"),
        }
    }

    pub(super) fn report(&mut self) -> VrrpReport {
        self.tell(&ToVrrp::Report);
        match self.expect("a report", |m| matches!(m, FromVrrp::Report(_))) {
            FromVrrp::Report(report) => report,
            other => unreachable!("{other:?}"),
        }
    }

    pub(super) fn counter(&mut self, name: &str) -> u64 {
        let report = self.report();
        report.instances[0].counters.iter().find(|(n, _)| n == name).map_or(0, |(_, count)| *count)
    }

    pub(super) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Returns once every thread has stopped; until then, one of them may still do something.
    pub(super) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let threads = format!("/proc/{}/task", self.process.id());
        let is_stopped = |thread: DirEntry| {
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            status.contains("State:\tT")
        };
        eventually("it stops", || fs::read_dir(&threads).unwrap().all(|thread| is_stopped(thread.unwrap())));
    }

    pub(super) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id().cast_signed()), signal).unwrap();
    }

    /// Ends the link, as the death of PID 1 does, and waits for the process to leave by itself.
    pub(super) fn orphan(mut self) -> Namespace {
        self.link.shutdown(std::net::Shutdown::Both).unwrap();
        assert!(self.process.wait().unwrap().success());
        let spare = Namespace::new();
        std::mem::replace(&mut self.namespace, spare)
    }

    /// Where the kernel holds the address, as `ip` shows it: `lo`, `eth0`, or nothing.
    pub(super) fn holds(&self, address: &str) -> Option<String> {
        let family = if address.contains(':') { "-6" } else { "-4" };
        let shown = self.namespace.run(&["ip", "-o", family, "addr", "show", "to", address]);
        shown.split_whitespace().nth(1).map(str::to_owned)
    }

    pub(super) fn mac(&self) -> String {
        let shown = self.namespace.run(&["ip", "-o", "link", "show", "eth0"]);
        shown.split("link/ether ").nth(1).unwrap().split_whitespace().next().unwrap().to_uppercase()
    }

    pub(super) fn log(&self) -> String {
        self.heard.0.lock().unwrap().log.clone()
    }

    fn listen(&mut self) {
        let mut link = self.link.try_clone().unwrap();
        let heard = Arc::clone(&self.heard);
        thread::spawn(move || {
            let mut length = [0; 4];
            while link.read_exact(&mut length).is_ok() {
                let mut body = vec![0; u32::from_be_bytes(length) as usize];
                if link.read_exact(&mut body).is_err() {
                    return;
                }
                let message = frame::decode(&body).unwrap();
                if !matches!(message, FromVrrp::Beat { .. }) {
                    heard.0.lock().unwrap().messages.push(message);
                    heard.1.notify_all();
                }
            }
        });
        let log = BufReader::new(self.process.stderr.take().unwrap());
        let heard = Arc::clone(&self.heard);
        thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let mut heard = heard.0.lock().unwrap();
                heard.log.push_str(&line);
                heard.log.push('\n');
            }
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        if thread::panicking() {
            println!("{}:\n{}", self.namespace.path(), self.log());
        }
    }
}

fn play_role(kind: &str, link: OwnedFd) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "daemon::vrrp::tests::role_process", "--nocapture"])
        .env(ROLE_PROCESS, kind)
        .stdin(Stdio::from(link))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// As on a kernel without nf_tables: no socket for it.
pub(super) fn forbid_nftables() {
    let is = |argument, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).unwrap()
    };
    let netfilter =
        SeccompRule::new(vec![is(0, libc::AF_NETLINK as u64), is(2, libc::NETLINK_NETFILTER as u64)]);
    let filter = SeccompFilter::new(
        [(libc::SYS_socket, vec![netfilter.unwrap()])].into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPROTONOSUPPORT.unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

pub(super) fn config(vrrp: Vec<VrrpInstance>) -> Config {
    Config { node: "test".to_owned(), vrrp, servers: vec![], upstreams: vec![], ..example() }
}

/// A server on port 80 of every address.
pub(super) fn server() -> Server {
    let [mut server] = example().servers.try_into().unwrap();
    for route in &mut server.routes {
        route.action =
            Action::Respond { status: 200, content_type: "text/plain".to_owned(), body: String::new() };
    }
    server
}

/// Every node is listed, as in a file that all of them share.
pub(super) fn unicast(priority: u8, nodes: &[u8]) -> VrrpInstance {
    let host = |last: &u8| Host::Address([10, 50, 0, *last].into());
    VrrpInstance {
        priority: Priority::try_from(i64::from(priority)).unwrap(),
        transport: Transport::Unicast { peers: nodes.iter().map(host).collect() },
        ..instance(&format!("{VIP}/24"))
    }
}

/// Whether it applies an edit after its peers.
pub(super) fn goes_last(node: &mut Node) -> bool {
    node.tell(&ToVrrp::AskPeers { question: 1, listen: vec![] });
    match node.expect("an answer", |m| matches!(m, FromVrrp::Peers { .. })) {
        FromVrrp::Peers { answer, .. } => answer.goes_last,
        other => unreachable!("{other:?}"),
    }
}

/// The MAC addresses that answer an ARP request for the address, asked so often that nobody stays unheard.
pub(super) fn answering(address: &str) -> Vec<String> {
    let output =
        Command::new("arping").args(["-b", "-I", "br0", "-c", "2", "-w", "2", address]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut macs: Vec<String> =
        text.lines().filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0.to_owned())).collect();
    macs.sort_unstable();
    macs.dedup();
    macs
}
