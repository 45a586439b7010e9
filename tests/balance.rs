//! The balancer beside the real nginx: the same requests go the same ways.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a test starts nginx and fails by panicking"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use vipgate::balance::{
    Algorithm, Attempt, Balancer, Failure, Next, NextPolicy, Outcome, Peer, PeerSettings, Policy, Progress,
    Retry, Tried,
};
use vipgate::config::RetryOn;

const PATIENCE: Duration = Duration::from_secs(20);
/// Longer than any test: where a window ends within a second is not comparable.
const FAIL_TIMEOUT: Duration = Duration::from_secs(3_600);
const PLAIN: PeerSettings = PeerSettings {
    weight: 1,
    backup: false,
    down: false,
    max_conns: 0,
    max_fails: 1,
    fail_timeout: FAIL_TIMEOUT,
};

/// How a server answers each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Status(u16),
    Refuses,
}

use Manner::{Refuses, Status};

const OK: Manner = Status(200);

struct Case {
    algorithm: Algorithm,
    servers: Vec<(PeerSettings, Manner)>,
    next: NextPolicy,
    method: &'static str,
    requests: usize,
}

fn cases() -> Vec<Case> {
    let weight = |weight| PeerSettings { weight, ..PLAIN };
    let patient = |weight, max_fails| PeerSettings { weight, max_fails, ..PLAIN };
    let backup = PeerSettings { backup: true, ..PLAIN };
    let down = PeerSettings { down: true, ..PLAIN };
    let statuses = NextPolicy { http_503: true, http_429: true, http_404: true, ..NextPolicy::default() };
    let anyhow = NextPolicy { non_idempotent: true, ..statuses };
    let sets: Vec<Vec<(PeerSettings, Manner)>> = vec![
        vec![(weight(5), OK), (weight(1), OK), (weight(1), OK)],
        vec![(weight(5), OK), (weight(3), OK), (weight(2), OK)],
        vec![(weight(3), OK), (patient(4, 4), Refuses), (weight(2), OK)],
        vec![(patient(3, 0), Refuses), (weight(1), OK), (weight(2), OK)],
        vec![(patient(7, 3), Refuses), (patient(2, 2), Refuses), (weight(1), OK)],
        vec![(weight(2), OK), (down, OK), (weight(1), OK)],
        vec![(patient(2, 3), Status(503)), (weight(1), OK), (patient(1, 2), Status(429))],
        vec![(weight(2), Status(404)), (weight(1), OK), (weight(1), OK)],
        vec![(weight(2), Status(503)), (weight(1), Status(503)), (weight(1), Status(503))],
        vec![(PLAIN, Refuses)],
        vec![(PLAIN, Status(503))],
        vec![(PLAIN, Refuses), (PLAIN, Refuses), (PLAIN, Refuses)],
    ];
    let with_backups = vec![
        vec![(patient(2, 2), Refuses), (PLAIN, Refuses), (backup, OK), (backup, OK)],
        vec![(PLAIN, OK), (backup, OK)],
        vec![(PLAIN, Refuses), (backup, Status(503)), (backup, OK)],
    ];
    let mut cases = Vec::new();
    for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConn, Algorithm::IpHash] {
        // nginx has no backups there.
        let more = if algorithm == Algorithm::IpHash { vec![] } else { with_backups.clone() };
        for servers in sets.iter().cloned().chain(more) {
            for (method, next) in [
                ("GET", NextPolicy::default()),
                ("GET", statuses),
                ("POST", statuses),
                ("POST", anyhow),
                ("GET", NextPolicy { tries: 2, ..statuses }),
                ("GET", NextPolicy::OFF),
            ] {
                cases.push(Case { algorithm, servers: servers.clone(), next, method, requests: 24 });
            }
        }
    }
    cases
}

/// The client of each request, for `ip_hash`: all of 127/8 is this machine.
fn client(request: usize) -> Ipv4Addr {
    let request = u8::try_from(request).unwrap();
    Ipv4Addr::new(127, request / 5 * 31, request % 5 * 50, 1)
}

