//! Bytes from somebody on the network who means no good: nothing moves, nothing dies, no request fails.

use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::client::{Client, exchange};
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, random};
use crate::stack::{Node, Stack};

const VRRP: i32 = 112;
const GARBAGE: usize = 500;

/// A stranger's adverts, forged and broken, at both nodes, at the VIP and at the group.
pub(super) fn packets(stack: &mut Stack) -> Verdict {
    let before = roles(stack)?;
    let probe = stack.probe()?;
    let group = Ipv4Addr::new(224, 0, 0, 18);
    let to = [stack.address(Node::Master), stack.address(Node::Backup), stack.vip(), group];
    let (vrid, vip) = (stack.vrid, stack.vip());
    let sent = stack.client.inside(|| send(&to, vrid, vip))?;
    // Whatever they set off shows within a few advert intervals.
    std::thread::sleep(Duration::from_secs(1));
    let (report, _) = probe.stop()?;
    let mut wrong = Vec::new();
    if report.fresh.failed.total() > 0 || report.fresh.answered.len() != 1 {
        wrong.push(format!("failed {}, answered {:?}", report.fresh.failed, report.fresh.answered));
    }
    wrong.extend(stack.settle(Node::Master).err());
    let after = roles(stack)?;
    if before != after {
        wrong.push(format!("a role ended: {before:?}, then {after:?}"));
    }
    let figures = format!("{sent} packets, {} requests, none failed, no role ended", report.fresh.requests);
    Ok(Finding::of(figures, wrong))
}

fn roles(stack: &Stack) -> Result<Vec<(i32, String)>, Trouble> {
    let mut all = stack.processes(Node::Master)?;
    all.extend(stack.processes(Node::Backup)?);
    all.retain(|(_, args)| args.contains("role ") || args.contains("vipgate run"));
    Ok(all)
}

fn send(to: &[Ipv4Addr], vrid: u8, vip: Ipv4Addr) -> Result<usize, Trouble> {
    let said = |e: std::io::Error| format!("raw socket: {e}");
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(VRRP))).map_err(said)?;
    // There is no route to the group; the interface stands in for it.
    socket.bind_device(Some(Client::INTERFACE.as_bytes())).map_err(said)?;
    let mut sent = 0;
    let mut send = |bytes: &[u8], ttl: u32| {
        socket.set_ttl_v4(ttl)?;
        socket.set_multicast_ttl_v4(ttl)?;
        for address in to {
            socket.send_to(bytes, &SocketAddrV4::new(*address, 0).into())?;
            sent += 1;
        }
        Ok(())
    };
    for priority in [255, 200, 0] {
        for (ttl, spoil) in [(255, false), (1, false), (255, true)] {
            for address in to {
                send(&advert(vrid, priority, vip, *address, spoil), ttl).map_err(said)?;
            }
        }
    }
    for length in 0..GARBAGE {
        let bytes: Vec<u8> = (0..length % 64).map(|_| random().to_le_bytes()[0]).collect();
        send(&bytes, 255).map_err(said)?;
    }
    // What comes back is nobody's business; the buffer must not fill.
    let mut sink = [MaybeUninit::uninit(); 2048];
    socket.set_nonblocking(true).map_err(said)?;
    while socket.recv(&mut sink).is_ok() {}
    Ok(sent)
}

/// A VRRPv3 advert (RFC 9568 section 5.1) as this network's own router would send it to `to`; its source is not.
fn advert(vrid: u8, priority: u8, vip: Ipv4Addr, to: Ipv4Addr, spoil: bool) -> Vec<u8> {
    let mut bytes = vec![0x31, vrid, priority, 1, 0, 10, 0, 0];
    bytes.extend(vip.octets());
    let [a, b, ..] = vip.octets();
    let source = [a, b, 129, 1];
    let pseudo: Vec<u8> = [&source[..], &to.octets(), &[0, 112, 0, 12], &bytes].concat();
    let sum: u32 = pseudo.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    bytes[6..8].copy_from_slice(&(checksum ^ u16::from(spoil)).to_be_bytes());
    bytes
}

/// Malformed requests get 400 and the connection closed; what is not even that gets closed.
pub(super) fn requests(stack: &mut Stack) -> Verdict {
    let to = SocketAddr::from((stack.vip(), 80));
    let before = roles(stack)?;
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-A: b\r\n".repeat(10_000));
    let table: [(&str, &[u8], &[u16]); 11] = [
        ("no host", b"GET / HTTP/1.1\r\n\r\n", &[400]),
        ("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[400]),
        ("space before colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", &[400]),
        ("folded line", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", &[400]),
        (
            "two lengths",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            &[400],
        ),
        (
            "length and chunked",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400],
        ),
        ("no version", b"GET /\r\n\r\n", &[400, 505]),
        ("binary", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", &[400]),
        (
            "path upwards",
            b"GET /../../../etc/passwd HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            &[400, 403, 404],
        ),
        ("long target", long.as_bytes(), &[400, 414, 431]),
        ("many fields", many.as_bytes(), &[400, 431]),
    ];
    let mut wrong = Vec::new();
    for (what, bytes, expect) in table {
        match stack.client.inside(|| exchange(to, bytes, Duration::from_secs(3))) {
            Ok(answer) if expect.contains(&answer.status) => {}
            Ok(answer) => wrong.push(format!("{what}: {}", answer.status)),
            // A server that closes with bytes unread resets: the answer may be lost, the request is refused all the same.
            Err(e) if bytes.len() > 10_000 && (e.contains("reset") || e.contains("Broken pipe")) => {}
            Err(e) => wrong.push(format!("{what}: {e}")),
        }
    }
    if roles(stack)? != before {
        wrong.push("a role ended".to_owned());
    }
    Ok(Finding::of(format!("{} kinds refused, no role ended", table.len()), wrong))
}
