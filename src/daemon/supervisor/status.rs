//! What PID 1 says of itself and of its roles.

use std::time::{Duration, Instant};

use super::control::Ask;
use super::edition::{Edition, Origin};
use super::run::Supervisor;
use super::start::workers;
use crate::link::control::{
    Answer, ConfigStatus, RefusedEdit, Request, RoleStatus, Status, WaitingEdit, WishRequest,
};
use crate::link::{Boottime, ProxyReport, RunnerReport, ToProxy, ToRunner, ToVrrp, VrrpReport};
use crate::os::clock;
use crate::supervision::{Player, RoleName};

/// How long an answer waits for fresh reports of the roles.
const PATIENCE: Duration = Duration::from_millis(200);

/// The last edit that could not be applied.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) at: Instant,
    pub(super) origin: Origin,
    pub(super) problems: String,
    /// What stood in its way may pass.
    pub(super) is_for_now: bool,
    /// It waits for a peer.
    pub(super) is_held: bool,
    /// When it is tried again by itself; `None` also while it is.
    pub(super) again: Option<Instant>,
    /// The log has it, and nobody has asked since.
    pub(super) is_told: bool,
}

/// The last reports, and who waits for newer ones.
#[derive(Debug, Default)]
pub(super) struct Reports {
    proxy: Option<Kept<ProxyReport>>,
    vrrp: Option<Kept<VrrpReport>>,
    runner: Option<Kept<RunnerReport>>,
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Kept<R> {
    at: Instant,
    player: Player,
    report: R,
}

#[derive(Debug)]
struct Asked {
    at: Instant,
    asker: Asker,
}

#[derive(Debug)]
enum Asker {
    Control(Ask),
    /// The admin endpoint of this proxy, with the number of its question. At most one waits.
    Admin(Player, u64),
}

impl Reports {
    pub(super) fn proxy(&mut self, player: Player, report: ProxyReport) {
        self.proxy = Some(Kept { at: Instant::now(), player, report });
    }

    pub(super) fn vrrp(&mut self, player: Player, report: VrrpReport) {
        self.vrrp = Some(Kept { at: Instant::now(), player, report });
    }

