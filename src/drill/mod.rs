//! A drill: a planned and a freeze failover of a running pair, ordered and measured from outside of it. What is asked of
//! whom, and when; what the answers of the address show. No clock, no socket, no file.

mod course;
mod figures;
mod report;
mod whole;

pub use course::{Course, Mark, Output, Plan};
pub use figures::{Marks, Phase, Samples, freeze, planned};
pub use report::{Bounds, Report};
pub use whole::{Pair, Sight, master_of, whole};
