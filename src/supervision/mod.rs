//! What PID 1 does about its roles, decided without doing any of it: no process, no signal, no clock, no socket.

mod backoff;
mod event;
mod freeze;
#[cfg(test)]
mod hang_tests;
pub mod heartbeat;
mod peers;
#[cfg(test)]
mod peers_tests;
mod plan;
#[cfg(test)]
mod plan_tests;
mod reload;
mod role;
#[cfg(test)]
mod runner_tests;
mod stop;

pub use event::*;
pub use freeze::{FREEZE_AFTER, FREEZES_APART, Freezes};
pub use peers::{ASK_BOUND, SETTLE_TIME};
pub use plan::{GRACE, Plan};
pub use reload::PREPARE_BOUND;
pub use role::{SETTLE_BOUND, View};
pub use stop::{RESIGN_BOUND, TELL_BOUND};
