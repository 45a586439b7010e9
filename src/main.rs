//! argv -> role -> exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    vipgate::cli::main(std::env::args_os(), std::env::vars_os())
}
