//! The link between PID 1 and its roles: the messages and their form on the wire.

pub mod control;
pub mod frame;
pub mod loading;
mod message;
mod runner;

pub use message::*;
pub use runner::*;
