//! Does what the plan says.

use std::sync::Arc;

use tracing::{debug, info, warn};

use super::edition::Edition;
use super::player::{Heard, Stage};
use super::run::Supervisor;
use crate::link::control::HappeningKind;
use crate::link::{Generation, ToProxy, ToRunner, ToVrrp, worker_thread};
use crate::os::process;
use crate::os::threads::{self, State};
use crate::supervision::heartbeat::{Doing, Sight, Thread};
use crate::supervision::{Action, Event, Player, RoleName};

impl Supervisor {
    /// An event if the action fails.
    pub(super) fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Spawn(player) => self.spawn(player),
            Action::Kill(player, why) => {
                warn!("{player} is killed: it {why}");
                self.record(HappeningKind::Role, &format!("{player} is killed: it {why}"));
                // It can have ended, but its number stays its own until it is reaped.
                self.pid_of(player)
                    .and_then(|pid| process::kill_child(pid).err())
                    .inspect(|e| warn!("{player} cannot be killed: {e}"));
                None
            }
            Action::Look(player, worker) => {
                let sight = self.pid_of(player).map(|pid| look(pid, player.role, worker));
                self.seen.push((player, worker, sight.unwrap_or_default()));
                None
            }
            Action::Prepare(RoleName::Proxy, generation) => self.prepare_proxy(generation),
            Action::Prepare(RoleName::Vrrp, generation) => {
                let config = self.edition(generation)?.config_for(RoleName::Vrrp);
                self.remind();
                self.tell_vrrp(ToVrrp::Prepare { generation, config })
            }
            Action::Prepare(RoleName::Runner, generation) => self.prepare_runner(generation),
            Action::Commit(RoleName::Proxy, generation) => self.tell_proxy(ToProxy::Commit { generation }),
            Action::Commit(RoleName::Runner, generation) => self.tell_runner(ToRunner::Commit { generation }),
            Action::Commit(RoleName::Vrrp, generation) => {
                let origin = self.edition(generation)?.origin.hexadecimal();
                self.tell_vrrp(ToVrrp::Commit { generation })
                    .or_else(|| self.tell_vrrp(ToVrrp::Origin { digest: origin }))
            }
            Action::Abort(RoleName::Proxy, generation) => self.tell_proxy(ToProxy::Abort { generation }),
            Action::Abort(RoleName::Vrrp, generation) => self.tell_vrrp(ToVrrp::Abort { generation }),
            Action::Abort(RoleName::Runner, generation) => self.tell_runner(ToRunner::Abort { generation }),
            Action::Tell(health) => {
                debug!("the vrrp role is told: {health:?}");
                self.tell_vrrp(ToVrrp::Proxy(health))
            }
            Action::AskPeers(question, listen) => self.tell_vrrp(ToVrrp::AskPeers { question, listen }),
            Action::Wait(generation, peers) => {
                let peers: Vec<_> = peers.iter().map(ToString::to_string).collect();
                info!(
                    "the edit is valid (generation {}) and is applied here once {} has taken it and answers",
                    generation.0,
                    peers.join(" and ")
                );
                None
            }
            Action::Resign(bound) => {
                info!("stopping: the virtual addresses are handed over");
                self.tell_vrrp(ToVrrp::Resign { bound })
            }
            Action::Drain(RoleName::Runner, bound) => self.tell_runner(ToRunner::Drain { bound }),
            Action::Drain(RoleName::Proxy | RoleName::Vrrp, bound) => {
                info!("stopping: requests in flight are answered");
                self.tell_proxy(ToProxy::Drain { bound })
            }
            Action::Dismiss => {
                (self.proxy, self.vrrp, self.runner) = (None, None, None);
                None
            }
            Action::Outcome(generation, outcome) => {
                self.conclude(generation, outcome);
                None
            }
            Action::Release(generation) => {
                if generation == self.in_force.generation {
                    self.retiring.clear();
                }
                None
            }
            Action::Exit => {
                info!("stopped");
                self.is_over = true;
                None
            }
        }
    }

    fn pid_of(&self, player: Player) -> Option<u32> {
        self.players.iter().find(|(_, p)| **p == player).map(|(pid, _)| *pid)
    }

    fn spawn(&mut self, player: Player) -> Option<Event> {
        let heard = self.heard.clone();
        let pid = match player.role {
            RoleName::Proxy => {
                self.given.clear();
                Stage::open(player, heard, Heard::Proxy).map(|stage| self.proxy.insert(stage).pid)
            }
            RoleName::Vrrp => {
                Stage::open(player, heard, Heard::Vrrp).map(|stage| self.vrrp.insert(stage).pid)
            }
            RoleName::Runner => {
                Stage::open(player, heard, Heard::Runner).map(|stage| self.runner.insert(stage).pid)
            }
        };
        match pid {
            Ok(pid) => {
                info!("{player} is started as process {pid}");
                self.players.insert(pid, player);
                let known = self.upstreams_down.clone().filter(|_| player.role == RoleName::Vrrp);
                known.and_then(|down| self.tell_vrrp(ToVrrp::Upstreams { down }))
            }
            Err(error) => {
                warn!("{player} cannot be started: {error}");
                Some(Event::Ended(player, format!("could not be started: {error}")))
            }
        }
    }

    /// The sockets that this proxy has not been given yet go before the configuration that needs them.
    fn prepare_proxy(&mut self, generation: Generation) -> Option<Event> {
        let edition = self.edition(generation)?;
        let (config, groups) = (edition.config_for(RoleName::Proxy), edition.sockets.clone());
        let workers = self.workers;
        let servers = groups.groups().flat_map(|(address, group)| {
            (0..group.len()).map(move |worker| (ToProxy::Listener { address, worker }, group, worker))
        });
        let admin = groups.admin().map(|(address, group)| (ToProxy::AdminListener { address }, group, 0));
        let had = std::mem::take(&mut self.given);
        for (message, group, place) in servers.chain(admin) {
            let this = Arc::downgrade(group);
            if had.iter().any(|given| given.ptr_eq(&this)) {
                continue;
            }
            if !self.given.iter().any(|given| given.ptr_eq(&this)) {
                self.given.push(this);
            }
            let stage = self.proxy.as_ref()?;
            if let Err(why) = stage.order(message, Some((Arc::clone(group), place))) {
                return self.lost(RoleName::Proxy, why);
            }
        }
        self.given.extend(had);
        self.tell_proxy(ToProxy::Prepare { generation, workers, config })
    }

    pub(super) fn edition(&self, generation: Generation) -> Option<&Edition> {
        Some(&self.in_force).filter(|e| e.generation == generation).or_else(|| self.pending.get(&generation))
    }

    pub(super) fn tell_proxy(&self, message: ToProxy) -> Option<Event> {
        self.proxy.as_ref()?.order(message, None).err().and_then(|why| self.lost(RoleName::Proxy, why))
    }

    pub(super) fn tell_vrrp(&self, message: ToVrrp) -> Option<Event> {
        self.vrrp.as_ref()?.order(message, None).err().and_then(|why| self.lost(RoleName::Vrrp, why))
    }

    pub(super) fn lost(&self, role: RoleName, why: String) -> Option<Event> {
        let incarnation = self.plan.view(role).incarnation;
        Some(Event::LinkLost(Player { role, incarnation }, why))
    }
}

/// What a beat needs is the thread that beats, which is each role's first, and the one whose turns the proxy tells.
fn look(pid: u32, role: RoleName, worker: usize) -> Sight {
    let name = match role {
        RoleName::Proxy => Some(worker_thread(worker)),
        RoleName::Vrrp | RoleName::Runner => None,
    };
    let seen = threads::of(pid, name.as_deref());
    let seen =
        seen.inspect_err(|e| debug!("what process {pid} does cannot be seen: {e}")).unwrap_or_default();
    let own = |threads: Vec<threads::Thread>| threads.into_iter().map(thread).collect();
    Sight { needed: own(seen.needed), others: own(seen.others) }
}

fn thread(seen: threads::Thread) -> Thread {
    let does = match seen.state {
        State::Running => Doing::Runs,
        State::Uninterruptible => Doing::Disk,
        State::Other => Doing::Rests,
    };
    Thread { id: seen.id, does, ran: seen.ran }
}
