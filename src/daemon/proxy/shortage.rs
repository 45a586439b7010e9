//! What the log says when connections cannot be accepted: seldom, since every listener finds it out again at every
//! try.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;

use nix::errno::Errno;
use tokio::time::Instant;

use super::limits::SHORTAGE_WARNING;

/// One worker's.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    warned: Cell<Option<Instant>>,
}

impl Shortage {
    /// Whether `error` is one of too few descriptors or too little memory, and not of the connection itself.
    pub(super) fn explains(&self, error: &io::Error, address: SocketAddr) -> bool {
        let Some(remedy) = remedy(error) else { return false };
        if self.is_due(Instant::now()) {
            tracing::warn!(%address, "cannot accept connections: {error}; {remedy}");
        }
        true
    }

    fn is_due(&self, now: Instant) -> bool {
        let due = self.warned.get().is_none_or(|at| now.saturating_duration_since(at) >= SHORTAGE_WARNING);
        if due {
            self.warned.set(Some(now));
        }
        due
    }
}

fn remedy(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE) => Some("raise `ulimits: nofile` of this service in the compose file"),
        Some(Errno::ENFILE) => {
            Some("raise the host's sysctl fs.file-max: `ulimits: nofile` does not help here")
        }
        Some(Errno::ENOBUFS | Errno::ENOMEM) => Some("give the host, or this service, more memory"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn one_warning_per_while() {
        let shortage = Shortage::default();
        let start = Instant::now();
        for (ms, expect) in
            [(0, true), (50, false), (9_999, false), (10_000, true), (10_050, false), (30_000, true)]
        {
            assert_eq!(shortage.is_due(start + Duration::from_millis(ms)), expect, "{ms} ms");
        }
    }

    #[test]
    fn shortages_are_told_from_failed_connections() {
        let address = "127.0.0.1:80".parse().unwrap();
        for (errno, expect) in [
            (Errno::EMFILE, true),
            (Errno::ENFILE, true),
            (Errno::ENOMEM, true),
            (Errno::ENOBUFS, true),
            (Errno::ECONNABORTED, false),
            (Errno::EPROTO, false),
        ] {
            assert_eq!(Shortage::default().explains(&errno.into(), address), expect, "{errno}");
        }
    }
}
