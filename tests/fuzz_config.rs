//! Mutated config documents: the loader neither panics nor hangs, and what it says is fit for a terminal.
//!
//! `FUZZ_ITERATIONS` says how many (each takes a fraction of a millisecond); `SEED=n` repeats one case.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a watchdog needs a thread, settings come from the environment, and a panic is a failure"
)]

#[path = "fuzz/cases.rs"]
mod cases;

use std::path::PathBuf;

use cases::{Random, each, watch};
use vipgate::config::{Config, Loaded, Problems, Severity, Source, load};

const ITERATIONS: u64 = 4_000;

const CORPUS: [&str; 7] = [
    include_str!("../docs/config.md"),
    include_str!("config_problems/text.txt"),
    include_str!("config_problems/values.txt"),
    include_str!("config_problems/environment.txt"),
    include_str!("config_problems/vrrp.txt"),
    include_str!("config_problems/upstreams.txt"),
    include_str!("config_problems/servers.txt"),
];

/// What means something to the parser, the interpolation or a field.
const TOKENS: [&str; 48] = [
    "${",
    "}",
    "${A:-",
    "${A:?",
    "$$",
    "$A",
    "${BIG}",
    "&a ",
    "*a",
    "*a, *a",
    "<<: ",
    "!!str ",
    "? ",
    ": ",
    "- ",
    "-",
    "\n",
    "\n  ",
    "\r\n",
    "\t",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "\"",
    "'",
    "\\",
    "|",
    ">",
    "|+9\n",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "#",
    "~",
    "null",
    "0",
    "-1",
    "99999999999999999999",
    "1s",
    "\u{feff}",
    "\u{0}",
    "\u{1b}[31m",
    "ä",
    "\u{1f600}",
    "@",
    "`",
];

fn environment(name: &str) -> Option<String> {
    match name {
        "HOSTNAME" | "VIPGATE_NODE" => Some("node".into()),
        "BIG" => Some("x".repeat(100_000)),
        "A" => Some("a: [\"${B}\n".into()),
        _ => None,
    }
}

/// The documents of the repository: the examples of the reference, and every case of a mistake.
fn documents() -> Vec<String> {
    let mut documents = Vec::new();
    for text in CORPUS {
        if text.contains("```yaml") {
            let blocks = text.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next());
            documents.extend(blocks.map(str::to_owned));
            continue;
        }
        for case in text.split("\n\n") {
            let lines = case.lines().filter(|line| !line.starts_with(['@', '!', '=']));
            documents.push(lines.flat_map(|line| [line, "\n"]).collect());
        }
    }
    // The cases show one line each; this gives them a place.
    let whole = documents.iter().find(|document| document.contains("vrrp:\n")).cloned().unwrap_or_default();
    for document in &mut documents {
        if !document.contains("servers:") && !document.contains("vrrp:") {
            let line = document.trim_end().replace('\n', "\n    ");
            *document = whole.replacen("    vrid: 51", &format!("    {line}\n    vrid: 51"), 1);
        }
    }
    documents
}

/// Half of them start from a document that can be used: what is wrong already hides what comes after it.
fn mutate(draw: &mut Random, documents: &[String], good: &[String]) -> Vec<u8> {
    let start = if draw.below(2) == 0 { documents } else { good };
    let mut bytes = start.get(draw.below(start.len())).map(|d| d.clone().into_bytes()).unwrap_or_default();
    for _ in 0..draw.below(6) {
        let at = draw.below(bytes.len() + 1);
        let end = (at + draw.below(40)).min(bytes.len());
        match draw.below(7) {
            0 => bytes.splice(at..at, draw.pick(&TOKENS).bytes()).for_each(drop),
            1 => bytes.splice(at..end, draw.pick(&TOKENS).bytes()).for_each(drop),
            2 => bytes.drain(at..end).for_each(drop),
            3 => {
                let copy = bytes[at..end].repeat(1 + draw.below(30));
                bytes.splice(at..at, copy).for_each(drop);
            }
            4 => {
                let other = documents.get(draw.below(documents.len())).map_or(&b""[..], |d| d.as_bytes());
                let from = draw.below(other.len() + 1);
                let to = (from + draw.below(200)).min(other.len());
                bytes.splice(at..at, other[from..to].to_vec()).for_each(drop);
            }
            5 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << draw.below(8);
                }
            }
            _ => bytes.truncate(end),
        }
    }
    bytes
}

/// `Err`: not even text.
fn read(bytes: Vec<u8>) -> Result<Result<Loaded, Problems>, Problems> {
    let source = Source::from_bytes("f".into(), PathBuf::from("/etc/vipgate"), bytes)?;
    Ok(load(&source, &environment))
}

