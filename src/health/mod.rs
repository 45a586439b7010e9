//! Who is up, and whether this process itself has been running. No clock: readings come in.

mod gap;
mod rise_fall;
mod trial;

pub use gap::{Clearance, Gap, GapWatch};
pub use rise_fall::RiseFall;
pub use trial::Trial;
