//! The vrrp role: sockets, kernel state and clocks around the pure machines of `crate::vrrp`. It takes no decision of
//! the protocol, and never waits for anything but its one event loop.

mod adverts;
mod alarm;
mod aside;
mod authentication;
mod check;
mod commands;
mod distinct;
mod door;
mod effects;
mod fence;
mod gate;
mod groups;
mod instance;
mod kernel;
mod lateness;
mod neighbourhood;
mod oddities;
mod peering;
mod peers;
mod place;
mod proxy_health;
mod report;
mod resolver;
mod role;
mod shell;
mod standing;
mod succession;
mod tracker;
mod turned_away;
mod turns;
mod warnings;
mod wire;
mod wishes;

#[cfg(test)]
mod tests;

pub use role::run;
