//! Every config that the repository shows to its readers can be used, and the reference is what the program says of
//! itself.
#![allow(clippy::disallowed_methods, reason = "reads the repository")]

use std::path::{Path, PathBuf};

use vipgate::config::{Source, load, reference};

/// What Compose sets for a node.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "HOSTNAME" | "VIPGATE_NODE" => "master",
        "VIPGATE_PRIORITY" => "150",
        _ => return None,
    };
    Some(value.to_owned())
}

#[track_caller]
fn check(name: &str, text: &str) {
    let source =
        Source { name: name.to_owned(), folder: PathBuf::from("/etc/vipgate"), text: text.to_owned() };
    match load(&source, &environment) {
        Ok(loaded) => assert_eq!(loaded.warnings, [], "{name}"),
        Err(problems) => panic!("{problems}"),
    }
}

/// All files below `folder` that git would know, with one of these endings.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, ending, found);
        } else if path.is_file() && name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_config_in_the_repository_can_be_used() {
    let mut found = Vec::new();
    files(repository(), ".yaml", &mut found);
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        let has = |key: &str| text.lines().any(|line| line.starts_with(key));
        // Compose files are YAML too.
        if (has("vrrp:") || has("servers:") || has("upstreams:")) && !has("services:") {
            check(&path.display().to_string(), &text);
        }
    }
}

/// A block whose first line is a comment that names vipgate.yaml.
#[test]
fn every_config_in_the_documents_can_be_used() {
    let mut found = Vec::new();
    files(repository(), ".md", &mut found);
    let mut seen = 0;
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap();
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap_or("");
            let first = block.lines().next().unwrap_or("");
            if first.starts_with('#') && first.contains("vipgate.yaml") {
                check(&path.display().to_string(), block);
                seen += 1;
            }
        }
    }
    assert!(seen > 0, "docs/config.md shows a config");
}

#[test]
fn the_reference_is_the_program_s_own() {
    let text = include_str!("../docs/config.md");
    let (_, written) = text.split_once("`vipgate schema --markdown`. -->\n\n").unwrap();
    assert_eq!(
        written,
        reference(),
        "replace the end of docs/config.md with the output of `vipgate schema --markdown`"
    );
}

/// The last column of each row: tests as `file:name`, or why there is none.
#[test]
fn every_test_of_the_conformance_ledger_exists() {
    let ledger = include_str!("../docs/vrrp-conformance.md");
    let rows = ledger.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| section"));
    let (mut shown, mut open) = (0, 0);
    for row in rows.filter(|row| !row.starts_with("| ---")) {
        let last = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        if let Some(reason) =
            last.strip_prefix("**not met**: ").or_else(|| last.strip_prefix("**not ours**: "))
        {
            assert!(!reason.is_empty(), "{row}");
            open += 1;
            continue;
        }
        // Between backticks is every second piece.
        let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test and no reason: {row}");
        for test in named {
            let (file, name) = test.rsplit_once(':').unwrap_or_else(|| panic!("{test} is no file:name"));
            let text = std::fs::read_to_string(repository().join(file)).unwrap_or_default();
            assert!(text.contains(&format!("fn {name}(")), "there is no test {test}");
            shown += 1;
        }
    }
    assert!(shown > 50 && open > 5, "the tables are read: {shown} tests, {open} rows without one");
}