/// Which servers each request of the case went to, and the status that its client got.
fn ours(case: &Case) -> Vec<(String, u16)> {
    let peers = case.servers.iter().enumerate().map(|(server, (settings, _))| Peer {
        server,
        address: SocketAddr::from(([127, 0, 0, 1], 1_000 + u16::try_from(server).unwrap())),
        settings: *settings,
    });
    let mut balancer = Balancer::new(case.algorithm, peers.collect());
    let off = RetryOn { conn_failure: false, empty_response: false, response_timeout: false };
    let policy = Policy { retries: 0, redispatch: false, on: off, pause: Duration::ZERO, next: case.next };
    let now = Instant::now();
    let request = |n: usize| {
        let (mut tried, mut retry, mut path) = (Tried::default(), Retry::default(), String::new());
        loop {
            let Some(id) = balancer.pick(now, &mut tried, Some(client(n).into()), || 0, |_| true) else {
                return (path + "-", 502);
            };
            balancer.begin(id);
            let server = balancer.peer(id).unwrap().server;
            path.push(char::from(b'a' + u8::try_from(server).unwrap()));
            let progress = Progress {
                idempotent: case.method == "GET",
                intact: true,
                answered: false,
                alternative: balancer.has_another(now, &tried, |_| true),
                elapsed: Duration::ZERO,
            };
            match case.servers[server].1 {
                Refuses => {
                    let attempt = Attempt {
                        failure: Failure::Connect,
                        reused: false,
                        sent: false,
                        took: Duration::ZERO,
                    };
                    balancer.end(id, attempt.outcome(), now);
                    match retry.decide(&policy, &attempt, &progress) {
                        Next::Again { .. } => (),
                        Next::GiveUp(status) => return (path, status),
                        Next::Cut => unreachable!("nothing was answered"),
                    }
                }
                Status(status) if retry.decide_status(&policy, status, &progress) => {
                    balancer.end(id, Outcome::of_given_up(status), now);
                }
                Status(status) => {
                    balancer.end(id, Outcome::Success, now);
                    return (path, status);
                }
            }
        }
    };
    (0..case.requests).map(request).collect()
}

