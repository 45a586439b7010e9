//! The run itself: a tick for each request, samples collected, events written as they happen, the report at the end.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, MissedTickBehavior};

use super::exchange;
use super::persistent::{self, Kept};
use super::target::{Plan, Until};
use crate::probe::{self, Failure, Outcome, Report, Sample, Timeline};

/// Requests under way at once: an open loop must not wait for slow answers, and must not open files without end.
const IN_FLIGHT_MAX: usize = 4096;
/// Open files beside those of the requests.
const OTHER_FILES: u64 = 64;
/// Samples of kept connections on their way to the report; their senders wait.
const KEPT_QUEUE: usize = 64;

/// How the run is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON object in each line; the report is the last.
    JsonLines,
}

/// Sends requests until the plan ends or SIGINT or SIGTERM comes. `samples`: each sample gets a line, too.
pub fn run(plan: Plan, form: Form, samples: bool, out: &mut dyn Write) -> io::Result<Report> {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let address = plan.target.resolve().await?;
        let mut run = Run {
            plan: Rc::new(plan),
            address,
            began: Instant::now(),
            began_unix_ns: 0,
            timeline: Timeline::default(),
            kept: probe::Kept::default(),
            own_lateness: Duration::ZERO,
            not_sent: 0,
            out: Out { form, samples, to: out },
        };
        run.drive().await?;
        run.close()
    })
}

struct Run<'a> {
    plan: Rc<Plan>,
    address: SocketAddr,
    began: Instant,
    began_unix_ns: u64,
    timeline: Timeline,
    kept: probe::Kept,
    own_lateness: Duration,
    not_sent: u64,
    out: Out<'a>,
}

impl Run<'_> {
    async fn drive(&mut self) -> io::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (kept_to, mut kept_from) = mpsc::channel(KEPT_QUEUE);
        let mut kept = JoinSet::new();
        for _ in 0..self.plan.persistent {
            kept.spawn_local(persistent::run(self.address, self.plan.clone(), kept_to.clone()));
        }
        self.kept = probe::Kept::new(u64::from(self.plan.persistent));

        self.began = Instant::now();
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.began_unix_ns = u64::try_from(since_1970.as_nanos()).unwrap_or(0);
        let mut tick = tokio::time::interval_at(self.began, self.plan.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut flying: JoinSet<Sample> = JoinSet::new();
        let mut sent = 0;
        let mut sending = true;
        while sending || !flying.is_empty() {
            tokio::select! {
                biased;
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                Some(ended) = flying.join_next() => self.handle_ended(ended)?,
                Some(what) = kept_from.recv() => self.handle_kept(what),
                due = tick.tick(), if sending => {
                    self.own_lateness = self.own_lateness.max(due.elapsed());
                    if self.is_over(due, sent) {
                        sending = false;
                    } else if flying.len() < IN_FLIGHT_MAX {
                        flying.spawn_local(self.request(sent));
                        sent += 1;
                    } else {
                        self.not_sent += 1;
                    }
                }
            }
        }
        Ok(())
    }

    fn is_over(&self, due: Instant, sent: u64) -> bool {
        match self.plan.until {
            Until::Elapsed(length) => due.duration_since(self.began) >= length,
            Until::Count(count) => sent >= count,
        }
    }

    fn request(&self, sequence: u64) -> impl Future<Output = Sample> + use<> {
        let (plan, address, began) = (self.plan.clone(), self.address, self.began);
        async move {
            let start = began.elapsed();
            let asked = tokio::time::timeout(plan.timeout, exchange::fresh(address, &plan.target)).await;
            let outcome = asked.unwrap_or(Outcome::Failed { how: Failure::Timeout });
            Sample { sequence, start, end: began.elapsed(), outcome }
        }
    }

    fn handle_ended(&mut self, ended: Result<Sample, tokio::task::JoinError>) -> io::Result<()> {
        let sample = ended.map_err(io::Error::other)?;
        if self.out.samples {
            self.out.sample(&sample)?;
        }
        self.timeline.handle_sample(sample);
        self.write_events()
    }

    fn handle_kept(&mut self, what: Kept) {
        match what {
            Kept::Request { start, end, outcome } => {
                let (start, end) = (start.duration_since(self.began), end.duration_since(self.began));
                self.kept.handle_sample(&Sample { sequence: 0, start, end, outcome });
            }
            Kept::Reopened => self.kept.handle_reopened(),
        }
    }

    fn write_events(&mut self) -> io::Result<()> {
        while let Some(event) = self.timeline.poll_output() {
            self.out.event(&event)?;
        }
        Ok(())
    }

    fn close(mut self) -> io::Result<Report> {
        let length = self.began.elapsed();
        self.timeline.handle_end();
        self.write_events()?;
        let report = Report {
            url: self.plan.target.url.clone(),
            target: self.address.to_string(),
            began_unix_ns: self.began_unix_ns,
            length,
            fresh: self.timeline.tally(),
            persistent: (self.plan.persistent > 0).then(|| self.kept.tally()),
            not_sent: self.not_sent,
            own_lateness: self.own_lateness,
        };
        self.out.report(&report)?;
        Ok(report)
    }
}

struct Out<'a> {
    form: Form,
    samples: bool,
    to: &'a mut dyn Write,
}

