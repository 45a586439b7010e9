//! The runner: starts programs of the user's and tells the world what happens here. It has no capability, holds nothing
//! that others wait for, and may be killed at any moment without moving an address. In which order and how often things
//! are tried is decided in `notification`; this room does it.

mod command;
mod job;
mod mail;
mod output;
mod post;
mod role;
mod tls;

pub(super) use role::run;
