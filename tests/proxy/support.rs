//! The proxy as a process of its own, with this test in PID 1's place, and configurations for it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime};

use vipgate::config::*;
use vipgate::daemon::link::Link;
use vipgate::gateway::{Moment, Template};
use vipgate::link::{FromProxy, Generation, ToProxy};
use vipgate::net::{Centiseconds, Cidr, Priority, Vrid};
use vipgate::os::{descriptor, listener};

/// Nothing here waits for longer; whoever does has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const ROLE: &str = "VIPGATE_TEST_ROLE";

/// What the test binary does when it is started as a role. Its standard input is the link.
pub(crate) fn play_role_if_asked() {
    if std::env::var(ROLE).is_ok() {
        if std::env::var("VIPGATE_TEST_LOG").is_ok() {
            tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(io::stderr).init();
        }
        let link = io::stdin().as_fd().try_clone_to_owned().unwrap();
        let code = vipgate::daemon::proxy::run(link);
        std::process::exit(i32::from(code != ExitCode::SUCCESS));
    }
}

/// A proxy and PID 1's end of its link.
pub(crate) struct Proxy {
    runtime: tokio::runtime::Runtime,
    link: Option<Link<ToProxy, FromProxy>>,
    pub(crate) child: Child,
    workers: usize,
    generation: u64,
    /// One socket per worker of each address.
    sockets: Vec<(SocketAddr, Vec<OwnedFd>)>,
}

