//! System calls and the only `unsafe`. Knows `net` and nothing else of this crate; decides nothing.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this room is where they live")]
#![allow(
    unsafe_code,
    reason = "the kernel's interfaces that no safe crate offers; each use says why it is sound"
)]

pub mod accept;
pub mod capability;
pub mod clock;
pub mod cpu;
pub mod descriptor;
pub mod files;
#[cfg(target_env = "musl")]
mod heap;
pub mod host;
pub mod listener;
pub mod local;
#[cfg(all(target_arch = "x86_64", any(target_env = "musl", test)))]
mod memory;
pub mod names;
pub mod netlink;
pub mod nflog;
pub mod nft;
pub mod packet;
pub mod pipe;
pub mod process;
pub mod program;
pub mod random;
pub mod raw;
pub mod read;
pub mod seccomp;
pub mod segment;
pub mod signals;
pub mod snapshot;
pub mod sock_diag;
pub mod sysctl;
pub mod tcp;
pub mod threads;
pub mod timer;

#[cfg(test)]
pub(crate) mod netns;
