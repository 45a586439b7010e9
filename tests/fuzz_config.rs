//! Mutated config documents: the loader neither panics nor hangs, and what it says is fit for a terminal.
//!
//! `FUZZ_ITERATIONS` says how many (each takes a fraction of a millisecond), `SEED` where to start: a failure names the
//! seed that shows it again with `FUZZ_ITERATIONS=1`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a watchdog needs a thread, settings come from the environment, and a panic is a failure"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use vipgate::config::{Config, Loaded, Problems, Severity, Source, load};

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

/// splitmix64: enough for choosing mutations.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 where there is nothing below it.
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n.max(1) as u64)).unwrap_or(0)
    }

    fn of<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices.get(self.below(choices.len())).copied().unwrap_or("")
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
fn mutate(draw: &mut Draw, documents: &[String], good: &[String]) -> Vec<u8> {
    let start = if draw.below(2) == 0 { documents } else { good };
    let mut bytes = start.get(draw.below(start.len())).map(|d| d.clone().into_bytes()).unwrap_or_default();
    for _ in 0..draw.below(6) {
        let at = draw.below(bytes.len() + 1);
        let end = (at + draw.below(40)).min(bytes.len());
        match draw.below(7) {
            0 => bytes.splice(at..at, draw.of(&TOKENS).bytes()).for_each(drop),
            1 => bytes.splice(at..end, draw.of(&TOKENS).bytes()).for_each(drop),
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

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// Checks each document; names the one that panics or that takes a minute, which on any machine is a hang.
#[track_caller]
fn watch(documents: impl Iterator<Item = (String, Vec<u8>)> + Send + 'static) {
    let (progress, watchdog) = mpsc::sync_channel::<String>(1);
    let worker = std::thread::spawn(move || {
        for (name, bytes) in documents {
            let shown: String = String::from_utf8_lossy(&bytes).chars().take(5_000).collect();
            let name = format!("{name}\n{shown}");
            if progress.send(name.clone()).is_err()
                || catch_unwind(AssertUnwindSafe(|| check(bytes))).is_err()
            {
                return Err(name);
            }
        }
        Ok(())
    });
    let mut last = String::new();
    loop {
        match watchdog.recv_timeout(Duration::from_secs(60)) {
            Ok(started) => last = started,
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("hangs: {last}"),
        }
    }
    if let Err(name) = worker.join().unwrap() {
        panic!("panics: {name}");
    }
}

#[test]
fn no_mutation_harms_the_loader() {
    let (first, iterations) = (setting("SEED", 1), setting("FUZZ_ITERATIONS", 4_000));
    let documents = documents();
    let usable = |text: &&String| matches!(read(text.as_bytes().to_vec()), Ok(Ok(_)));
    let good: Vec<String> = documents.iter().filter(usable).cloned().collect();
    assert!(good.len() >= 10, "{} usable documents to start from", good.len());
    let mutations =
        move |seed| (format!("SEED={seed} FUZZ_ITERATIONS=1"), mutate(&mut Draw(seed), &documents, &good));
    watch((first..first + iterations).map(mutations));
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
    watch(documents.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())));
}
