//! How often a master advertises, while the backups may go by another interval than its own. No clock.

use std::time::Duration;

use super::machine::Machine;
use super::timing::MISSED_ADVERTS;

/// A shorter interval than that of the settings, and how many adverts leave at it yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Former {
    interval: Duration,
    left: u32,
}

impl Machine {
    /// The interval by which this node has to speak, and by which a backup may count its silence.
    pub(super) fn own_interval(&self) -> Duration {
        let own = self.settings.advert_interval.duration();
        self.former.map_or(own, |former| former.interval.min(own))
    }

    /// The interval was `before`, and a backup goes by that one until it has heard an advert that says another. It has
    /// heard one once as many have left as it takes to be missed.
    pub(super) fn keep_pace(&mut self, before: Duration) {
        if before < self.settings.advert_interval.duration() {
            self.former = Some(Former { interval: before, left: MISSED_ADVERTS });
        }
    }

    /// An advert leaves, and says the interval of the settings.
    pub(super) fn note_pace(&mut self) {
        self.former = self.former.and_then(|former| {
            let left = former.left.saturating_sub(1);
            (left > 0).then_some(Former { left, ..former })
        });
    }
}
