//! The rules of the house that no compiler knows, checked by reading the source. Each complaint says file, line and
//! what to do.
#![allow(clippy::disallowed_methods, reason = "reads the repository")]

use std::path::{Path, PathBuf};

#[path = "tidy/layout.rs"]
mod layout;
#[path = "tidy/patches.rs"]
mod patches;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/words.rs"]
mod words;

use source::Source;

/// What is wrong in one place, and what to do.
pub(crate) struct Complaint {
    pub(crate) path: PathBuf,
    /// From 1; 0: the file as a whole.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Complaint {
    pub(crate) fn new(source: &Source, line: usize, what: impl Into<String>) -> Self {
        Self { path: source.path.clone(), line, what: what.into() }
    }
}

fn root() -> PathBuf {
    std::env::var_os("TIDY_ROOT").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// All Rust files of `src`, `benches` and `tests`.
fn sources() -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    for folder in ["src", "benches", "tests"] {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    assert!(!paths.is_empty(), "no source below {}", root.display());
    paths.iter().map(|path| Source::read(&root, path)).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

#[track_caller]
fn expect_none(complaints: Vec<Complaint>) {
    let lines: Vec<String> =
        complaints.iter().map(|c| format!("{}:{}: {}", c.path.display(), c.line, c.what)).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

/// A rule that never complains protects nothing.
#[test]
fn every_rule_complains() {
    type Rule = fn(&Source) -> Vec<Complaint>;
    let long = format!("//! A\n{}", "//\n".repeat(500));
    let table: [(Rule, &str, &str, usize); 29] = [
        (rooms::imports, "src/config/a.rs", "use crate::net::Vrid;", 0),
        (rooms::imports, "src/config/a.rs", "use crate::{net, os::clock};", 1),
        (rooms::imports, "src/config/a.rs", "use super::super::daemon;", 1),
        (rooms::imports, "src/config/a.rs", "// crate::os\nlet a = \"crate::os\";", 0),
        (rooms::imports, "src/os/a.rs", "use crate::net;\nuse crate::link::Frame;", 1),
        (rooms::imports, "src/cli/a.rs", "crate::daemon::run(crate::os::now())", 1),
        (rooms::imports, "src/daemon/vrrp/a.rs", "use crate::daemon::{link, proxy};", 1),
        (rooms::imports, "src/daemon/proxy/mod.rs", "use super::vrrp::shell;", 1),
        (rooms::imports, "src/daemon/role.rs", "use super::{proxy, vrrp};", 0),
        (rooms::imports, "src/daemon/a.rs", "use crate::cli::exit;", 1),
        (rooms::imports, "src/things/a.rs", "", 1),
        (rooms::impurities, "src/vrrp/a.rs", "use tokio::time;", 1),
        (rooms::impurities, "src/os/a.rs", "use hyper::Request;", 1),
        (rooms::impurities, "src/daemon/a.rs", "use tokio::time;\nuse nix::libc;", 0),
        (rooms::impurities, "src/vrrp/a.rs", "let now = Instant::now();", 1),
        (rooms::impurities, "src/vrrp/a.rs", "#[cfg(test)]\nlet now = Instant::now();", 0),
        (rooms::impurities, "src/vrrp/a.rs", "async fn f() { g().await }", 2),
        (rooms::unsafe_code, "src/net.rs", "let a = unsafe { b() };", 1),
        (rooms::unsafe_code, "src/os/a.rs", "let a = unsafe { b() };", 0),
        (rooms::unsafe_code, "src/net.rs", "#![allow(unsafe_code)]", 1),
        (layout::file, "src/a.rs", "use a;", 1),
        (layout::file, "src/a.rs", &long, 1),
        (layout::file, "src/a/mod.rs", "//! A\nmod b;\nfn c() {}", 1),
        (words::names, "src/link_manager.rs", "fn get_a() {}\nstruct AHelper;", 3),
        (words::comments, "src/a.rs", "// It no\n// longer waits.", 1),
        (words::comments, "src/a.rs", "let no_longer = \"no longer\";", 0),
        (words::unfinished, "src/a.rs", "// TODO: more", 1),
        (words::unfinished, "src/a.rs", "todo!()", 1),
        (words::unfinished, "src/a.rs", "// what XML calls a todo-list", 1),
    ];
    for (rule, path, text, expect) in table {
        let complaints = rule(&Source::parse(Path::new(path), text));
        assert_eq!(complaints.len(), expect, "{path}: {text}");
    }
}

#[test]
fn rooms_import_only_what_they_may() {
    expect_none(sources().iter().flat_map(rooms::imports).collect());
}

#[test]
fn pure_rooms_have_no_clock_no_socket_no_file_no_thread() {
    expect_none(sources().iter().flat_map(rooms::impurities).collect());
}

#[test]
fn unsafe_stays_in_os() {
    expect_none(sources().iter().flat_map(rooms::unsafe_code).collect());
}

#[test]
fn files_are_short_and_say_what_they_are() {
    expect_none(sources().iter().flat_map(layout::file).collect());
}

#[test]
fn the_top_level_holds_what_it_should() {
    expect_none(layout::top_level(&root()));
}

#[test]
fn names_say_what_things_are() {
    expect_none(sources().iter().flat_map(words::names).collect());
}

#[test]
fn comments_say_why_and_not_what_was() {
    expect_none(sources().iter().flat_map(words::comments).collect());
}

#[test]
fn nothing_is_left_unfinished() {
    expect_none(sources().iter().flat_map(words::unfinished).collect());
}
