//! `vipgate probe` as the client on the bridge: new connections and eight that are kept, and what became of them.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vipgate::probe::{Outcome, Report, Sample};

use crate::lan::{Lan, PATIENCE};

const VIPGATE: &str = env!("CARGO_BIN_EXE_vipgate");

pub(crate) struct Probe {
    process: Child,
    lines: Receiver<serde_json::Value>,
}

impl Probe {
    /// Patient: what is slow on a busy machine is not lost.
    pub(crate) fn start(lan: &Lan) -> Self {
        let mut command = Command::new(VIPGATE);
        command.args([
            "probe",
            "--json",
            "--samples",
            "--rate",
            "100",
            "--persistent",
            "8",
            "--timeout",
            "10s",
        ]);
        command.args(["--duration", "10m", &format!("http://{}:{}/", lan.vip(), lan.port)]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = lan.bridge.enter(|| command.spawn().unwrap());
        let lines = read(process.stdout.take().unwrap());
        Self { process, lines }
    }

    /// Returns once this node has answered so many requests from now on.
    pub(crate) fn answered_by(&self, node: &str, times: usize) {
        let mut seen = 0;
        while seen < times {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{node} never answers"));
            let Some(sample) = line.get("sample") else { continue };
            let sample: Sample = serde_json::from_value(sample.clone()).unwrap();
            seen += usize::from(matches!(sample.outcome, Outcome::Answered { by: Some(by) } if by == node));
        }
    }

    pub(crate) fn stop(mut self) -> Report {
        kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM).unwrap();
        let report = std::iter::from_fn(|| self.lines.recv_timeout(PATIENCE).ok())
            .find_map(|line| line.get("report").cloned())
            .expect("a report");
        self.process.wait().unwrap();
        serde_json::from_value(report).unwrap()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // It has ended, unless the test has failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read(output: ChildStdout) -> Receiver<serde_json::Value> {
    let (to, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if to.send(serde_json::from_str(&line).unwrap()).is_err() {
                return;
            }
        }
    });
    lines
}

/// Nothing failed, on new connections and on kept ones, and the kept ones were in use.
#[track_caller]
pub(crate) fn nothing_was_lost(what: &str, report: &Report) {
    println!("{what}:\n{report}");
    let kept = report.persistent.as_ref().unwrap();
    assert_eq!(
        (report.fresh.failed.total(), kept.failed.total(), report.not_sent),
        (0, 0, 0),
        "{what}:\n{report}"
    );
    assert!(
        kept.requests > 16 && kept.answered.len() > 1,
        "{what}: the kept connections saw no move:\n{report}"
    );
}
