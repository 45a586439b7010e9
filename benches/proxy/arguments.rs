//! What the command line asks for.

use std::path::PathBuf;

use crate::rows::{ROWS, Row};

pub(crate) struct Arguments {
    pub(crate) rows: Vec<&'static Row>,
    pub(crate) rounds: usize,
    pub(crate) seconds: u32,
    pub(crate) syscalls: bool,
    /// The vipgate to measure; `None`: built as the image has it.
    pub(crate) binary: Option<PathBuf>,
    /// Leave configurations, logs and profiles behind.
    pub(crate) keep: bool,
    /// Others to measure in the same rounds.
    pub(crate) beside: Vec<(String, PathBuf)>,
}

const ROUNDS: usize = 5;
const SECONDS: u32 = 2;

pub(crate) const USAGE: &str = "\
make bench ROWS=\"ROW..\" ARGS=\"OPTION..\"
  ROW                  the beginning of a row's name; none: all rows
  --rounds N           rounds of every program in turn (5)
  --seconds N          per round and program (2)
  --quick              5 rounds of 1 s, no system calls counted
  --no-syscalls        no strace run
  --binary PATH        this vipgate instead of the one that docker/build makes
  --beside NAME=PATH   one more vipgate in the same rounds, such as that of another commit; may be repeated
  --keep               leave configurations, logs and callgrind's profiles, and say where
  --list               the rows";

/// `Err`: what to print instead of measuring.
pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        rows: vec![],
        rounds: ROUNDS,
        seconds: SECONDS,
        syscalls: true,
        binary: None,
        keep: false,
        beside: vec![],
    };
    let mut wanted: Vec<String> = vec![];
    let mut words = words;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
        match word.as_str() {
            "--rounds" => arguments.rounds = number::<usize>(&value()?)?.max(1),
            "--seconds" => arguments.seconds = number::<u32>(&value()?)?.max(1),
            "--quick" => (arguments.seconds, arguments.syscalls) = (1, false),
            "--keep" => arguments.keep = true,
            "--no-syscalls" => arguments.syscalls = false,
            "--binary" => arguments.binary = Some(value()?.into()),
            "--beside" => {
                let value = value()?;
                let (name, path) = value.split_once('=').ok_or_else(|| USAGE.to_owned())?;
                arguments.beside.push((name.to_owned(), path.into()));
            }
            "--list" => return Err(ROWS.iter().map(|r| format!("{:<15} {}\n", r.name, r.what)).collect()),
            // What cargo says to every benchmark.
            "--bench" => (),
            row if !row.starts_with('-') => wanted.push(row.to_owned()),
            _ => return Err(USAGE.to_owned()),
        }
    }
    arguments.rows = ROWS.iter().filter(|row| is_wanted(row.name, &wanted)).collect();
    if arguments.rows.is_empty() {
        return Err(format!("no row begins with {}\n{USAGE}", wanted.join(" or ")));
    }
    Ok(arguments)
}

/// A whole name means that row, else every row that begins like this.
fn is_wanted(name: &str, wanted: &[String]) -> bool {
    let whole = |word: &String| ROWS.iter().any(|row| row.name == word.as_str());
    wanted.is_empty()
        || wanted
            .iter()
            .any(|word| if whole(word) { name == word.as_str() } else { name.starts_with(word.as_str()) })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number\n{USAGE}"))
}
