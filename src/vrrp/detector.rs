//! Telling a dead master from one that is late: what peers say of themselves beside their adverts, how much silence
//! means something, and asking before taking over. No socket, no clock: the link brings the news, if there is one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::advert::Advert;
use super::machine::{Heard, Machine, Role};
use super::output::Output;
use super::timers::Timer;
use super::timing;
use crate::net::Priority;

/// A virtual router has a handful of peers; more senders than this are heard, and nothing is kept about them.
const MAX_PEERS: usize = 64;
/// So often a master that answers and is not heard is believed to come back: its adverts may be filtered, or it has
/// given up and the news was lost.
const ANSWERS_BELIEVED: u32 = 3;
/// What a peer says of its lateness counts for as long as this, whatever it says later, since it relies on that; then it
/// has to say it again.
pub const PATIENCE_KEPT: Duration = Duration::from_secs(10);
/// A promise is relied on for less time than it is kept, since clocks differ.
const PATIENCE_RELIED: Duration = Duration::from_secs(9);
/// A report that is less than the last falls seldom: lateness is told as the worst of several seconds.
const MAX_GRANTS: usize = 8;
/// No peer is given more time than this: what is later is frozen.
pub const PATIENCE_MAX: Duration = Duration::from_secs(2);

/// What is known of a peer that no advert says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerNews {
    /// Whether there is a link over which `Output::Ask` reaches it.
    Askable(bool),
    /// It has answered: its process runs.
    Alive,
    /// The worst lateness that it has measured of itself lately. To be said again within `PATIENCE_KEPT`.
    Late(Duration),
    /// The CFS period of a quota on its processor time, zero: none. It may be throttled for nearly as long. To be said
    /// again within `PATIENCE_KEPT`.
    Quota(Duration),
    /// It will not take over before this node has been silent for so long, for `PATIENCE_KEPT` from `asked` on, which is
    /// when this node sent the message that it answers. The peer's machine says it in `promise`.
    Patient { bound: Duration, asked: Instant },
    /// It is another process than the one before, and keeps none of its promises.
    Restarted,
    /// Its process has ended: the link has closed without a goodbye, and nobody is there to open it again.
    Gone,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    askable: bool,
    gone: bool,
    /// Nobody has that address at the moment.
    absent: bool,
    /// Of its last advert.
    advert_at: Option<Instant>,
    late: Granted,
    quota: Granted,
    /// How patient it is with this node, and until when.
    patient: Option<(Duration, Instant)>,
    /// How patient with it this node has said to be, each for `PATIENCE_KEPT`.
    promised: Granted,
}

/// What a peer reported of itself, or was told, and until when each counts. A lesser one does not end a greater one, which
/// has been relied on, so that the values fall and their ends follow each other.
#[derive(Clone, Debug, Default)]
struct Granted(Vec<(Duration, Instant)>);

impl Granted {
    /// The greatest that counts.
    fn value(&self, now: Instant) -> Duration {
        self.0.iter().find(|(_, until)| now < *until).map_or(Duration::ZERO, |(value, _)| *value)
    }

    /// What counts for as long as a promise that is made now is relied on: the last, and no greater one that ends before.
    fn lasting(&self, now: Instant) -> Duration {
        self.0.last().filter(|(_, until)| now < *until).map_or(Duration::ZERO, |(value, _)| *value)
    }

    fn report(&mut self, value: Duration, now: Instant) {
        self.0.retain(|(greater, until)| now < *until && *greater > value);
        let until = now + PATIENCE_KEPT;
        let is_full = self.0.len() >= MAX_GRANTS;
        match self.0.last_mut().filter(|_| is_full) {
            // More than was asked for.
            Some(last) => last.1 = until,
            None => self.0.push((value, until)),
        }
    }
}

impl Peer {
    /// `is_asked`: it gets the time for its answer beside this.
    fn patience(&self, is_asked: bool, now: Instant) -> Duration {
        timing::patience(self.late.value(now), self.quota.value(now), is_asked).min(PATIENCE_MAX)
    }

    fn lasting_patience(&self, now: Instant) -> Duration {
        timing::patience(self.late.lasting(now), self.quota.lasting(now), self.askable).min(PATIENCE_MAX)
    }
}

