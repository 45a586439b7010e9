//! Who serves a request, and who serves it if that fails. No clock, no rand, no socket.

mod balancer;
mod choose;
mod next;
mod peer;
mod retry;
#[cfg(test)]
mod tests;
mod tried;

pub use balancer::Balancer;
pub use choose::Algorithm;
pub use next::NextPolicy;
pub use peer::{Outcome, Peer, PeerId, PeerSettings, Standing};
pub use retry::{Attempt, Failure, Next, Policy, Progress, Retry};
pub use tried::Tried;
