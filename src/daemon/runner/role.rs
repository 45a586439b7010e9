//! The event loop of the runner, and what PID 1 says to it.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use super::command::{self, Deadline};
use super::job::{Job, Receiver, attempt, problems};
use crate::config::{Config, Hooks};
use crate::daemon::event_loop::{self, BLOCKING_THREADS};
use crate::daemon::link::Link;
use crate::daemon::log;
use crate::gateway::SecondText;
use crate::link::{
    Announced, CommandEnd, Ended, FromRunner, Generation, Notice, Run, RunnerReport, ToRunner,
};
use crate::notification::lane::{Failure, Lane, Schedule};
use crate::notification::{hooks, mail, webhook};

/// PID 1 counts these as heartbeats.
const TURN: Duration = Duration::from_millis(50);
/// Messages to PID 1 that may wait: seconds of beats. PID 1 that reads nothing for so long is frozen or gone.
const OUTBOX: usize = 256;
/// Programs that run at once for the vrrp role; it asks for no more than it has checks.
const MAX_RUNS: usize = 256;
/// Notices that wait for the configuration which says who wants them.
const MAX_EARLY: usize = 64;
/// Kept of a drain's bound for the answer.
const ANSWER: Duration = Duration::from_millis(100);
/// sysexits: an internal fault.
const EX_SOFTWARE: u8 = 70;

/// Plays the role until the link ends. What is running then is killed.
pub(in crate::daemon) fn run(link: OwnedFd) -> ExitCode {
    let runtime = match event_loop::build(BLOCKING_THREADS) {
        Ok(runtime) => runtime,
        Err(error) => return failed("no event loop", &error),
    };
    let code = event_loop::play(&runtime, play(link));
    runtime.shutdown_background();
    code
}

async fn play(link: OwnedFd) -> ExitCode {
    let link = match Link::from_fd(link) {
        Ok(link) => link,
        Err(error) => return failed("no link to PID 1", &error),
    };
    let (outbox, outgoing) = mpsc::channel(OUTBOX);
    // Ends with the link, or with the role. The reading side sees the end of the link as well, and acts on it.
    let writer = tokio::spawn(link.sender().send_all(outgoing));
    let code = Role::new(outbox).turn_until_the_end(link).await;
    writer.abort();
    code
}

fn failed(what: &str, error: &io::Error) -> ExitCode {
    error!("the runner cannot work: {what}: {error}");
    ExitCode::from(EX_SOFTWARE)
}

/// What has come to an end.
enum Done {
    Job(Receiver, Result<(), String>),
    Run(Ended),
}

struct Role {
    outbox: mpsc::Sender<FromRunner>,
    prepared: Option<(Generation, Box<Config>)>,
    config: Option<Box<Config>>,
    /// Of virtual routers that the configuration has lost, until their stop is told.
    leaving: BTreeMap<String, Hooks>,
    early: Vec<Notice>,
    /// The last state of each virtual router that was told.
    told: BTreeMap<String, Announced>,
    lanes: BTreeMap<Receiver, Lane<Job>>,
    jobs: JoinSet<Done>,
    runs: usize,
    counters: BTreeMap<&'static str, u64>,
    warnings: Vec<String>,
    /// When everything must be over.
    end: watch::Sender<Option<Deadline>>,
    has_drained: bool,
    turns: u64,
    next_turn: Instant,
}

impl Role {
    fn new(outbox: mpsc::Sender<FromRunner>) -> Self {
        Self {
            outbox,
            prepared: None,
            config: None,
            leaving: BTreeMap::new(),
            early: vec![],
            told: BTreeMap::new(),
            lanes: BTreeMap::new(),
            jobs: JoinSet::new(),
            runs: 0,
            counters: BTreeMap::new(),
            warnings: vec![],
            end: watch::Sender::new(None),
            has_drained: false,
            turns: 0,
            next_turn: Instant::now(),
        }
    }

    async fn turn_until_the_end(mut self, mut link: Link<FromRunner, ToRunner>) -> ExitCode {
        loop {
            let next = self.deadline();
            tokio::select! {
                message = link.receive() => match message {
                    Ok(Some((message, _))) => self.handle_message(message),
                    Ok(None) => return ExitCode::SUCCESS,
                    Err(error) => {
                        error!("the link to PID 1 is broken: {error}");
                        return ExitCode::from(EX_SOFTWARE);
                    }
                },
                done = next_done(&mut self.jobs) => self.handle_done(done),
                () = tokio::time::sleep_until(next.into()) => (),
            }
            self.turn();
        }
    }

