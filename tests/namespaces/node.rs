//! `vipgate run` in a namespace: started, asked, frozen, thawed, stopped.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vipgate::daemon::control;
use vipgate::link::InstanceReport;
use vipgate::link::VrrpState;
use vipgate::link::control::{Answer, Request};

use crate::lan::{Lan, Namespace, mac, until};

const VIPGATE: &str = env!("CARGO_BIN_EXE_vipgate");

pub(crate) struct Node {
    pub(crate) last: u8,
    vrid: u8,
    pub(crate) namespace: Namespace,
    folder: PathBuf,
    process: Child,
}

impl Node {
    /// 10.x.y.`last`, with these lines of its virtual router's configuration.
    pub(crate) fn start(lan: &Lan, last: u8, lines: &[&str]) -> Self {
        Self::start_in(lan, lan.attach(last), last, lan.vrid, lines)
    }

    pub(crate) fn start_in(lan: &Lan, namespace: Namespace, last: u8, vrid: u8, lines: &[&str]) -> Self {
        Self::start_with(namespace, last, vrid, &document(lan, last, vrid, lines))
    }

    pub(crate) fn start_with(namespace: Namespace, last: u8, vrid: u8, document: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("vipgate-namespaces-{}-{count}", std::process::id()));
        fs::create_dir_all(folder.join("etc")).unwrap();
        let log = File::create(folder.join("log")).unwrap();
        let mut command = Command::new(VIPGATE);
        command.arg("run").arg("--config").arg(folder.join("etc"));
        command.env_remove("VIPGATE_CONFIG").env_remove("VIPGATE_CONTROL");
        command.stdin(Stdio::null()).stderr(log).process_group(0);
        write(&folder, document);
        let process = namespace.enter(|| command.spawn().unwrap());
        Self { last, vrid, namespace, folder, process }
    }

    pub(crate) fn mac(&self) -> String {
        mac(self.last)
    }

    pub(crate) fn configure(&self, lan: &Lan, lines: &[&str]) {
        write(&self.folder, &document(lan, self.last, self.vrid, lines));
    }

    /// What it says of its virtual router; `None`: it has not yet begun or does not answer.
    pub(crate) fn report(&self) -> Option<InstanceReport> {
        match self.namespace.enter(|| control::ask("", &Request::Status)).ok()? {
            Answer::Status(status) => status.vrrp?.report?.1.instances.into_iter().next(),
            other => panic!("{other:?}"),
        }
    }

    /// `vipgate` with these arguments beside it: whether that said yes, and what it said.
    pub(crate) fn ask(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(VIPGATE);
        command.args(arguments).env_remove("VIPGATE_CONTROL");
        let output = self.namespace.enter(|| command.output()).unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }

    pub(crate) fn becomes(&self, state: VrrpState) {
        let what = format!("{} is {state:?}", self.last);
        until(&what, || self.report().filter(|report| report.state == state));
    }

    /// Where the kernel holds the address: `lo`, `eth0`, or nothing.
    pub(crate) fn holds(&self, lan: &Lan) -> Option<String> {
        let shown = self.namespace.run(&format!("ip -o -4 addr show to {}", lan.vip()));
        shown.split_whitespace().nth(1).map(str::to_owned)
    }

    /// Returns once none of its processes can do anything, parents before their children, so that nobody notices.
    pub(crate) fn freeze(&self) {
        for pid in tree(self.process.id()) {
            signal(pid, Signal::SIGSTOP);
            let threads = format!("/proc/{pid}/task");
            until("it stops", || {
                let is_stopped = |thread: fs::DirEntry| {
                    let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
                    status.contains("State:\tT")
                };
                fs::read_dir(&threads).unwrap().all(|thread| is_stopped(thread.unwrap())).then_some(())
            });
        }
    }

    pub(crate) fn thaw(&self) {
        tree(self.process.id()).into_iter().for_each(|pid| signal(pid, Signal::SIGCONT));
    }

    pub(crate) fn terminate(&self) {
        signal(self.process.id(), Signal::SIGTERM);
    }

    pub(crate) fn exits(&mut self) -> ExitStatus {
        until("it exits", || self.process.try_wait().unwrap())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            // Frozen ones too.
            tree(self.process.id()).into_iter().for_each(|pid| signal(pid, Signal::SIGKILL));
            let _ = self.process.wait();
        }
        if std::thread::panicking() {
            println!("{}:\n{}", self.last, self.log());
        }
        // What is left over is in the way of nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Written beside it and put in place at once.
fn write(folder: &std::path::Path, text: &str) {
    fs::write(folder.join("new"), text).unwrap();
    fs::rename(folder.join("new"), folder.join("etc/vipgate.yaml")).unwrap();
}

pub(crate) fn document(lan: &Lan, last: u8, vrid: u8, lines: &[&str]) -> String {
    let lines: String = lines.iter().flat_map(|line| ["    ", line, "\n"]).collect();
    format!(
        "node: node{last}\nworkers: 1\naccess_log: off\nvrrp:\n  web:\n    vrid: {vrid}\n    virtual_addresses: [{}/24]\n{lines}servers:\n  \
         - listen: [{}]\n    add_headers: {{ X-Served-By: node{last} }}\n    routes:\n      - path: /\n        respond: {{ status: 200, body: hello }}\n",
        lan.vip(),
        lan.port
    )
}

fn signal(pid: u32, signal: Signal) {
    // Already gone is as good.
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
}

/// A process and what it has started.
fn tree(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = threads.flat_map(|thread| {
        let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        text.split_whitespace().map(|child| child.parse().unwrap()).collect::<Vec<u32>>()
    });
    std::iter::once(pid).chain(children.flat_map(tree)).collect()
}
