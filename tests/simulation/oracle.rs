//! What must hold after every step, judged from outside: from frames, leases and states, never from the machine's timers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use vipgate::config::VrrpVersion;
use vipgate::link::VrrpState;

use crate::clock::{MS, Nanos};
use crate::lan::Lan;
use crate::node::{Deed, Node};

/// Announcements and probes that one node may send in any second: two takeovers' schedules, a whole defence, and what
/// ends a conflict. Two nodes that defend without a bound pass a thousand.
const BROADCASTS_PER_SECOND: usize = 64;
/// Clocks differ by up to 500 ppm from true time.
const CLOCKS_DIFFER: f64 = 0.002;
/// The bound that the simulation gives to a handover.
pub(crate) const RESIGN_BOUND: Duration = Duration::from_millis(1000);
/// In a lossy network: this many adverts in a row are never lost (0.15 to the power of 12).
const NEVER_LOST: u64 = 12;

#[derive(Default)]
struct Watch {
    /// Since then it could have listened as a backup without a break.
    listening_since: Nanos,
    /// The interval of the master that it accepted last.
    learnt: Option<Nanos>,
    /// The last advert that reached the node's kernel: when, its interval, its priority.
    arrived: Option<(Nanos, Nanos, u8)>,
    pub(crate) advertised: Option<Nanos>,
    broadcasts: VecDeque<Nanos>,
}

pub(crate) struct Oracle {
    watched: Vec<Watch>,
    overlaps: BTreeMap<(usize, usize), Nanos>,
    lateness: Nanos,
    delay: Nanos,
    lossy: bool,
    pub(crate) takeovers: u64,
    pub(crate) longest_overlap: Nanos,
}

fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn interval(node: &Node) -> Nanos {
    nanos(node.settings.advert_interval.duration())
}

/// RFC 9568 section 6.4.2, read again: would a backup take this for its master?
fn accepts(node: &Node, priority: u8) -> bool {
    let own = node.settings.priority.get();
    let preempts = !node.yielded && (node.settings.preempt || own == 255);
    !preempts || priority >= own
}

fn longest_down_interval(node: &Node, interval: Nanos) -> Nanos {
    let skew = match node.settings.version {
        VrrpVersion::V2 => 1000 * MS,
        VrrpVersion::V3 => interval,
    };
    interval * 3 + skew
}

fn stretched(time: Nanos, by: f64) -> Nanos {
    (time as f64 * (1.0 + by)) as Nanos
}

impl Oracle {
    pub(crate) fn new(nodes: usize, lateness: Nanos, delay: Nanos, lossy: bool) -> Self {
        Self {
            watched: (0..nodes).map(|_| Watch::default()).collect(),
            overlaps: BTreeMap::new(),
            lateness,
            delay,
            lossy,
            takeovers: 0,
            longest_overlap: 0,
        }
    }

    /// An advert reached the node's kernel, whether or not the process reads it. A process that does not run, or does not
    /// stand for election, need not know the sender's interval, and goes by its own or the last that it learnt.
    pub(crate) fn arrival(&mut self, node: &Node, sent: Duration, priority: u8, now: Nanos) {
        let watch = &mut self.watched[node.id];
        let known = interval(node).min(watch.learnt.unwrap_or(Nanos::MAX));
        let listening = node.runs() && node.state() == Some(VrrpState::Backup);
        let sent = if listening { nanos(sent) } else { nanos(sent).min(known) };
        watch.arrived = Some((now, sent, priority));
    }

    /// The node was disturbed: its listening begins anew.
    pub(crate) fn disturbed(&mut self, node: usize, now: Nanos) {
        self.watched[node].listening_since = now;
    }

    /// A master that thaws after more than this has been out.
    pub(crate) fn was_out(&self, node: &Node, paused_for: Nanos, now: Nanos) -> bool {
        let silent = self.watched[node.id].advertised.map_or(0, |at| now - at);
        silent > stretched(interval(node) * 3, CLOCKS_DIFFER) || paused_for > nanos(node.settings.lease)
    }

    pub(crate) fn deed(&mut self, node: &Node, deed: &Deed, now: Nanos) -> Result<(), String> {
        let id = node.id;
        let watch = &mut self.watched[id];
        for (interval, priority) in &deed.heard {
            if *priority == 0 || accepts(node, *priority) {
                watch.listening_since = now;
                watch.learnt = (*priority != 0).then(|| nanos(*interval)).or(watch.learnt);
            }
        }
        if deed.advertised {
            watch.advertised = Some(now);
        }
        if deed.became.is_some() {
            watch.listening_since = now;
        }
        if deed.became == Some(VrrpState::Backup)
            && deed.heard.is_empty()
            && let Some((_, known, _)) = &mut watch.arrived
        {
            *known = interval(node).min(*known);
        }
        if deed.became == Some(VrrpState::Master) {
            self.takeovers += 1;
            Self::no_false_takeover(node, watch, now)?;
        }
        for _ in 0..deed.broadcasts {
            watch.broadcasts.push_back(now);
        }
        while watch.broadcasts.front().is_some_and(|at| at + 1000 * MS < now) {
            watch.broadcasts.pop_front();
        }
        if watch.broadcasts.len() > BROADCASTS_PER_SECOND {
            return Err(format!("node {id} sent {} broadcasts within a second", watch.broadcasts.len()));
        }
        Ok(())
    }

