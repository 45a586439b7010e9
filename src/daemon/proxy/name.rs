//! Names of upstream servers, resolved again and again: containers come and go, and take other addresses.
//!
//! A name that cannot be resolved is never fatal; the addresses that were known last stay until there are others.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::time::{sleep, timeout};

use super::checks::Checks;
use super::limits::{RESOLVE_PAUSE, RESOLVE_RETRY};
use super::name_server::has_route;
use super::resolver::{Found, Resolver};
use super::server::Server;
use crate::dns::ADDRESSES_MAX;

/// Keeps `server`'s addresses true for as long as it is polled, and `checks` with them.
pub(super) async fn keep_resolved(
    server: Arc<Server>,
    name: String,
    resolver: Arc<Resolver>,
    mut checks: Checks,
) {
    let mut known = Known::default();
    let mut said = String::new();
    loop {
        let (words, next) = match resolver.lookup(&name).await {
            Ok(found) => {
                let next = found.valid;
                let words = known.learn(found, server.port).await;
                if let Ok(addresses) = &words {
                    server.set_addresses(addresses);
                    checks.follow(&server);
                }
                (words, next)
            }
            Err(why) => (Err(why), RESOLVE_RETRY),
        };
        let is_known = words.is_ok();
        let words = match words {
            Ok(addresses) => {
                server.set_problem("");
                let shown: Vec<_> = addresses.iter().map(|a| a.ip().to_string()).collect();
                format!("{name:?} resolves to {}", shown.join(", "))
            }
            Err(why) => {
                let words = format!("{name:?} cannot be resolved: {why}");
                server.set_problem(&words);
                words
            }
        };
        if words != said {
            match is_known {
                true => tracing::info!("{words}"),
                false => tracing::warn!("{words}"),
            }
            said = words;
        }
        sleep(RESOLVE_PAUSE).await;
        // A failed connection asks for it at once; otherwise it is asked for in time.
        let _ = timeout(next.saturating_sub(RESOLVE_PAUSE), server.resolve.notified()).await;
    }
}

/// The addresses that were found last, of each family.
#[derive(Default)]
struct Known {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
}

impl Known {
    /// The addresses there are with what has just been found, sorted.
    async fn learn(&mut self, found: Found, port: u16) -> Result<Vec<SocketAddr>, String> {
        if let Some(v4) = found.v4 {
            self.v4 = v4;
        }
        let mut unreachable = None;
        if let Some(v6) = found.v6 {
            self.v6.clear();
            for ip in v6 {
                // Where containers have no IPv6, every connection would fail at once and count as the server's failure.
                if has_route(SocketAddr::new(ip, port)).await {
                    self.v6.push(ip);
                } else {
                    unreachable = Some(ip);
                }
            }
        }
        let all = self.v4.iter().chain(&self.v6).take(ADDRESSES_MAX);
        let mut addresses: Vec<_> = all.map(|ip| SocketAddr::new(*ip, port)).collect();
        addresses.sort_unstable();
        match unreachable {
            Some(ip) if addresses.is_empty() => Err(format!("this node has no route to {ip}")),
            _ => Ok(addresses),
        }
    }
}
