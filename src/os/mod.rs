//! System calls: the only room with `unsafe`, and little of it. Depends on `net` only; takes no decision.
#![allow(unsafe_code, reason = "this is the room that asks the kernel")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "clocks, sockets and files are what this room is for"
)]

pub mod clock;
pub mod netlink;
pub mod nft;
pub mod packet;
pub mod raw;
pub mod sock_diag;
pub mod sysctl;

#[cfg(test)]
pub(crate) mod netns;
