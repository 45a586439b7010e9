//! Keeps the gate in the kernel as the machine and the neighbourhood want it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tracing::warn;

use super::instance::Instance;
use crate::config::Transport;
use crate::os::nft;
use crate::os::nft::gate::Gate;
use crate::vrrp::timing;

#[derive(Debug, Default)]
pub(super) struct Gatekeeper {
    in_force: Option<Gate>,
    /// That there is none has been said.
    said: bool,
}

impl Gatekeeper {
    /// For how long an advert opens it; `None`: there is none.
    pub(super) fn stays_open(&self) -> Option<Duration> {
        self.in_force.as_ref().map(|gate| gate.stays_open)
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
        let wanted = Gate {
            addresses: self.guarded(),
            stays_open: timing::gate(self.machine.takeover_bound(now)),
            peers: self.neighbourhood.macs(),
        };
        let (family, vrid) = (self.config.family(), self.config.vrid);
        if self.gatekeeper.in_force.as_ref() == Some(&wanted)
            && nft::gate::present(family, vrid).unwrap_or(true)
        {
            return;
        }
        let said = self.machine.advertised_at().filter(|_| self.machine.master_since().is_some());
        let open = said.map_or(Duration::ZERO, |at| (at + wanted.stays_open).saturating_duration_since(now));
        match wanted.install(family, vrid, open) {
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
