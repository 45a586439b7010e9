//! Arguments as typed, and the command that each of them calls.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::environment::Environment;
use super::{check, drain, drill, exit, failover, healthcheck, probe, role, run, schema, status};

/// A floating-IP reverse proxy: nginx and keepalived's job, fenced.
#[derive(Parser)]
#[command(name = "vipgate", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Arguments),
    Check(check::Arguments),
    Status(status::Arguments),
    Healthcheck(healthcheck::Arguments),
    Failover(failover::Arguments),
    Drain(drain::Arguments),
    Probe(probe::Arguments),
    Drill(drill::Arguments),
    Schema(schema::Arguments),
    #[command(hide = true)]
    Role(role::Arguments),
}

/// Runs the command that `arguments` (the program's name first) ask for.
pub fn main(
    arguments: impl Iterator<Item = OsString>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too; where even they cannot be printed, the code is all there is.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let environment = Environment::new(environment);
    match arguments.command {
        Command::Run(arguments) => arguments.run(&environment),
        Command::Check(arguments) => arguments.run(&environment),
        Command::Status(arguments) => arguments.run(&environment),
        Command::Healthcheck(arguments) => arguments.run(&environment),
        Command::Failover(arguments) => arguments.run(&environment),
        Command::Drain(arguments) => arguments.run(&environment),
        Command::Probe(arguments) => arguments.run(),
        Command::Drill(arguments) => arguments.run(&environment),
        Command::Schema(arguments) => arguments.run(),
        Command::Role(arguments) => arguments.run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_wrong_command_line_is_a_usage_error() {
        let table: [(&[&str], u8); 5] = [
            (&[], exit::USAGE),
            (&["serve"], exit::USAGE),
            (&["status", "--yaml"], exit::USAGE),
            (&["healthcheck", "--role", "owner"], exit::USAGE),
            (&["--version"], 0),
        ];
        for (arguments, expect) in table {
            let arguments = [&["vipgate"], arguments].concat();
            let code = main(arguments.iter().map(OsString::from), std::iter::empty());
            assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(expect)), "{arguments:?}");
        }
    }
}
