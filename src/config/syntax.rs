//! What the YAML parser could not understand, in words for someone who wanted to write a config.

use granit_parser::{ErrorKind, ScanError};

/// What is wrong and what to write instead; `before` is the text up to the place.
pub(super) fn explain(error: &ScanError, before: &str) -> (String, &'static str) {
    let line = before.rsplit('\n').next().unwrap_or("");
    match error.kind() {
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
            ("a tab indents this line".into(), "indent with spaces; YAML does not allow tabs")
        }
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator
            if line.ends_with('$') =>
        {
            (
                "inside of [ ] and { }, \"${\" starts a mapping".into(),
                "put the value between quotes: \"${NAME}\"",
            )
        }
        ErrorKind::MappingKeyNotAllowed | ErrorKind::MappingValueNotAllowed => (
            "a \":\" does not fit here".into(),
            "put a text with \": \" between quotes, or indent the line like its neighbours",
        ),
        ErrorKind::SimpleKeyExpected => {
            ("a key without \":\"".into(), "write key: value, or indent the line to continue the one above")
        }
        ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry => (
            "the indentation fits neither the lines above nor a new level".into(),
            "indent the line like its neighbours",
        ),
        ErrorKind::UnclosedFlowCollection { open } => {
            (format!("this {open:?} is never closed"), "close it, or put the text between quotes")
        }
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            (format!("this {open:?} is closed by {close:?}"), "close each bracket with its own kind")
        }
        ErrorKind::UnclosedQuotedScalar | ErrorKind::InvalidQuotedScalarIndent => (
            "a quote is never closed".into(),
            "close it; a text may go on in the next line only if that is indented",
        ),
        ErrorKind::UnexpectedCharacter { character } => {
            (format!("a text cannot start with {character:?}"), "put it between quotes")
        }
        ErrorKind::UnknownQuotedScalarEscape => (
            "unknown escape in a text between double quotes".into(),
            "write \\\\ for a backslash, or use single quotes",
        ),
        ErrorKind::UnknownAnchor => (
            "there is no anchor of this name above".into(),
            "put a text that starts with * between quotes, or write &name before the value that is meant",
        ),
        ErrorKind::RecursionLimitExceeded => ("too many levels of nesting".into(), "is this the right file?"),
        // `ErrorKind` is not ours and may grow.
        _ => (error.info(), "check the indentation, and put texts with special characters between quotes"),
    }
}
