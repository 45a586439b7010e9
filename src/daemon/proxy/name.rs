//! Names of upstream servers, resolved again and again: containers come and go, and take other addresses.
//!
//! A name that cannot be resolved is never fatal; the addresses that were known last stay until there are others.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::{sleep, timeout};

use super::limits::{ADDRESSES_MAX, RESOLVE_INTERVAL, RESOLVE_PAUSE};
use super::server::Server;

/// Keeps `server`'s addresses true for as long as it is polled.
pub(super) async fn keep_resolved(server: Arc<Server>, name: String) {
    let mut said = String::new();
    loop {
        let words = match tokio::net::lookup_host((name.as_str(), server.port)).await {
            Ok(found) => publish(&server, found),
            Err(error) => {
                let words = format!("{name:?} cannot be resolved: {error}");
                if server.addresses().is_empty() {
                    server.set_reason(words.clone());
                }
                words
            }
        };
        if words != said {
            tracing::info!(upstream = %name, "{words}");
            said = words;
        }
        sleep(RESOLVE_PAUSE).await;
        // A failed connection asks for it now; otherwise it is asked for anyway.
        let _ = timeout(RESOLVE_INTERVAL - RESOLVE_PAUSE, server.resolve.notified()).await;
    }
}

fn publish(server: &Server, found: impl Iterator<Item = SocketAddr>) -> String {
    let mut addresses: Vec<_> = found.take(ADDRESSES_MAX).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return "resolves to no address".into();
    }
    let shown: Vec<_> = addresses.iter().map(|a| a.ip().to_string()).collect();
    let words = format!("resolves to {}", shown.join(", "));
    if server.addresses().is_empty() {
        server.set_reason("not checked".into());
    }
    if *server.addresses() != addresses {
        server.set_addresses(addresses);
    }
    words
}
