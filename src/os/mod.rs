//! System calls and the only `unsafe`. Knows `net` and nothing else of this crate; decides nothing.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this room is where they live")]
#![allow(
    unsafe_code,
    reason = "the kernel's interfaces that no safe crate offers; each use says why it is sound"
)]

pub mod descriptor;
