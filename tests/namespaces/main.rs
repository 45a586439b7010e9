//! The real program as the nodes of a small network of namespaces, and what tcpdump says of it: no frame is read here
//! by code of ours. Everything is anonymous and goes with its last descriptor; the machine's own network is not touched.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test starts processes, reads files and clocks, and fails by panicking"
)]

mod adverts;
mod capture;
mod drill;
mod freeze;
mod gate;
mod handover;
mod keepalived;
mod lan;
mod neighbours;
mod node;
mod probe;
#[allow(dead_code, reason = "a network needs few of them")]
#[path = "../simulation/random.rs"]
mod random;
mod storms;
mod tracking;