    fn deadline(&self) -> Instant {
        let end = *self.end.borrow();
        let lanes = self.lanes.values().filter_map(Lane::poll_timeout);
        let end = end.filter(|_| !self.has_drained).map(|end| end.all);
        lanes.chain(end).fold(self.next_turn, Instant::min)
    }

    fn turn(&mut self) {
        let now = Instant::now();
        self.begin_jobs(now);
        self.finish_drain(now);
        if self.next_turn <= now {
            self.turns += 1;
            self.next_turn = now + TURN;
            self.say(FromRunner::Beat { turns: self.turns });
        }
    }

    fn handle_message(&mut self, message: ToRunner) {
        match message {
            ToRunner::Prepare { generation, config } => {
                self.prepared = Some((generation, config));
                self.say(FromRunner::Prepared { generation });
            }
            ToRunner::Commit { generation } => match self.prepared.take_if(|(g, _)| *g == generation) {
                Some((_, config)) => {
                    log::apply(config.log);
                    self.apply(config);
                    self.say(FromRunner::Committed { generation });
                }
                None => warn!("PID 1 commits configuration {} that was not prepared", generation.0),
            },
            ToRunner::Abort { generation } => drop(self.prepared.take_if(|(g, _)| *g == generation)),
            ToRunner::Notice(notice) if self.config.is_some() => self.tell(notice),
            ToRunner::Notice(notice) => {
                if self.early.len() == MAX_EARLY {
                    self.early.remove(0);
                }
                self.early.push(notice);
            }
            ToRunner::Run(run) => self.run(run),
            ToRunner::Drain { bound } => self.drain(bound),
            ToRunner::Report => self.say(FromRunner::Report(RunnerReport {
                waiting: self.lanes.values().map(Lane::len).sum(),
                counters: self.counters.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
                warnings: self.warnings.clone(),
            })),
        }
    }

    /// What is under way goes on as it was begun.
    fn apply(&mut self, config: Box<Config>) {
        let before = self.config.replace(config);
        let Some(config) = &self.config else { return };
        for instance in before.into_iter().flat_map(|before| before.vrrp) {
            if config.vrrp.iter().all(|kept| kept.name != instance.name) {
                self.leaving.insert(instance.name, instance.hooks);
            }
        }
        for instance in &config.vrrp {
            self.leaving.remove(&instance.name);
        }
        let missing = problems(config);
        for warning in missing.iter().filter(|warning| !self.warnings.contains(warning)) {
            warn!("{warning}");
        }
        self.warnings = missing;
        for notice in std::mem::take(&mut self.early) {
            self.tell(notice);
        }
    }

    fn tell(&mut self, notice: Notice) {
        let before = self.told.insert(notice.instance.clone(), notice.state);
        if before == Some(Announced::Stop) && notice.state == Announced::Stop {
            return;
        }
        let Some(config) = &self.config else { return };
        let configured = config.vrrp.iter().find(|i| i.name == notice.instance).map(|i| &i.hooks);
        let mut jobs = vec![];
        if let Some(hooks) = configured.or_else(|| self.leaving.get(&notice.instance)) {
            for call in hooks::calls(hooks, &notice) {
                let label = format!("{}: {}", notice.instance, call.key);
                let env = hooks::environment(&notice);
                let run = Run { id: 0, argv: call.argv, env, timeout: hooks.timeout };
                let receiver = Receiver::Hooks(notice.instance.clone());
                jobs.push((receiver, Job::Hook { label, run }, Schedule::ONCE));
            }
        }
        let body = webhook::body(&notice, &config.node, &now());
        for (index, webhook) in config.webhooks.iter().enumerate() {
            let (label, schedule) = (webhook::label(index + 1, webhook), webhook::schedule(webhook));
            let receiver = Receiver::Webhook(label.clone());
            let webhook = Arc::new(webhook.clone());
            jobs.push((receiver, Job::Post { label, webhook, body: body.clone() }, schedule));
        }
        let alerts = config.vrrp.iter().any(|i| i.name == notice.instance && i.smtp_alert);
        if let Some(email) = config.email.as_ref().filter(|_| alerts) {
            let job = Job::Mail {
                label: format!("mail to {}", email.to.join(", ")),
                email: Arc::new(email.clone()),
                node: config.node.clone(),
                subject: mail::subject(&notice, &config.node),
                body: mail::body(&notice, &config.node, &now()),
            };
            jobs.push((Receiver::Email, job, mail::SCHEDULE));
        }
        if notice.state == Announced::Stop {
            self.leaving.remove(&notice.instance);
        }
        for (receiver, job, schedule) in jobs {
            self.push(receiver, job, schedule);
        }
    }

