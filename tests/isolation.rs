//! What the processes of the real program may do, read from the kernel; and how it gives up before it has started any.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a test starts processes, reads files and clocks, and fails by panicking"
)]

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

const VIPGATE: &str = env!("CARGO_BIN_EXE_vipgate");
/// For anything that has to happen: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);
const NET_ADMIN_AND_NET_RAW: u64 = 1 << 12 | 1 << 13;
const SECCOMP_FILTER: u64 = 2;

/// A configuration folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn with(text: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("vipgate-isolation-{}-{id}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("vipgate.yaml"), text).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left over is in the way of nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

const PAGES: &str = "
node: one
workers: 2
servers:
  - listen: [8080]
    routes:
      - path: /
        respond: { status: 200, body: hello }
";

const ROUTER: &str = "
vrrp:
  web:
    vrid: 51
    virtual_addresses: [192.0.2.4/24]
";

/// `prefix` starts the program, in a network namespace of its own.
fn command(prefix: &[&str], folder: &Folder) -> Command {
    let mut command = Command::new("unshare");
    command.arg("--net").args(prefix).arg(VIPGATE).arg("run").arg("--config").arg(&folder.0);
    command.env_remove("VIPGATE_CONFIG").env_remove("VIPGATE_CONTROL").stderr(Stdio::piped());
    command
}

struct Node(Child);

impl Node {
    fn start(folder: &Folder) -> Self {
        Self(command(&[], folder).spawn().unwrap())
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let net = format!("--net=/proc/{}/ns/net", self.0.id());
        Command::new("nsenter").arg(net).arg(VIPGATE).args(arguments).output().unwrap()
    }

    /// What `status --json` says once `condition` holds.
    fn until(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let output = self.ask(&["status", "--json"]);
            let status = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
            if condition(&status) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "{what} has not happened: {status:#} {output:?}");
        }
    }

    fn stop(mut self) -> Option<i32> {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Gone already where the test has stopped it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn skips(test: &str) -> bool {
    let can = geteuid().is_root()
        && Command::new("unshare").args(["--net", "true"]).status().is_ok_and(|s| s.success());
    if !can {
        println!("{test}: skipped, needs root and network namespaces");
    }
    !can
}

/// A field of /proc/PID/status, hexadecimal where the kernel writes it so.
fn field(pid: &Value, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(":\t")).unwrap();
    let radix = if name.starts_with("Cap") { 16 } else { 10 };
    u64::from_str_radix(value.trim(), radix).unwrap()
}

fn serves(status: &Value, role: &str) -> bool {
    status[role]["state"] == "serving" && status[role]["report"].is_array()
}

#[test]
fn each_role_has_the_capabilities_it_needs_and_a_filter() {
    if skips("capabilities") {
        return;
    }
    let folder = Folder::with(&format!("{PAGES}{ROUTER}"));
    let node = Node::start(&folder);
    let status = node.until("service", |s| serves(s, "proxy") && serves(s, "vrrp"));
    for (role, expect) in [("proxy", 0), ("vrrp", NET_ADMIN_AND_NET_RAW)] {
        let pid = &status[role]["pid"];
        for (set, expect) in [
            ("CapEff", expect),
            ("CapPrm", expect),
            ("CapBnd", expect),
            ("CapInh", 0),
            ("CapAmb", 0),
            ("NoNewPrivs", 1),
            ("Seccomp", SECCOMP_FILTER),
        ] {
            assert_eq!(field(pid, set), expect, "{role} {set}");
        }
    }
    // Nothing here has an address in the router's subnet.
    let health = node.ask(&["healthcheck"]);
    assert_eq!(health.status.code(), Some(1));
    let why = String::from_utf8_lossy(&health.stdout);
    assert!(why.contains("web is FAULT: "), "{why}");
    let unlikely = node.ask(&["healthcheck", "--role", "master"]);
    assert_eq!(unlikely.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unlikely.stdout).contains("no virtual router is MASTER"));
    assert_eq!(node.stop(), Some(0));
}

