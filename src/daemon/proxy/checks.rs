//! Active health checks, run once for all workers, of each address for itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::limits::CHECKS_SPREAD_MAX;
use super::server::{Endpoint, Server};
use super::task::Task;
use crate::config::{Check, CheckKind};
use crate::health::RiseFall;
use crate::http1::{Fields, HeadScan, Method, ResponseHead, Scanned};

/// A response head that is longer does not say more about health.
const HEAD_MAX: usize = 16 << 10;

/// The checks of one server: each of its addresses has one task, and so one check at a time.
pub(super) struct Checks {
    plan: Option<Plan>,
    running: Vec<(SocketAddr, Task)>,
}

#[derive(Clone)]
struct Plan {
    check: Check,
    upstream: String,
    /// The checks of all servers begin one after the other: this one's turn, and the time until the next one's.
    delay: Duration,
    slot: Duration,
}

impl Checks {
    /// `place`: of so many servers of this configuration whose checks begin.
    pub(super) fn new(check: Option<&Check>, upstream: &str, place: u32, of: u32) -> Self {
        let plan = check.map(|check| {
            let slot = check.inter.min(CHECKS_SPREAD_MAX) / of.max(1);
            Plan { check: check.clone(), upstream: upstream.to_owned(), delay: slot * place, slot }
        });
        Self { plan, running: vec![] }
    }

    /// Checks the addresses that `server` has, and no others.
    pub(super) fn follow(&mut self, server: &Arc<Server>) {
        let Some(plan) = &mut self.plan else { return };
        let endpoints = server.endpoints();
        self.running.retain(|(address, _)| server.has(*address));
        let is_new = |e: &&Arc<Endpoint>| self.running.iter().all(|(address, _)| *address != e.address);
        let new: Vec<_> = endpoints.iter().filter(is_new).cloned().collect();
        let Ok(count) = u32::try_from(new.len()) else { return };
        let mut delay = plan.delay;
        for endpoint in new {
            let address = endpoint.address;
            let checking = keep_checked(Arc::clone(server), endpoint, plan.clone(), delay);
            self.running.push((address, Task::spawn(checking)));
            delay += plan.slot / count;
        }
        // Addresses that come later come one at a time, and at a time of their own.
        plan.delay = Duration::ZERO;
    }
}

/// Checks `endpoint` for as long as it is polled, and publishes what it finds.
async fn keep_checked(server: Arc<Server>, endpoint: Arc<Endpoint>, plan: Plan, delay: Duration) {
    let Plan { check, upstream, .. } = plan;
    let mut counter = RiseFall::new(check.rise, check.fall);
    sleep(delay).await;
    loop {
        let next = Instant::now() + check.inter;
        let result = timeout(check.timeout, once(endpoint.address, &check.kind)).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {:?}", check.timeout)))
        });
        let (passed, words) = match result {
            Ok(words) => (true, words),
            Err(error) => (false, error.to_string()),
        };
        if let Some(up) = counter.record(passed) {
            let state = if up { "up" } else { "down" };
            let name = format!("{}:{}", server.host, server.port);
            tracing::info!(upstream = %upstream, server = %name, address = %endpoint.address, "{state}: {words}");
        }
        if !passed {
            server.could_not_connect();
        }
        endpoint.set_checked(counter.is_up(), format!("last check: {words}"));
        sleep_until(next).await;
    }
}
async fn once(address: SocketAddr, kind: &CheckKind) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    match kind {
        CheckKind::Tcp => Ok("connected".into()),
        CheckKind::Http { method, uri, host } => {
            let request = format!(
                "{method} {uri} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: vipgate-check\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await?;
            let status = response_status(&mut stream).await?;
            match status {
                200..=399 => Ok(format!("status {status}")),
                _ => Err(io::Error::other(format!("status {status}"))),
            }
        }
    }
}

async fn response_status(stream: &mut TcpStream) -> io::Result<u16> {
    let mut head = Vec::with_capacity(1024);
    let mut scan = HeadScan::default();
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::Error::other("closed without a response"));
        }
        match scan.response(&head).map_err(io::Error::other)? {
            Scanned::Incomplete if head.len() >= HEAD_MAX => {
                return Err(io::Error::other("response head too long"));
            }
            Scanned::Incomplete => (),
            Scanned::Complete(length) => {
                let head = head.get(..length).unwrap_or_default();
                // As a HEAD: only the head is of interest.
                let head = ResponseHead::parse(head, Method::Head, Fields::default());
                return Ok(head.map_err(io::Error::other)?.status);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_checks_are_spread_over_the_interval() {
        let check = |inter| Check {
            kind: CheckKind::Tcp,
            inter: Duration::from_millis(inter),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
        };
        for (inter, place, of, expect) in [
            (2_000, 0, 1, 0),
            (2_000, 0, 4, 0),
            (2_000, 1, 4, 500),
            (2_000, 3, 4, 1_500),
            (60_000, 1, 2, 2_500),
        ] {
            let checks = Checks::new(Some(&check(inter)), "app", place, of);
            let delay = checks.plan.unwrap().delay;
            assert_eq!(delay, Duration::from_millis(expect), "{inter} {place} of {of}");
        }
    }
}
