//! The proxy as a process of its own, this test in PID 1's place, and what both sides of a proxy may meet.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use vipgate::config::*;
use vipgate::daemon::link::Link;
use vipgate::link::{FromProxy, Generation, ToProxy};
use vipgate::net::{Centiseconds, Cidr, Priority, Vrid};
use vipgate::os::{descriptor, listener};

pub(crate) use crate::origin::*;

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

    fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Returns when every thread stands: the signal alone leaves them time for a request more.
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let status = waitpid(self.pid(), Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert!(matches!(status, WaitStatus::Stopped(..)), "{status:?}");
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

pub(crate) fn config(servers: Vec<Server>, upstreams: Vec<Upstream>) -> Config {
    Config {
        node: "node-1".into(),
        log: Log { level: LogLevel::Info, format: LogFormat::Text },
        workers: None,
        vrrp: vec![],
        servers,
        upstreams,
    }
}

pub(crate) fn server(listen: SocketAddr, routes: Vec<(&str, Action)>) -> Server {
    Server {
        listen: vec![listen],
        server_names: vec![],
        add_headers: vec![("X-Node".into(), "node-1".into())],
        routes: routes
            .into_iter()
            .map(|(path, action)| Route { pattern: PathPattern::Prefix(path.into()), action })
            .collect(),
    }
}

pub(crate) fn respond(body: &str) -> Action {
    Action::Respond { status: 200, content_type: "text/plain".into(), body: body.into() }
}

pub(crate) fn to(upstream: &str) -> Action {
    Action::Proxy { upstream: upstream.into() }
}

pub(crate) fn upstream(name: &str, servers: &[SocketAddr]) -> Upstream {
    Upstream {
        name: name.into(),
        servers: servers
            .iter()
            .map(|a| UpstreamServer { host: Host::Address(a.ip()), port: a.port(), weight: 1 })
            .collect(),
        check: None,
        retries: 2,
        redispatch: false,
        retry_on: RetryOn { conn_failure: true, empty_response: true, response_timeout: true },
        connect_timeout: Duration::from_millis(500),
        first_byte_timeout: None,
        read_timeout: Duration::from_secs(10),
        send_timeout: Duration::from_secs(10),
        keepalive: 8,
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
        virtual_addresses: vec![Cidr::host(address.parse().unwrap())],
        subnet: None,
        interface: None,
        transport: Transport::Multicast,
        password: None,
        lease: Duration::from_secs(2),
    }
}

/// A client that speaks in bytes.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    rest: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The only value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().filter_map(|line| {
            let (n, value) = line.split_once(": ")?;
            n.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = values.next();
        assert!(values.next().is_none(), "{name} twice in {}", self.head);
        value
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, rest: vec![] }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        // The proxy may have refused and closed already.
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// One response to a request with `method`; an error if the connection ends before it does.
    pub(crate) fn response(&mut self, method: &str) -> io::Result<Response> {
        let end = loop {
            if let Some(at) = find(&self.rest, b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8(self.rest.drain(..end).collect()).unwrap();
        let status = head[9..12].parse().unwrap();
        let mut response = Response { status, head, body: vec![] };
        if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
            return Ok(response);
        }
        if response.field("Transfer-Encoding") == Some("chunked") {
            loop {
                let line = loop {
                    match find(&self.rest, b"\r\n") {
                        Some(at) => break at,
                        None => self.more()?,
                    }
                };
                let size =
                    usize::from_str_radix(std::str::from_utf8(&self.rest[..line]).unwrap(), 16).unwrap();
                while self.rest.len() < line + 2 + size + 2 {
                    self.more()?;
                }
                response.body.extend_from_slice(&self.rest[line + 2..line + 2 + size]);
                assert_eq!(&self.rest[line + 2 + size..][..2], b"\r\n");
                self.rest.drain(..line + 2 + size + 2);
                if size == 0 {
                    return Ok(response);
                }
            }
        } else if let Some(length) = response.field("Content-Length") {
            let length: usize = length.parse().unwrap();
            while self.rest.len() < length {
                self.more()?;
            }
            response.body = self.rest.drain(..length).collect();
        } else {
            response.body = std::mem::take(&mut self.rest);
            self.stream.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    fn more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.rest.extend_from_slice(&bytes[..n]);
                Ok(())
            }
        }
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).response("GET").unwrap()
    }

    /// What ends the connection: nothing for a FIN.
    pub(crate) fn end(&mut self) -> Option<io::ErrorKind> {
        self.rest.clear();
        loop {
            match self.more() {
                Ok(()) => (),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
                Err(error) => return Some(error.kind()),
            }
        }
    }
}

pub(crate) fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|w| w == pattern)
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Response {
    Client::connect(address).get(path)
}

/// A folder of its own, gone with the value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("vipgate-proxy-{name}-{}", std::process::id()));
        for (file, content) in files {
            let file = path.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        Self(path)
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