impl Proxy {
    pub(crate) fn start(workers: usize) -> Self {
        let (ours, theirs) = descriptor::pair().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "role", "--nocapture", "--test-threads=1"]).env(ROLE, "proxy");
        let child = command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).spawn().unwrap();
        drop(command);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let link = runtime.block_on(async { Link::from_fd(ours).unwrap() });
        Self { runtime, link: Some(link), child, workers, generation: 0, sockets: vec![] }
    }

    /// A free port for a configuration: bound until the proxy ends.
    pub(crate) fn address(&mut self, ip: &str) -> SocketAddr {
        let first = listener::listen(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
        let address = TcpListener::from(first.try_clone().unwrap()).local_addr().unwrap();
        let mut group = vec![first];
        group.extend((1..self.workers).map(|_| listener::listen(address).unwrap()));
        self.sockets.push((address, group));
        address
    }

    pub(crate) fn send(&mut self, message: &ToProxy, fd: Option<&OwnedFd>) {
        let link = self.link.as_ref().unwrap();
        self.runtime.block_on(link.send(message, fd.map(|f| f.as_fd()))).unwrap();
    }

    /// The next message for which `wanted` has an answer; the others are passed over.
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut wanted: impl FnMut(FromProxy) -> Option<T>) -> T {
        let link = self.link.as_mut().unwrap();
        self.runtime.block_on(async {
            let search = async {
                loop {
                    let (message, _) =
                        link.receive().await.unwrap().unwrap_or_else(|| panic!("{what}: the link closed"));
                    if let Some(found) = wanted(message) {
                        return found;
                    }
                }
            };
            tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("{what} did not come"))
        })
    }

    fn hand_over_sockets(&mut self) {
        for (address, group) in std::mem::take(&mut self.sockets) {
            for (worker, socket) in group.iter().enumerate() {
                self.send(&ToProxy::Listener { address, worker }, Some(socket));
            }
        }
    }

    /// The proxy's answer to a new configuration, which then waits for Commit or Abort.
    pub(crate) fn prepare(&mut self, config: &Config) -> Result<Generation, String> {
        self.hand_over_sockets();
        self.generation += 1;
        let generation = Generation(self.generation);
        let config = Box::new(config.clone());
        self.send(&ToProxy::Prepare { generation, workers: self.workers, config }, None);
        self.wait_for("an answer to Prepare", |m| match m {
            FromProxy::Prepared { generation: g } if g == generation => Some(Ok(generation)),
            FromProxy::Refused { generation: g, reason } if g == generation => Some(Err(reason)),
            _ => None,
        })
    }

    pub(crate) fn serve(&mut self, config: &Config) {
        let generation = self.prepare(config).unwrap();
        self.send(&ToProxy::Commit { generation }, None);
        self.wait_for("Serving", |m| (m == FromProxy::Serving { generation }).then_some(()));
    }

    /// Waits until every worker has turned: by then it has heard what this role was told before. How many there are.
    pub(crate) fn until_all_turn(&mut self) -> usize {
        // Beats of before come ahead of it.
        self.report();
        let turns = |m| match m {
            FromProxy::Beat { turns } => Some(turns),
            _ => None,
        };
        let first = self.wait_for("a beat", turns);
        for (worker, start) in first.iter().enumerate() {
            self.wait_for("turns of each worker", |m| turns(m).filter(|t| t[worker] > start + 3));
        }
        first.len()
    }

    pub(crate) fn report(&mut self) -> vipgate::link::ProxyReport {
        self.send(&ToProxy::Report, None);
        self.wait_for("a report", |m| match m {
            FromProxy::Report(report) => Some(report),
            _ => None,
        })
    }

    pub(crate) fn counted(&mut self, name: &str) -> u64 {
        self.report().counters.iter().find(|(n, _)| n == name).unwrap().1
    }

    /// Asks until `condition` holds of the report.
    pub(crate) fn until(&mut self, what: &str, condition: impl Fn(&vipgate::link::ProxyReport) -> bool) {
        let end = Instant::now() + PATIENCE;
        loop {
            let report = self.report();
            if condition(&report) {
                return;
            }
            assert!(Instant::now() < end, "{what}: {report:?}");
        }
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Stops every thread, and returns when none of them runs any more: the signal alone does not wait for that.
    pub(crate) fn freeze(&self) {
        self.signal(nix::sys::signal::Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        let stopped = || {
            std::fs::read_dir(&tasks).unwrap().all(|task| {
                let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
                stat.rsplit(") ").next().unwrap().starts_with('T')
            })
        };
        let end = Instant::now() + PATIENCE;
        while !stopped() {
            assert!(Instant::now() < end, "the proxy did not stop");
            std::thread::yield_now();
        }
    }

    pub(crate) fn thaw(&self) {
        self.signal(nix::sys::signal::Signal::SIGCONT);
    }

    /// Closes the link, as PID 1 does when it ends; whether the proxy left in good order.
    pub(crate) fn hang_up(mut self) -> bool {
        self.link = None;
        self.child.wait().unwrap().success()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Either may be over already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One server that forwards to one upstream, with every default but a quiet access log.
fn example() -> Config {
    let text = "node: node-1\naccess_log: off\nupstreams: {app: {servers: [\"192.0.2.1:80\"]}}\n\
                servers: [{listen: [80], routes: [{path: /, proxy: {upstream: app}}]}]\n";
    let source = Source { name: "example".into(), folder: "/".into(), text: text.into() };
    load(&source, &|_| None).unwrap().config
}

pub(crate) fn config(servers: Vec<Server>, upstreams: Vec<Upstream>) -> Config {
    Config { servers, upstreams, ..example() }
}

pub(crate) fn server(listen: SocketAddr, routes: Vec<(&str, Action)>) -> Server {
    let [server] = example().servers.try_into().unwrap();
    let [route] = <[Route; 1]>::try_from(server.routes.clone()).unwrap();
    let add = Template::parse("node-1", Moment::Response).unwrap();
    Server {
        listen: vec![listen],
        add_headers: vec![("X-Node".into(), add)],
        routes: routes
            .into_iter()
            .map(|(path, action)| Route {
                pattern: PathPattern::Prefix(path.into()),
                action,
                ..route.clone()
            })
            .collect(),
        ..server
    }
}

pub(crate) fn respond(body: &str) -> Action {
    Action::Respond { status: 200, content_type: "text/plain".into(), body: body.into() }
}

pub(crate) fn to(upstream: &str) -> Action {
    let [server] = example().servers.try_into().unwrap();
    let [route] = <[Route; 1]>::try_from(server.routes).unwrap();
    match route.action {
        Action::Proxy(forwarding) => Action::Proxy(Forwarding { upstream: upstream.into(), ..forwarding }),
        Action::Files { .. } | Action::Respond { .. } => panic!("the example forwards"),
    }
}

pub(crate) fn upstream(name: &str, servers: &[SocketAddr]) -> Upstream {
    let [upstream] = example().upstreams.try_into().unwrap();
    let [server] = <[UpstreamServer; 1]>::try_from(upstream.servers.clone()).unwrap();
    Upstream {
        name: name.into(),
        servers: servers
            .iter()
            .map(|a| UpstreamServer { host: Host::Address(a.ip()), port: a.port(), ..server.clone() })
            .collect(),
        retries: 2,
        retry_on: RetryOn { conn_failure: true, empty_response: true, response_timeout: true },
        connect_timeout: Duration::from_millis(500),
        read_timeout: Duration::from_secs(10),
        send_timeout: Duration::from_secs(10),
        keepalive: 8,
        ..upstream
    }
}

/// One proxied server in front of one upstream.
pub(crate) fn proxied(listen: SocketAddr, upstream: Upstream) -> Config {
    config(vec![server(listen, vec![("/", to(&upstream.name))])], vec![upstream])
}

pub(crate) fn vrrp(address: &str, interval_ms: u64) -> VrrpInstance {
    VrrpInstance {
        name: "one".into(),
        version: VrrpVersion::V3,
        vrid: Vrid::try_from(1).unwrap(),
        priority: Priority::DEFAULT,
        advert_interval: Centiseconds::from_duration(Duration::from_millis(interval_ms)).unwrap(),
        preempt: true,
        preempt_delay: Duration::ZERO,
        virtual_addresses: vec![Cidr::host(address.parse().unwrap())],
        subnet: None,
        interface: None,
        transport: Transport::Multicast,
        password: None,
        auth_hmac: AuthHmac::Linked,
        track: vec![],
        lease: Duration::from_secs(2),
        hooks: Hooks::default(),
        smtp_alert: false,
    }
}

/// A folder of its own, gone with the value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("vipgate-proxy-{name}-{}", std::process::id()));
        let folder = Self(path);
        for (file, content) in files {
            folder.put(file, content);
        }
        folder
    }

    /// A file that nobody has written to for a while.
    pub(crate) fn put(&self, file: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        let before = SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
        path
    }

    pub(crate) fn action(&self) -> Action {
        Action::Files { root: self.0.clone(), index: "index.html".into() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test that failed half way may have removed it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
