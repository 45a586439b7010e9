//! What `vipgate probe` makes of its samples: who answered when, each outage and how it looked, a summary.
//! No clock, no socket, no terminal: samples come in, events and a report go out.

mod counts;
mod kept;
mod latency;
mod report;
mod sample;
mod timeline;

pub use kept::Kept;
pub use latency::{Latencies, Latency};
pub use report::{Persistent, Report, Tally};
pub(crate) use sample::milliseconds;
pub use sample::{Failure, Kinds, Outcome, Sample};
pub use timeline::{Event, Outage, Stint, Timeline};