#[derive(Debug, Default)]
pub(super) struct Detector {
    /// Everybody else who plays this virtual router; `None`: there may be others.
    all: Option<Vec<IpAddr>>,
    /// Everybody else who can be there at the moment: the others have no name on the network yet.
    named: Option<Vec<IpAddr>>,
    peers: BTreeMap<IpAddr, Peer>,
    /// The master has been asked, and the down timer runs for its answer.
    asking: bool,
    /// Answers since its last advert.
    answers: u32,
    /// Adverts of earlier count for nothing: this process did not run for too long after them.
    listens_since: Option<Instant>,
}

impl Detector {
    fn peer(&mut self, address: IpAddr) -> Option<&mut Peer> {
        if !self.peers.contains_key(&address) && self.peers.len() >= MAX_PEERS {
            return None;
        }
        Some(self.peers.entry(address).or_default())
    }

    /// Whoever advertises runs, whatever the link says.
    pub(super) fn note_advert(&mut self, source: IpAddr, now: Instant) {
        self.answers = 0;
        if let Some(peer) = self.peer(source) {
            peer.gone = false;
            peer.absent = false;
            peer.advert_at = Some(now);
        }
    }

    /// Whatever was heard before now may have changed since.
    pub(super) fn listen_anew(&mut self, now: Instant) {
        self.listens_since = Some(now);
        for peer in self.peers.values_mut() {
            peer.advert_at = None;
        }
    }

    pub(super) fn is_absent(&self, address: IpAddr) -> bool {
        self.peers.get(&address).is_some_and(|peer| peer.absent)
    }

    /// A peer may come whose address nobody knows yet.
    pub(super) fn may_be_joined(&self) -> bool {
        self.all.is_none() && self.named.is_some()
    }

    pub(super) fn is_gone(&self, address: IpAddr) -> bool {
        self.peers.get(&address).is_some_and(|peer| peer.gone)
    }

    /// The down timer has been armed for another reason than an answer.
    pub(super) fn stop_asking(&mut self) {
        self.asking = false;
    }
}

impl Machine {
    /// Everybody else who plays this virtual router. `None`: that is not known for sure, as in a multicast group, or while
    /// a name is not resolved.
    pub fn handle_peers(&mut self, all: Option<Vec<IpAddr>>, now: Instant) {
        self.wake(now);
        if let Some(all) = &all {
            self.detector.peers.retain(|address, _| all.contains(address));
        }
        self.detector.all = all;
    }

    /// Where not everybody is known: whoever is not among these has a name, and that name is nobody's at the moment. He may
    /// come, and is no peer that can be waited for. `None`: whether he is there is not known.
    pub fn handle_named(&mut self, named: Option<Vec<IpAddr>>, now: Instant) {
        self.wake(now);
        self.detector.named = named;
    }

    /// Those of whom nothing is to be found on the link, not even a frozen kernel. Everybody else may take over.
    pub fn handle_absent(&mut self, absent: &[IpAddr], now: Instant) {
        self.wake(now);
        for (address, peer) in &mut self.detector.peers {
            peer.absent = absent.contains(address);
        }
        for address in absent {
            if let Some(peer) = self.detector.peer(*address) {
                peer.absent = true;
            }
        }
    }

    pub fn handle_peer(&mut self, source: IpAddr, news: PeerNews, now: Instant) {
        let waited = self.wake(now);
        let Some(peer) = self.detector.peer(source) else { return };
        match news {
            PeerNews::Askable(askable) => {
                peer.askable = askable;
                peer.absent &= !askable;
                if askable && std::mem::take(&mut peer.gone) {
                    self.is_back(source, now);
                } else if !askable {
                    // The time for its answer is now a part of its silence.
                    self.be_patient(source, now);
                }
            }
            PeerNews::Late(worst) => {
                peer.late.report(worst, now);
                self.be_patient(source, now);
            }
            PeerNews::Quota(period) => {
                peer.quota.report(period, now);
                self.be_patient(source, now);
            }
            PeerNews::Patient { bound, asked } => peer.patient = Some((bound, asked + PATIENCE_RELIED)),
            PeerNews::Restarted => peer.patient = None,
            // It may have waited while this process did not run. A promise has ended all the same.
            PeerNews::Gone if waited => peer.patient = None,
            PeerNews::Alive if waited => {}
            PeerNews::Alive => self.has_answered(source, now),
            PeerNews::Gone => {
                peer.gone = true;
                peer.askable = false;
                peer.patient = None;
                self.handle_drained(source, now);
                self.is_gone(source, now);
            }
        }
    }

