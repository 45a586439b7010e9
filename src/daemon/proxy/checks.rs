//! Active health checks, run once for all workers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::server::Server;
use crate::config::{Check, CheckKind};
use crate::health::RiseFall;
use crate::http1::{Fields, HeadScan, Method, ResponseHead, Scanned};

/// A response head that is longer does not say more about health.
const HEAD_MAX: usize = 16 << 10;

/// Checks `server` for as long as it is polled, and publishes what it finds.
pub(super) async fn keep_checked(server: Arc<Server>, check: Check, upstream: String) {
    let mut counter = RiseFall::new(check.rise, check.fall);
    let mut turn = 0;
    loop {
        // A name that is not resolved yet is no failed check: it keeps its server out of rotation as it is, and would
        // keep it out for `rise` intervals more.
        let address = server.known_address(turn).await;
        let next = Instant::now() + check.inter;
        let result = timeout(check.timeout, once(address, &check.kind)).await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {:?}", check.timeout)))
        });
        turn = turn.wrapping_add(1);
        let (passed, words) = match result {
            Ok(words) => (true, words),
            Err(error) => (false, error.to_string()),
        };
        if let Some(up) = counter.record(passed) {
            let state = if up { "up" } else { "down" };
            tracing::info!(upstream = %upstream, server = %format!("{}:{}", server.host, server.port), "{state}: {words}");
        }
        if !passed {
            server.could_not_connect();
        }
        server.set_up(counter.is_up());
        server.set_reason(format!("last check: {words}"));
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