    pub(super) fn runner(&mut self, player: Player, report: RunnerReport) {
        self.runner = Some(Kept { at: Instant::now(), player, report });
    }
}

impl Supervisor {
    /// The next moment at which something is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let plan = self.plan.poll_timeout().map(|(at, _)| at);
        let asked = self.reports.asked.iter().map(|asked| asked.at + PATIENCE).min();
        [plan, asked, self.next_try(), self.freezes.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn take_ask(&mut self, ask: Ask) {
        match &ask.request {
            Request::Status => self.take_asker(Asker::Control(ask)),
            Request::Wish(WishRequest { wish }) => self.take_wish(wish.clone(), ask),
        }
    }

    pub(super) fn take_query(&mut self, player: Player, query: u64) {
        let mut askers = self.reports.asked.iter_mut();
        match askers.find(|asked| matches!(asked.asker, Asker::Admin(..))) {
            Some(asked) => asked.asker = Asker::Admin(player, query),
            None => self.take_asker(Asker::Admin(player, query)),
        }
    }

    fn take_asker(&mut self, asker: Asker) {
        self.reports.asked.push(Asked { at: Instant::now(), asker });
        let proxy = self.tell_proxy(ToProxy::Report);
        self.follow(proxy);
        let vrrp = self.tell_vrrp(ToVrrp::Report);
        self.follow(vrrp);
        let runner = self.tell_runner(ToRunner::Report);
        self.follow(runner);
    }

    /// Answers everybody who has what there is to have, or has waited long enough.
    pub(super) fn answer_asks(&mut self) {
        let now = Instant::now();
        let asked = std::mem::take(&mut self.reports.asked);
        let (ready, waiting) =
            asked.into_iter().partition(|asked| asked.at + PATIENCE <= now || self.is_fresh(asked.at));
        self.reports.asked = waiting;
        for Asked { asker, .. } in ready {
            let status = Box::new(self.status(now));
            match asker {
                // Whoever has gone needs no answer.
                Asker::Control(ask) => drop(ask.reply.send(Answer::Status(status))),
                Asker::Admin(player, query)
                    if self.plan.view(RoleName::Proxy).incarnation == player.incarnation =>
                {
                    let lost = self.tell_proxy(ToProxy::Status { query, status });
                    self.follow(lost);
                }
                Asker::Admin(..) => (),
            }
        }
    }

    /// Every role that can be asked has reported since.
    fn is_fresh(&self, since: Instant) -> bool {
        let proxy = self.proxy.is_none() || self.reports.proxy.as_ref().is_some_and(|kept| kept.at >= since);
        let vrrp = self.vrrp.is_none() || self.reports.vrrp.as_ref().is_some_and(|kept| kept.at >= since);
        let runner =
            self.runner.is_none() || self.reports.runner.as_ref().is_some_and(|kept| kept.at >= since);
        proxy && vrrp && runner
    }

    fn status(&self, now: Instant) -> Status {
        let clock = Clock { now, boottime: clock::boottime_ns() };
        let edition = &self.in_force;
        let proxy_pid = self.proxy.as_ref().map(|stage| stage.pid);
        let vrrp_pid = self.vrrp.as_ref().map(|stage| stage.pid);
        let runner_pid = self.runner.as_ref().map(|stage| stage.pid);
        let wants_runner = self.plan.is_wanted(RoleName::Runner);
        let wants_vrrp = self.plan.is_wanted(RoleName::Vrrp);
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            node: edition.config.node.clone(),
            now: Boottime(clock.boottime),
            started: clock.boottime(self.started),
            stopping: self.plan.is_stopping(),
            config: ConfigStatus {
                path: edition.origin.path.display().to_string(),
                digest: edition.origin.hexadecimal(),
                generation: edition.generation,
                since: clock.boottime(edition.since),
                listen: edition.sockets.addresses(),
                admin: edition.sockets.admin().map(|(address, _)| address),
                waiting: self.waiting().map(|waiting| WaitingEdit {
                    since: clock.boottime(waiting.since),
                    digest: waiting.origin.hexadecimal(),
                }),
                refused: self.refused.as_ref().map(|refusal| RefusedEdit {
                    at: clock.boottime(refusal.at),
                    digest: refusal.origin.hexadecimal(),
                    problems: refusal.problems.clone(),
                    is_retried: refusal.is_for_now,
                    is_held: refusal.is_held,
                }),
            },
            proxy: self.role(RoleName::Proxy, proxy_pid, self.reports.proxy.as_ref(), &clock),
            vrrp: wants_vrrp.then(|| self.role(RoleName::Vrrp, vrrp_pid, self.reports.vrrp.as_ref(), &clock)),
            runner: wants_runner
                .then(|| self.role(RoleName::Runner, runner_pid, self.reports.runner.as_ref(), &clock)),
            history: self.history.list(),
            warnings: self.warnings(),
        }
    }

    fn waiting(&self) -> Option<&Edition> {
        self.pending.get(&self.plan.waiting()?)
    }

    fn role<R: Clone>(
        &self,
        name: RoleName,
        pid: Option<u32>,
        kept: Option<&Kept<R>>,
        clock: &Clock,
    ) -> RoleStatus<R> {
        let view = self.plan.view(name);
        RoleStatus {
            state: view.state,
            since: clock.boottime(view.since),
            pid,
            incarnation: view.incarnation,
            last_end: view.last_end,
            // What a dead one said is not true of its successor.
            report: kept
                .filter(|kept| kept.player.incarnation == view.incarnation)
                .map(|kept| (clock.boottime(kept.at), kept.report.clone())),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.in_force.warnings.clone();
        if self.replaced {
            warnings.push(self.replaced_warning());
        }
        if workers(&self.in_force.config) != self.workers {
            warnings.push(self.workers_warning());
        }
        warnings
    }

    pub(super) fn replaced_warning(&self) -> String {
        format!(
            "{} was replaced on the host and will never change again here: mount the directory that it is in \
             instead of the file",
            self.in_force.origin.path.display()
        )
    }

    pub(super) fn workers_warning(&self) -> String {
        format!(
            "the configuration asks for {} workers; {} run until vipgate is restarted, since the kernel would go on \
             giving connections to a worker that is gone",
            workers(&self.in_force.config),
            self.workers
        )
    }
}

/// Converts this process's clock to the one that all processes share.
struct Clock {
    now: Instant,
    boottime: u64,
}

impl Clock {
    fn boottime(&self, at: Instant) -> Boottime {
        let age = u64::try_from(self.now.saturating_duration_since(at).as_nanos()).unwrap_or(u64::MAX);
        Boottime(self.boottime.saturating_sub(age))
    }
}