    fn push(&mut self, receiver: Receiver, job: Job, schedule: Schedule) {
        let failure = self.lanes.entry(receiver).or_default().push(job, schedule);
        self.fail(failure);
    }

    fn begin_jobs(&mut self, now: Instant) {
        for (receiver, lane) in &mut self.lanes {
            let Some(job) = lane.next(now) else { continue };
            let (receiver, end) = (receiver.clone(), self.end.subscribe());
            self.jobs.spawn(async move { Done::Job(receiver, attempt(job, end).await) });
        }
        self.lanes.retain(|_, lane| !lane.is_empty());
    }

    /// For the vrrp role: it is told of every end.
    fn run(&mut self, run: Run) {
        if self.runs >= MAX_RUNS || self.end.borrow().is_some() {
            let reason = "too many programs run already, or vipgate is stopping".to_owned();
            let end = CommandEnd::NotStarted { reason };
            return self.say(FromRunner::Ended(Ended { id: run.id, end, output: String::new() }));
        }
        self.runs += 1;
        let over = self.end.subscribe();
        self.jobs.spawn(async move {
            let (end, output) =
                command::run(&run, over, |line| debug!("{:?}: {line}", run.argv.first())).await;
            Done::Run(Ended { id: run.id, end, output })
        });
    }

    fn handle_done(&mut self, done: Done) {
        match done {
            Done::Run(ended) => {
                self.runs -= 1;
                self.say(FromRunner::Ended(ended));
            }
            Done::Job(receiver, end) => {
                self.count(receiver.counter(end.is_ok()));
                let failure =
                    self.lanes.get_mut(&receiver).and_then(|lane| lane.handle_end(end, Instant::now()));
                self.fail(failure);
            }
        }
    }

    fn fail(&mut self, failure: Option<Failure<Job>>) {
        let Some(Failure { item, reason, tries }) = failure else { return };
        self.count(item.given_up());
        let tries = if tries > 1 { format!(" after {tries} tries") } else { String::new() };
        let what = format!("{} failed{tries}: {reason}", item.label());
        warn!("{what}");
        self.say(FromRunner::Failed { what });
    }

    fn drain(&mut self, bound: Duration) {
        let now = Instant::now();
        let bound = bound.saturating_sub(ANSWER);
        self.end.send_replace(Some(Deadline { running: now + bound / 2, all: now + bound }));
        let configured: Vec<_> = self.config.iter().flat_map(|config| &config.vrrp).collect();
        // The vrrp role may have gone without a word.
        let untold = configured.iter().filter(|i| self.told.get(&i.name) != Some(&Announced::Stop));
        let notices: Vec<_> = untold
            .map(|instance| Notice {
                instance: instance.name.clone(),
                state: Announced::Stop,
                priority: instance.priority.get(),
                reason: "vipgate stops".into(),
            })
            .collect();
        for notice in notices {
            self.tell(notice);
        }
        let failures: Vec<_> = self.lanes.values_mut().map(Lane::hurry).collect();
        failures.into_iter().for_each(|failure| self.fail(failure));
    }

    fn finish_drain(&mut self, now: Instant) {
        let Some(end) = *self.end.borrow() else { return };
        if self.has_drained || (!self.lanes.is_empty() && now < end.all) {
            return;
        }
        self.has_drained = true;
        let cut = self.lanes.values().map(Lane::len).sum();
        self.lanes.clear();
        self.jobs.abort_all();
        self.say(FromRunner::Drained { cut });
    }

    fn count(&mut self, counter: &'static str) {
        *self.counters.entry(counter).or_default() += 1;
    }

    /// PID 1 that has not read for as long as the queue is deep is frozen or gone; then the end of the link says so.
    fn say(&self, message: FromRunner) {
        if let Err(error) = self.outbox.try_send(message) {
            match error.into_inner() {
                FromRunner::Beat { .. } => {}
                lost => warn!("PID 1 does not listen, not told: {lost:?}"),
            }
        }
    }
}

async fn next_done(jobs: &mut JoinSet<Done>) -> Done {
    loop {
        match jobs.join_next().await {
            Some(Ok(done)) => return done,
            // Cut off at the end of a drain.
            Some(Err(_)) => (),
            None => pending().await,
        }
    }
}

/// As ISO 8601 writes it.
fn now() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    String::from_utf8_lossy(SecondText::new(now.as_secs()).iso8601()).into_owned()
}
