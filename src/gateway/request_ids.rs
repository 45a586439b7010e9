//! The numbers that requests are told apart by (`$request_id`).

/// One worker's. Numbers of one `RequestIds` never repeat; those of two with different seeds do not meet in practice.
/// They are no secrets: who has seen some can work out the others.
#[derive(Clone, Debug)]
pub struct RequestIds {
    high: u64,
    low: u64,
}

/// Odd, so that a counter that grows by it meets every number of 64 bits once.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl RequestIds {
    /// `seed`: random bits, others for every worker and every start.
    pub fn new(seed: u128) -> Self {
        Self { high: (seed >> 64) as u64, low: seed as u64 }
    }

    pub fn draw(&mut self) -> u128 {
        self.low = self.low.wrapping_add(STEP);
        let low = scramble(self.low);
        // The other half hangs on the first, so that neighbours differ in all digits.
        u128::from(scramble(self.high ^ low)) << 64 | u128::from(low)
    }
}

/// Another number of 64 bits for each, by steps that can all be undone.
fn scramble(mut n: u64) -> u64 {
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        n ^= n >> 33;
        n = n.wrapping_mul(factor);
    }
    n ^ n >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_do_not_repeat_and_use_all_digits() {
        let mut seen = HashSet::new();
        let mut bits = (u128::MAX, 0);
        for seed in 0..16 {
            let mut ids = RequestIds::new(seed);
            for _ in 0..1000 {
                let id = ids.draw();
                assert!(seen.insert(id), "{id:032x}");
                bits = (bits.0 & id, bits.1 | id);
            }
        }
        assert_eq!(bits, (0, u128::MAX));
    }
}
