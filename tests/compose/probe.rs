//! `vipgate probe` as a child, its events as they come, its report at the end.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use vipgate::probe::{Event, Report, Sample};

use crate::shell::Trouble;

/// Ends by itself long after any check, should nobody stop it.
const LIFE: &str = "5m";

pub(crate) struct Probe {
    child: Child,
    lines: Receiver<Line>,
    pub(crate) samples: Vec<Sample>,
    report: Option<Report>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Event(Event),
    Sample(Sample),
    Report(Box<Report>),
}

impl Probe {
    /// `namespace`: whose network it uses; `None`: the host's. Returns once the first answer has come.
    pub(crate) fn start(namespace: Option<&str>, url: &str, arguments: &[&str]) -> Result<Self, Trouble> {
        let binary = env!("CARGO_BIN_EXE_vipgate");
        let mut command = match namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, binary]);
                command
            }
            None => Command::new(binary),
        };
        command.args(["probe", url, "--json", "--duration", LIFE]).args(arguments);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{command:?}: {e}"))?;
        let (to, lines) = channel();
        if let Some(out) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    let line = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"));
                    if to.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        let mut probe = Self { child, lines, samples: Vec::new(), report: None };
        probe.event("a first answer", Duration::from_secs(10), |event| {
            matches!(event, Event::AnsweredBy { .. })
        })?;
        Ok(probe)
    }

    /// Waits for an event, passing over others.
    pub(crate) fn event(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event, Trouble> {
        let started = Instant::now();
        loop {
            match self.lines.recv_timeout(limit.saturating_sub(started.elapsed())) {
                Ok(Line::Event(event)) if wanted(&event) => return Ok(event),
                Ok(line) => self.keep(line),
                Err(RecvTimeoutError::Timeout) => return Err(format!("no {what} within {limit:?}")),
                Err(RecvTimeoutError::Disconnected) => return Err(format!("the probe ended before {what}")),
            }
        }
    }

    /// Waits until this node answers after another one did, with or without an outage between.
    pub(crate) fn answered_by(&mut self, node: &str, limit: Duration) -> Result<(), Trouble> {
        self.event(&format!("answer by {node}"), limit, |event| match event {
            Event::AnsweredBy { by, .. } => by.as_deref() == Some(node),
            Event::OutageEnded { outage, .. } => outage.after.as_deref() == Some(node),
            Event::OutageBegan { .. } => false,
        })
        .map(drop)
    }

    /// Lets it run for `least`, and longer while nobody answers, but for no more than `most`.
    pub(crate) fn watch(&mut self, least: Duration, most: Duration, look: Duration) -> Result<(), Trouble> {
        let started = Instant::now();
        let mut out = false;
        while started.elapsed() < least || (out && started.elapsed() < most) {
            match self.lines.recv_timeout(look) {
                Ok(Line::Event(event)) => out = matches!(event, Event::OutageBegan { .. }),
                Ok(line) => self.keep(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("the probe ended".to_owned()),
            }
        }
        Ok(())
    }

    pub(crate) fn stop(mut self) -> Result<(Report, Vec<Sample>), Trouble> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).map_err(|e| e.to_string())?;
        let limit = Duration::from_secs(10);
        while self.report.is_none() {
            match self.lines.recv_timeout(limit) {
                Ok(line) => self.keep(line),
                Err(e) => return Err(format!("the probe made no report: {e}")),
            }
        }
        let report = self.report.take().ok_or("no report")?;
        Ok((report, std::mem::take(&mut self.samples)))
    }

    fn keep(&mut self, line: Line) {
        match line {
            Line::Event(_) => {}
            Line::Sample(sample) => self.samples.push(sample),
            Line::Report(report) => self.report = Some(*report),
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // It has ended already, or ends here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The moment of the report's clock at which the wall clock showed this.
pub(crate) fn moment(report: &Report, at: SystemTime) -> Duration {
    let since_1970 = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since_1970.saturating_sub(Duration::from_nanos(report.began_unix_ns))
}
