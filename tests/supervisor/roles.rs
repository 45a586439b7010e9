//! Roles that do as they should until a file in their test's folder tells them otherwise. Whatever they are told,
//! they write into the journal of their test, one line each.

use std::fs;
use std::future::pending;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::AbortHandle;
use vipgate::daemon::link::Link;
use vipgate::link::{
    Boottime, FenceQuery, FenceVerdict, FromProxy, FromVrrp, Ordered, PeersAnswer, ProxyHealth, ProxyReport,
    ToProxy, ToVrrp, Transition, VrrpReport, VrrpState,
};
use vipgate::os::{process, signals};

/// The folder of the test that this process belongs to.
pub(crate) const FOLDER: &str = "VIPGATE_TEST_FOLDER";

/// More than one, to let one of them hang.
const WORKERS: usize = 2;
const BEAT: Duration = Duration::from_millis(50);

struct Role {
    name: &'static str,
    folder: PathBuf,
}

impl Role {
    /// Whether the test wants it so.
    fn is_told_to(&self, what: &str) -> bool {
        self.folder.join(format!("{}.{what}", self.name)).exists()
    }

    fn note(&self, what: &str) {
        let mut journal =
            fs::OpenOptions::new().append(true).create(true).open(self.folder.join("journal")).unwrap();
        // One write, so that lines of two processes do not mix.
        journal.write_all(format!("{} {} {what}\n", self.name, std::process::id()).as_bytes()).unwrap();
    }
}

fn play<Tx, Rx>(name: &'static str, act: impl AsyncFn(&Role, &mut Link<Tx, Rx>)) -> ExitCode
where
    Tx: Serialize,
    Rx: DeserializeOwned,
{
    let link = process::adopt_link().unwrap();
    signals::leave_to_the_supervisor().unwrap();
    let role = Role { name, folder: std::env::var_os(FOLDER).unwrap().into() };
    role.note("starts");
    if role.is_told_to("crash") {
        return ExitCode::from(3);
    }
    if role.is_told_to("babble") {
        vipgate::os::descriptor::send(std::os::fd::AsFd::as_fd(&link), &[0xff; 64], None).unwrap();
        std::thread::sleep(Duration::from_secs(3600));
    }
    if role.is_told_to("orphans") {
        for _ in 0..20 {
            Command::new("sh").args(["-c", "sleep 0.1 & sleep 0.2 &"]).status().unwrap();
        }
        role.note("has left orphans");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut link = Link::from_fd(link).unwrap();
        act(&role, &mut link).await;
    });
    role.note("leaves");
    ExitCode::SUCCESS
}

