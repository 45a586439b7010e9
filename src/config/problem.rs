//! What is wrong with a document, where, and what to write instead; rendered as rustc does. No terminal, no colour.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The characters of a source line that a snippet shows: a JSON document may be one line of a mebibyte.
const SNIPPET_WIDTH: usize = 100;
/// Ends of keys whose values may be secrets: `password`, `Authorization` and the `url` of a webhook.
const SECRETS: [&str; 3] = ["password", "uthorization", "url"];
/// How much of a value is repeated in a message.
const SHOWN_VALUE: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// One thing to repair, or (a warning) to think about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub severity: Severity,
    /// The file's name as the user gave it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub what: String,
    /// What to write instead.
    pub remedy: String,
    pub snippet: Snippet,
}

/// A part of one source line and the place in it that is meant. Passwords are masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snippet {
    pub text: String,
    /// In characters from the start of `text`.
    pub caret: usize,
    /// In characters; at least 1.
    pub width: usize,
}

impl Snippet {
    /// Of the whole `line`, the `width` characters from `column` (from 0) on are meant.
    pub(super) fn new(line: &str, column: usize, width: usize) -> Self {
        let line = SECRETS.iter().fold(line.trim_end().to_owned(), |line, key| mask(&line, key));
        let length = line.chars().count();
        let column = column.min(length);
        let first = if length <= SNIPPET_WIDTH { 0 } else { column.saturating_sub(SNIPPET_WIDTH / 2) };
        let mut text: String = line.chars().skip(first).take(SNIPPET_WIDTH).map(printable).collect();
        let mut caret = column - first;
        if first > 0 {
            text.insert_str(0, "..");
            caret += 2;
        }
        if first + SNIPPET_WIDTH < length {
            text.push_str("..");
        }
        let room = text.chars().count().saturating_sub(caret);
        Self { text, caret, width: width.min(room).max(1) }
    }
}

/// A terminal must not obey what a config contains.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// Log and terminal are no place for a secret, whatever else is wrong on its line.
fn mask(line: &str, key: &str) -> String {
    let Some((before, after)) = line.split_once(key) else { return line.to_owned() };
    let value = after.trim_start_matches(['"', '\'', ' ', '\t']);
    match value.strip_prefix(':') {
        Some(value) => {
            let kept = line.len() - value.len();
            let mask = value.chars().map(|c| if c.is_whitespace() { c } else { '*' });
            line.chars().take(line[..kept].chars().count()).chain(mask).collect()
        }
        None => format!("{before}{key}{after}"),
    }
}

/// A value as a message repeats it: quoted, escaped, shortened.
pub(super) fn shown(value: &str) -> String {
    if value.chars().count() <= SHOWN_VALUE {
        return format!("{value:?}");
    }
    let start: String = value.chars().take(SHOWN_VALUE).collect();
    format!("{start:?}..")
}

/// The one of `candidates` that `word` is a slip of the pen for.
pub(super) fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The comparison is quadratic, and nobody mistypes a short key into a long one.
    const LONGEST: usize = 64;
    if !(3..=LONGEST).contains(&word.len()) {
        return None;
    }
    let bound = word.chars().count() / 3;
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= bound)
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_ascii_lowercase(), candidate), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let (indent, carets) = (" ".repeat(self.snippet.caret), "^".repeat(self.snippet.width));
        writeln!(f, "{}:{}:{}: {severity}: {}", self.file, self.line, self.column, self.what)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", self.snippet.text)?;
        writeln!(f, "{margin} | {indent}{carets}")?;
        write!(f, "{margin} = help: {}", self.remedy)
    }
}

/// Everything that keeps a document from being used, in the order of the file, and its warnings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problems {
    pub list: Vec<Problem>,
    /// Found beyond the bound of the list.
    pub more: usize,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        if self.more > 0 {
            write!(f, "\n\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_like_a_compiler_message() {
        let problem = Problem {
            severity: Severity::Error,
            file: "vipgate.yaml".into(),
            line: 12,
            column: 5,
            what: "unknown key \"prority\"".into(),
            remedy: "did you mean \"priority\"?".into(),
            snippet: Snippet::new("    prority: 100", 4, 7),
        };
        let expect = "\
vipgate.yaml:12:5: error: unknown key \"prority\"
   |
12 |     prority: 100
   |     ^^^^^^^
   = help: did you mean \"priority\"?";
        assert_eq!(problem.to_string(), expect);
    }

    #[test]
    fn a_snippet_is_short_printable_and_without_passwords() {
        let long = format!("{}x{}", "a".repeat(500), "b".repeat(500));
        let snippet = Snippet::new(&long, 500, 1);
        assert_eq!(snippet.text.chars().count(), SNIPPET_WIDTH + 4);
        assert_eq!(snippet.text.chars().nth(snippet.caret), Some('x'));

        let table = [
            ("a: \u{1b}[31m\tx", "a: \u{fffd}[31m x"),
            ("  password: s3cret, x", "  password: ******* *"),
            ("{\"password\" : \"s3cret\"}", "{\"password\" : *********"),
            ("password", "password"),
            ("url: https://example.org/x", "url: *********************"),
            ("  Authorization: Bearer x", "  Authorization: ****** *"),
            ("the url", "the url"),
            ("", ""),
        ];
        for (line, expect) in table {
            assert_eq!(Snippet::new(line, 0, 1).text, expect, "{line:?}");
        }
        assert_eq!(Snippet::new("äöü", 99, 99), Snippet { text: "äöü".into(), caret: 3, width: 1 });
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_nothing_else() {
        let keys = ["priority", "preempt", "vrid"];
        let table = [
            ("prority", Some("priority")),
            ("VRID", Some("vrid")),
            ("vird", Some("vrid")),
            ("server", None),
            ("x", None),
        ];
        for (word, expect) in table {
            assert_eq!(suggestion(word, keys), expect, "{word}");
        }
        assert_eq!(suggestion(&"priority".repeat(100_000), keys), None);
    }
}
