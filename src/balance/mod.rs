//! Who serves a request, and who serves it if that fails. No clock, no rand, no socket.

mod retry;
mod smooth;

pub use retry::{Attempt, Failure, Next, Policy, Progress, Retry};
pub use smooth::Smooth;
