//! What a seed stands for: the nodes, the wire, and everything that goes wrong with them.

use std::time::Duration;

use vipgate::config::VrrpVersion;
use vipgate::net::{Centiseconds, Priority, Vrid};
use vipgate::vrrp::{Password, Settings};

use crate::clock::{MS, Nanos};
use crate::node::Freeze;
use crate::random::Random;

pub(crate) const CLIENTS: usize = 2;
const VIP: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 100));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Freeze(usize, Freeze),
    Thaw(usize),
    Crash(usize),
    Restart(usize),
    InterfaceLost(usize),
    InterfaceFound(usize),
    Ineligible(usize),
    Eligible(usize),
    Cut(usize, usize),
    Mend(usize, usize),
    FilterAdverts(usize, usize),
    PassAdverts(usize, usize),
    Resign(usize),
    /// The peer takes over on request.
    Failover(usize),
    StandBack(usize),
    StandIn(usize),
    /// The last connection of an address that has moved is gone.
    Emptied(usize),
    Priority(usize, u8),
    /// The connection between the two breaks off, and both live.
    BreakLink(usize, usize),
    /// A client without an ARP entry.
    Forget(usize),
}

/// Longer than a takeover, shorter than most of what lies between two faults.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(700);

pub(crate) struct NodePlan {
    pub(crate) settings: Settings,
    pub(crate) ppm: i64,
    pub(crate) notices_gaps: bool,
    /// The CFS period of a quota, zero: none.
    pub(crate) quota: Duration,
}

pub(crate) struct Plan {
    pub(crate) nodes: Vec<NodePlan>,
    pub(crate) password: Option<Password>,
    pub(crate) unicast: bool,
    pub(crate) linked: bool,
    pub(crate) loss_percent: u64,
    pub(crate) duplicate_percent: u64,
    pub(crate) delay: (Nanos, Nanos),
    /// How late a process is woken, at most, when it is not frozen.
    pub(crate) lateness: Nanos,
    pub(crate) faults: Vec<(Nanos, Fault)>,
    pub(crate) healed_at: Nanos,
}

pub(crate) fn settings(
    version: VrrpVersion,
    centiseconds: u16,
    priority: u8,
    preempt: bool,
    lease: u64,
) -> Settings {
    Settings {
        name: "simulated".to_owned(),
        version,
        vrid: Vrid::try_from(51).expect("in range"),
        priority: Priority::try_from(i64::from(priority)).expect("in range"),
        advert_interval: Centiseconds::try_from(centiseconds).expect("in range"),
        preempt,
        preempt_delay: Duration::ZERO,
        addresses: vec![VIP],
        lease: Duration::from_secs(lease),
        drain_timeout: DRAIN_TIMEOUT,
    }
}

impl Plan {
    pub(crate) fn from_seed(random: &mut Random) -> Self {
        let count = random.pick(&[2, 2, 2, 3, 3, 4, 5]);
        let version = if random.chance(20) { VrrpVersion::V2 } else { VrrpVersion::V3 };
        let centiseconds = match version {
            VrrpVersion::V2 => 100,
            VrrpVersion::V3 => random.pick(&[1, 2, 5, 10, 10, 10, 20, 100]),
        };
        let interval = u64::from(centiseconds) * 10 * MS;
        let same_policy = random.chance(70).then(|| random.chance(60));
        let same_priority = random.chance(15);
        let owner = random.chance(10);
        let mixed = version == VrrpVersion::V3 && random.chance(20);
        let nodes = (0..count)
            .map(|id| {
                let drawn = u8::try_from(random.between(1, 254)).unwrap_or(1);
                let priority = match id {
                    0 if owner => 255,
                    _ if same_priority => 100,
                    _ => drawn,
                };
                let preempt = same_policy.unwrap_or_else(|| random.chance(50));
                let own = if mixed { centiseconds * random.pick(&[1, 2, 3]) } else { centiseconds };
                let patience = if random.chance(20) { random.between(0, 3000) } else { 0 };
                NodePlan {
                    settings: Settings {
                        preempt_delay: Duration::from_millis(patience),
                        ..settings(version, own, priority, preempt, random.between(1, 2))
                    },
                    ppm: i64::try_from(random.between(0, 1000)).unwrap_or(0) - 500,
                    notices_gaps: random.chance(50),
                    quota: Duration::from_millis(random.pick(&[0, 0, 0, 20, 100])),
                }
            })
            .collect();
        let span = (interval * 60).clamp(3000 * MS, 30_000 * MS);
        Self {
            nodes,
            password: (version == VrrpVersion::V2 && random.chance(50))
                .then(|| Password::try_new("secret"))
                .flatten(),
            unicast: random.chance(50),
            linked: random.chance(60),
            loss_percent: if random.chance(50) { 0 } else { random.between(1, 15) },
            duplicate_percent: if random.chance(50) { 0 } else { random.between(1, 10) },
            delay: (MS / 20, random.between(MS / 10, (interval / 8).min(3 * MS))),
            lateness: random.between(0, (interval / 8).min(2 * MS)),
            faults: faults(random, count, interval, span),
            healed_at: span,
        }
    }
}

