//! Keeps the gate in the kernel as the machine and the neighbourhood want it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::instance::Instance;
use super::shell::Shell;
use super::turned_away::TurnedAway;
use crate::config::Transport;
use crate::os::nft;
use crate::os::nft::gate::Gate;
use crate::vrrp::timing;

#[derive(Default)]
pub(super) struct Gatekeeper {
    in_force: Option<Gate>,
    /// That there is none has been said.
    said: bool,
    turned_away: Option<TurnedAway>,
    /// What this kernel does not have for that.
    has_no_log: Option<String>,
    /// That nobody is kept who is turned away has been said.
    said_nobody: bool,
}

impl Gatekeeper {
    /// For how long an advert opens it; `None`: there is none.
    pub(super) fn stays_open(&self) -> Option<Duration> {
        self.in_force.as_ref().map(|gate| gate.stays_open)
    }

    /// Of a master, not before `now`.
    pub(super) fn note_advert(&mut self, now: Instant) {
        let stays_open = self.stays_open();
        if let Some((turned_away, stays_open)) = self.turned_away.as_mut().zip(stays_open) {
            turned_away.note_opening(stays_open, now);
        }
    }
}

impl Instance {
    /// Follows the addresses, the bound of the detector and the peers' MAC addresses.
    pub(super) fn keep_gate(&mut self, now: Instant) {
        if self.wire.is_none() {
            return;
        }
        // Without a peer no advert leaves that would open it. And who keeps an address only for the connections that it
        // has, silent in ARP, says nothing any more and needs all that comes in.
        if !self.has_audience() || self.machine.is_lingering() {
            if self.gatekeeper.in_force.is_some() {
                self.remove_gate();
            }
            return;
        }
        let kept = self.keep_turned_away();
        let mut wanted = Gate {
            addresses: self.guarded(),
            stays_open: timing::gate(self.machine.takeover_bound(now)),
            peers: self.neighbourhood.macs(),
            log: kept.as_ref().ok().copied(),
        };
        let (family, vrid) = (self.config.family(), self.config.vrid);
        if self.gatekeeper.in_force.as_ref() == Some(&wanted)
            && nft::gate::present(family, vrid).unwrap_or(true)
        {
            return;
        }
        let said = self.machine.advertised_at().filter(|_| self.machine.master_since().is_some());
        let open = said.map_or(Duration::ZERO, |at| (at + wanted.stays_open).saturating_duration_since(now));
        let (mut installed, mut kept) = (wanted.install(family, vrid, open), kept.map(drop));
        if let (Err(nft::Error::Unsupported(_)), Some(_)) = (&installed, wanted.log) {
            // It may be the log that this kernel does not have.
            let without = Gate { log: None, ..wanted.clone() };
            if without.install(family, vrid, open).is_ok() {
                let why = "its nftables have no log".to_owned();
                (self.gatekeeper.turned_away, self.gatekeeper.has_no_log) = (None, Some(why.clone()));
                (wanted, installed, kept) = (without, Ok(()), Err(why));
            }
        }
        if let (Ok(()), Err(why)) = (&installed, kept)
            && !std::mem::replace(&mut self.gatekeeper.said_nobody, true)
        {
            warn!(
                instance = self.config.name,
                "whoever comes while this node is late for a moment is let in a second later, when his kernel asks again: \
                 the kernel here does not keep what the gate turns away (nfnetlink_log: {why})"
            );
        }
        match installed {
            Ok(()) => self.gatekeeper.in_force = Some(wanted),
            Err(error) => {
                self.gatekeeper.in_force = None;
                if !std::mem::replace(&mut self.gatekeeper.said, true) {
                    warn!(
                        instance = self.config.name,
                        "no gate: the kernel of a frozen node accepts connections until the lease of the virtual \
                         addresses ends: {error}"
                    );
                }
            }
        }
    }

