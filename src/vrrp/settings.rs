//! What one virtual router is configured to be, as far as its state machine needs to know.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::{VrrpInstance, VrrpVersion};
use crate::net::{Centiseconds, Priority, Vrid};

use super::advert::Advert;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub name: String,
    pub version: VrrpVersion,
    pub vrid: Vrid,
    pub priority: Priority,
    pub advert_interval: Centiseconds,
    pub preempt: bool,
    /// How long a master with a lower priority is left alone.
    pub preempt_delay: Duration,
    /// At least one.
    pub addresses: Vec<IpAddr>,
    /// Whole seconds, at least one: the kernel counts `valid_lft` in seconds.
    pub lease: Duration,
    /// How long connections live on at the old owner of an address.
    pub drain_timeout: Duration,
}

impl Settings {
    /// `drain_timeout`: the configuration's, one for the whole node.
    pub fn new(instance: &VrrpInstance, drain_timeout: Duration) -> Self {
        Self {
            name: instance.name.clone(),
            version: instance.version,
            vrid: instance.vrid,
            priority: instance.priority,
            advert_interval: instance.advert_interval,
            preempt: instance.preempt,
            preempt_delay: instance.preempt_delay,
            addresses: instance.addresses().collect(),
            lease: instance.lease,
            drain_timeout,
        }
    }

    pub fn is_owner(&self) -> bool {
        self.priority == Priority::OWNER
    }

    /// "The router that owns the IPvX addresses always preempts, independent of this flag" (RFC 9568 section 6.1).
    pub fn preempts(&self) -> bool {
        self.preempt || self.is_owner()
    }

    /// What the master says; `priority` is a parameter because 0 releases.
    pub fn advert(&self, priority: u8) -> Advert {
        Advert {
            version: self.version,
            vrid: self.vrid,
            priority,
            interval: self.advert_interval,
            addresses: self.addresses.clone(),
        }
    }
}
