//! Another image for the nodes, one after the other, under load: nobody notices.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::lab::IMAGE;
use crate::runner::{Finding, Verdict};
use crate::shell::{Trouble, run, until};
use crate::stack::{Node, Stack};

const NEXT: &str = "vipgate:e2e-next";
const LABEL: &str = "vipgate.e2e.image";
const SETTLES_WITHIN: Duration = Duration::from_secs(15);

/// The same program in another image, which is what Compose looks at.
fn build() -> Result<(), Trouble> {
    let mut build = Command::new("docker");
    build.args(["build", "--quiet", "--tag", NEXT, "-"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut build = build.spawn().map_err(|e| e.to_string())?;
    let text = format!("FROM {IMAGE}\nLABEL {LABEL}=next\n");
    let written = build.stdin.take().map(|mut input| input.write_all(text.as_bytes()));
    let status = build.wait().map_err(|e| e.to_string())?;
    match (written, status.success()) {
        (Some(Ok(())), true) => Ok(()),
        _ => Err(format!("{NEXT} cannot be built: {status}")),
    }
}

/// There and back, as docs/operations.md has it.
pub(super) fn image(stack: &mut Stack) -> Verdict {
    build()?;
    let mut wrong = Vec::new();
    let mut figures = Vec::new();
    for image in [NEXT, IMAGE] {
        let probe = stack.probe_with(&["--rate", "200", "--timeout", "900ms", "--persistent", "8"])?;
        for node in [Node::Backup, Node::Master] {
            stack.compose_with(image, &["up", "-d", "--no-deps", node.name()])?;
            until(SETTLES_WITHIN, Duration::from_millis(100), || {
                stack.exec(node, &["/vipgate", "healthcheck"]).map(drop)
            })?;
            let format = "{{.Config.Image}}";
            let runs = run("docker", ["inspect", "--format", format, &stack.container(node)])?;
            if runs != image {
                wrong.push(format!("{} runs {runs} instead of {image}", node.name()));
            }
        }
        wrong.extend(stack.settle(Node::Master).err());
        // What the kept connections have seen of the last move is in their next answers.
        std::thread::sleep(Duration::from_secs(1));
        let (report, _) = probe.stop()?;
        let kept = report.persistent.as_ref().ok_or("no kept connections")?;
        for (what, failed) in
            [("requests", &report.fresh.failed), ("requests on kept connections", &kept.failed)]
        {
            if failed.total() > 0 {
                wrong.push(format!("{} {what} failed: {failed}", failed.total()));
            }
        }
        if kept.connections != 8 || kept.answered.len() != 2 || report.fresh.answered.len() != 2 {
            wrong.push(format!("nothing has moved: {:?}, {:?}", report.fresh.answered, kept.answered));
        }
        figures.push(format!(
            "{} + {} requests, failed 0, cut 0, {} connections moved in good order, longest wait {} ms",
            report.fresh.requests,
            kept.requests,
            kept.reopened,
            report.fresh.latency.longest.as_millis()
        ));
    }
    Ok(Finding::of(figures.join("; "), wrong))
}
