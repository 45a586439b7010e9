//! Sizes, and what an orphan becomes.

use std::fs;
use std::time::Duration;

use crate::runner::{Finding, Verdict};
use crate::shell::{run, until};
use crate::stack::{Node, Stack};

const IMAGE_MAX: u64 = 8_000_000;
const PSS_MAX_KIB: u64 = 8 * 1024;
const ORPHANS: usize = 20;

pub(super) fn image_size(_: &mut Stack) -> Verdict {
    let size = run("docker", ["image", "inspect", "--format", "{{.Size}}", crate::lab::IMAGE])?;
    let size: u64 = size.parse().map_err(|e| format!("{size}: {e}"))?;
    let wrong = if size > IMAGE_MAX { vec![format!("larger than {IMAGE_MAX}")] } else { Vec::new() };
    Ok(Finding::of(format!("{size} bytes"), wrong))
}

/// Proportional set size: shared pages count once for the whole container.
pub(super) fn memory(stack: &mut Stack) -> Verdict {
    let mut wrong = Vec::new();
    let mut figures = Vec::new();
    for node in [Node::Master, Node::Backup, Node::Frontend] {
        let mut sum = 0;
        let processes = stack.processes(node)?;
        for (pid, _) in &processes {
            let rollup =
                fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).map_err(|e| format!("{pid}: {e}"))?;
            let pss = rollup
                .lines()
                .find_map(|line| line.strip_prefix("Pss:"))
                .and_then(|l| l.split_whitespace().next());
            sum += pss.and_then(|kib| kib.parse::<u64>().ok()).ok_or("smaps_rollup has no Pss")?;
        }
        figures.push(format!("{} {sum} KiB in {} processes", node.name(), processes.len()));
        if sum > PSS_MAX_KIB {
            wrong.push(format!("{} needs more than {PSS_MAX_KIB} KiB", node.name()));
        }
    }
    Ok(Finding::of(figures.join(", "), wrong))
}

/// Processes whose parent is gone fall to PID 1, which has to bury them.
pub(super) fn orphans(stack: &mut Stack) -> Verdict {
    let init = stack.init(Node::Master)?;
    let script = format!("for n in $(seq {ORPHANS}); do (sleep 1 >/dev/null 2>&1 &) ; done");
    // The image has no shell: the host's runs in the container's process namespace.
    run("nsenter", ["--target", &init, "--pid", "sh", "-c", &script])?;
    let seen = children(&init)?;
    let buried = until(Duration::from_secs(5), Duration::from_millis(100), || {
        let left: Vec<String> =
            children(&init)?.into_iter().filter(|(_, name)| name == "sleep").map(|c| c.0).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{} of {ORPHANS} are left", left.len())) }
    });
    let adopted = seen.iter().filter(|(_, name)| name == "sleep").count();
    let mut wrong: Vec<String> = buried.err().into_iter().collect();
    if adopted != ORPHANS {
        wrong.push(format!("PID 1 adopted {adopted} of {ORPHANS}"));
    }
    Ok(Finding::of(format!("{adopted} adopted, 0 left as zombies"), wrong))
}

/// Process id and name of each child, zombies included.
fn children(parent: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").map_err(|e| e.to_string())? {
        let pid = entry.map_err(|e| e.to_string())?.file_name().to_string_lossy().into_owned();
        // Others end while we look.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((name, rest)) = stat.split_once('(').and_then(|(_, s)| s.rsplit_once(')')) else { continue };
        if rest.split_whitespace().nth(1) == Some(parent) {
            found.push((pid, name.to_owned()));
        }
    }
    Ok(found)
}