struct Nginx {
    child: Child,
    folder: PathBuf,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Addresses that nobody else has, until they are let go.
#[derive(Default)]
struct Free(Vec<TcpListener>);

impl Free {
    fn next(&mut self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        self.0.push(listener);
        address
    }
}

/// One for all cases, a port for each. `None`: it is not installed.
fn nginx(
    cases: &[Case],
    refusing: &[SocketAddr],
    statuses: &[(u16, Vec<SocketAddr>)],
    mut free: Free,
) -> Option<(Nginx, Vec<SocketAddr>)> {
    let mut text = String::from(
        "daemon off; master_process off; pid pid; error_log stderr crit;\nevents { worker_connections 512; }\n\
         http { access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;\n\
         uwsgi_temp_path t4; scgi_temp_path t5;\n",
    );
    for (status, addresses) in statuses {
        for address in addresses {
            text += &format!("server {{ listen {address}; location / {{ return {status}; }} }}\n");
        }
    }
    let mut ports = Vec::new();
    for (n, case) in cases.iter().enumerate() {
        let algorithm = match case.algorithm {
            Algorithm::RoundRobin => "",
            Algorithm::LeastConn => "least_conn;",
            Algorithm::Random => "random two least_conn;",
            Algorithm::IpHash => "ip_hash;",
        };
        text += &format!("upstream u{n} {{ {algorithm}\n");
        for (place, (settings, manner)) in case.servers.iter().enumerate() {
            let address = match manner {
                Refuses => refusing[place],
                Status(status) => statuses.iter().find(|(s, _)| s == status).unwrap().1[place],
            };
            text += &format!(
                "server {address} weight={} max_fails={} fail_timeout={}s{}{};\n",
                settings.weight,
                settings.max_fails,
                settings.fail_timeout.as_secs(),
                if settings.backup { " backup" } else { "" },
                if settings.down { " down" } else { "" },
            );
        }
        let next = &case.next;
        let mut words = String::new();
        for (on, word) in [
            (next.error, " error"),
            (next.timeout, " timeout"),
            (next.http_503, " http_503"),
            (next.http_429, " http_429"),
            (next.http_404, " http_404"),
            (next.non_idempotent, " non_idempotent"),
            (*next == NextPolicy::OFF, " off"),
        ] {
            words += if on { word } else { "" };
        }
        let listen = free.next();
        ports.push(listen);
        text += &format!(
            "}}\nserver {{ listen {listen}; location / {{ proxy_pass http://u{n}; proxy_next_upstream{words};\n\
             proxy_next_upstream_tries {}; add_header X-Way $upstream_addr always; }} }}\n",
            next.tries
        );
    }
    text += "}\n";
    let folder = std::env::temp_dir().join(format!("balance-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("conf"), text).unwrap();
    drop(free);
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    let mut command = Command::new("nginx");
    command.env("PATH", path).arg("-p").arg(&folder).args(["-e", "stderr", "-c"]).arg(folder.join("conf"));
    let Ok(child) = command.stdout(Stdio::null()).spawn() else {
        println!("skipped: nginx is not installed");
        return None;
    };
    let mut nginx = Nginx { child, folder };
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(ports.last().unwrap()).is_err() {
        let ended = nginx.child.try_wait().unwrap();
        assert!(ended.is_none() && Instant::now() < end, "nginx: {ended:?}");
        std::thread::yield_now();
    }
    Some((nginx, ports))
}

fn theirs(case: &Case, port: SocketAddr, servers: &[SocketAddr]) -> Vec<(String, u16)> {
    let request = |n: usize| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((client(n), 0)).into()).unwrap();
        socket.connect(&port.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "{} / HTTP/1.0\r\nHost: a\r\nContent-Length: 0\r\n\r\n", case.method).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let way = answer.lines().find_map(|l| l.strip_prefix("X-Way: ")).unwrap();
        let letter = |address: &str| match servers.iter().position(|s| s.to_string() == address) {
            Some(place) => char::from(b'a' + u8::try_from(place % 8).unwrap()),
            // Where nobody is left, nginx names the group.
            None => '-',
        };
        (way.split(", ").map(letter).collect(), status)
    };
    (0..case.requests).map(request).collect()
}

#[test]
fn the_same_requests_go_the_same_ways() {
    let cases = cases();
    // Bound, but nobody listens.
    let refusing: Vec<Socket> = (0..4)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
            socket
        })
        .collect();
    let refusing: Vec<(SocketAddr, Socket)> =
        refusing.into_iter().map(|s| (s.local_addr().unwrap().as_socket().unwrap(), s)).collect();
    let refusing_addresses: Vec<SocketAddr> = refusing.iter().map(|(address, _)| *address).collect();
    let mut free = Free::default();
    let statuses: Vec<(u16, Vec<SocketAddr>)> =
        [200, 404, 429, 503].map(|status| (status, (0..4).map(|_| free.next()).collect())).into();
    let Some((_nginx, ports)) = nginx(&cases, &refusing_addresses, &statuses, free) else { return };
    // Eight apart, so that the place within each kind is what remains.
    let mut servers = Vec::new();
    for kind in std::iter::once(&refusing_addresses).chain(statuses.iter().map(|(_, a)| a)) {
        servers.extend(kind);
        servers.resize(servers.len().next_multiple_of(8), SocketAddr::from(([0, 0, 0, 0], 0)));
    }
    let mut differ = Vec::new();
    for (n, (case, port)) in cases.iter().zip(ports).enumerate() {
        let (ours, theirs) = (ours(case), theirs(case, port, &servers));
        for (request, (one, other)) in ours.iter().zip(&theirs).enumerate() {
            // Where nobody is left, nginx gives up what it has all the same, and counts it.
            if other.0 == format!("{}-", one.0) {
                break;
            }
            if one != other {
                let Case { algorithm, servers, method, next, .. } = case;
                differ.push(format!(
                    "case {n} request {request}: {one:?}, nginx {other:?}: {algorithm:?} {method} {next:?} {servers:?}"
                ));
                break;
            }
        }
    }
    assert!(differ.is_empty(), "{} of {} cases differ\n{}", differ.len(), cases.len(), differ.join("\n"));
}
