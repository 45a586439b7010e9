//! The drill itself: looks, orders, the prober beside them, and the figures at the end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, spawn_blocking};

use super::order::Giver;
use super::task::Task;
use crate::config::{Host, KEY_VARIABLE};
use crate::daemon::keys;
use crate::daemon::probe::{self, Own, Seen};
use crate::drill::{Course, Marks, Output, Plan, Report, Samples, Sight, freeze, planned, whole};
use crate::net::Family;
use crate::peer::Keys;
use crate::probe::Outcome;

/// Until the first answer has come.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A peer takes over within three seconds, or never; the answer needs the rest.
const ORDER_PATIENCE: Duration = Duration::from_secs(10);

/// Why it has not begun. Nothing has been touched.
#[derive(Debug, thiserror::Error)]
pub enum Unable {
    #[error("there is no key of the link: orders are signed with it; {0}")]
    NoKey(String),
    #[error(
        "this is one of the nodes ({0}): its own requests to the address would not leave it once it has the address. \
         Run the drill in a container of the same network that is none of them: docker compose run --rm drill"
    )]
    Inside(IpAddr),
    #[error("{}", .0.join("\n"))]
    NotWhole(Vec<String>),
    #[error("nobody answers at {0}, so that there is nothing to measure")]
    Unanswered(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// `say` is for whoever watches, with the time since the beginning.
pub fn run(task: &Task, say: &mut dyn FnMut(Duration, &str)) -> Result<Report, Unable> {
    let begun = Instant::now();
    let say = &mut |what: &str| say(begun.elapsed(), what);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let signals = Signals::listen()?;
        let nodes = Nodes::find(task).await?;
        let pair = whole(&task.router, task.vrid, &nodes.look().await).map_err(Unable::NotWhole)?;
        let others: Vec<&str> = pair.others.iter().map(|(_, name)| name.as_str()).collect();
        say(&format!("{} has the address of {}, {} stands by", pair.name, task.router, others.join(", ")));
        pair.warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
        let (holder, mut warnings) = (pair.name.clone(), pair.warnings.clone());

        let prober = Prober::start(task);
        prober.first_answer(task).await?;
        let plan = Plan { vrid: task.vrid, freeze: task.freeze };
        let course = Course::new(plan, pair, Instant::now());
        let patience = task.drain_timeout + ORDER_PATIENCE;
        let mut drill = Drill { course, nodes, signals, marks: Marks::new(), began: prober.began, patience };
        let end = drill.carry_out(say).await;
        let (samples, own) = prober.stop().await?;

        let planned = planned(&samples, &drill.marks, &holder);
        let freeze = task.freeze.and_then(|length| freeze(&samples, &drill.marks, &holder, length));
        let mut wrong = task.bounds.exceeded(planned.as_ref(), freeze.as_ref());
        wrong.extend(end.err());
        if planned.iter().chain(&freeze).any(|phase| phase.double_answers.is_none()) {
            warnings.push(format!(
                "the answers do not name {holder} in X-Served-By: who has answered is not known, and a second owner of \
                 the address would not be seen"
            ));
        }
        if own.not_sent > 0 {
            warnings.push(format!("{} requests were not sent: too many waited", own.not_sent));
        }
        let (router, url) = (task.router.clone(), task.probe.target.url.clone());
        Ok(Report { router, url, holder, planned, freeze, warnings, wrong, own_lateness: own.lateness })
    })
}

struct Drill {
    course: Course,
    nodes: Nodes,
    signals: Signals,
    marks: Marks,
    began: Instant,
    patience: Duration,
}

impl Drill {
    async fn carry_out(&mut self, say: &mut dyn FnMut(&str)) -> Result<(), String> {
        loop {
            while let Some(output) = self.course.poll_output() {
                match output {
                    Output::Mark(mark) => drop(self.marks.insert(mark, self.began.elapsed())),
                    Output::Say(what) => say(&what),
                    Output::Look => {
                        let sights = self.nodes.look().await;
                        self.course.handle_looked(&sights, Instant::now());
                    }
                    Output::Order(to, order) => {
                        let (giver, at) = (&self.nodes.giver, SocketAddr::new(to, self.nodes.port));
                        let given = giver.order(at, order, self.patience);
                        tokio::pin!(given);
                        let outcome = loop {
                            tokio::select! {
                                outcome = &mut given => break outcome,
                                () = self.signals.next() => self.course.handle_interrupt(Instant::now()),
                            }
                        };
                        self.course.handle_outcome(outcome, Instant::now());
                    }
                    Output::End(end) => return end,
                }
            }
            let due = self.course.poll_timeout().map_or_else(Instant::now, |(at, _)| at);
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => self.course.handle_timeout(Instant::now()),
                () = self.signals.next() => self.course.handle_interrupt(Instant::now()),
            }
        }
    }
}

