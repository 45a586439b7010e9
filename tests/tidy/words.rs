//! Names that say nothing, comments that tell history, work that is not done.

use crate::Complaint;
use crate::source::Source;

/// Endings of names that say nothing about the thing.
const EMPTY_ENDINGS: [&str; 8] =
    ["manager", "managers", "util", "utils", "helper", "helpers", "common", "_main"];

/// What a reader who never saw the change has no use for.
const HISTORY: [&str; 12] = [
    "no longer",
    "not anymore",
    "previously",
    "formerly",
    "used to be",
    "for now",
    "earlier version",
    "old version",
    "refactored",
    "was changed",
    "phase 1",
    "phase 2",
];

const UNFINISHED: [&str; 8] =
    ["todo", "fixme", "xxx", "hack", "stub", "simplified for", "not yet implemented", "not implemented yet"];

pub(crate) fn names(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for name in source.module().iter().filter(|name| is_empty(name)) {
        let what = format!("{name:?} says nothing about what is in it; name it after its subject");
        complaints.push(Complaint::new(source, 1, what));
    }
    for (number, line) in source.numbered() {
        let Some((keyword, name)) = declared(&line.code) else { continue };
        if is_empty(name) {
            let what = format!("{name:?} says nothing about the thing; name it after what it does");
            complaints.push(Complaint::new(source, number, what));
        }
        if keyword == "fn" && name.starts_with("get_") {
            let what =
                format!("a getter is named after what it returns: {:?}", name.trim_start_matches("get_"));
            complaints.push(Complaint::new(source, number, what));
        }
    }
    complaints
}

fn is_empty(name: &str) -> bool {
    EMPTY_ENDINGS.iter().any(|ending| name.to_ascii_lowercase().ends_with(ending))
}

/// Keyword and name of what a line declares.
fn declared(code: &str) -> Option<(&str, &str)> {
    let mut words = code.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty());
    let keyword = words.find(|word| {
        !["pub", "crate", "super", "in", "async", "const", "unsafe", "extern", "default"].contains(word)
    })?;
    let named = ["fn", "struct", "enum", "trait", "mod", "type", "static", "union"].contains(&keyword);
    words.next().filter(|_| named).map(|name| (keyword, name))
}

pub(crate) fn comments(source: &Source) -> Vec<Complaint> {
    complain(source, &HISTORY, |phrase| {
        format!("{phrase:?} tells history; say what is and why, for a reader who never saw the change")
    })
}

pub(crate) fn unfinished(source: &Source) -> Vec<Complaint> {
    let mut complaints =
        complain(source, &UNFINISHED, |phrase| format!("{phrase:?}: finish it, or open an issue"));
    for (number, line) in source.numbered() {
        for word in ["todo!", "unimplemented!"].iter().filter(|word| line.code.contains(**word)) {
            complaints.push(Complaint::new(
                source,
                number,
                format!("{word}: write it, or leave the caller out"),
            ));
        }
    }
    complaints
}

/// A complaint for each of `phrases` in a comment, also where it runs over the end of a line.
fn complain(source: &Source, phrases: &[&str], what: impl Fn(&str) -> String) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut previous = String::new();
    for (number, line) in source.numbered() {
        let comment = line.comment.trim_start_matches(['/', '!']).trim().to_ascii_lowercase();
        let both = format!("{previous} {comment}");
        for phrase in
            phrases.iter().filter(|phrase| has_phrase(&both, phrase) && !has_phrase(&previous, phrase))
        {
            complaints.push(Complaint::new(source, number, what(phrase)));
        }
        previous = comment;
    }
    complaints
}

fn has_phrase(text: &str, phrase: &str) -> bool {
    text.match_indices(phrase).any(|(at, _)| {
        let outside = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '`');
        outside(text[..at].chars().next_back()) && outside(text[at + phrase.len()..].chars().next())
    })
}

#[test]
fn declarations_and_phrases_are_recognised() {
    assert_eq!(declared("pub(crate) async fn get_x() {"), Some(("fn", "get_x")));
    assert_eq!(declared("    struct LinkManager;"), Some(("struct", "LinkManager")));
    assert_eq!(declared("use a::manager;"), None);
    assert!(is_empty("LinkManager") && is_empty("string_utils") && !is_empty("manages"));
    assert!(has_phrase("it no longer does", "no longer") && !has_phrase("a hackneyed xxxx", "hack"));
}
