//! Which room may know which: main, cli -> daemon, pure; daemon -> pure, os; os -> net; pure -> pure, net.

use crate::Complaint;
use crate::source::Source;

/// Rooms without a clock, a socket, a file, a thread, async or a random source.
const PURE: [&str; 15] = [
    "balance",
    "config",
    "dns",
    "drill",
    "gateway",
    "health",
    "http1",
    "import",
    "link",
    "net",
    "notification",
    "peer",
    "probe",
    "supervision",
    "vrrp",
];
const ROOMS: [&str; 18] = [
    "balance",
    "cli",
    "config",
    "daemon",
    "dns",
    "drill",
    "gateway",
    "health",
    "http1",
    "import",
    "link",
    "net",
    "notification",
    "os",
    "peer",
    "probe",
    "supervision",
    "vrrp",
];
/// The daemons; none knows another.
const DAEMONS: [&str; 4] = ["proxy", "runner", "supervisor", "vrrp"];
/// Only `daemon` waits.
const ASYNC: [&str; 7] =
    ["tokio", "hyper", "hyper_util", "http_body_util", "lettre", "rustls", "tokio_rustls"];
/// Only `os` and `daemon` talk to the kernel.
const SYSTEM: [&str; 7] = ["arc_swap", "caps", "libc", "nix", "notify", "seccompiler", "socket2"];

fn may_know(room: &str, other: &str) -> bool {
    match room {
        "main" => other == "cli",
        "lib" => true,
        "cli" => other != "os",
        "daemon" => other != "cli",
        "os" => other == "net",
        "net" => false,
        pure if PURE.contains(&pure) => PURE.contains(&other),
        _ => false,
    }
}

pub(crate) fn imports(source: &Source) -> Vec<Complaint> {
    let module = source.module();
    let Some(room) = module.first().filter(|_| source.path.starts_with("src")) else { return Vec::new() };
    let mut complaints = Vec::new();
    if !ROOMS.contains(&room.as_str()) && !["main", "lib"].contains(&room.as_str()) {
        complaints.push(Complaint::new(
            source,
            1,
            format!(
                "{room:?} is not a room of the house; add it to tests/tidy/rooms.rs and to ARCHITECTURE.md"
            ),
        ));
    }
    let code = Code::of(source);
    for (at, path) in code.paths(&module) {
        let Some(other) = path.first().filter(|other| ROOMS.contains(&other.as_str()) && *other != room)
        else {
            continue;
        };
        if !may_know(room, other) {
            let what = format!("{room} must not know {other}; hand the value in, or move this code");
            complaints.push(Complaint::new(source, code.line(at), what));
        }
    }
    if room == "daemon" {
        complaints.extend(daemons(source, &module, &code));
    }
    complaints
}

fn daemons(source: &Source, module: &[String], code: &Code) -> Vec<Complaint> {
    let Some(own) = module.get(1).filter(|name| DAEMONS.contains(&name.as_str())) else { return Vec::new() };
    let others = code.paths(module).into_iter().filter_map(|(at, path)| match path.as_slice() {
        [room, other, ..] if room == "daemon" && DAEMONS.contains(&other.as_str()) && other != own => {
            let what =
                format!("the {own} daemon must not know the {other} daemon; let them talk over `link`");
            Some(Complaint::new(source, code.line(at), what))
        }
        _ => None,
    });
    others.collect()
}

pub(crate) fn impurities(source: &Source) -> Vec<Complaint> {
    let module = source.module();
    let Some(room) = module.first().filter(|_| source.path.starts_with("src")) else { return Vec::new() };
    let pure = PURE.contains(&room.as_str());
    let mut complaints = Vec::new();
    for (number, line) in source.product() {
        let mut forbid = |words: &[&str], why: &str| {
            for word in words.iter().filter(|word| has_path(&line.code, word)) {
                complaints.push(Complaint::new(source, number, format!("{word} in {room}: {why}")));
            }
        };
        if room != "daemon" && room != "lib" {
            forbid(&ASYNC, "only `daemon` waits; move this code there");
        }
        if pure {
            forbid(&SYSTEM, "pure code asks nothing of the kernel; move this to `os` or `daemon`");
            if !source.is_test() {
                forbid(
                    &[
                        "Instant::now",
                        "SystemTime::now",
                        "std::fs",
                        "std::thread",
                        "std::process",
                        "std::env",
                    ],
                    "pure code gets it handed in; move this to `os` or `daemon`",
                );
                forbid(&["TcpStream", "TcpListener", "UdpSocket", "UnixStream"], "sockets belong to `os`");
                forbid(&["async fn", "await"], "pure code never waits");
            }
        }
    }
    complaints
}

