//! `vipgate failover`: the master hands its addresses to a peer, and leaves them there.

use std::process::ExitCode;

use clap::Args;

use super::environment::Environment;
use super::wish::ask;
use crate::link::Wish;

/// Hand the virtual addresses of this node to a peer, without losing a request
///
/// To be asked of the master. It stays up as a backup and leaves the addresses with the peer for as long as that one
/// keeps them, whatever their priorities are; `vipgate failover` there brings them back. Exit 0 when the peer has taken
/// over, 75 if this node is not master or nobody takes over: then nothing has changed.
#[derive(Args)]
pub(super) struct Arguments {
    /// The virtual router, which takes its sync group along; all of which this node is master, if left out
    instance: Option<String>,
}

impl Arguments {
    pub(super) fn run(self, environment: &Environment) -> ExitCode {
        ask("failover", Wish::Failover { instance: self.instance }, environment)
    }
}
