//! What `status` shows of the vrrp role.

use std::time::Instant;

use super::instance::Instance;
use super::peering::Peering;
use super::resolver::Resolver;
use super::shell::Shell;
use super::tracker::Tracker;
use crate::config::{Host, Transport};
use crate::link::{Boottime, FenceReport, HandoverReport, InstanceReport, VrrpReport};
use crate::os::clock;

pub(super) fn report(
    instances: &[Instance],
    shell: &Shell,
    resolver: &Resolver,
    tracker: &Tracker,
    peering: &Peering,
) -> VrrpReport {
    VrrpReport {
        instances: instances.iter().map(|instance| one(instance, shell, resolver, tracker)).collect(),
        link: peering.report(Instant::now()),
        warnings: shell.warnings.texts(),
    }
}

fn one(instance: &Instance, shell: &Shell, resolver: &Resolver, tracker: &Tracker) -> InstanceReport {
    let (reason, since) = instance.machine.reason();
    InstanceReport {
        name: instance.config.name.clone(),
        vrid: instance.config.vrid.get(),
        state: instance.machine.state(),
        reason: reason.to_owned(),
        since: boottime(since),
        priority: instance.machine.settings().priority.get(),
        configured_priority: instance.config.priority.get(),
        tracks: tracker.report(&instance.config, &shell.survey, instance.is_master()),
        virtual_addresses: instance.config.addresses().collect(),
        interface: instance.wire.as_ref().map(|wire| wire.place.name.clone()),
        master: instance.machine.heard_master(),
        peers: peers(instance, resolver),
        fence: FenceReport {
            arp: instance.arp_fence,
            lease: instance.config.lease,
            gate: instance.gatekeeper.stays_open(),
            socket_destroy: shell.kernel.destroys_sockets.is_ok(),
        },
        handover: HandoverReport {
            relays: instance.relays,
            relays_to: instance.machine.relays_to(),
            lingers: instance.machine.is_lingering(),
        },
        auth_hmac: instance.authenticator.describe(Instant::now()),
        counters: instance.counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
    }
}

/// As configured, with what a name resolves to.
fn peers(instance: &Instance, resolver: &Resolver) -> Vec<String> {
    let hosts = match &instance.config.transport {
        Transport::Multicast => return vec![],
        Transport::Unicast { peers } => peers,
    };
    let family = instance.config.family();
    let describe = |host: &Host| match host {
        Host::Address(address) => address.to_string(),
        Host::Name(name) => {
            let addresses: Vec<String> =
                resolver.addresses(host, family).iter().map(ToString::to_string).collect();
            match (addresses.as_slice(), resolver.problem(host, family)) {
                ([], Some(problem)) => format!("{name} ({problem})"),
                ([], None) => format!("{name} (not resolved yet)"),
                (addresses, _) => format!("{name} ({})", addresses.join(", ")),
            }
        }
    };
    hosts.iter().map(describe).collect()
}

fn boottime(at: Instant) -> Boottime {
    let ago = u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Boottime(clock::boottime_ns().saturating_sub(ago))
}