pub(crate) fn unsafe_code(source: &Source) -> Vec<Complaint> {
    if source.path.starts_with("src/os") {
        return Vec::new();
    }
    let lines = source
        .numbered()
        .filter(|(_, line)| has_path(&line.code, "unsafe") || line.code.contains("(unsafe_code"));
    lines
        .map(|(number, _)| {
            Complaint::new(source, number, "unsafe belongs to src/os; use a safe crate, or move this")
        })
        .collect()
}

/// Whether `word` stands in `code` as a path or a word of its own, not as a part of a longer name.
fn has_path(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let rest = &code[at + word.len()..];
        let after = rest.chars().next();
        // A field may be called like a crate.
        let is_field = after == Some(':') && !rest.starts_with("::");
        !is_field
            && !before.is_some_and(|c| part(c) || c == '.' && word != "await")
            && !after.is_some_and(part)
    })
}

/// A file's code as one text, so that a `use` over several lines is one.
struct Code {
    text: String,
    /// The byte at which each line starts.
    starts: Vec<usize>,
}

impl Code {
    fn of(source: &Source) -> Self {
        let (mut text, mut starts) = (String::new(), Vec::new());
        for line in &source.lines {
            starts.push(text.len());
            text.push_str(&line.code);
            text.push('\n');
        }
        Self { text, starts }
    }

    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// Every path into this crate, from its root, with its place: `crate::a::b`, `super::super::b`, and each leaf of
    /// `use crate::{a::b, c}`.
    fn paths(&self, module: &[String]) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        for (at, word) in [("crate::", 0), ("super::", 1)].iter().flat_map(|(word, kind)| {
            self.text.match_indices(word).map(move |(at, _)| (at, *kind)).collect::<Vec<_>>()
        }) {
            let before = self.text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            let rest = &self.text[at..];
            let (base, offset) = if word == 0 {
                (Vec::new(), "crate::".len())
            } else {
                let ups = rest.split("super::").take_while(|between| between.is_empty()).count();
                let ups = ups.min(rest.matches("super::").count());
                // Inside of `mod tests` one level more is needed: what stays within the room is never complained of.
                let kept = module.len().saturating_sub(ups);
                (module[..kept].to_vec(), ups * "super::".len())
            };
            leaves(rest.get(offset..).unwrap_or(""), at + offset, &base, &mut found);
        }
        found
    }
}

/// Follows names, `::` and braces.
fn leaves(rest: &str, at: usize, base: &[String], found: &mut Vec<(usize, Vec<String>)>) {
    let rest_trimmed = rest.trim_start();
    let at = at + (rest.len() - rest_trimmed.len());
    if let Some(inside) = rest_trimmed.strip_prefix('{') {
        let mut depth = 0;
        let mut start = 0;
        for (index, c) in inside.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    leaves(&inside[start..index], at + 1 + start, base, found);
                    start = index + 1;
                    if c == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let end = rest_trimmed.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest_trimmed.len());
    let (name, after) = rest_trimmed.split_at(end);
    if name.is_empty() {
        return;
    }
    let mut path = base.to_vec();
    path.push(name.to_owned());
    match after.strip_prefix("::") {
        Some(after) => leaves(after, at + end + 2, &path, found),
        None => found.push((at, path)),
    }
}

#[test]
fn paths_are_followed_through_braces_and_supers() {
    let text = "use crate::{config::{Config, load}, os::clock};\nuse super::super::net;\nlet x = crate::link::Frame::new();";
    let code = Code { text: text.to_owned(), starts: vec![0, 48, 71] };
    let module = ["daemon".to_owned(), "link".to_owned()];
    let paths: Vec<String> = code.paths(&module).into_iter().map(|(_, path)| path.join("::")).collect();
    assert_eq!(paths, ["config::Config", "config::load", "os::clock", "link::Frame::new", "net"]);
    assert!(has_path("use tokio::net", "tokio") && !has_path("tokio_like::x", "tokio"));
    assert!(has_path("use notify::Event", "notify") && !has_path("notify: Option<Argv>", "notify"));
    assert!(has_path("x.await", "await") && !has_path("self.nix", "nix"));
}
