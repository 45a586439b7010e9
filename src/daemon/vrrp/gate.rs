//! Keeps the gate in the kernel as the machine and the neighbourhood want it.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tracing::warn;

use super::instance::Instance;
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
        let wanted = Gate {
            addresses: self.config.addresses().collect(),
            stays_open: timing::gate(self.machine.takeover_bound(now)),
            peers: self.neighbourhood.macs(),
        };
        let vrid = self.config.vrid;
        if self.gatekeeper.in_force.as_ref() == Some(&wanted) && nft::gate::present(vrid).unwrap_or(true) {
            return;
        }
        match wanted.install(vrid, self.machine.master_since().is_some()) {
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

    /// Until the next advert.
    pub(super) fn close_gate(&mut self, released: &[Ipv4Addr]) {
        let all = self.config.addresses().all(|address| released.contains(&address));
        if all && self.gatekeeper.in_force.is_some() && nft::gate::close(self.config.vrid).is_err() {
            self.count("gate_error");
        }
    }

    pub(super) fn remove_gate(&mut self) {
        self.gatekeeper.in_force = None;
        if let Err(error) = nft::gate::remove(self.config.vrid) {
            tracing::debug!(instance = self.config.name, "the gate cannot be removed: {error}");
        }
    }
}