    /// Listens to the SYNs that are turned away, and returns where.
    fn keep_turned_away(&mut self) -> Result<u16, String> {
        let keeper = &mut self.gatekeeper;
        if let Some(why) = &keeper.has_no_log {
            return Err(why.clone());
        }
        if let Some(turned_away) = &keeper.turned_away {
            return Ok(turned_away.group);
        }
        match TurnedAway::open(self.config.family(), self.config.vrid) {
            Ok(opened) => Ok(keeper.turned_away.insert(opened).group),
            Err(error) => {
                let why = error.to_string();
                // Each question would have the kernel look for a module. Whoever has the group may let go of it.
                if matches!(nft::Error::from(error), nft::Error::Unsupported(_)) {
                    keeper.has_no_log = Some(why.clone());
                }
                Err(why)
            }
        }
    }

    /// Whom the gate has turned away for nothing, some in each turn. Asked before each: a node that did not run may have
    /// been replaced meanwhile.
    pub(super) fn let_in(&mut self, shell: &mut Shell) {
        let Some(turned_away) = self.gatekeeper.turned_away.as_mut().filter(|t| t.is_to_be_read()) else {
            return;
        };
        let addresses: Vec<IpAddr> = self.held.iter().copied().collect();
        let waiting = match turned_away.read(&addresses) {
            Ok(waiting) => waiting,
            Err(error) => {
                return debug!(instance = self.config.name, "whoever was turned away is lost: {error}");
            }
        };
        for syn in waiting {
            let now = self.wake(shell);
            let is_master = self.machine.answers(now);
            self.settle(shell);
            let Some(turned_away) = self.gatekeeper.turned_away.as_ref().filter(|_| is_master) else {
                return;
            };
            match turned_away.let_in(&syn) {
                Ok(()) => self.count("let_in"),
                Err(error) => {
                    self.count("let_in_error");
                    debug!(instance = self.config.name, "whoever was turned away is not let in: {error}");
                }
            }
        }
    }

    /// The addresses are taken from somebody else.
    pub(super) fn forget_turned_away(&mut self) {
        if let Some(Err(error)) = self.gatekeeper.turned_away.as_mut().map(TurnedAway::forget) {
            debug!(instance = self.config.name, "whoever was turned away before is not forgotten: {error}");
        }
    }

    /// Another virtual router listens elsewhere.
    pub(super) fn keep_nobody(&mut self) {
        self.gatekeeper.turned_away = None;
    }

    /// One that would stay open for longer than a peer waits by now is replaced before the next advert opens it.
    pub(super) fn narrow_gate(&mut self, now: Instant) {
        let bound = timing::gate(self.machine.takeover_bound(now));
        if self.gatekeeper.stays_open().is_some_and(|open| open > bound) {
            self.keep_gate(now);
        }
    }

    /// One that was taken away is put back before the address is held.
    pub(super) fn raise_gate(&mut self, now: Instant) {
        if self.gatekeeper.in_force.is_none() && !self.gatekeeper.said {
            self.keep_gate(now);
        }
    }

    /// Whether its adverts go to anybody.
    fn has_audience(&self) -> bool {
        match self.config.transport {
            Transport::Multicast => true,
            Transport::Unicast { .. } => !self.peers.is_empty(),
        }
    }

    /// Until the next advert.
    pub(super) fn close_gate(&mut self, released: &[IpAddr]) {
        let all = self.guarded().iter().all(|address| released.contains(address));
        if let Some(turned_away) = &mut self.gatekeeper.turned_away {
            turned_away.note_closing();
        }
        if all
            && self.gatekeeper.in_force.is_some()
            && nft::gate::close(self.config.family(), self.config.vrid).is_err()
        {
            self.count("gate_error");
        }
    }

    pub(super) fn remove_gate(&mut self) {
        self.gatekeeper.in_force = None;
        if let Err(error) = nft::gate::remove(self.config.family(), self.config.vrid) {
            tracing::debug!(instance = self.config.name, "the gate cannot be removed: {error}");
        }
    }
}
