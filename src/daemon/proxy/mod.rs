//! The proxy role: accepts, answers, forwards.
//!
//! The main thread talks to PID 1, resolves names and checks upstreams; each worker thread serves whole connections
//! on a runtime of its own. What they share is read-only (a configuration's snapshot) or a few atomics; no request
//! crosses a thread. Rules of HTTP, routing, balancing and retrying live in the pure rooms, not here.

mod access_log;
mod admin;
mod attempt;
mod buffers;
mod checks;
mod chronicle;
mod client;
mod connection;
mod content;
mod counters;
mod crew;
mod deadline;
mod departures;
mod directory;
mod drain;
mod error_pages;
mod exchange;
mod fence;
mod files;
mod forward;
mod limits;
mod listener;
mod metrics;
mod name;
mod name_server;
mod pipes;
mod pool;
mod relay;
mod rescue;
mod resolver;
mod respond;
mod role;
mod send_file;
mod server;
mod shortage;
mod snapshot;
mod tally;
mod task;
mod tunnel;
mod upload;
mod wire;
mod worker;

pub use role::run;
