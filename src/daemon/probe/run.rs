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
    let mut run = Run {
        timeline: Timeline::default(),
        kept: probe::Kept::new(u64::from(plan.persistent)),
        out: Out { form, samples, to: out },
    };
    let (url, persistent) = (plan.target.url.clone(), plan.persistent);
    block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let told = async {
            tokio::select! {
                _ = interrupt.recv() => (),
                _ = terminate.recv() => (),
            }
        };
        let address = plan.target.resolve().await?;
        let began = Instant::now();
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let own = drive(Rc::new(plan), address, began, told, &mut |seen| run.handle(seen)).await?;
        let length = began.elapsed();
        let fresh = run.end()?.tally();
        let report = Report {
            url,
            target: address.to_string(),
            began_unix_ns: u64::try_from(since_1970.as_nanos()).unwrap_or(0),
            length,
            fresh,
            persistent: (persistent > 0).then(|| run.kept.tally()),
            not_sent: own.not_sent,
            own_lateness: own.lateness,
        };
        run.out.report(&report)?;
        Ok(report)
    })
}

/// Hands everything that it sees to `see`, until the plan ends or it is told. Moments count from `began`.
pub fn watch(
    plan: Plan,
    began: std::time::Instant,
    told: impl Future<Output = ()>,
    see: &mut dyn FnMut(Seen),
) -> io::Result<Own> {
    block_on(async {
        let address = plan.target.resolve().await?;
        let mut see = |seen| {
            see(seen);
            Ok(())
        };
        drive(Rc::new(plan), address, began.into(), told, &mut see).await
    })
}

fn block_on<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, what)
}

/// What a run sees, as it comes.
#[derive(Debug)]
pub enum Seen {
    /// Of a request with a connection of its own.
    Fresh(Sample),
    /// Of one on a connection that is kept; its number says nothing.
    Kept(Sample),
    /// A kept connection was closed in good order, and a new one stands.
    Reopened,
}

/// What must not be held against the target.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own {
    pub lateness: Duration,
    /// Requests that were due, while too many waited.
    pub not_sent: u64,
}

async fn drive(
    plan: Rc<Plan>,
    address: SocketAddr,
    began: Instant,
    told: impl Future<Output = ()>,
    see: &mut dyn FnMut(Seen) -> io::Result<()>,
) -> io::Result<Own> {
    let (kept_to, mut kept_from) = mpsc::channel(KEPT_QUEUE);
    let mut kept = JoinSet::new();
    for _ in 0..plan.persistent {
        kept.spawn_local(persistent::run(address, plan.clone(), kept_to.clone()));
    }
    tokio::pin!(told);
    let mut is_told = false;
    let first = Instant::now();
    let mut tick = tokio::time::interval_at(first, plan.every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut flying: JoinSet<Sample> = JoinSet::new();
    let mut own = Own::default();
    let mut sent = 0;
    let mut sending = true;
    while sending || !flying.is_empty() {
        tokio::select! {
            biased;
            () = &mut told, if !is_told => {
                if plan.until != Until::Told {
                    break;
                }
                (is_told, sending) = (true, false);
            }
            Some(ended) = flying.join_next() => see(Seen::Fresh(ended.map_err(io::Error::other)?))?,
            Some(what) = kept_from.recv() => see(of_kept(what, began))?,
            due = tick.tick(), if sending => {
                own.lateness = own.lateness.max(due.elapsed());
                if is_over(&plan, due.duration_since(first), sent) {
                    sending = false;
                } else if flying.len() < IN_FLIGHT_MAX {
                    flying.spawn_local(request(plan.clone(), address, began, sent));
                    sent += 1;
                } else {
                    own.not_sent += 1;
                }
            }
        }
    }
    Ok(own)
}

fn is_over(plan: &Plan, elapsed: Duration, sent: u64) -> bool {
    match plan.until {
        Until::Elapsed(length) => elapsed >= length,
        Until::Count(count) => sent >= count,
        Until::Told => false,
    }
}

async fn request(plan: Rc<Plan>, address: SocketAddr, began: Instant, sequence: u64) -> Sample {
    let start = began.elapsed();
    let asked = tokio::time::timeout(plan.timeout, exchange::fresh(address, &plan.target)).await;
    let outcome = asked.unwrap_or(Outcome::Failed { how: Failure::Timeout });
    Sample { sequence, start, end: began.elapsed(), outcome }
}

fn of_kept(what: Kept, began: Instant) -> Seen {
    match what {
        Kept::Request { start, end, outcome } => {
            let (start, end) = (start.duration_since(began), end.duration_since(began));
            Seen::Kept(Sample { sequence: 0, start, end, outcome })
        }
        Kept::Reopened => Seen::Reopened,
    }
}

struct Run<'a> {
    timeline: Timeline,
    kept: probe::Kept,
    out: Out<'a>,
}

impl Run<'_> {
    fn handle(&mut self, seen: Seen) -> io::Result<()> {
        match seen {
            Seen::Fresh(sample) => {
                if self.out.samples {
                    self.out.sample(&sample)?;
                }
                self.timeline.handle_sample(sample);
                return self.write_events();
            }
            Seen::Kept(sample) => self.kept.handle_sample(&sample),
            Seen::Reopened => self.kept.handle_reopened(),
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<&Timeline> {
        self.timeline.handle_end();
        self.write_events()?;
        Ok(&self.timeline)
    }

    fn write_events(&mut self) -> io::Result<()> {
        while let Some(event) = self.timeline.poll_output() {
            self.out.event(&event)?;
        }
        Ok(())
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
