//! Asks the running vipgate to do something, and says what became of it.

use std::process::ExitCode;

use super::environment::Environment;
use super::exit;
use super::output::print;
use super::status::no_answer;
use crate::daemon::control;
use crate::link::Wish;
use crate::link::control::{Answer, Request, WishRequest};

pub(super) fn ask(command: &str, wish: Wish, environment: &Environment) -> ExitCode {
    let suffix = environment.control_suffix();
    let (why, code) = match control::ask(suffix, &Request::Wish(WishRequest { wish })) {
        Ok(Answer::Done { text }) => return print(&(text + "\n"), ExitCode::SUCCESS),
        Ok(Answer::Refused { reason }) => (reason, exit::TEMPORARY),
        Ok(Answer::Status(_)) => ("the answer is not one to this question".to_owned(), exit::BUG),
        Err(error) => (no_answer(suffix, &error), exit::UNAVAILABLE),
    };
    eprintln!("vipgate {command}: {why}");
    code.into()
}
