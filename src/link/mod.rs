//! The link between PID 1 and its roles: the messages and their form on the wire.

mod message;

pub use message::*;
