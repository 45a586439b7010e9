//! The command line: one file per command. Turns arguments into calls and outcomes into exit codes.

mod arguments;
mod environment;
pub mod exit;
mod healthcheck;
mod probe;
mod role;
mod run;
mod status;
mod table;

pub use arguments::main;
