//! The three roles at work: the only room with tokio and hyper. The roles never import each other.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this room waits, moves bytes and reads clocks"
)]

pub mod control;
pub mod link;
pub mod probe;
pub mod proxy;
