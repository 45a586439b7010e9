//! What a worker counts. Written by its own thread, summed when somebody asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the histogram of how long requests take, in microseconds: from what a page in memory takes to
/// nginx's default of `proxy_read_timeout`.
pub(super) const DURATIONS: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000, 60_000_000,
];
/// 1xx to 5xx.
pub(super) const CLASSES: usize = 5;

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
    NameQueries,
    NameAnswersIgnored,
    NameFailures,
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
    (Count::NameQueries, "name_queries"),
    (Count::NameAnswersIgnored, "name_answers_ignored"),
    (Count::NameFailures, "name_lookups_failed"),
];

/// One worker's vital signs. Only its own thread writes, so that a load and a store do, without a lock on the bus.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    /// Turns of its event loop.
    turns: AtomicU64,
    /// Client connections that are open.
    connections: AtomicU64,
    counts: [AtomicU64; NAMES.len()],
    classes: [AtomicU64; CLASSES],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// The last one: longer than every bound.
    durations: [AtomicU64; DURATIONS.len() + 1],
    /// In microseconds.
    duration_sum: AtomicU64,
    /// Locked when a configuration comes and when somebody asks, never for a request.
    tallies: Mutex<BTreeMap<Place, Arc<ServerTally>>>,
}

/// A server of an upstream, by the upstream's name and its own.
pub(super) type Place = (String, String);

/// What one worker has seen of one server.
#[derive(Debug, Default)]
pub(super) struct ServerTally {
    tries: AtomicU64,
    failures: AtomicU64,
}

fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

fn read(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

impl ServerTally {
    pub(super) fn tried(&self) {
        add(&self.tries, 1);
    }

    pub(super) fn failed(&self) {
        add(&self.failures, 1);
    }
}

impl Vitals {
    pub(super) fn turn(&self) {
        add(&self.turns, 1);
    }

    pub(super) fn turns(&self) -> u64 {
        read(&self.turns)
    }

    pub(super) fn set_connections(&self, n: usize) {
        self.connections.store(n as u64, Ordering::Relaxed);
    }

    pub(super) fn connections(&self) -> u64 {
        read(&self.connections)
    }

    pub(super) fn count(&self, count: Count) {
        if let Some(cell) = self.counts.get(count as usize) {
            add(cell, 1);
        }
    }

    /// A request has had its answer, or as much of it as it got: `took` from its first byte to the last one written.
    /// The bytes are those of bodies.
    pub(super) fn finished(&self, status: u16, took: Duration, bytes_in: u64, bytes_out: u64) {
        let class = usize::from(status / 100).checked_sub(1);
        if let Some(cell) = class.and_then(|class| self.classes.get(class)) {
            add(cell, 1);
        }
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = DURATIONS.iter().position(|bound| took <= *bound).unwrap_or(DURATIONS.len());
        if let Some(cell) = self.durations.get(bucket) {
            add(cell, 1);
        }
        add(&self.duration_sum, took);
        add(&self.bytes_in, bytes_in);
        add(&self.bytes_out, bytes_out);
    }

    /// Where this worker counts what it sees of a server: to be asked for once, and kept as long as the server is.
    pub(super) fn tally(&self, upstream: &str, server: &str) -> Arc<ServerTally> {
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody keeps any more belong to servers that are gone.
        tallies.retain(|_, tally| Arc::strong_count(tally) > 1);
        Arc::clone(tallies.entry((upstream.to_owned(), server.to_owned())).or_default())
    }
}

/// What all workers have counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) connections: u64,
    pub(super) counts: [u64; NAMES.len()],
    pub(super) classes: [u64; CLASSES],
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// As `DURATIONS`, and those that are longer.
    pub(super) durations: [u64; DURATIONS.len() + 1],
    pub(super) duration_sum: Duration,
    /// Tries and failures.
    pub(super) servers: BTreeMap<Place, (u64, u64)>,
}

impl Sums {
    pub(super) fn of<'a>(vitals: impl Iterator<Item = &'a Vitals>) -> Self {
        let mut sums = Self::default();
        for one in vitals {
            sums.connections += one.connections();
            gather(&mut sums.counts, &one.counts);
            gather(&mut sums.classes, &one.classes);
            gather(&mut sums.durations, &one.durations);
            sums.bytes_in += read(&one.bytes_in);
            sums.bytes_out += read(&one.bytes_out);
            sums.duration_sum += Duration::from_micros(read(&one.duration_sum));
            for (place, tally) in one.tallies.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let (tries, failures) = sums.servers.entry(place.clone()).or_default();
                *tries += read(&tally.tries);
                *failures += read(&tally.failures);
            }
        }
        sums
    }

    pub(super) fn counted(&self, count: Count) -> u64 {
        self.counts.get(count as usize).copied().unwrap_or_default()
    }

    /// Name and sum, for `status` and metrics.
    pub(super) fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        NAMES.iter().map(|(count, name)| (*name, self.counted(*count)))
    }
}

fn gather(sums: &mut [u64], cells: &[AtomicU64]) {
    for (sum, cell) in sums.iter_mut().zip(cells) {
        *sum += read(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_has_its_own_name_and_place() {
        for (place, (count, _)) in NAMES.iter().enumerate() {
            assert_eq!(*count as usize, place, "{count:?}");
        }
    }

    #[test]
    fn workers_add_up() {
        let (a, b) = (Vitals::default(), Vitals::default());
        a.count(Count::FenceRefused);
        b.count(Count::FenceRefused);
        b.count(Count::Requests);
        a.set_connections(3);
        b.set_connections(4);
        let ms = Duration::from_millis;
        // Status, time, its place among the bounds.
        let table = [
            (&a, 200, Duration::from_micros(100), 0),
            (&b, 204, Duration::from_micros(101), 1),
            (&a, 404, ms(1), 3),
            (&b, 502, ms(60_000), 14),
            (&a, 599, ms(60_001), 15),
            // No status of HTTP: it is in no class, and in the histogram.
            (&b, 600, ms(0), 0),
            (&b, 99, ms(0), 0),
        ];
        for (vitals, status, took, _) in table {
            vitals.finished(status, took, 10, 1_000);
        }
        let kept = [a.tally("app", "app:80"), b.tally("app", "app:80"), b.tally("app", "other:80")];
        kept[0].tried();
        kept[1].tried();
        kept[1].failed();
        drop(b.tally("gone", "gone:80"));
        // What nobody keeps goes with the next question.
        assert!(Arc::ptr_eq(&kept[2], &b.tally("app", "other:80")));

        let sums = Sums::of([&a, &b].into_iter());
        let named = |name: &str| sums.named().find(|(n, _)| *n == name).unwrap().1;
        assert_eq!((named("fence_refused"), named("requests"), sums.connections), (2, 1, 7));
        assert_eq!(sums.classes, [0, 2, 0, 1, 2]);
        assert_eq!((sums.bytes_in, sums.bytes_out), (70, 7_000));
        let mut expect = [0; DURATIONS.len() + 1];
        table.iter().for_each(|(.., place)| expect[*place] += 1);
        assert_eq!(sums.durations, expect);
        assert_eq!(sums.duration_sum, ms(120_002) + Duration::from_micros(201));
        let server = |name: &str| ("app".to_owned(), name.to_owned());
        assert_eq!(sums.servers, [(server("app:80"), (2, 1)), (server("other:80"), (0, 0))].into());
    }
}
