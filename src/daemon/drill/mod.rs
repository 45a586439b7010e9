//! `vipgate drill` at work: gives the orders of `crate::drill` over the link of the nodes, whose key it has, and lets a
//! prober watch the address meanwhile.

mod order;
mod run;
mod task;

pub use run::{Unable, run};
pub use task::{Task, TaskError, Wanted};