const HOOK: &str = "    notify: [/no/such/program]\n";

#[test]
fn the_runner_is_started_where_it_is_needed_and_has_nothing() {
    if skips("runner") {
        return;
    }
    let folder = Folder::with(&format!("{PAGES}{ROUTER}"));
    let node = Node::start(&folder);
    let status = node.until("service", |s| serves(s, "proxy") && serves(s, "vrrp"));
    assert!(status["runner"].is_null());
    fs::write(folder.0.join("vipgate.yaml"), format!("{PAGES}{ROUTER}{HOOK}")).unwrap();
    let status = node.until("service of the runner", |s| serves(s, "runner"));
    let pid = &status["runner"]["pid"];
    for (set, expect) in [
        ("CapEff", 0),
        ("CapPrm", 0),
        ("CapBnd", 0),
        ("CapInh", 0),
        ("CapAmb", 0),
        ("NoNewPrivs", 1),
        ("Seccomp", SECCOMP_FILTER),
    ] {
        assert_eq!(field(pid, set), expect, "{set}");
    }
    let text = String::from_utf8_lossy(&node.ask(&["status"]).stdout).into_owned();
    assert!(text.contains("runner  ") && text.contains("notify cannot run \"/no/such/program\""), "{text}");
    assert_eq!(node.stop(), Some(0));
}

#[test]
fn without_setpcap_the_roles_are_confined_all_the_same() {
    if skips("without SETPCAP") {
        return;
    }
    let folder = Folder::with(&format!("{PAGES}{ROUTER}{HOOK}"));
    let docker = ["setpriv", "--bounding-set=-all,+net_admin,+net_raw", "--no-new-privs"];
    let node = Node(command(&docker, &folder).spawn().unwrap());
    let status = node.until("service", |s| ["proxy", "vrrp", "runner"].iter().all(|role| serves(s, role)));
    for (role, expect) in [("proxy", 0), ("vrrp", NET_ADMIN_AND_NET_RAW), ("runner", 0)] {
        let pid = &status[role]["pid"];
        assert_eq!((field(pid, "CapEff"), field(pid, "CapPrm")), (expect, expect), "{role}");
        assert_eq!((field(pid, "NoNewPrivs"), field(pid, "Seccomp")), (1, SECCOMP_FILTER), "{role}");
    }
    assert_eq!(node.stop(), Some(0));
}

#[test]
fn a_front_end_needs_no_capability_and_no_vrrp_role() {
    if skips("front end") {
        return;
    }
    let folder = Folder::with(PAGES);
    let none = ["setpriv", "--bounding-set=-all", "--no-new-privs"];
    let node = Node(command(&none, &folder).spawn().unwrap());
    let status = node.until("service", |s| serves(s, "proxy"));
    assert_eq!(node.ask(&["healthcheck"]).status.code(), Some(0));
    assert!(status["vrrp"].is_null());
    let first = status["proxy"]["pid"].clone();
    kill(Pid::from_raw(first.as_i64().unwrap().try_into().unwrap()), Signal::SIGKILL).unwrap();
    node.until("another one", |s| serves(s, "proxy") && s["proxy"]["pid"] != first);
    assert_eq!(node.stop(), Some(0));
}

#[test]
fn a_file_that_is_mounted_by_itself_and_was_replaced_is_reported() {
    if skips("single-file mount") {
        return;
    }
    let folder = Folder::with(PAGES);
    fs::create_dir(folder.0.join("host")).unwrap();
    let (file, source) = (folder.0.join("vipgate.yaml"), folder.0.join("host/vipgate.yaml"));
    fs::write(&source, PAGES).unwrap();
    let mount = format!("mount --bind {} {} && exec \"$@\"", source.display(), file.display());
    let node = Node(command(&["unshare", "--mount", "sh", "-c", &mount, "sh"], &folder).spawn().unwrap());
    node.until("service", |s| serves(s, "proxy"));
    let edit = folder.0.join("host/new");
    fs::write(&edit, PAGES.replace("one", "two")).unwrap();
    fs::rename(&edit, &source).unwrap();
    let says = |s: &Value| s["warnings"].to_string().contains("mount the directory");
    let status = node.until("the warning", says);
    assert_eq!(status["node"], "one");
    assert_eq!(node.stop(), Some(0));
}