impl Out<'_> {
    fn sample(&mut self, sample: &Sample) -> io::Result<()> {
        match self.form {
            Form::Text => writeln!(self.to, "{sample}"),
            Form::JsonLines => self.json("sample", sample),
        }
    }

    fn event(&mut self, event: &probe::Event) -> io::Result<()> {
        match self.form {
            Form::Text => writeln!(self.to, "{event}")?,
            Form::JsonLines => self.json("event", event)?,
        }
        self.to.flush()
    }

    fn report(&mut self, report: &Report) -> io::Result<()> {
        match self.form {
            Form::Text => writeln!(self.to, "{report}")?,
            Form::JsonLines => self.json("report", report)?,
        }
        self.to.flush()
    }

    /// `{"event":{..}}`: the name says what the line holds.
    fn json<T: Serialize>(&mut self, name: &str, what: &T) -> io::Result<()> {
        serde_json::to_writer(&mut *self.to, &std::collections::BTreeMap::from([(name, what)]))?;
        writeln!(self.to)
    }
}

/// As far as the hard limit lets it; where that is too low, requests say that they were not sent from here.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let wanted = IN_FLIGHT_MAX as u64 + OTHER_FILES;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < wanted
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// Answers each connection with `answer` on a thread of its own; a name closes or resets instead.
    fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                std::thread::spawn(move || serve(stream, answer));
            }
        });
        address
    }

    fn serve(mut stream: TcpStream, answer: &str) {
        use std::io::Read;
        let mut head = [0; 1024];
        while stream.read(&mut head).is_ok_and(|n| n > 0) {
            match answer {
                "closes" => return,
                "resets" => {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                    return;
                }
                "hangs" => std::thread::park(),
                text => stream.write_all(text.as_bytes()).unwrap(),
            }
            if answer.contains("cut short") {
                return;
            }
        }
    }

    fn probe(address: SocketAddr, persistent: u32, until: Until) -> (Report, String) {
        let patience = Duration::from_millis(500);
        let plan = Plan::try_new(&format!("http://{address}/"), 200, patience, persistent, until).unwrap();
        let mut written = Vec::new();
        let report = run(plan, Form::JsonLines, true, &mut written).unwrap();
        (report, String::from_utf8(written).unwrap())
    }

    fn check(address: SocketAddr, answered: &[(&str, u64)], failed: &[(Failure, u64)]) {
        let (report, written) = probe(address, 0, Until::Count(3));
        let answered = answered.iter().map(|(by, n)| ((*by).to_owned(), *n)).collect();
        assert_eq!(report.fresh.answered, answered, "{written}");
        assert_eq!(report.fresh.failed, failed.iter().copied().collect(), "{written}");
        assert_eq!(written.lines().filter(|line| line.starts_with(r#"{"sample":"#)).count(), 3, "{written}");
        let last = written.lines().last().unwrap();
        let last: std::collections::BTreeMap<String, Report> = serde_json::from_str(last).unwrap();
        assert_eq!(last["report"].fresh.failed, report.fresh.failed);
    }

    #[test]
    fn each_end_of_a_request_has_its_name() {
        check(
            server("HTTP/1.1 200 OK\r\nX-Served-By: master\r\nContent-Length: 2\r\n\r\nok"),
            &[("master", 3)],
            &[],
        );
        check(server("HTTP/1.1 304 Not Modified\r\n\r\n"), &[("(unnamed)", 3)], &[]);
        check(server("HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n"), &[], &[(Failure::ServerError, 3)]);
        check(server("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), &[], &[(Failure::OtherStatus, 3)]);
        check(server("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut short"), &[], &[(Failure::Closed, 3)]);
        check(server("SSH-2.0-OpenSSH_9.2\r\n\r\n"), &[], &[(Failure::Malformed, 3)]);
        check(server("closes"), &[], &[(Failure::Closed, 3)]);
        check(server("resets"), &[], &[(Failure::Reset, 3)]);
        check(server("hangs"), &[], &[(Failure::Timeout, 3)]);
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        check(nobody, &[], &[(Failure::Refused, 3)]);
    }

    #[test]
    fn kept_connections_are_counted_apart() {
        let address = server("HTTP/1.1 200 OK\r\nX-Served-By: backup\r\nContent-Length: 2\r\n\r\nok");
        let (report, _) = probe(address, 2, Until::Elapsed(Duration::from_millis(250)));
        let kept = report.persistent.unwrap();
        assert!(kept.requests >= 2 && kept.failed.total() == 0 && kept.reopened == 0, "{kept:?}");
        assert_eq!(kept.answered.get("backup"), Some(&kept.requests));
        assert!(report.fresh.requests > 0);

        let (report, _) = probe(server("closes"), 2, Until::Elapsed(Duration::from_millis(250)));
        let kept = report.persistent.unwrap();
        assert_eq!(kept.failed.total(), kept.requests, "{kept:?}");
        assert!(kept.failed.count(Failure::Closed) >= 2, "{kept:?}");

        let (report, _) = probe(
            server("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\ncut short"),
            1,
            Until::Elapsed(Duration::from_millis(450)),
        );
        let kept = report.persistent.unwrap();
        assert!(kept.failed.total() == 0 && kept.reopened >= 1, "{kept:?}");
    }
}
