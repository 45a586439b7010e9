//! What became of the requests on connections that are kept. No clock, no socket.

use super::counts::Counts;
use super::report::Persistent;
use super::sample::Sample;

#[derive(Debug, Default)]
pub struct Kept {
    counts: Counts,
    connections: u64,
    reopened: u64,
}

impl Kept {
    pub fn new(connections: u64) -> Self {
        Self { connections, ..Self::default() }
    }

    pub fn handle_sample(&mut self, sample: &Sample) {
        self.counts.add(sample);
    }

    /// The server closed it between two requests, or had announced that it would.
    pub fn handle_reopened(&mut self) {
        self.reopened += 1;
    }

    pub fn tally(&self) -> Persistent {
        Persistent {
            connections: self.connections,
            requests: self.counts.requests,
            failed: self.counts.failed.clone(),
            answered: self.counts.answered.clone(),
            latency: self.counts.latencies.summary(),
            reopened: self.reopened,
        }
    }
}
