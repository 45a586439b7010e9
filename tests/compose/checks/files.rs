//! Files of the repository that must agree with each other. No engine.

use std::fs;

use crate::runner::{Finding, Verdict};
use crate::stack::top;

/// What the image says of itself is the same whoever builds it.
pub(super) fn dockerfiles_agree() -> Verdict {
    const SAME: [&str; 5] = ["LABEL", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"];
    let [built, packed] =
        ["docker/Dockerfile", "docker/Dockerfile.host"].map(|file| read(file).map(|t| instructions(&t)));
    let (built, packed) = (built?, packed?);
    let mut wrong = Vec::new();
    for instruction in SAME {
        let of =
            |all: &[String]| all.iter().filter(|i| i.starts_with(instruction)).cloned().collect::<Vec<_>>();
        let (a, b) = (of(&built), of(&packed));
        if a.is_empty() || a != b {
            wrong.push(format!("{instruction}: {a:?} and {b:?}"));
        }
    }
    let compose = read("compose/compose.yaml")?;
    for words in [
        r#"test: ["CMD", "/vipgate", "healthcheck"]"#,
        "interval: 5s",
        "timeout: 2s",
        "retries: 3",
        "start_period: 2s",
    ] {
        if !compose.contains(words) {
            wrong.push(format!("compose.yaml does not say {words}"));
        }
    }
    Ok(Finding::of(SAME.join(", "), wrong))
}

/// The nodes' pages differ in the node's name only.
pub(super) fn pages_agree() -> Verdict {
    let (master, backup) = (read("html/master/index.html")?, read("html/backup/index.html")?);
    // The page also names the containers to try things on, and the legend of its strip, on both alike.
    let differing: Vec<String> = master
        .lines()
        .zip(backup.lines())
        .filter(|(m, b)| m != b && m.replace("master", "backup") != **b)
        .map(|(m, b)| format!("{m:?} and {b:?}"))
        .collect();
    let mut wrong = differing;
    if master.lines().count() != backup.lines().count() {
        wrong.push("they differ in length".to_owned());
    }
    for (page, node) in [(&master, "master"), (&backup, "backup")] {
        if !page.contains(&format!(">{node}</h1>")) {
            wrong.push(format!("the page of {node} does not say so in large type"));
        }
        if page.contains("http://") || page.contains("https://") {
            wrong.push(format!("the page of {node} loads something from elsewhere"));
        }
    }
    Ok(Finding::of(format!("{} lines", master.lines().count()), wrong))
}

fn read(file: &str) -> Result<String, String> {
    fs::read_to_string(top().join(file)).map_err(|e| format!("{file}: {e}"))
}

/// One string for each instruction, continued lines joined.
fn instructions(dockerfile: &str) -> Vec<String> {
    let joined = dockerfile.replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}
