//! A configuration as one worker sees it.

use std::rc::Rc;
use std::sync::Arc;

use super::counters::Vitals;
use super::pool::Pool;
use super::snapshot::Snapshot;
use crate::os::clock;

/// Spreads neighbouring numbers over all 64 bits (the golden ratio).
const SEED_SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A configuration's snapshot with this worker's own state for each of its upstreams.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Counts this worker's views.
    pub(super) number: u64,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) pools: Vec<Rc<Pool>>,
}

impl View {
    /// The one after `old`, whose pools go on where their upstream is the same.
    pub(super) fn new(snapshot: Arc<Snapshot>, old: &Self, worker: usize, vitals: &Arc<Vitals>) -> Self {
        let pools = snapshot.upstreams.iter().enumerate().map(|(n, group)| {
            let before = old.snapshot.upstreams.iter().zip(&old.pools);
            let before = before.into_iter().find(|(g, _)| g.config.name == group.config.name);
            if let Some((_, pool)) = before.filter(|(_, pool)| pool.suits(group)) {
                return Rc::clone(pool);
            }
            let seed = clock::boottime_ns() ^ (((worker as u64) << 32) | n as u64).wrapping_mul(SEED_SPREAD);
            let pool = Pool::new(group, seed, Arc::clone(vitals));
            if let Some((_, old)) = before {
                pool.inherit(group, old);
            }
            Rc::new(pool)
        });
        Self { number: old.number + 1, pools: pools.collect(), snapshot: Arc::clone(&snapshot) }
    }
}
