//! How long the machine stood still: a thread that wants to run every few milliseconds, and notes how late it was.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The gate of a living node closes 60 ms after its last advert, which is due every 20 ms: where the whole machine stood
/// still for longer than what is between, a segment may have met a closed one, and a gap is the machine's as well.
pub(crate) const STOOD_STILL: Duration = Duration::from_millis(40);
const EVERY: Duration = Duration::from_millis(5);

static WORST_NS: AtomicU64 = AtomicU64::new(0);

/// From now on, until the process ends.
pub(crate) fn watch() {
    // Detached: nobody waits for its end.
    drop(thread::spawn(|| {
        loop {
            let due = Instant::now() + EVERY;
            thread::sleep(EVERY);
            let late = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
            WORST_NS.fetch_max(late, Ordering::Relaxed);
        }
    }));
}

/// The longest since it was asked last.
pub(crate) fn longest() -> Duration {
    Duration::from_nanos(WORST_NS.swap(0, Ordering::Relaxed))
}
