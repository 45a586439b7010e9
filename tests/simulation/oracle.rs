//! What must hold after every step, judged from outside: from frames, leases and states, never from the machine's timers.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use vipgate::config::VrrpVersion;
use vipgate::link::VrrpState;

use crate::clock::{MS, Nanos};
use crate::lan::Lan;
use crate::node::{Deed, Freeze, Node};

/// Announcements and probes that one node may send in any second: two takeovers' schedules, a whole defence, and what
/// ends a conflict. Two nodes that defend without a bound pass a thousand.
const BROADCASTS_PER_SECOND: usize = 64;
/// Clocks differ by up to 500 ppm from true time.
const CLOCKS_DIFFER: f64 = 0.002;
/// The bound that the simulation gives to a handover.
pub(crate) const RESIGN_BOUND: Duration = Duration::from_millis(1000);
/// A promise is kept for so long, and relied on for a little less, whatever the clocks.
const PROMISE_KEPT: Nanos = 10_000 * MS;
const PROMISE_RELIED: Nanos = 9_100 * MS;
/// Who is later than this is frozen, and nobody waits for it.
const PATIENCE_MAX: Nanos = 2000 * MS;
/// A master that answers is believed three times; then it is asked no more.
const SILENCES: Nanos = 5;
/// In a lossy network: this many adverts in a row are never lost (0.15 to the power of 12).
const NEVER_LOST: u64 = 12;

#[derive(Clone, Copy)]
struct Arrival {
    at: Nanos,
    from: usize,
    interval: Nanos,
    priority: u8,
}

#[derive(Default)]
struct Watch {
    /// Since then it could have listened as a backup without a break.
    listening_since: Nanos,
    /// The interval of the master that it accepted last.
    learnt: Option<Nanos>,
    /// The last advert that reached the node's kernel.
    arrived: Option<Arrival>,
    /// To whom it has promised to be patient for how long, and since when.
    promised: Vec<(usize, Nanos, Nanos)>,
    /// Whose promise of how much it has, since when.
    relies: BTreeMap<usize, (Nanos, Nanos)>,
    /// When it became master of its own accord, after the silence of whom.
    took_over: Option<(Nanos, Option<usize>)>,
    started: Nanos,
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
    pub(crate) fn arrival(&mut self, node: &Node, from: usize, sent: Duration, priority: u8, now: Nanos) {
        let watch = &mut self.watched[node.id];
        let known = interval(node).min(watch.learnt.unwrap_or(Nanos::MAX));
        let listening = node.runs() && node.state() == Some(VrrpState::Backup);
        let sent = if listening { nanos(sent) } else { nanos(sent).min(known) };
        watch.arrived = Some(Arrival { at: now, from, interval: sent, priority });
    }

    /// The node was disturbed: its listening begins anew.
    pub(crate) fn disturbed(&mut self, node: usize, now: Nanos) {
        self.watched[node].listening_since = now;
    }

    /// A master that thaws after more than this has been out.
    pub(crate) fn was_out(&self, nodes: &[Node], id: usize, paused_for: Nanos, now: Nanos) -> bool {
        let node = &nodes[id];
        let bound = self.promised_to(nodes, id, now).max(interval(node) * 3);
        self.silence(id, now) > stretched(bound, CLOCKS_DIFFER)
            || paused_for > nanos(node.settings.lease)
            || self.was_replaced(nodes, id, paused_for, now)
    }

    /// It goes on after a silence only because everybody has promised to wait.
    pub(crate) fn relies(&self, nodes: &[Node], id: usize, now: Nanos) -> bool {
        self.silence(id, now) > stretched(interval(&nodes[id]) * 3, CLOCKS_DIFFER)
    }

    fn silence(&self, id: usize, now: Nanos) -> Nanos {
        self.watched[id].advertised.map_or(0, |at| now - at)
    }

    /// How long everybody else waits, as far as the node can know.
    fn promised_to(&self, nodes: &[Node], id: usize, now: Nanos) -> Nanos {
        let promise = |peer: &Node| {
            let promise = self.watched[id].relies.get(&peer.id);
            promise.filter(|(_, since)| now < since + PROMISE_RELIED).map_or(0, |(bound, _)| *bound)
        };
        let others = nodes.iter().filter(|peer| peer.id != id && !nodes[id].peers.is_empty());
        others.map(promise).min().unwrap_or(0)
    }

    /// Another has taken over meanwhile because this one was silent, having heard its last advert.
    fn was_replaced(&self, nodes: &[Node], id: usize, paused_for: Nanos, now: Nanos) -> bool {
        let last = self.watched[id].advertised;
        nodes.iter().any(|other| {
            let watch = &self.watched[other.id];
            let heard = watch.arrived.filter(|arrived| arrived.from == id && Some(arrived.at) >= last);
            let silenced =
                watch.took_over.is_some_and(|(at, whose)| at + paused_for > now && whose == Some(id));
            let remembers = self.remembers(other.id, id);
            let same = nodes.iter().all(|node| interval(node) == interval(other));
            other.answers() && heard.is_some() && silenced && remembers && same
        })
    }

    /// The process keeps the promise that the other one has of its node. The one before it may have made that, as long as
    /// nobody could tell the other one, which did not run.
    fn remembers(&self, id: usize, to: usize) -> bool {
        let promise = self.watched[to].relies.get(&id);
        promise.is_none_or(|(_, since)| *since >= self.watched[id].started)
    }

