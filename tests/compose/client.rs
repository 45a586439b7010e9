//! A client on the stack's network whose ARP entries are ours: a network namespace on Docker's bridge.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::shell::{Trouble, random, run};

pub(crate) struct Client {
    pub(crate) namespace: String,
}

impl Client {
    pub(crate) const INTERFACE: &'static str = "eth0";

    pub(crate) fn attach(bridge: &str, address: Ipv4Addr, prefix: u8) -> Result<Self, Trouble> {
        let id = format!("{:010x}", random() & 0xff_ffff_ffff);
        let client = Self { namespace: format!("vg{id}") };
        let ns = &client.namespace;
        run("ip", ["netns", "add", ns])?;
        let host_end = format!("vg{id}h");
        run("ip", ["link", "add", &host_end, "type", "veth", "peer", "name", Self::INTERFACE, "netns", ns])?;
        run("ip", ["link", "set", &host_end, "master", bridge, "up"])?;
        run("ip", ["-n", ns, "address", "add", &format!("{address}/{prefix}"), "dev", Self::INTERFACE])?;
        run("ip", ["-n", ns, "link", "set", "lo", "up"])?;
        run("ip", ["-n", ns, "link", "set", Self::INTERFACE, "up"])?;
        Ok(client)
    }

    /// As if it had never heard of anybody: no ARP entry.
    pub(crate) fn forget(&self) -> Result<(), Trouble> {
        run("ip", ["-n", &self.namespace, "neigh", "flush", "dev", Self::INTERFACE]).map(drop)
    }

    /// Does `work` with the client's network.
    pub(crate) fn inside<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        in_network(&format!("/run/netns/{}", self.namespace), work)
    }

    pub(crate) fn get(&self, to: SocketAddr, path: &str, patience: Duration) -> Result<Answer, Trouble> {
        self.inside(|| get(to, path, patience))
    }
}

/// Does `work` in a network namespace.
pub(crate) fn in_network<R: Send>(namespace: &str, work: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let namespace = File::open(namespace).unwrap();
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Drop for Client {
    fn drop(&mut self) {
        // Its veth pair goes with it. A leftover is named after nothing that runs and disturbs nobody.
        let _ = run("ip", ["netns", "delete", &self.namespace]);
    }
}

/// A whole HTTP response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn served_by(&self) -> &str {
        self.header("x-served-by").unwrap_or("nobody")
    }
}

/// One GET on a connection of its own.
pub(crate) fn get(to: SocketAddr, path: &str, patience: Duration) -> Result<Answer, Trouble> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    exchange(to, request.as_bytes(), patience)
}

/// Sends any bytes, reads until the other side closes.
pub(crate) fn exchange(to: SocketAddr, request: &[u8], patience: Duration) -> Result<Answer, Trouble> {
    let said = |e: std::io::Error| format!("{to}: {e}");
    let mut stream = TcpStream::connect_timeout(&to, patience).map_err(said)?;
    stream.set_read_timeout(Some(patience)).map_err(said)?;
    stream.write_all(request).map_err(said)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(said)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("{to}: {text:?} is no response"))?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| format!("{to}: {head:?} has no status"))?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
