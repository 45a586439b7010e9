//! The proxy role on loopback: a process of its own, its link in this test's hands, clients and upstreams that speak
//! in bytes and lie where it hurts.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a test starts processes, opens sockets, and fails by panicking"
)]

mod admin;
mod client_side;
mod control;
mod dns;
mod edits;
mod fence;
mod leaving;
mod like_nginx;
mod names;
mod pages;
mod peers;
mod ranges;
mod smuggling;
mod support;
mod uploads;
mod upstream_side;
mod upstream_state;

/// Not a test: this binary starts itself with this name to play the proxy.
#[test]
fn role() {
    support::play_role_if_asked();
}
