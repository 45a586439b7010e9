//! What a worker counts. Written by its own thread, summed when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Requests,
    Malformed,
    Timeouts,
    BodyTooLarge,
    ClientGone,
    UpstreamFailed,
    UpstreamMalformed,
    Retries,
    NoUpstream,
    Cut,
    FenceGaps,
    FenceRefused,
    FilesChanged,
}

const NAMES: &[(Count, &str)] = &[
    (Count::Requests, "requests"),
    (Count::Malformed, "requests_malformed"),
    (Count::Timeouts, "requests_timed_out"),
    (Count::BodyTooLarge, "requests_too_large"),
    (Count::ClientGone, "clients_gone"),
    (Count::UpstreamFailed, "upstream_tries_failed"),
    (Count::UpstreamMalformed, "upstream_responses_malformed"),
    (Count::Retries, "upstream_retries"),
    (Count::NoUpstream, "no_upstream_up"),
    (Count::Cut, "responses_cut"),
    (Count::FenceGaps, "fence_gaps"),
    (Count::FenceRefused, "fence_refused"),
    (Count::FilesChanged, "files_changed"),
];

/// One worker's vital signs.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    /// Turns of its event loop.
    turns: AtomicU64,
    /// Client connections that are open.
    connections: AtomicU64,
    counts: [AtomicU64; NAMES.len()],
}

impl Vitals {
    pub(super) fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    pub(super) fn set_connections(&self, n: usize) {
        self.connections.store(n as u64, Ordering::Relaxed);
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, count: Count) {
        if let Some(cell) = self.counts.get(count as usize) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn counted(&self, count: Count) -> u64 {
        self.counts.get(count as usize).map_or(0, |c| c.load(Ordering::Relaxed))
    }
}

/// Name and sum over all workers, for `status`.
pub(super) fn sums<'a>(vitals: impl Iterator<Item = &'a Vitals> + Clone) -> Vec<(String, u64)> {
    NAMES
        .iter()
        .map(|(count, name)| ((*name).to_owned(), vitals.clone().map(|v| v.counted(*count)).sum()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_has_its_own_name_and_place() {
        for (place, (count, _)) in NAMES.iter().enumerate() {
            assert_eq!(*count as usize, place, "{count:?}");
        }
        let (a, b) = (Vitals::default(), Vitals::default());
        a.count(Count::FenceRefused);
        b.count(Count::FenceRefused);
        b.count(Count::Requests);
        let sums = sums([&a, &b].into_iter());
        assert_eq!(sums.iter().find(|(n, _)| n == "fence_refused").unwrap().1, 2);
        assert_eq!(sums.iter().find(|(n, _)| n == "requests").unwrap().1, 1);
    }
}