#[test]
fn a_stranger_is_told_nothing() {
    if skips("peer credentials") {
        return;
    }
    let folder = Folder::with(PAGES);
    let node = Node::start(&folder);
    node.until("service", |s| serves(s, "proxy"));
    let net = format!("--net=/proc/{}/ns/net", node.0.id());
    let stranger = ["setpriv", "--reuid=65534", "--clear-groups", VIPGATE, "status"];
    let output = Command::new("nsenter").arg(net).args(stranger).output().unwrap();
    if output.status.code() == Some(127) || output.status.code() == Some(126) {
        println!("peer credentials: skipped, user 65534 cannot execute {VIPGATE}");
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("user 65534 may not ask"), "{output:?}");
}

#[test]
fn the_log_is_json_where_the_configuration_says_so() {
    if skips("log") {
        return;
    }
    let folder = Folder::with(&format!("{PAGES}log: {{ format: json }}\n"));
    let mut node = Node::start(&folder);
    node.until("service", |s| serves(s, "proxy"));
    let mut log = node.0.stderr.take().unwrap();
    assert_eq!(node.stop(), Some(0));
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    assert!(!text.is_empty());
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(["time", "level", "role", "message"].iter().all(|key| line[key].is_string()), "{line}");
    }
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    if skips("a_log_that_nobody_reads_stops_nothing") {
        return;
    }
    let (_kept, full) = nix::unistd::pipe().unwrap();
    let blocking = |flags| fcntl(&full, FcntlArg::F_SETFL(flags)).unwrap();
    blocking(OFlag::O_NONBLOCK);
    while nix::unistd::write(&full, &[b'x'; 4096]).is_ok() {}
    blocking(OFlag::empty());
    let folder = Folder::with(PAGES);
    let node = Node(command(&[], &folder).stderr(Stdio::from(full)).spawn().unwrap());
    node.until("the proxy serves", |status| serves(status, "proxy"));
    assert_eq!(node.stop(), Some(0));
}

/// Exit code and what must be said.
fn check_refusal(prefix: &[&str], text: &str, code: i32, expect: &[&str]) {
    let folder = Folder::with(text);
    let output = command(prefix, &folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for expect in expect {
        assert!(said.contains(expect), "{expect:?} is not in {said}");
    }
}

#[test]
fn what_cannot_work_is_refused_at_the_start_with_a_remedy() {
    if skips("refusals") {
        return;
    }
    let both = format!("{PAGES}{ROUTER}");
    let remedy = "cap_add: [NET_ADMIN, NET_RAW]";
    check_refusal(&["setpriv", "--bounding-set=-net_raw"], &both, 77, &["lacks NET_RAW:", remedy, "user:"]);
    check_refusal(&["setpriv", "--bounding-set=-all"], &both, 77, &["lacks NET_ADMIN and NET_RAW:", remedy]);
    check_refusal(&["setpriv", "--reuid=65534"], &both, 77, &["lacks NET_ADMIN and NET_RAW:"]);
    let invalid = "node: one\nserver: []\nworkers: many\n";
    check_refusal(&[], invalid, 78, &["vipgate.yaml:2:1:", "vipgate.yaml:3:10:"]);
    let privileged = PAGES.replace("8080", "80");
    let remedy = "net.ipv4.ip_unprivileged_port_start=0";
    check_refusal(
        &["setpriv", "--bounding-set=-all"],
        &privileged,
        77,
        &["cannot listen on 0.0.0.0:80", remedy],
    );
    let folder = Folder::with("");
    fs::remove_file(folder.0.join("vipgate.yaml")).unwrap();
    let output = command(&[], &folder).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("VIPGATE_CONFIG"));
}
