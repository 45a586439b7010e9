//! The link to the peers: sockets, keys and tasks around `crate::peer`. What comes over it reaches the virtual routers
//! from the event loop of the role, in its turn; nothing here waits for a peer.

mod auth_hmac;
mod clients;
mod connection;
mod keys;
mod meetings;
mod news;
mod node;
mod orders;
mod report;
mod roster;
mod words;

pub(super) use auth_hmac::AUTH_KEYS;
pub(super) use connection::Event;
pub(super) use node::Peering;
