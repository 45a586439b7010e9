//! A bridge in a namespace of its own, with a client on it, and cables to the namespaces of the nodes. What differs
//! from run to run is drawn and printed. Knows nothing of VRRP.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::{Command, Output, id};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::geteuid;
use vipgate::net::Family;
use vipgate::os::packet::NeighbourSocket;

use crate::random::Random;

/// For anything that has to happen: far beyond every bound of the product, since the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The last bytes of their addresses.
const CLIENT: u8 = 1;
const NEIGHBOUR: u8 = 2;
const BROADCAST: [u8; 6] = [0xff; 6];
const TOOLS: [&str; 3] = ["ip", "tcpdump", "keepalived"];

/// One test at a time: their nodes would only make each other late.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) struct Namespace(File);

impl Namespace {
    fn new() -> Self {
        let open = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        };
        let namespace = Self(thread::spawn(open).join().unwrap());
        namespace.run("ip link set lo up");
        namespace
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", id(), self.0.as_raw_fd())
    }

    /// What `action` opens or starts belongs to the namespace.
    pub(crate) fn enter<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = || {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                action()
            };
            scope.spawn(inside).join().unwrap()
        })
    }

    /// Its words have no blanks in them. Returns what it says.
    pub(crate) fn run(&self, command: &str) -> String {
        let output = self.attempt(command);
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same for what may fail.
    fn attempt(&self, command: &str) -> Output {
        let mut words = command.split(' ');
        let mut process = Command::new(words.next().unwrap());
        process.args(words);
        self.enter(|| process.output()).unwrap()
    }
}

pub(crate) struct Lan {
    pub(crate) bridge: Namespace,
    /// 10.x.y.
    net: [u8; 3],
    pub(crate) vrid: u8,
    pub(crate) port: u16,
    vip: u8,
    neighbour: Option<Namespace>,
    _turn: MutexGuard<'static, ()>,
}

impl Lan {
    /// `None`, with the reason printed: this machine cannot.
    pub(crate) fn for_test(name: &str) -> Option<Self> {
        let exists = |tool: &&str| {
            let path = std::env::var("PATH").unwrap_or_default();
            path.split(':').chain(["/usr/sbin"]).any(|folder| File::open(format!("{folder}/{tool}")).is_ok())
        };
        let allowed = geteuid().is_root()
            && Command::new("unshare").args(["--net", "true"]).status().is_ok_and(|s| s.success());
        if !allowed {
            println!("{name}: skipped, needs root and network namespaces");
            return None;
        }
        if let Some(missing) = TOOLS.iter().find(|tool| !exists(tool)) {
            println!("{name}: skipped, {missing} is not installed");
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let mut random = Random::new(now.as_nanos() as u64 ^ u64::from(id()) << 32);
        let mut draw = |low, high| random.between(low, high) as u8;
        let bridge = Namespace::new();
        let mut lan = Self {
            bridge,
            net: [10, draw(0, 255), draw(0, 255)],
            vrid: draw(1, 255),
            vip: draw(100, 199),
            port: 0,
            neighbour: None,
            _turn: turn,
        };
        lan.port = random.between(1024, 65_000) as u16;
        while !lan.is_free() {
            lan.net = [10, random.between(0, 255) as u8, random.between(0, 255) as u8];
        }
        println!("{name}: {}, vrid {}, port {}", lan.vip(), lan.vrid, lan.port);
        lan.bridge.run(&format!("ip link add br0 address {} type bridge", mac(CLIENT)));
        lan.bridge.run(&format!("ip addr add {}/24 brd + dev br0", lan.client()));
        lan.bridge.run("ip link set br0 up");
        // A bridge without a neighbour has no carrier, and sends nothing.
        lan.neighbour = Some(lan.attach(NEIGHBOUR));
        until("a carrier", || lan.bridge.run("ip -o link show br0").contains("LOWER_UP").then_some(()));
        Some(lan)
    }

    /// No route of this machine but the default one leads there.
    fn is_free(&self) -> bool {
        let net = format!("{}/24", self.address(0));
        ["match", "root"].into_iter().all(|how| {
            let output = Command::new("ip").args(["-4", "route", "show", "to", how, &net]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).lines().all(|line| line.starts_with("default"))
        })
    }

    pub(crate) fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.net;
        Ipv4Addr::new(a, b, c, last)
    }

    pub(crate) fn client(&self) -> Ipv4Addr {
        self.address(CLIENT)
    }

    pub(crate) fn vip(&self) -> Ipv4Addr {
        self.address(self.vip)
    }

    /// A namespace with `eth0` on the bridge, by its last byte: also of its MAC address, and in the name of its port.
    pub(crate) fn attach(&self, last: u8) -> Namespace {
        let node = Namespace::new();
        let (path, mac) = (node.path(), mac(last));
        // Of a namespace that was here before: the kernel takes its time to clean up.
        self.bridge.attempt(&format!("ip link del port{last}"));
        self.bridge
            .run(&format!("ip link add port{last} type veth peer name eth0 address {mac} netns {path}"));
        self.bridge.run(&format!("ip link set port{last} master br0 up"));
        node.run(&format!("ip addr add {}/24 brd + dev eth0", self.address(last)));
        node.run("ip link set eth0 up");
        node
    }

    /// Asks who has the virtual address, as often as this, until it is dropped.
    pub(crate) fn ask(&self, every: Duration) -> Flood {
        let frame = who_has(parse_mac(&mac(CLIENT)), self.client(), [0; 6], self.vip());
        Flood::start(&self.bridge, "br0", frame, every)
    }

    /// Claims the virtual address from a namespace of this last byte, by gratuitous ARP.
    pub(crate) fn claim(&self, stranger: &Namespace, last: u8, every: Duration) -> Flood {
        let frame = who_has(parse_mac(&mac(last)), self.vip(), BROADCAST, self.vip());
        Flood::start(stranger, "eth0", frame, every)
    }
}

/// Of the node with this last byte.
pub(crate) fn mac(last: u8) -> String {
    format!("02:00:00:00:00:{last:02x}")
}

fn parse_mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

/// A broadcast request (RFC 826).
fn who_has(sender_mac: [u8; 6], sender: Ipv4Addr, target_mac: [u8; 6], target: Ipv4Addr) -> Vec<u8> {
    [
        BROADCAST.as_slice(),
        &sender_mac,
        &[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1],
        &sender_mac,
        &sender.octets(),
        &target_mac,
        &target.octets(),
    ]
    .concat()
}

/// One frame again and again.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn start(from: &Namespace, interface: &str, frame: Vec<u8>, every: Duration) -> Self {
        let socket = from
            .enter(|| NeighbourSocket::open(if_nametoindex(interface).unwrap(), Family::V4, &[]).unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let asked_to_stop = Arc::clone(&stop);
        let send = move || {
            while !asked_to_stop.load(Ordering::Relaxed) {
                // A full queue swallows some; there are more.
                let _ = socket.send(&frame);
                thread::park_timeout(every);
            }
        };
        Self { stop, thread: Some(thread::spawn(send)) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            thread.join().unwrap();
        }
    }
}

/// The first value that there is.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "never: {what}");
        // Whoever is waited for needs the processor.
        thread::park_timeout(Duration::from_millis(5));
    }
}
