//! One supervisor under test, its folder, its journal, and what a test does to it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vipgate::daemon::control;
use vipgate::link::control::{Answer, Request, Status};

use crate::roles::FOLDER;

/// For anything that has to happen: far beyond every bound of the supervisor, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Node {
    pub(crate) folder: PathBuf,
    pub(crate) suffix: String,
    pub(crate) port: u16,
    child: Child,
}

/// What is not the same for every test.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) without_vrrp: bool,
    /// Told so from the start.
    pub(crate) told: &'static [&'static str],
    /// As process 1 of a namespace of its own.
    pub(crate) as_init: bool,
    /// The configuration is a symbolic link into another folder.
    pub(crate) linked: bool,
    /// There is no file; the environment has this server to forward to.
    pub(crate) upstream: Option<&'static str>,
    /// Further keys of the virtual router, each a line.
    pub(crate) hooks: &'static [&'static str],
}

impl Node {
    pub(crate) fn start(options: Options) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(format!("vipgate-supervisor-{id}"));
        let etc = folder.join("etc");
        fs::create_dir_all(&etc).unwrap();
        let suffix = format!("-test-{id}");
        let port = free_port();
        let text = with_hooks(&document("first", port, !options.without_vrrp), options.hooks);
        if options.upstream.is_some() {
            // The built-in document listens on port 80, which another test may have.
        } else if options.linked {
            write(&folder.join("data-1/vipgate.yaml"), &text);
            std::os::unix::fs::symlink("../data-1", etc.join("..data")).unwrap();
            std::os::unix::fs::symlink("..data/vipgate.yaml", etc.join("vipgate.yaml")).unwrap();
        } else {
            write(&etc.join("vipgate.yaml"), &text);
        }
        for told in options.told {
            File::create(folder.join(told)).unwrap();
        }
        let this = std::env::current_exe().unwrap();
        let mut command = if options.as_init {
            let mut command = Command::new("unshare");
            command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(this);
            command
        } else {
            Command::new(this)
        };
        let log = File::create(folder.join("log")).unwrap();
        let child = command
            .arg("run")
            .arg(&etc)
            .arg(&suffix)
            .env(FOLDER, &folder)
            .envs(options.upstream.map(|upstream| ("VIPGATE_UPSTREAM", upstream)))
            .env("VIPGATE_LISTEN", format!("127.0.0.1:{port}"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        Self { folder, suffix, port, child }
    }

    /// Until both roles, or the one that there is, have served.
    pub(crate) fn serving(options: Options) -> Self {
        let node = Self::start(options);
        node.wait("proxy commit 1");
        if !options.without_vrrp {
            node.wait("vrrp commit 1");
            node.wait("vrrp hears serving 1");
        }
        node
    }

    /// The document in force after the next look.
    pub(crate) fn write_config(&self, text: &str) {
        write(&self.folder.join("etc/vipgate.yaml"), text);
    }

    pub(crate) fn document(&self, name: &str) -> String {
        document(name, self.port, true)
    }

    pub(crate) fn tell(&self, what: &str) {
        File::create(self.folder.join(what)).unwrap();
    }

    pub(crate) fn untell(&self, what: &str) {
        fs::remove_file(self.folder.join(what)).unwrap();
    }

    /// The lines so far, each `role pid what`.
    pub(crate) fn journal(&self) -> Vec<Line> {
        let text = fs::read_to_string(self.folder.join("journal")).unwrap_or_default();
        text.lines().filter_map(Line::parse).collect()
    }

    /// How many lines say `role what`.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.journal().iter().filter(|line| line.says(text)).count()
    }

    /// The last line that says `role what`, once there is one.
    pub(crate) fn wait(&self, text: &str) -> Line {
        self.wait_for(text, 1)
    }

    /// The same, once there are `count` of them.
    pub(crate) fn wait_for(&self, text: &str, count: usize) -> Line {
        self.until(&format!("{count} times {text:?}"), || {
            let journal = self.journal();
            let found: Vec<_> = journal.into_iter().filter(|line| line.says(text)).collect();
            (found.len() >= count).then(|| found.into_iter().next_back()).flatten()
        })
    }

    pub(crate) fn until<T>(&self, what: &str, condition: impl Fn() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(value) = condition() {
                return value;
            }
            assert!(start.elapsed() < PATIENCE, "{what} has not happened\n{}", self.story());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn status(&self) -> Option<Status> {
        match control::ask(&self.suffix, &Request::Status).ok()? {
            Answer::Status(status) => Some(*status),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn until_status<T>(&self, what: &str, condition: impl Fn(Status) -> Option<T>) -> T {
        self.until(what, || self.status().and_then(&condition))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "it does not exit\n{}", self.story());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// One connection: who answered.
    pub(crate) fn ask(&self) -> std::io::Result<u32> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let mut client = TcpStream::connect_timeout(&address, PATIENCE)?;
        client.set_read_timeout(Some(PATIENCE))?;
        client.write_all(b"?")?;
        let mut text = String::new();
        client.read_to_string(&mut text)?;
        text.trim().parse().map_err(std::io::Error::other)
    }

    /// What it and its roles have said on standard error.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn story(&self) -> String {
        let journal = fs::read_to_string(self.folder.join("journal")).unwrap_or_default();
        format!("--- journal\n{journal}--- log\n{}", self.log())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.is_running() {
            send(self.child.id(), Signal::SIGKILL);
            self.child.wait().unwrap();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.story());
        }
        // A role that has just been told to go may write its last line.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) role: String,
    pub(crate) pid: u32,
    pub(crate) what: String,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let (role, rest) = line.split_once(' ')?;
        let (pid, what) = rest.split_once(' ')?;
        Some(Self { role: role.into(), pid: pid.parse().ok()?, what: what.into() })
    }

    fn says(&self, text: &str) -> bool {
        text.split_once(' ').is_some_and(|(role, what)| role == self.role && self.what.starts_with(what))
    }
}

pub(crate) fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

pub(crate) fn document(name: &str, port: u16, vrrp: bool) -> String {
    let vrrp = if vrrp { "vrrp:\n  web:\n    vrid: 51\n    virtual_addresses: [192.0.2.4/24]\n" } else { "" };
    format!(
        "node: {name}\nworkers: 2\n{vrrp}servers:\n  - listen: [127.0.0.1:{port}]\n    routes:\n      - path: /\n        \
         respond: {{ status: 200, body: hello }}\n"
    )
}

/// `keys` for the virtual router of a `document`.
pub(crate) fn with_hooks(text: &str, keys: &[&str]) -> String {
    let keys: String = keys.iter().map(|key| format!("    {key}\n")).collect();
    text.replace("    vrid: 51\n", &format!("    vrid: 51\n{keys}"))
}

/// Written elsewhere and put in place at once, as most editors do.
pub(crate) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(&beside, path).unwrap();
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
