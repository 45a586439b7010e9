//! The event loop of a thread.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::resume_unwind;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};

/// Threads for what may block beside an event loop: names that are looked up, files that are read.
pub(super) const BLOCKING_THREADS: usize = 8;

pub(super) fn build(blocking_threads: usize) -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(blocking_threads)
        .build_local(LocalOptions::default())
}

/// Plays `main` as a task like any other. The future that `block_on` drives itself is woken through a descriptor, by
/// what happens in its own thread as well: each wake-up would be followed by a second one that finds nothing.
pub(super) fn play<F: Future + 'static>(runtime: &LocalRuntime, main: F) -> F::Output
where
    F::Output: 'static,
{
    let ended = runtime.block_on(async { tokio::task::spawn_local(main).await });
    // Nobody aborts it.
    ended.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

/// Lets the runtime wake whoever waits for this to be readable.
pub(super) fn readable<T: AsRawFd + AsFd>(fd: T) -> io::Result<AsyncFd<T>> {
    register(fd, Interest::READABLE)
}

pub(super) fn writable<T: AsRawFd + AsFd>(fd: T) -> io::Result<AsyncFd<T>> {
    register(fd, Interest::WRITABLE)
}

fn register<T: AsRawFd + AsFd>(fd: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe, which is `os`'s alone, and demands what `AsFd` promises: a descriptor that \
                  stays open and the same"
    )]
    AsyncFd::with_interest(fd, interest)
}
