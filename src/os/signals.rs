//! The signals that a supervisor answers, held back until somebody can answer them.

use std::io;

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

fn answered() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD].into_iter().collect()
}

/// To be called before there is a second thread. A signal that is held back waits, also one for which process 1 of
/// a namespace has no handler yet and which the kernel would otherwise discard.
pub fn hold_back() -> io::Result<()> {
    Ok(answered().thread_block()?)
}

pub fn let_through() -> io::Result<()> {
    Ok(answered().thread_unblock()?)
}

/// What a terminal or an impatient person sends to the whole process group is the supervisor's business: it tells
/// its children in good order.
pub fn leave_to_the_supervisor() -> io::Result<()> {
    for number in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        // SAFETY: `SigIgn` runs no code of ours.
        unsafe { signal(number, SigHandler::SigIgn) }?;
    }
    let_through()
}
