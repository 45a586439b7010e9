//! What a virtual router stands with, and what keeps it from standing, beside what concerns the whole node.

use std::time::Instant;

use tracing::info;

use super::instance::Instance;
use super::shell::Shell;
use crate::link::VrrpState;
use crate::net::Priority;
use crate::vrrp::Settings;

impl Instance {
    pub(super) fn set_priority(&mut self, priority: Priority, shell: &mut Shell, now: Instant) {
        if std::mem::replace(&mut self.priority, priority) != priority {
            info!(instance = self.config.name, "priority {priority}, configured as {}", self.config.priority);
            self.machine.reconfigure(self.settings(shell), now);
            self.settle(shell);
        }
    }

    pub(super) fn is_master(&self) -> bool {
        self.machine.state() == VrrpState::Master
    }

    pub(super) fn settings(&self, shell: &Shell) -> Settings {
        Settings { priority: self.priority, ..Settings::new(&self.config, shell.drain_timeout) }
    }

    /// What keeps it from being master, beside what concerns the whole node.
    pub(super) fn own_problem(&self) -> Result<(), String> {
        self.aside.problem()?;
        match &self.wire {
            None => Err("no interface for the virtual addresses".to_owned()),
            Some(_) => Ok(()),
        }
    }
}