fn faults(random: &mut Random, nodes: usize, interval: Nanos, span: Nanos) -> Vec<(Nanos, Fault)> {
    let mut faults = Vec::new();
    for _ in 0..random.between(0, 3) {
        stutter(random, nodes, interval, span, &mut faults);
    }
    for _ in 0..random.between(2, 14) {
        let at = random.between(interval, span);
        let node = random.below(nodes);
        let (a, b) = (random.below(nodes + CLIENTS), random.below(nodes + CLIENTS));
        let short = at + random.between(interval / 10, interval * 3);
        let long = at + random.between(interval, (interval * 30).max(2500 * MS));
        let end = if random.chance(40) { short } else { long };
        let (begin, over) = match random.below(26) {
            0..6 => {
                let freeze = if random.chance(70) { Freeze::Paused } else { Freeze::Suspended };
                (vec![Fault::Freeze(node, freeze)], vec![Fault::Thaw(node)])
            }
            6..8 => (vec![Fault::Crash(node)], vec![Fault::Restart(node)]),
            8..10 => (vec![Fault::InterfaceLost(node)], vec![Fault::InterfaceFound(node)]),
            10..12 => (vec![Fault::Ineligible(node)], vec![Fault::Eligible(node)]),
            12..14 if a != b => {
                (vec![Fault::Cut(a, b), Fault::Cut(b, a)], vec![Fault::Mend(a, b), Fault::Mend(b, a)])
            }
            14 if a != b => (vec![Fault::Cut(a, b)], vec![Fault::Mend(a, b)]),
            15 if a != b => (
                vec![Fault::FilterAdverts(a, b), Fault::FilterAdverts(b, a)],
                vec![Fault::PassAdverts(a, b), Fault::PassAdverts(b, a)],
            ),
            16..18 => (vec![Fault::Resign(node)], vec![Fault::Restart(node)]),
            18 => (vec![Fault::Priority(node, u8::try_from(random.between(1, 254)).unwrap_or(1))], vec![]),
            19..21 => (vec![Fault::Failover(node)], vec![Fault::Emptied(node)]),
            21..23 => (vec![Fault::StandBack(node)], vec![Fault::StandIn(node)]),
            23..25 if a != b && a < nodes && b < nodes => (vec![Fault::BreakLink(a, b)], vec![]),
            _ => (vec![Fault::Forget(random.below(CLIENTS))], vec![]),
        };
        faults.extend(begin.into_iter().map(|fault| (at, fault)));
        faults.extend(over.into_iter().map(|fault| (end, fault)));
    }
    // Healing ends what is still wrong by then.
    faults.retain(|(at, _)| *at < span);
    faults
}

/// A node on a loaded machine: again and again it does not run for a while.
fn stutter(
    random: &mut Random,
    nodes: usize,
    interval: Nanos,
    span: Nanos,
    faults: &mut Vec<(Nanos, Fault)>,
) {
    let node = random.below(nodes);
    let worst = random.between(interval / 2, interval * 6).min(400 * MS);
    let mut at = random.between(interval, span);
    for _ in 0..random.between(5, 40) {
        let end = at + random.between(worst / 4, worst);
        faults.push((at, Fault::Freeze(node, Freeze::Paused)));
        faults.push((end, Fault::Thaw(node)));
        at = end + random.between(interval / 2, interval * 20);
    }
}
