//! The real program on loopback, fed bytes that hurt: what its clients and its upstream servers see, beside what they
//! see of nginx and HAProxy. Everything goes through sockets and a configuration file.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test starts processes, opens sockets, and fails by panicking"
)]

mod differ;
mod differ_cases;
mod differ_paths;
mod ends;
mod liars;
mod long;
mod opponents;
#[allow(dead_code, reason = "other tests need more of them")]
#[path = "../proxy/peers.rs"]
mod peers;
mod pending;
mod queue;
mod recorder;
mod reloads;
mod retries;
mod slow;
mod smuggling;
mod smuggling_table;
mod stopped;
#[allow(dead_code, reason = "another test waits for its end")]
mod stopped_thread;
mod support;
