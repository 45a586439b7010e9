//! The command line: one file per command. Turns arguments into calls and outcomes into exit codes.

mod arguments;
mod check;
mod drain;
mod drill;
mod environment;
pub mod exit;
mod failover;
mod healthcheck;
mod output;
mod probe;
mod role;
mod run;
mod schema;
mod status;
mod table;
mod wish;

pub use arguments::main;
