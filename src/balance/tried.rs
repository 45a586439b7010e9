//! The peers that one request has tried, and how far its own draws have come.

/// Most requests end within so many tries; what goes beyond costs an allocation.
const FEW: usize = 4;

/// One per request, fresh at its first try.
#[derive(Clone, Debug)]
pub struct Tried {
    peers: Serials,
    pub(super) draws: Draws,
    /// No other server was left: it is the backups' turn, for the rest of this request.
    pub(super) backups: bool,
}

/// What an algorithm that draws remembers from try to try.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draws {
    pub(super) hash: u32,
    /// Draws that met a peer which could not be had.
    pub(super) misses: u8,
}

impl Draws {
    /// Where nginx's `ip_hash` begins.
    const HASH: u32 = 89;
}

/// Which never come twice, so that a set of peers may change meanwhile.
#[derive(Clone, Debug, Default)]
struct Serials {
    few: [u64; FEW],
    /// How many of them are taken.
    taken: usize,
    /// Sorted.
    many: Vec<u64>,
}

impl Default for Tried {
    fn default() -> Self {
        Self { peers: Serials::default(), draws: Draws { hash: Draws::HASH, misses: 0 }, backups: false }
    }
}

impl Tried {
    pub(super) fn contains(&self, serial: u64) -> bool {
        self.peers.contains(serial)
    }

    pub(super) fn insert(&mut self, serial: u64) {
        self.peers.insert(serial);
    }
}

impl Serials {
    fn contains(&self, serial: u64) -> bool {
        self.taken > 0
            && (self.few.iter().take(self.taken).any(|s| *s == serial)
                || self.many.binary_search(&serial).is_ok())
    }

    fn insert(&mut self, serial: u64) {
        if self.contains(serial) {
            return;
        }
        if let Some(place) = self.few.get_mut(self.taken) {
            *place = serial;
            self.taken += 1;
        } else if let Err(place) = self.many.binary_search(&serial) {
            self.many.insert(place, serial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let mut tried = Tried::default();
        let put = [7, 0, 900, 7, 3, 2, 1, 70, 0, 64, 7];
        for (n, serial) in put.iter().enumerate() {
            tried.insert(*serial);
            for asked in 0..1_000 {
                assert_eq!(tried.contains(asked), put[..=n].contains(&asked), "{asked} after {n}");
            }
        }
        assert!(!Tried::default().contains(0));
    }
}
