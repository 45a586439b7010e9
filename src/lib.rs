//! vipgate: a floating-IP reverse proxy in one container image.
//!
//! Everything is pure (no clock, no socket, no file, no thread, no async, no random source) except `daemon`, which
//! waits and moves bytes, and `os`, which holds the system calls. `ARCHITECTURE.md` has the map.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests start their virtual clock somewhere"))]

pub mod balance;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod dns;
pub mod drill;
pub mod gateway;
pub mod health;
pub mod http1;
pub mod link;
pub mod net;
pub mod notification;
pub mod os;
pub mod peer;
pub mod probe;
pub mod supervision;
pub mod vrrp;