fn check(bytes: Vec<u8>) {
    let lines = bytes.iter().filter(|b| **b == b'\n').count() + 1;
    match read(bytes) {
        Ok(Ok(loaded)) => {
            assert!(loaded.warnings.iter().all(|p| p.severity == Severity::Warning));
            let json = serde_json::to_string(&loaded.config).unwrap();
            assert_eq!(
                serde_json::from_str::<Config>(&json).unwrap(),
                loaded.config,
                "roles get another config"
            );
        }
        Ok(Err(problems)) | Err(problems) => check_problems(&problems, lines),
    }
}

fn check_problems(problems: &Problems, lines: usize) {
    assert!(problems.list.iter().any(|p| p.severity == Severity::Error), "refused without a reason");
    for problem in &problems.list {
        assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{problem}");
        assert!(problem.snippet.caret <= problem.snippet.text.chars().count(), "{problem}");
        assert!(!problem.what.is_empty() && !problem.remedy.is_empty(), "{problem}");
    }
    let text = problems.to_string();
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "a terminal would obey {text:?}");
    assert!(text.len() < 1 << 17, "{} bytes of problems", text.len());
}

#[test]
fn no_mutation_harms_the_loader() {
    let documents = documents();
    let usable = |text: &&String| matches!(read(text.as_bytes().to_vec()), Ok(Ok(_)));
    let good: Vec<String> = documents.iter().filter(usable).cloned().collect();
    assert!(good.len() >= 10, "{} usable documents to start from", good.len());
    each(ITERATIONS, move |draw| {
        let bytes = mutate(draw, &documents, &good);
        check(bytes);
    });
}

/// Whatever is looked for in something else, as often as a mebibyte allows.
#[test]
fn no_amount_harms_the_loader() {
    const FULL: usize = 1 << 20;
    let some = |most: usize, item: &dyn Fn(usize) -> String, end: &str| {
        let mut text = String::new();
        for n in 0.. {
            let item = item(n);
            if text.len() + item.len() + end.len() > FULL || n >= most {
                break;
            }
            text.push_str(&item);
        }
        text + end
    };
    let many = |item: &dyn Fn(usize) -> String, end: &str| some(24_000, item, end);
    let list = |name: &str| many(&|n| format!("{name}{n},"), "");
    let pair = |a: String, b: String| {
        let half = |text: String| text.chars().take(FULL / 2 - 200).collect::<String>();
        let router = |n: u8, peers: String| {
            format!("  r{n}: {{vrid: 1, virtual_addresses: [10.0.0.{n}], peers: [{peers}]}}\n")
        };
        format!("vrrp:\n{}{}", router(1, half(a)), router(2, half(b)))
    };
    let routes = |upstreams: &str| {
        let routes = some(6_000, &|n| format!("{{path: /{n}, proxy: {{upstream: a{n}x}}}},"), "");
        format!("servers: [{{listen: [80], routes: [{routes}]}}]\n{upstreams}")
    };
    let upstreams = some(4_000, &|n| format!(" a{n}: {{servers: [\"a:{}\"]}},", n + 1), "");
    let upstreams = format!("upstreams: {{{upstreams}}}\n");
    let documents = [
        ("variables", many(&|n| format!("$V{n}"), "")),
        ("open braces", "${A:-".repeat(FULL / 5)),
        ("dollars", "$".repeat(FULL - 1)),
        ("keys", many(&|n| format!("servers_of_mine_{n}: 1\n"), "")),
        ("long keys", many(&|n| format!("{}{n}: 1\n", "x".repeat(50)), "")),
        ("same keys", "a: 1\n".repeat(FULL / 5)),
        ("flow keys", many(&|n| format!("k{n}: 1,"), "}").replacen("k0", "{k0", 1)),
        ("peers", pair(list("a"), list("b"))),
        ("routes", routes("")),
        ("routes and upstreams", routes(&upstreams)),
        ("brackets", "[".repeat(FULL)),
        ("braces", "{".repeat(FULL)),
        ("questions", "? ".repeat(FULL / 2)),
        ("dashes", "- ".repeat(FULL / 2)),
        ("colons", ": ".repeat(FULL / 2)),
        ("quotes", "\"".repeat(FULL)),
        ("anchors", many(&|n| format!("&a{n} "), "")),
        ("aliases", many(&|n| format!("- &a{n} [*a{}]\n", n.saturating_sub(1)), "").replacen("*a0", "a", 1)),
        ("comments", "#\n".repeat(FULL / 2)),
        ("lines", "\n".repeat(FULL)),
        ("one word", "x".repeat(FULL)),
        (
            "names",
            format!(
                "servers: [{{listen: [{}], server_names: [{}]}}]",
                (1..65).map(|n| format!("{n},")).collect::<String>(),
                list("n")
            ),
        ),
    ];
    let documents = documents.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes()));
    watch(documents.collect::<Vec<_>>().into_iter(), check);
}