    /// How long this node waits, at least, before it takes silence of that peer, which has just reported, for its end: to be
    /// told to it as `PeerNews::Patient`. Of the time for an answer a part is promised to the master, since who can be told
    /// can be asked, unless it is to be preempted. Holds for `PATIENCE_KEPT`; what holds for less is not promised.
    pub fn promise(&mut self, peer: IpAddr, now: Instant) -> Duration {
        let is_master = self.waits_for(peer)
            && self.heard_lately().is_some_and(|heard| !self.preempts(heard.priority, now));
        let interval = timing::takeover_bound(self.master_interval);
        let Some(known) = self.detector.peer(peer) else { return Duration::ZERO };
        let lasting = known.lasting_patience(now);
        let bound = if is_master { timing::relied(interval.max(lasting)) } else { lasting };
        known.promised.report(bound, now);
        bound
    }

    /// The silence after which some peer may have taken over from this node. Where there is nobody to take over, a stall
    /// costs the clients nothing but its time, as long as it is no freeze; a peer that came up meanwhile has advertised
    /// since, and its adverts are read before anything is answered.
    pub fn takeover_bound(&self, now: Instant) -> Duration {
        if self.is_alone() {
            let stall = self.settings.lease.min(PATIENCE_MAX);
            return stall.max(timing::takeover_bound(self.own_interval()));
        }
        let patient = |address: &IpAddr| {
            let (bound, until) = self.detector.peers.get(address)?.patient?;
            (now < until).then_some(bound)
        };
        let all = self.detector.all.as_deref().unwrap_or_default();
        // Who has promised nothing goes by the interval alone.
        let promised =
            all.iter().map(|address| patient(address).unwrap_or_default()).min().unwrap_or_default();
        timing::takeover_bound(self.own_interval()).max(promised)
    }

    fn is_alone(&self) -> bool {
        let is_away = |address| self.detector.peers.get(address).is_some_and(|peer| peer.absent);
        let others = self.detector.all.as_ref().or(self.detector.named.as_ref());
        others.is_some_and(|others| others.iter().all(is_away))
    }

    /// How much silence of the master means something, without the skew.
    pub(super) fn detection_bound(&self, now: Instant) -> Duration {
        let promised = match self.heard_lately() {
            // It is asked, or waited for, when the down timer has fired.
            Some(_) => Duration::ZERO,
            // It may be anybody.
            None => {
                self.detector.peers.values().map(|peer| peer.promised.value(now)).max().unwrap_or_default()
            }
        };
        self.silence_bound(now).max(promised)
    }

    /// After so much silence the master is asked, if it can be.
    fn silence_bound(&self, now: Instant) -> Duration {
        // Nobody is asked but whom it heard last.
        let is_asked = |address: &IpAddr| self.heard.is_some_and(|heard| heard.from == *address);
        let patience =
            |(address, peer): (&IpAddr, &Peer)| peer.patience(peer.askable && is_asked(address), now);
        let peers = &self.detector.peers;
        let patience = match self.heard_lately() {
            Some(Heard { from, .. }) => peers.get_key_value(&from).map(patience),
            None => peers.iter().map(patience).max(),
        };
        timing::takeover_bound(self.master_interval).max(patience.unwrap_or_default())
    }

    /// Within three intervals, as this node has them.
    pub(super) fn has_spoken_lately(&self, source: IpAddr, now: Instant) -> bool {
        self.advert_of(source).is_some_and(|at| now < at + timing::takeover_bound(self.own_interval()))
    }

    /// What was heard before this node stood still may be true of another one by now.
    fn heard_lately(&self) -> Option<Heard> {
        self.heard.filter(|heard| self.advert_of(heard.from).is_some())
    }

    /// RFC 9568's Active_Down_Interval.
    pub(super) fn down_interval(&self, now: Instant) -> Duration {
        self.detection_bound(now) + self.skew()
    }

    /// The skew parts two backups. Behind the only peer it would part nobody, and the least skew of the protocol remains:
    /// a master counts itself out first, however little its clock differs. As long as that one has not been heard it may
    /// be a backup too. In a multicast group backups do not hear each other, and nobody knows that it is the only one.
    pub(super) fn skew(&self) -> Duration {
        let master = self.heard.map(|heard| heard.from);
        let alone =
            self.detector.all.as_ref().is_some_and(|all| all.len() == 1 && all.first() == master.as_ref());
        let priority = if alone { Priority::OWNER } else { self.settings.priority };
        timing::skew(self.settings.version, priority, self.master_interval)
    }