struct Nodes {
    giver: Giver,
    addresses: Vec<IpAddr>,
    port: u16,
}

impl Nodes {
    async fn find(task: &Task) -> Result<Self, Unable> {
        let giver = Giver::new(keys_of(task).await?)?;
        let mut addresses = vec![];
        for host in &task.nodes {
            match host {
                Host::Address(address) => addresses.push(*address),
                Host::Name(name) => {
                    let found = tokio::net::lookup_host((name.as_str(), task.port)).await;
                    let found = found.map_err(|e| Unable::NotWhole(vec![format!("{name}: {e}")]))?;
                    addresses.extend(found.map(|at| at.ip()).filter(|at| Family::of(*at) == task.family));
                }
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        match addresses.iter().find(|address| is_own(**address)) {
            Some(own) => Err(Unable::Inside(*own)),
            None => Ok(Self { giver, addresses, port: task.port }),
        }
    }

    /// At all of them at once.
    async fn look(&self) -> Vec<Sight> {
        let mut looks = JoinSet::new();
        for address in self.addresses.iter().copied() {
            let (giver, at) = (self.giver.clone(), SocketAddr::new(address, self.port));
            looks.spawn(async move { Sight { address, found: giver.look(at).await } });
        }
        let mut sights = looks.join_all().await;
        sights.sort_unstable_by_key(|sight| sight.address);
        sights
    }
}

async fn keys_of(task: &Task) -> Result<Keys, Unable> {
    let file = task.key_file.clone();
    let read = spawn_blocking(move || keys::read(file.as_deref())).await.map_err(io::Error::other)?;
    let whence = match &task.key_file {
        Some(file) => format!("there is no {}, and {KEY_VARIABLE} is not set", file.display()),
        None => format!("neither link.key_file nor {KEY_VARIABLE} is set"),
    };
    read.map_err(Unable::NoKey)?.ok_or(Unable::NoKey(whence))
}

/// This machine would speak to itself.
fn is_own(address: IpAddr) -> bool {
    let any = match address {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    // Nothing is sent: the kernel says which address it would send from.
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == address)
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => (),
            _ = self.terminate.recv() => (),
        }
    }
}

/// On a thread of its own, so that nothing that is done beside it makes it late.
struct Prober {
    began: Instant,
    samples: Arc<Mutex<Samples>>,
    told: oneshot::Sender<()>,
    thread: JoinHandle<io::Result<Own>>,
}

impl Prober {
    fn start(task: &Task) -> Self {
        let (told, stop) = oneshot::channel();
        let (plan, began) = (task.probe.clone(), Instant::now());
        let connections = u64::from(plan.persistent);
        let samples = Arc::new(Mutex::new(Samples { connections, ..Samples::default() }));
        let to = Arc::clone(&samples);
        let thread = thread::spawn(move || {
            // Whoever drops the other end wants it to end as well.
            let stop = async { drop(stop.await) };
            probe::watch(plan, began, stop, &mut |seen| {
                let mut samples = to.lock().unwrap_or_else(PoisonError::into_inner);
                match seen {
                    Seen::Fresh(sample) => samples.fresh.push(sample),
                    Seen::Kept(sample) => samples.kept.push(sample),
                    Seen::Reopened => samples.reopened.push(began.elapsed()),
                }
            })
        });
        Self { began, samples, told, thread }
    }

    async fn first_answer(&self, task: &Task) -> Result<(), Unable> {
        while self.began.elapsed() < ANSWERS_WITHIN && !self.thread.is_finished() {
            tokio::time::sleep(LOOK_EVERY).await;
            let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            if samples.fresh.iter().any(|sample| matches!(sample.outcome, Outcome::Answered { .. })) {
                return Ok(());
            }
        }
        Err(Unable::Unanswered(task.probe.target.url.clone()))
    }

    async fn stop(self) -> io::Result<(Samples, Own)> {
        drop(self.told);
        let thread = self.thread;
        let joined = spawn_blocking(move || thread.join()).await.map_err(io::Error::other)?;
        let own = joined.map_err(|_| io::Error::other("the prober has failed"))??;
        let samples = std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((samples, own))
    }
}
