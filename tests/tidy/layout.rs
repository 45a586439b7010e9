//! How long a file may be, how it starts, and what the top level holds.

use std::path::Path;

use crate::Complaint;
use crate::source::Source;

/// A file past this wants a second room.
const MAX_LINES: usize = 500;

/// What a newcomer sees first: every name has a reason.
const TOP_LEVEL: [&str; 23] = [
    ".ci",
    ".dockerignore",
    ".git",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "benches",
    "clippy.toml",
    "compose",
    "deny.toml",
    "docker",
    "docs",
    "fuzz",
    "haproxy-sim",
    "html",
    "rustfmt.toml",
    "src",
    "tests",
];

pub(crate) fn file(source: &Source) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let length = source.lines.len().saturating_sub(1);
    if length > MAX_LINES {
        let what = format!("{length} lines; cut it along what it is about, at most {MAX_LINES} each");
        complaints.push(Complaint::new(source, length, what));
    }
    let described = source.lines.first().is_some_and(|line| line.comment.starts_with("! "));
    if !described {
        complaints.push(Complaint::new(
            source,
            1,
            "the first line must be a `//!` that says what this module is and what it must not contain",
        ));
    }
    if source.path.file_name().is_some_and(|name| name == "mod.rs") && !source.is_test() {
        let logic = source.product().filter(|(_, line)| starts_item(&line.code, &["fn", "impl"]));
        complaints.extend(logic.map(|(number, _)| {
            Complaint::new(source, number, "mod.rs holds no logic; give it a file with a name")
        }));
    }
    complaints
}

/// Whether a line starts with one of these keywords, visible or not.
fn starts_item(code: &str, keywords: &[&str]) -> bool {
    let code = code.trim_start();
    let code =
        code.strip_prefix("pub").map_or(code, |rest| rest.trim_start_matches(|c| c != ' ').trim_start());
    keywords.iter().any(|keyword| code.strip_prefix(keyword).is_some_and(|rest| rest.starts_with([' ', '<'])))
}

pub(crate) fn top_level(root: &Path) -> Vec<Complaint> {
    let ignored = std::fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
    let ignored: Vec<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let names = std::fs::read_dir(root).into_iter().flatten().flatten();
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()) && !ignored.contains(&name.as_str()))
        .map(|name| Complaint {
            path: name.into(),
            line: 0,
            what: "does not belong at the top level; move it, or add it to TOP_LEVEL in tests/tidy/layout.rs"
                .into(),
        })
        .collect()
}

#[test]
fn items_are_recognised() {
    for (code, expect) in [
        ("fn a() {}", true),
        ("pub(crate) fn a() {}", true),
        ("pub fn a() {}", true),
        ("impl<T> A for B {}", true),
        ("pub mod fnord;", false),
        ("mod implementation;", false),
        ("pub use a::fn_b;", false),
    ] {
        assert_eq!(starts_item(code, &["fn", "impl"]), expect, "{code}");
    }
}
