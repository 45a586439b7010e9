//! Standard output, for commands whose text a program or a pager may read.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Prints `text`, then leaves with `code`. A reader that has gone (`| head`) is no failure of ours.
pub(super) fn print(text: &str, code: ExitCode) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// `1 server`, `2 servers`.
pub(super) fn count(n: impl Display + PartialEq + From<u8>, noun: &str) -> String {
    let plural = if n == 1.into() { "" } else { "s" };
    format!("{n} {noun}{plural}")
}
