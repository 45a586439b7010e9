//! `vipgate probe` at work: sends requests at a fixed rate and hands what it saw to `crate::probe`.
//! It speaks to nobody but its target and its writer.

mod exchange;
mod persistent;
mod run;
mod target;

pub use run::{Form, Own, Seen, run, watch};
pub use target::{Plan, PlanError, Target, Until};
