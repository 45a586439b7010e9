//! VRRP without a socket: the wire codecs of both versions, ARP and neighbour discovery, timing, and the state machine of one virtual
//! router with its announcements, its ARP defence and its resume fence.
//!
//! No socket, no clock, no thread, no random source: time comes in as `now`, everything to be done goes out through
//! `Machine::poll_output`, in an order that is part of the contract.

mod advert;
mod announce;
pub mod arp;
mod auth_hmac;
mod defence;
mod detector;
mod election;
mod fence;
mod handover;
mod holding;
mod machine;
pub mod ndp;
pub mod neighbour;
mod output;
mod pace;
pub mod packet_v2;
pub mod packet_v3;
mod preemption;
pub mod receive;
mod refusal;
mod settings;
pub mod sync_group;
#[cfg(test)]
mod tests;
mod timers;
pub mod timing;
pub mod track;
mod turned_away;

pub use advert::{Advert, ChecksumForm, ChecksumForms, Password};
pub use auth_hmac::{
    AuthKey, AuthKeyFault, AuthKeys, Authenticator, Bound, Form, SHOWN_FOR, Sequence, TRAILER, Trailer,
    cover, split, uncover,
};
pub use detector::{PATIENCE_KEPT, PATIENCE_MAX, PeerNews};
pub use handover::{FAREWELL, LINGER};
pub use machine::Machine;
pub use output::{AnnounceForm, Claim, Claimant, Gap, Output, WarningKind};
pub use refusal::Refusal;
pub use settings::Settings;
pub use turned_away::Syn;