    /// The kernel of a frozen node accepts nothing once another has taken over because of its silence.
    fn gate_is_closed(&self, nodes: &[Node], by: usize, now: Nanos) -> Result<(), String> {
        let watch = &self.watched[by];
        let whose = watch.took_over.and_then(|(at, whose)| whose.filter(|_| at == now));
        let Some(old) = whose.map(|id| &nodes[id]) else { return Ok(()) };
        let heard = watch.arrived.is_some_and(|arrived| Some(arrived.at) >= self.watched[old.id].advertised);
        let remembers = self.remembers(by, old.id);
        let same = interval(old) == interval(&nodes[by]);
        let frozen = matches!(old.frozen, Some((Freeze::Paused, _)));
        if frozen && heard && remembers && same && old.accepts(now) {
            return Err(format!(
                "node {by} has taken over, and the gate of {}, which is frozen, is open",
                old.id
            ));
        }
        Ok(())
    }

    /// A process that begins knows nothing.
    pub(crate) fn started(&mut self, node: usize, now: Nanos) {
        let watch = &mut self.watched[node];
        watch.promised.clear();
        watch.relies.clear();
        watch.started = now;
    }

    pub(crate) fn deed(&mut self, nodes: &[Node], id: usize, deed: &Deed, now: Nanos) -> Result<(), String> {
        let node = &nodes[id];
        let watch = &mut self.watched[id];
        watch.promised.retain(|(_, _, since)| now < since + PROMISE_KEPT + PATIENCE_MAX);
        for (to, bound) in &deed.promised {
            watch.promised.push((*to, nanos(*bound), now));
        }
        for (from, promise) in &deed.relies {
            match promise {
                Some((bound, sent)) => watch.relies.insert(*from, (nanos(*bound), node.clock.when(*sent))),
                None => watch.relies.remove(from),
            };
        }
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
            && let Some(arrived) = &mut watch.arrived
        {
            arrived.interval = interval(node).min(arrived.interval);
        }
        if deed.became == Some(VrrpState::Master) {
            self.takeovers += 1;
            let whose =
                watch.arrived.filter(|a| a.priority != 0 && accepts(node, a.priority)).map(|a| a.from);
            watch.took_over = Some((now, whose.filter(|_| !deed.by_link)));
            let from = watch.arrived.map(|arrived| arrived.from);
            let back = from.map_or(0, |from| self.watched[from].started);
            Self::no_false_takeover(nodes, id, &self.watched[id], deed.by_link.then_some(back), now)?;
        }
        let watch = &mut self.watched[id];
        for _ in 0..deed.broadcasts {
            watch.broadcasts.push_back(now);
        }
        while watch.broadcasts.front().is_some_and(|at| at + 1000 * MS < now) {
            watch.broadcasts.pop_front();
        }
        if watch.broadcasts.len() > BROADCASTS_PER_SECOND {
            return Err(format!("node {id} sent {} broadcasts within a second", watch.broadcasts.len()));
        }
        self.gate_is_closed(nodes, id, now)
    }

    /// While a master that must be accepted is heard, nobody takes over: not a node that was merely late, not one that
    /// must not preempt, paused or not.
    fn no_false_takeover(
        nodes: &[Node],
        id: usize,
        watch: &Watch,
        gone_until: Option<Nanos>,
        now: Nanos,
    ) -> Result<(), String> {
        let node = &nodes[id];
        let Some(Arrival { at, from, interval, priority }) = watch.arrived else { return Ok(()) };
        if let Some(until) = gone_until {
            // One that has just been started again had really been gone.
            return if nodes[from].answers() && now - until > interval {
                Err(format!("node {id} took over from {from}, which it took for gone, and which is master"))
            } else {
                Ok(())
            };
        }
        let owner = node.settings.priority.get() == 255 && !node.yielded;
        if owner || priority == 0 || !accepts(node, priority) {
            return Ok(());
        }
        let kept = |(to, _, since): &&(usize, Nanos, Nanos)| *to == from && now < since + PROMISE_RELIED;
        let promised = watch.promised.iter().filter(kept).map(|(_, bound, _)| *bound).max().unwrap_or(0);
        if stretched(now - at, CLOCKS_DIFFER) < (interval * 3).max(promised) {
            return Err(format!(
                "node {} took over {} ms after an advert of priority {priority} (interval {} ms, promised {} ms) reached it",
                node.id,
                (now - at) / MS,
                interval / MS,
                promised / MS
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
        let delay = nanos(node.settings.preempt_delay);
        // A lesser master that is put up with is learnt from too.
        let tolerated = watch.arrived.filter(|_| delay > 0).map_or(0, |arrived| arrived.interval);
        let interval = watch.learnt.unwrap_or(0).max(interval(node)).max(tolerated);
        let promised = watch.promised.iter().map(|(_, bound, _)| *bound).max().unwrap_or(0);
        let silence = longest_down_interval(node, interval) + promised;
        // A master that answers and is not heard is waited for.
        let silence = if node.links.enabled { silence * SILENCES } else { silence };
        // The delay begins when the lesser master is first heard, and ends at its next advert; then the timer runs down.
        let wait = silence + if delay > 0 { delay + silence } else { 0 };
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
        let linked = nodes.iter().any(|node| node.links.enabled);
        let patience = patience + if linked { SILENCES * (down + PATIENCE_MAX) } else { 0 };
        patience + 3 * down + nanos(RESIGN_BOUND) + 2500 * MS
    }
}
