//! `vipgate run` as a plain process in front of the test's own servers: started, asked, given new configurations.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};
use vipgate::daemon::control;
use vipgate::link::control::{Answer, Request, RoleState, Status};

/// For anything that has to happen: far beyond every bound of the product, since the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const VIPGATE: &str = env!("CARGO_BIN_EXE_vipgate");

/// What measures has the machine to itself, as far as this program goes.
static TURN: RwLock<()> = RwLock::new(());

pub(crate) fn among_others() -> RwLockReadGuard<'static, ()> {
    TURN.read().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().unwrap_or_else(PoisonError::into_inner)
}

/// Fails with all of them.
#[track_caller]
pub(crate) fn expect_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// A port that is nobody else's as long as this lives: bound, but not listened to, by a socket that lets others of
/// this user bind it as well.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    _held: Socket,
}

impl Port {
    pub(crate) fn new() -> Self {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        held.set_reuse_port(true).unwrap();
        held.set_reuse_address(true).unwrap();
        held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = held.local_addr().unwrap().as_socket().unwrap();
        Self { address, _held: held }
    }
}

/// An address where nobody listens.
pub(crate) fn deaf() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A folder of its own, gone with the value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("vipgate-http-{}-{count}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left over is in the way of nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Any server program: killed with the value, its log shown if the test failed.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) folder: Folder,
}

impl Server {
    /// Its standard output and standard error go to `log`.
    pub(crate) fn spawn(folder: Folder, command: &mut Command) -> Self {
        let log = File::create(folder.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        Self { child: command.spawn().unwrap(), folder }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // With its children, which are of its group.
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("--- the last lines of its log");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

pub(crate) struct Vipgate {
    server: Server,
    suffix: String,
}

impl Vipgate {
    /// Returns once it serves.
    pub(crate) fn start(document: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = Folder::new();
        fs::create_dir_all(folder.join("etc")).unwrap();
        write(&folder, document);
        let suffix = format!("-http-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new(VIPGATE);
        command.arg("run").arg("--config").arg(folder.join("etc"));
        command.env_remove("VIPGATE_CONFIG").env("VIPGATE_CONTROL", &suffix);
        let mut this = Self { server: Server::spawn(folder, &mut command), suffix };
        let end = Instant::now() + PATIENCE;
        loop {
            if this.status().is_some_and(|status| status.proxy.state == RoleState::Serving) {
                return this;
            }
            let ended = this.server.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}\n{document}", this.server.log());
            assert!(Instant::now() < end, "it does not serve: {}", this.server.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn status(&self) -> Option<Status> {
        match control::ask(&self.suffix, &Request::Status).ok()? {
            Answer::Status(status) => Some(*status),
            Answer::Done { text } => panic!("{text}"),
            Answer::Refused { reason } => panic!("{reason}"),
        }
    }

    /// Returns once `document` is in force.
    pub(crate) fn reload(&self, document: &str) {
        let before = self.until("it reports", Some).config.generation;
        write(&self.server.folder, document);
        kill(Pid::from_raw(self.server.child.id().cast_signed()), Signal::SIGHUP).unwrap();
        self.until("the configuration is in force", |status| {
            assert!(status.config.refused.is_none(), "{:?}", status.config.refused);
            (status.config.generation > before && status.proxy.state == RoleState::Serving).then_some(())
        });
    }

    /// Asks for reports until `condition` has an answer.
    pub(crate) fn until<T>(&self, what: &str, condition: impl Fn(Status) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut last = None;
        loop {
            if let Some(status) = self.status() {
                last = Some(format!("{status:?}"));
                if let Some(value) = condition(status) {
                    return value;
                }
            }
            assert!(Instant::now() < end, "{what}: {last:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many client connections the proxy says it has.
    pub(crate) fn until_connections(&self, what: &str, condition: impl Fn(u64) -> bool) {
        self.until(what, |status| {
            let (_, report) = status.proxy.report?;
            condition(report.connections).then_some(())
        });
    }

    pub(crate) fn proxy(&self) -> Pid {
        let pid = self.until("the proxy has a process", |status| status.proxy.pid);
        Pid::from_raw(pid.cast_signed())
    }

    /// The threads that serve connections.
    pub(crate) fn workers(&self) -> Vec<Pid> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.proxy())).unwrap();
        let mut found: Vec<_> = tasks
            .filter_map(|task| {
                let path = task.unwrap().path();
                let name = fs::read_to_string(path.join("comm")).ok()?;
                let id = path.file_name()?.to_str()?.parse().ok()?;
                name.starts_with("worker-").then_some(Pid::from_raw(id))
            })
            .collect();
        found.sort();
        found
    }

    /// Memory of the proxy's process that is resident and its own.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.proxy())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Its open descriptors, as numbers.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.proxy())).unwrap().count()
    }
}

/// Written beside it and put in place at once.
fn write(folder: &Folder, document: &str) {
    fs::write(folder.join("new"), document).unwrap();
    fs::rename(folder.join("new"), folder.join("etc/vipgate.yaml")).unwrap();
}

/// One server with one route to one upstream of `servers`; `lines` are more keys of the upstream, `top` of the server.
pub(crate) fn document(listen: SocketAddr, servers: &[SocketAddr], lines: &[&str]) -> String {
    let servers: Vec<_> = servers.iter().map(|address| format!("\"{address}\"")).collect();
    let lines: String = lines.iter().flat_map(|line| ["    ", line, "\n"]).collect();
    format!(
        "node: node-1\nworkers: 1\nupstreams:\n  app:\n    servers: [{}]\n{lines}servers:\n  - listen: [\"{listen}\"]\n    \
         routes:\n      - {{path: /, proxy: {{upstream: app}}}}\n",
        servers.join(", ")
    )
}

pub(crate) fn front(servers: &[SocketAddr], lines: &[&str]) -> (Vipgate, Port) {
    let port = Port::new();
    (Vipgate::start(&document(port.address, servers, lines)), port)
}

pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin"]).any(|folder| Path::new(folder).join(program).exists())
}
