//! What the virtual routers of this process share: the kernel, the clocks, and the way to PID 1.

use std::net::Ipv4Addr;
use std::time::Instant;

use tokio::sync::mpsc;
use tracing::warn;

use super::kernel::Kernel;
use super::place::Survey;
use super::turns::{Gap, Watch};
use super::warnings::Warnings;
use crate::link::{Boottime, FromVrrp};
use crate::os::clock;

pub(super) struct Shell {
    pub(super) kernel: Kernel,
    /// The last look at links and addresses.
    pub(super) survey: Survey,
    pub(super) warnings: Warnings,
    /// Of every virtual router of this node.
    pub(super) virtual_addresses: Vec<Ipv4Addr>,
    /// When a virtual address was last taken or lost.
    moved: Boottime,
    /// Of every virtual router of this node.
    pub(super) vrids: Vec<u8>,
    watch: Watch,
    /// Noticed in the middle of something, and not yet told to everybody.
    untold: Option<Gap>,
    outbox: mpsc::Sender<FromVrrp>,
}

impl Shell {
    pub(super) fn new(kernel: Kernel, outbox: mpsc::Sender<FromVrrp>) -> Self {
        Self {
            kernel,
            survey: Survey::default(),
            warnings: Warnings::default(),
            virtual_addresses: vec![],
            vrids: vec![],
            moved: Boottime(clock::boottime_ns()),
            watch: Watch::new(clock::read()),
            untold: None,
            outbox,
        }
    }

    /// Whether this process was out just now. Whoever asks deals with it himself; `untold_gap` has it for the others.
    pub(super) fn look_at_clocks(&mut self) -> Option<Gap> {
        let gap = self.watch.look(clock::read())?;
        let length = self.untold.map_or(gap.length, |before| before.length.max(gap.length));
        self.untold = Some(Gap { length, ..gap });
        Some(gap)
    }

    pub(super) fn untold_gap(&mut self) -> Option<Gap> {
        self.look_at_clocks();
        self.untold.take()
    }

    pub(super) fn survey(&mut self, now: Instant) {
        let result = match self.kernel.survey() {
            Ok(survey) => {
                self.survey = survey;
                Ok(())
            }
            Err(error) => Err(format!("links and addresses cannot be listed: {error}")),
        };
        self.warnings.set("vrrp", "survey", result, now);
    }

    pub(super) fn address_moved(&mut self) {
        self.moved = Boottime(clock::boottime_ns());
    }

    pub(super) fn unmoved_since(&self, since: Boottime) -> bool {
        self.moved <= since
    }

    /// PID 1 that has not read for as long as the queue is deep is frozen or gone; then the end of the link says so.
    pub(super) fn tell(&self, message: FromVrrp) {
        if let Err(error) = self.outbox.try_send(message) {
            match error.into_inner() {
                FromVrrp::Beat { .. } => {}
                lost => warn!("PID 1 does not listen, not told: {lost:?}"),
            }
        }
    }
}
