//! Rust source split into code, with the contents of strings blanked, and comments. Knows just enough of the language
//! for that.

use std::path::{Path, PathBuf};

/// One file of the repository.
pub(crate) struct Source {
    /// From the top of the repository.
    pub(crate) path: PathBuf,
    pub(crate) lines: Vec<Line>,
}

#[derive(Default)]
pub(crate) struct Line {
    pub(crate) code: String,
    pub(crate) comment: String,
}

impl Source {
    pub(crate) fn read(root: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(path.strip_prefix(root).unwrap_or(path), &text)
    }

    pub(crate) fn parse(path: &Path, text: &str) -> Self {
        Self { path: path.to_owned(), lines: split(text) }
    }

    /// Line numbers from 1.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The lines before the tests, which stand last in a file.
    pub(crate) fn product(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.numbered().take_while(|(_, line)| line.code.trim() != "#[cfg(test)]")
    }

    /// The names between `src` and the file: `["daemon", "proxy"]` for `src/daemon/proxy/mod.rs`.
    pub(crate) fn module(&self) -> Vec<String> {
        let inside = self.path.strip_prefix("src").unwrap_or(&self.path);
        let path = inside.with_extension("");
        let names = path.components().map(|c| c.as_os_str().to_string_lossy().into_owned());
        names.filter(|name| name != "mod").collect()
    }

    pub(crate) fn is_test(&self) -> bool {
        !self.path.starts_with("src")
            || self.module().iter().any(|name| name == "tests" || name.ends_with("_tests"))
    }
}

enum State {
    Code,
    LineComment,
    /// Nesting.
    BlockComment(usize),
    Text,
    /// Number of `#`.
    RawText(usize),
}

fn split(text: &str) -> Vec<Line> {
    let mut lines = vec![Line::default()];
    let mut state = State::Code;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\n' {
            if matches!(state, State::LineComment) {
                state = State::Code;
            }
            lines.push(Line::default());
            rest = &rest[1..];
            continue;
        }
        let Some(line) = lines.last_mut() else { break };
        let (taken, next) = step(&state, rest, line);
        rest = rest.get(taken..).unwrap_or("");
        if let Some(next) = next {
            state = next;
        }
    }
    lines
}

/// How many bytes of `rest` belong together, and what follows them.
fn step(state: &State, rest: &str, line: &mut Line) -> (usize, Option<State>) {
    let width = rest.chars().next().map_or(1, char::len_utf8);
    match state {
        State::LineComment => {
            line.comment.push_str(&rest[..width]);
            (width, None)
        }
        State::BlockComment(depth) => {
            if rest.starts_with("*/") {
                return (2, Some(if *depth == 1 { State::Code } else { State::BlockComment(depth - 1) }));
            }
            if rest.starts_with("/*") {
                return (2, Some(State::BlockComment(depth + 1)));
            }
            line.comment.push_str(&rest[..width]);
            (width, None)
        }
        State::Text => match rest.as_bytes() {
            // Not the line break of a continued text: the caller counts lines.
            [b'\\', b'\n', ..] => (1, None),
            [b'\\', ..] => (1 + rest[1..].chars().next().map_or(0, char::len_utf8), None),
            [b'"', ..] => {
                line.code.push('"');
                (1, Some(State::Code))
            }
            _ => (width, None),
        },
        State::RawText(hashes) => {
            let end = format!("\"{}", "#".repeat(*hashes));
            if rest.starts_with(&end) {
                line.code.push('"');
                return (end.len(), Some(State::Code));
            }
            (width, None)
        }
        State::Code => code(rest, width, line),
    }
}

fn code(rest: &str, width: usize, line: &mut Line) -> (usize, Option<State>) {
    if rest.starts_with("//") {
        return (2, Some(State::LineComment));
    }
    if rest.starts_with("/*") {
        return (2, Some(State::BlockComment(1)));
    }
    let after_word = line.code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if let Some(raw) = rest.strip_prefix('r').filter(|_| !after_word || line.code.ends_with('b')) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            line.code.push('"');
            return (hashes + 2, Some(State::RawText(hashes)));
        }
    }
    if rest.starts_with('"') {
        line.code.push('"');
        return (1, Some(State::Text));
    }
    if let Some(length) = character(rest) {
        line.code.push_str("' '");
        return (length, None);
    }
    line.code.push_str(&rest[..width]);
    (width, None)
}

/// The length of a character literal at the start of `rest`; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    if inside.starts_with('\\') {
        let end = inside.get(2..)?.find('\'')?;
        return Some(end + 4);
    }
    let c = inside.chars().next()?;
    inside[c.len_utf8()..].starts_with('\'').then(|| c.len_utf8() + 2)
}

#[test]
fn code_texts_and_comments_are_told_apart() {
    let table = [
        ("a // b", "a ", " b"),
        ("a /* b */ c", "a  c", " b "),
        ("f(\"// x\") // y", "f(\"\") ", " y"),
        (r#"f("\"") // y"#, "f(\"\") ", " y"),
        ("r#\"// \" x\"# + b", "\"\" + b", ""),
        ("'\"' // y", "' ' ", " y"),
        ("&'a str // y", "&'a str ", " y"),
        (r"'\'' // y", "' ' ", " y"),
        ("b'\\\\' x", "b' ' x", ""),
        ("over // y", "over ", " y"),
    ];
    for (text, code, comment) in table {
        let line = &split(text)[0];
        assert_eq!((line.code.as_str(), line.comment.as_str()), (code, comment), "{text}");
    }
}