    /// While a master that must be accepted is heard, nobody takes over: not a node that was merely late, not one that
    /// must not preempt, paused or not.
    fn no_false_takeover(node: &Node, watch: &Watch, now: Nanos) -> Result<(), String> {
        let Some((at, interval, priority)) = watch.arrived else { return Ok(()) };
        let owner = node.settings.priority.get() == 255 && !node.yielded;
        if owner || priority == 0 || !accepts(node, priority) {
            return Ok(());
        }
        if stretched(now - at, CLOCKS_DIFFER) < interval * 3 {
            return Err(format!(
                "node {} took over {} ms after an advert of priority {priority} (interval {} ms) reached it",
                node.id,
                (now - at) / MS,
                interval / MS
            ));
        }
        Ok(())
    }

    pub(crate) fn check(&mut self, nodes: &[Node], lan: &Lan, now: Nanos) -> Result<(), String> {
        for node in nodes {
            self.check_node(node, now)?;
        }
        for a in nodes {
            for b in nodes.iter().filter(|b| b.id > a.id) {
                self.check_pair(a, b, lan, now)?;
            }
        }
        Ok(())
    }

    fn check_node(&self, node: &Node, now: Nanos) -> Result<(), String> {
        if !node.runs() {
            return Ok(());
        }
        let (id, state) = (node.id, node.state());
        if node.answering != (state == Some(VrrpState::Master)) {
            return Err(format!("node {id} is {state:?}, and its answering is {}", node.answering));
        }
        if node.answering && !node.holds(now) {
            return Err(format!("node {id} answers for an address that its kernel has dropped"));
        }
        let watch = &self.watched[id];
        let interval = watch.learnt.unwrap_or(0).max(interval(node));
        let down = longest_down_interval(node, interval);
        // A lesser master may turn up just before it would take over, and is then put up with from that moment on.
        let wait = match nanos(node.settings.preempt_delay) {
            0 => down,
            delay => down + delay + down,
        };
        let bound = stretched(wait, CLOCKS_DIFFER) + self.lateness * 2 + MS;
        if state == Some(VrrpState::Backup) && !node.resigning && now - watch.listening_since > bound {
            return Err(format!(
                "node {id} is backup and has heard no master for {} ms, which is more than {} ms",
                (now - watch.listening_since) / MS,
                bound / MS
            ));
        }
        Ok(())
    }

    fn check_pair(&mut self, a: &Node, b: &Node, lan: &Lan, now: Nanos) -> Result<(), String> {
        if !(a.answers() && b.answers() && lan.hear_each_other(a.id, b.id)) {
            self.overlaps.remove(&(a.id, b.id));
            return Ok(());
        }
        let since = *self.overlaps.entry((a.id, b.id)).or_insert(now);
        self.longest_overlap = self.longest_overlap.max(now - since);
        let interval = interval(a).max(interval(b));
        let election = if self.lossy { interval * NEVER_LOST } else { interval }
            + self.lateness * 2
            + self.delay * 2
            + MS;
        // Two that both resign wait for a third until their bound ends.
        let resigning = [a, b].iter().any(|node| node.resigning);
        let bound = election + if resigning { nanos(RESIGN_BOUND) } else { 0 };
        if now - since > bound {
            return Err(format!(
                "nodes {} and {} hear each other and have both answered for {} ms, which is more than {} ms",
                a.id,
                b.id,
                (now - since) / MS,
                bound / MS
            ));
        }
        Ok(())
    }

    /// Who should be master once everything has healed: no node that may preempt outranks it.
    pub(crate) fn converged(nodes: &[Node]) -> Result<usize, String> {
        let masters: Vec<_> = nodes.iter().filter(|node| node.answers()).map(|node| node.id).collect();
        let [master] = masters[..] else { return Err(format!("after healing, masters are {masters:?}")) };
        let held = nodes[master].settings.priority;
        match nodes
            .iter()
            .find(|node| node.settings.preempt && !node.yielded && node.settings.priority > held)
        {
            Some(better) => {
                Err(format!("after healing, {master} is master over {}, which preempts", better.id))
            }
            None => Ok(master),
        }
    }
}

impl Oracle {
    /// By then a healed network has one master, and its neighbours know.
    pub(crate) fn convergence_bound(nodes: &[Node]) -> Nanos {
        let slowest = nodes.iter().map(interval).max().unwrap_or(0);
        let down = nodes.iter().map(|node| longest_down_interval(node, slowest)).max().unwrap_or(0);
        let patience = nodes.iter().map(|node| nanos(node.settings.preempt_delay)).max().unwrap_or(0);
        patience + 3 * down + nanos(RESIGN_BOUND) + 2500 * MS
    }
}
