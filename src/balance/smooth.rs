//! Smooth weighted round robin (nginx's `ngx_http_upstream_get_round_robin_peer`): weights 5, 1, 1 give
//! a a b a c a a, never five in a row.

#[derive(Clone, Debug)]
pub struct Smooth {
    servers: Vec<Server>,
}

#[derive(Clone, Debug)]
struct Server {
    weight: i64,
    current: i64,
}

impl Smooth {
    pub fn new(weights: impl IntoIterator<Item = u16>) -> Self {
        Self { servers: weights.into_iter().map(|w| Server { weight: i64::from(w), current: 0 }).collect() }
    }

    /// The place of the next server among those that `eligible` admits; ties go to the first.
    pub fn pick(&mut self, eligible: impl Fn(usize) -> bool) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, server) in self.servers.iter_mut().enumerate().filter(|(i, _)| eligible(*i)) {
            server.current += server.weight;
            total += server.weight;
            if best.is_none_or(|(_, current)| server.current > current) {
                best = Some((index, server.current));
            }
        }
        let (index, _) = best?;
        if let Some(server) = self.servers.get_mut(index) {
            server.current -= total;
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(weights: &[u16], out: &[usize], expect: &str) {
        let mut smooth = Smooth::new(weights.iter().copied());
        let got: String = (0..expect.len())
            .map(|_| smooth.pick(|i| !out.contains(&i)).map_or('-', |i| char::from(b'a' + i as u8)))
            .collect();
        assert_eq!(got, expect, "{weights:?} without {out:?}");
    }

    #[test]
    fn turns() {
        check(&[5, 1, 1], &[], "aabacaaaabacaa");
        check(&[1, 1, 1], &[], "abcabc");
        check(&[2, 1], &[], "abaaba");
        check(&[5, 1, 1], &[0], "bcbc");
        check(&[1], &[], "aaa");
        check(&[1, 1], &[0, 1], "--");
        check(&[], &[], "-");
    }

    #[test]
    fn shares_are_exact_over_a_round() {
        let weights = [7, 3, 65_535, 1];
        let mut smooth = Smooth::new(weights);
        let mut count = [0u32; 4];
        for _ in 0..weights.iter().map(|w| u32::from(*w)).sum::<u32>() {
            count[smooth.pick(|_| true).unwrap()] += 1;
        }
        assert_eq!(count, weights.map(u32::from));
    }

    /// Turns that were missed are not made up for: that would be a flood for a server that has just come back.
    #[test]
    fn who_returns_gets_its_share_and_no_more() {
        let mut smooth = Smooth::new([1, 1, 1]);
        for _ in 0..1_000 {
            assert_ne!(smooth.pick(|i| i != 2), Some(2));
        }
        let count = (0..30).filter(|_| smooth.pick(|_| true) == Some(2)).count();
        assert!((9..=11).contains(&count), "{count} of 30");
    }
}
