//! The four roles at work: the only room with tokio and hyper. The roles never import each other.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this room waits, moves bytes and reads clocks"
)]

pub mod config_file;
pub mod control;
pub mod drill;
mod event_loop;
mod keys;
pub mod link;
mod loader;
pub mod log;
pub mod probe;
pub mod proxy;
pub mod role;
mod runner;
pub mod supervisor;
pub mod vrrp;
