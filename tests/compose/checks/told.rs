//! Clients with a connection to a node that freezes learn it from the node that takes over.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime};

use crate::figures::Figures;
use crate::probe::moment;
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, until};
use crate::stack::{Kind, Node, Stack};

const CLIENTS: usize = 8;
const ROUNDS: usize = 3;
const TAKEOVER_WITHIN: Duration = Duration::from_secs(10);
/// A connection is told of to the peer once it has lasted for a while: a second or two, and longer on a busy machine.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);
/// Whoever has heard nothing by then hangs, until a timeout of its own.
const PATIENCE: Duration = Duration::from_secs(5);
/// 50 ms is the figure to beat; the rest is for a busy machine.
const TOLD_WITHIN: Duration = Duration::from_secs(1);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: kept\r\n\r\n";

pub(super) fn open_connections(stack: &mut Stack) -> Verdict {
    let (mut after, mut reset, mut wrong) = (Figures::default(), 0, Vec::new());
    for _ in 0..ROUNDS {
        let vip = SocketAddr::from((stack.vip(), 80));
        let clients: Vec<TcpStream> =
            stack.client.inside(|| (0..CLIENTS).map(|_| kept(vip)).collect::<Result<_, _>>())?;
        known(stack)?;
        let mut probe = stack.probe()?;
        let ends = std::thread::scope(|scope| {
            let hearing: Vec<_> = clients.iter().map(|client| scope.spawn(|| hear(client))).collect();
            stack.docker("pause", Node::Master)?;
            for mut client in &clients {
                // Who has been told already cannot send.
                let _ = client.write_all(REQUEST);
            }
            let end = |panicked| Err(format!("{panicked:?}"));
            Ok::<_, Trouble>(hearing.into_iter().map(|t| t.join().unwrap_or_else(end)).collect::<Vec<_>>())
        })?;
        probe.answered_by("backup", TAKEOVER_WITHIN)?;
        stack.docker("unpause", Node::Master)?;
        stack.settle(Node::Master)?;
        let (report, _) = probe.stop()?;
        let taken = report.fresh.stints.iter().find(|stint| stint.by.as_deref() == Some("backup"));
        let taken = taken.ok_or("the backup never answered")?.start;
        for end in ends {
            match end {
                Ok(at) => {
                    reset += 1;
                    after.add(moment(&report, at).saturating_sub(taken));
                }
                Err(trouble) => wrong.push(trouble),
            }
        }
    }
    if after.median() > TOLD_WITHIN {
        wrong.push("they are told late".to_owned());
    }
    let of = ROUNDS * CLIENTS;
    Ok(Finding::of(format!("{reset} of {of} reset, {after} after the first answer of the backup"), wrong))
}

/// Waits until the backup has been told of all connections, of which the front end has some as well.
fn known(stack: &Stack) -> Result<(), Trouble> {
    if !matches!(stack.kind, Kind::Vipgate) {
        return Ok(());
    }
    until(KNOWN_WITHIN, Duration::from_millis(50), || {
        let open = open(stack)?;
        let report = stack.vrrp_report(Node::Backup)?;
        match report.link.peers.iter().map(|peer| peer.clients).sum::<u64>() {
            known if open >= CLIENTS && known == open as u64 => Ok(()),
            known => Err(format!(
                "the backup knows of {known} connections of {open}, and {CLIENTS} have been opened"
            )),
        }
    })
}

/// Connections at the VIP that the master's kernel has.
fn open(stack: &Stack) -> Result<usize, Trouble> {
    const ESTABLISHED: &str = "01";
    let path = format!("/proc/{}/net/tcp", stack.init(Node::Master)?);
    let table = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(stack.vip().octets()), 80);
    let is_one = |line: &&str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        fields.get(1) == Some(&&*local) && fields.get(3) == Some(&ESTABLISHED)
    };
    Ok(table.lines().filter(is_one).count())
}

/// A connection that has carried a request and its answer.
fn kept(to: SocketAddr) -> Result<TcpStream, Trouble> {
    let said = |e: std::io::Error| format!("{to}: {e}");
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).map_err(said)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(said)?;
    stream.write_all(REQUEST).map_err(said)?;
    let mut answer = Vec::new();
    while !is_whole(&answer) {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).map_err(said)? {
            0 => return Err(format!("{to}: closed in the middle of an answer")),
            n => answer.extend_from_slice(piece.get(..n).unwrap_or_default()),
        }
    }
    Ok(stream)
}

fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    length.is_some_and(|length| body.len() >= length)
}

/// Waits for what becomes of it.
fn hear(mut client: &TcpStream) -> Result<SystemTime, Trouble> {
    match client.read(&mut [0; 1]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(SystemTime::now()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err("a client hangs".to_owned()),
        Err(error) => Err(format!("a client was told: {error}")),
        Ok(0) => Err("a connection was closed as if all were well".to_owned()),
        Ok(_) => Err("a frozen node answered".to_owned()),
    }
}
