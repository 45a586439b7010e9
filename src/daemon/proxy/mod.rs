//! The proxy role: accepts, answers, forwards.
//!
//! The main thread talks to PID 1, resolves names and checks upstreams; each worker thread serves whole connections
//! on a runtime of its own. What they share is read-only (a configuration's snapshot) or a few atomics; no request
//! crosses a thread. Rules of HTTP, routing, balancing and retrying live in the pure rooms, not here.

mod admin;
mod attempt;
mod buffers;
mod checks;
mod client;
mod connection;
mod counters;
mod directory;
mod exchange;
mod fence;
mod files;
mod forward;
mod limits;
mod listener;
mod metrics;
mod name;
mod pool;
mod relay;
mod respond;
mod role;
mod shortage;
mod snapshot;
mod upload;
mod worker;

pub use role::run;
