//! The allocator, where the C library's is musl's: that one maps and unmaps pages for what a request takes and gives
//! back. No function of its own.

/// A port of Doug Lea's allocator: keeps what it has for a while, and gives back from two megabytes on.
#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
