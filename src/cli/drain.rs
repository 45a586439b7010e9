//! `vipgate drain`: a node that hands over and stays out of the election, until it is told otherwise.

use std::process::ExitCode;

use clap::Args;

use super::environment::Environment;
use super::wish::ask;
use crate::link::Wish;

/// Hand the virtual addresses to a peer and take none, until `drain --undo` or a restart of vipgate
///
/// `status` shows the virtual routers as FAULT meanwhile, with this as the reason. The proxy goes on serving what comes
/// to the node's own address. Exit 0 when it is so, 75 if this node is master and nobody takes over: then nothing has
/// changed.
#[derive(Args)]
pub(super) struct Arguments {
    /// Stand for election again
    #[arg(long)]
    undo: bool,
}

impl Arguments {
    pub(super) fn run(self, environment: &Environment) -> ExitCode {
        ask("drain", if self.undo { Wish::StandIn } else { Wish::StandBack }, environment)
    }
}
