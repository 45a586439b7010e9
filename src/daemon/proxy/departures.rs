//! Which workers have said that the connections of a departure are gone.

use std::collections::{HashMap, HashSet};

#[derive(Debug, Default)]
pub(super) struct Departures(HashMap<u64, (HashSet<usize>, u64)>);

impl Departures {
    pub(super) fn begin(&mut self, number: u64, workers: usize) {
        self.0.insert(number, ((0..workers).collect(), 0));
    }

    pub(super) fn give_up(&mut self, number: u64) {
        self.0.remove(&number);
    }

    /// How many were cut in all, once the last worker has said it.
    pub(super) fn left(&mut self, worker: usize, number: u64, cut: u64) -> Option<u64> {
        let (workers, sum) = self.0.get_mut(&number)?;
        if workers.remove(&worker) {
            *sum += cut;
        }
        let all = *sum;
        workers.is_empty().then(|| self.0.remove(&number)).map(|_| all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_worker_ends_it() {
        let mut departures = Departures::default();
        departures.begin(7, 2);
        departures.begin(8, 1);
        assert_eq!(departures.left(1, 7, 3), None);
        assert_eq!(departures.left(1, 7, 3), None, "said twice");
        assert_eq!(departures.left(0, 7, 1), Some(4));
        assert_eq!(departures.left(0, 7, 1), None, "it is over");
        departures.give_up(8);
        assert_eq!(departures.left(0, 8, 0), None);
    }
}