    /// The down timer has fired: is the silent master given more time? Who can answer is asked, once per silence, and again
    /// after each answer. Who cannot may rely on a promise.
    pub(super) fn gives_time(&mut self, from: IpAddr, now: Instant) -> bool {
        let skew = self.skew();
        let Some(peer) = self.detector.peers.get(&from).filter(|peer| !peer.gone) else { return false };
        let relied = peer.advert_at.map(|at| at + peer.promised.value(now) + skew);
        let relied = relied.filter(|until| now < *until);
        if peer.askable && !self.detector.asking && self.detector.answers < ANSWERS_BELIEVED {
            let answered = now + timing::answer_bound(self.silence_bound(now));
            self.arm_down(relied.map_or(answered, |until| until.max(answered)));
            self.detector.asking = true;
            self.count("peer_asked");
            self.output(Output::Ask { peer: from });
            return true;
        }
        if let Some(until) = relied {
            self.timers.arm(Timer::Down, until);
        }
        relied.is_some()
    }

    /// Why a silent master is taken for dead.
    pub(super) fn silence_of(&self, from: IpAddr, now: Instant) -> String {
        let silent = self.advert_of(from).map_or(self.down_interval(now), |at| now - at);
        if self.detector.is_gone(from) {
            format!("the link to {from} has broken off, and it is silent for {silent:.0?}")
        } else if self.detector.asking {
            format!("{from} is silent for {silent:.0?} and does not answer")
        } else if self.detector.answers > 0 {
            format!("{from} answers, but is silent for {silent:.0?}")
        } else {
            format!("{from} is silent for {silent:.0?}")
        }
    }

    pub(super) fn arm_down(&mut self, at: Instant) {
        self.detector.stop_asking();
        self.timers.arm(Timer::Down, at);
    }

    fn has_answered(&mut self, source: IpAddr, now: Instant) {
        if self.detector.asking && self.heard.is_some_and(|heard| heard.from == source) {
            self.detector.answers += 1;
            self.count("peer_answered");
            self.arm_down(now + self.down_interval(now));
        }
    }

    /// One interval without an advert is enough, and half of one for the way of the next: it can be neither late nor
    /// unheard. The skew still parts two backups.
    /// News that waited while this process did not run says nothing about who is master by now.
    fn is_gone(&mut self, source: IpAddr, now: Instant) {
        let Some(advert_at) = self.advert_of(source).filter(|_| self.waits_for(source)) else { return };
        self.count("peer_gone");
        let at = now.max(advert_at + self.master_interval * 3 / 2) + self.skew();
        if self.timers.deadline(Timer::Down).is_none_or(|down| at < down) {
            self.arm_down(at);
        }
    }

    /// It relies on it from now on, and not from its next advert on.
    fn be_patient(&mut self, source: IpAddr, now: Instant) {
        let heard = self.heard_lately();
        let outranked = heard.is_some_and(|heard| self.preempts(heard.priority, now));
        // As long as nobody is heard, it may be anybody.
        let unheard = self.role == Role::Backup && heard.is_none();
        if !(unheard || self.waits_for(source)) || outranked || self.detector.is_gone(source) {
            return;
        }
        let entered = self.reason().1;
        let since = self.advert_of(source).filter(|_| !unheard).or(self.detector.listens_since);
        let since = since.map_or(entered, |since| since.max(entered));
        let at = since + self.down_interval(now);
        if self.timers.deadline(Timer::Down).is_some_and(|down| down < at) {
            self.arm_down(at);
        }
    }

    fn is_back(&mut self, source: IpAddr, now: Instant) {
        if let Some(since) = self.advert_of(source).filter(|_| self.waits_for(source)) {
            self.arm_down(now.max(since + self.down_interval(now)));
        }
    }

    fn advert_of(&self, source: IpAddr) -> Option<Instant> {
        self.detector.peers.get(&source)?.advert_at
    }

    /// It is the master whose silence would make this node one.
    fn waits_for(&self, source: IpAddr) -> bool {
        let is_master = |heard: Heard| heard.from == source && heard.priority != Advert::RELEASE;
        self.role == Role::Backup && self.heard.is_some_and(is_master)
    }
}
