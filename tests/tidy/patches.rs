//! The patches of `tests/sabotage/`, which break a rule each: one that does not apply any more guards nothing.

use std::path::Path;
use std::process::Command;

use super::{Complaint, expect_none, root};

#[test]
fn every_sabotage_patch_applies_and_says_what_it_is_for() {
    let root = root();
    let folder = root.join("tests/sabotage");
    let mut patches: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    patches.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.sort();
    assert!(!patches.is_empty(), "no patch in {}", folder.display());
    let wrong = |patch: &Path| -> Option<String> {
        let text = std::fs::read_to_string(patch).unwrap();
        for line in ["What: ", "Red: cargo test "] {
            if !text.lines().any(|l| l.strip_prefix(line).is_some_and(|rest| !rest.is_empty())) {
                return Some(format!("has no line \"{line}..\""));
            }
        }
        let output = Command::new("git").arg("apply").arg("--check").arg(patch).current_dir(&root).output();
        let output = output.expect("git is needed to look at patches");
        (!output.status.success()).then(|| {
            format!("does not apply: make it anew ({})", String::from_utf8_lossy(&output.stderr).trim())
        })
    };
    let complaints = patches.iter().filter_map(|patch| {
        let path = patch.strip_prefix(&root).unwrap_or(patch).to_owned();
        Some(Complaint { path, line: 0, what: wrong(patch)? })
    });
    expect_none(complaints.collect());
}