pub(crate) fn proxy() -> ExitCode {
    play("proxy", async |role, link: &mut Link<FromProxy, ToProxy>| {
        let mut listeners: Vec<(SocketAddr, OwnedFd)> = vec![];
        let mut served: Vec<(SocketAddr, AbortHandle)> = vec![];
        let mut listen: Vec<SocketAddr> = vec![];
        let mut admin: Option<(SocketAddr, OwnedFd)> = None;
        let mut wanted_admin = None;
        let mut turns = [0; WORKERS];
        let mut beat = tokio::time::interval(BEAT);
        let mut asked = false;
        loop {
            let message = tokio::select! {
                _ = beat.tick() => {
                    turns[0] += 1;
                    turns[1] += u64::from(!role.is_told_to("stuck"));
                    if role.is_told_to("ask") && !asked {
                        asked = true;
                        let query = FenceQuery { nonce: 7, since: Boottime(1) };
                        link.send(&FromProxy::FenceQuery(query), None).await.unwrap();
                    }
                    link.send(&FromProxy::Beat { turns: turns.to_vec() }, None).await.unwrap();
                    continue;
                }
                message = link.receive() => heard(message),
            };
            let Some((message, fd)) = message else { return };
            let answer = match message {
                ToProxy::Listener { address, worker } => {
                    role.note(&format!("listener {address} {worker}"));
                    listeners.push((address, fd.unwrap()));
                    continue;
                }
                ToProxy::AdminListener { address } => {
                    role.note(&format!("admin {address}"));
                    admin = Some((address, fd.unwrap()));
                    let query = FromProxy::StatusQuery { query: 9 };
                    link.send(&query, None).await.unwrap();
                    continue;
                }
                ToProxy::Status { query, status } => {
                    role.note(&format!("status {query} of {}", status.node));
                    continue;
                }
                ToProxy::Prepare { generation, workers, config } => {
                    role.note(&format!("prepare {} {} {workers}", generation.0, config.node));
                    listen = config.servers.iter().flat_map(|s| s.listen.clone()).collect();
                    wanted_admin = config.admin.map(|admin| admin.listen);
                    while role.is_told_to("hesitate") {
                        beat.tick().await;
                        turns.iter_mut().for_each(|turn| *turn += 1);
                        link.send(&FromProxy::Beat { turns: turns.to_vec() }, None).await.unwrap();
                    }
                    if role.is_told_to("refuse") {
                        FromProxy::Refused { generation, reason: "told to".into() }
                    } else {
                        FromProxy::Prepared { generation }
                    }
                }
                ToProxy::Commit { generation } => {
                    role.note(&format!("commit {}", generation.0));
                    for (address, task) in served.extract_if(.., |(address, _)| !listen.contains(address)) {
                        role.note(&format!("closes {address}"));
                        task.abort();
                    }
                    admin = admin.filter(|(address, _)| wanted_admin == Some(*address));
                    let fresh = listeners.drain(..);
                    served.extend(fresh.map(|(a, fd)| (a, tokio::spawn(serve(fd)).abort_handle())));
                    FromProxy::Serving { generation }
                }
                ToProxy::Abort { generation } => {
                    role.note(&format!("abort {}", generation.0));
                    listeners.clear();
                    continue;
                }
                ToProxy::FenceVerdict(FenceVerdict { nonce, held }) => {
                    role.note(&format!("verdict {nonce} {held}"));
                    continue;
                }
                ToProxy::Leave { number, before, .. } => {
                    role.note(&format!("leave {number} {before}"));
                    FromProxy::Left { number, cut: 0 }
                }
                ToProxy::Keep { number } => {
                    role.note(&format!("keep {number}"));
                    continue;
                }
                ToProxy::Drain { .. } => {
                    role.note("drain");
                    FromProxy::Drained { cut: 0 }
                }
                ToProxy::Report => {
                    FromProxy::Report(ProxyReport { workers: WORKERS, ..ProxyReport::default() })
                }
            };
            link.send(&answer, None).await.unwrap();
        }
    })
}

/// PID 1 that is killed with something unread resets the link.
fn heard<T>(message: std::io::Result<Option<T>>) -> Option<T> {
    match message {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
        message => message.unwrap(),
    }
}

/// Answers each connection with this process's number.
async fn serve(fd: OwnedFd) {
    let listener = tokio::net::TcpListener::from_std(TcpListener::from(fd)).unwrap();
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut byte = [0];
        // A client that has gone is its own test's affair.
        let _ = client.read(&mut byte).await;
        let _ = client.write_all(format!("{}\n", std::process::id()).as_bytes()).await;
    }
}

/// What the test wants to have happened, each a line such as `web MASTER`; said once.
fn moves(role: &Role) -> Vec<Transition> {
    let file = role.folder.join("vrrp.moves");
    let Ok(text) = fs::read_to_string(&file) else { return vec![] };
    fs::remove_file(file).unwrap();
    let parse = |line: &str| {
        let (instance, state) = line.split_once(' ').unwrap();
        match state {
            "MASTER" => transition(instance, VrrpState::Master, false),
            "BACKUP" => transition(instance, VrrpState::Backup, false),
            "FAULT" => transition(instance, VrrpState::Fault, false),
            _ => transition(instance, VrrpState::Fault, true),
        }
    };
    text.lines().map(parse).collect()
}

/// What the test wants to have ordered: a virtual router to hand over, or milliseconds to stand still; said once.
fn order(role: &Role) -> Option<Ordered> {
    let file = role.folder.join("vrrp.order");
    let text = fs::read_to_string(&file).ok()?;
    fs::remove_file(file).unwrap();
    let length = text.parse().map(Duration::from_millis);
    Some(
        length.map_or_else(
            |_| Ordered::HandOver { instance: text.clone() },
            |length| Ordered::Freeze { length },
        ),
    )
}

