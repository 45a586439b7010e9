//! `vipgate schema`: what may be written in a config, for editors and for people.

use std::process::ExitCode;

use clap::Args;

use super::output::print;
use crate::config::{reference, schema};

/// Print the JSON Schema of the config, for editors
#[derive(Args)]
pub(super) struct Arguments {
    /// Print the reference in Markdown instead, for people
    #[arg(long)]
    markdown: bool,
}

impl Arguments {
    pub(super) fn run(self) -> ExitCode {
        let text = if self.markdown { reference() } else { format!("{:#}\n", schema()) };
        print(&text, ExitCode::SUCCESS)
    }
}