fn transition(instance: &str, to: VrrpState, is_end: bool) -> Transition {
    let from = if to == VrrpState::Backup { VrrpState::Fault } else { VrrpState::Backup };
    Transition { instance: instance.into(), from, to, reason: "told to".into(), priority: 150, is_end }
}

pub(crate) fn vrrp() -> ExitCode {
    play("vrrp", async |role, link: &mut Link<FromVrrp, ToVrrp>| {
        let mut turns = 0;
        let mut beat = tokio::time::interval(BEAT);
        loop {
            let message = tokio::select! {
                _ = beat.tick() => {
                    turns += 1;
                    link.send(&FromVrrp::Beat { turns }, None).await.unwrap();
                    if let Some(what) = order(role) {
                        let from = [192, 0, 2, 7].into();
                        link.send(&FromVrrp::Ordered { number: turns, from, what }, None).await.unwrap();
                    }
                    for transition in moves(role) {
                        link.send(&FromVrrp::Transition(transition), None).await.unwrap();
                    }
                    continue;
                }
                message = link.receive() => heard(message),
            };
            let Some((message, _)) = message else { return };
            let answer = match message {
                ToVrrp::Prepare { generation, config } => {
                    role.note(&format!("prepare {} {}", generation.0, config.node));
                    if role.is_told_to("refuse") {
                        FromVrrp::Refused { generation, reason: "told to".into() }
                    } else {
                        FromVrrp::Prepared { generation }
                    }
                }
                ToVrrp::Commit { generation } => {
                    role.note(&format!("commit {}", generation.0));
                    FromVrrp::Committed { generation }
                }
                ToVrrp::Abort { generation } => {
                    role.note(&format!("abort {}", generation.0));
                    continue;
                }
                ToVrrp::Origin { .. } => continue,
                ToVrrp::Proxy(health) => {
                    role.note(&match health {
                        ProxyHealth::Serving { incarnation, .. } => format!("hears serving {incarnation}"),
                        ProxyHealth::Restarting => "hears restarting".into(),
                        ProxyHealth::Pausing => "hears pausing".into(),
                        ProxyHealth::Down { .. } => "hears down".into(),
                    });
                    continue;
                }
                ToVrrp::Upstreams { down } => {
                    role.note(&format!("hears upstreams down: {}", down.join(" ")));
                    continue;
                }
                ToVrrp::FenceQuery(query) => {
                    role.note(&format!("query {}", query.nonce));
                    FromVrrp::FenceVerdict(FenceVerdict { nonce: query.nonce, held: true })
                }
                ToVrrp::AskPeers { question, listen } => {
                    let ports: Vec<_> = listen.iter().map(|a| a.port().to_string()).collect();
                    role.note(&format!("asks {question} {}", ports.join(" ")));
                    let peer = role.is_told_to("peer").then_some(std::net::IpAddr::from([192, 0, 2, 3]));
                    let answer = PeersAnswer {
                        goes_last: role.is_told_to("master"),
                        answered: peer.into_iter().collect(),
                    };
                    FromVrrp::Peers { question, answer }
                }
                ToVrrp::StepDown { question, wish } => {
                    role.note(&format!("wish {wish:?}"));
                    FromVrrp::SteppedDown { question, outcome: Ok("told to".into()) }
                }
                ToVrrp::Left { number } => {
                    role.note(&format!("left {number}"));
                    continue;
                }
                ToVrrp::Resign { .. } => {
                    role.note("resign");
                    if !role.is_told_to("silent") {
                        // As after a takeover by the peer.
                        for (state, is_end) in [(VrrpState::Backup, false), (VrrpState::Fault, true)] {
                            let last = transition("web", state, is_end);
                            link.send(&FromVrrp::Transition(last), None).await.unwrap();
                        }
                    }
                    if role.is_told_to("cling") {
                        pending::<()>().await;
                    }
                    FromVrrp::Resigned { reason: "told to".into() }
                }
                ToVrrp::Outcome { outcome, .. } => {
                    role.note(&format!("outcome {outcome:?}"));
                    continue;
                }
                ToVrrp::Ended(_) => continue,
                ToVrrp::Report => FromVrrp::Report(VrrpReport::default()),
            };
            link.send(&answer, None).await.unwrap();
        }
    })
}
