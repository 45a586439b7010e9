//! This node's side of all its links: listeners, one `Pair` per peer, and the connections that they have.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, spawn_blocking};
use tracing::{debug, info};

use super::super::instance::Instance;
use super::super::lateness::{Lateness, Load};
use super::super::shell::Shell;
use super::super::turns::{TURN, is_due};
use super::auth_hmac::AdvertKeys;
use super::clients::Clients;
use super::connection::{Admitted, Event};
use super::keys::{Found, KeySource};
use super::orders::Orders;
use super::roster::{self, Pairing};
use super::words::{About, Sent};
use crate::config::{Config, PeerLink};
use crate::net::InterfaceName;
use crate::os::cpu::RunQueue;
use crate::os::{cpu, random};
use crate::peer::{
    Connection, Dialler, Failure, Farewell, Key, Message, Node, Pair, Refusal, Remembered, State,
};

/// Of all connections, for the event loop; whoever has more waits.
const INBOX: usize = 64;
/// Of one peer, or of whoever speaks from its address.
const GREETINGS_AT_ONCE: usize = 4;
const LOOK_AT_KEYS_EVERY: Duration = Duration::from_secs(1);
/// What there is to say, and to whom, is looked at this often without a cause, and within `TURN` with one.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// For last words, when the role ends.
const PARTING: Duration = Duration::from_millis(100);

/// In warnings.
pub(super) const LINK: &str = "link";

pub(in super::super) struct Peering {
    pub(super) settings: Option<PeerLink>,
    pub(super) source: KeySource,
    pub(super) advert_keys: AdvertKeys,
    pub(super) node: Node,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) admitted: watch::Sender<Admitted>,
    /// Places for those who are no peers yet.
    pub(super) greetings: Arc<Semaphore>,
    pub(super) listeners: BTreeMap<IpAddr, (InterfaceName, u16, AbortHandle)>,
    pub(super) peers: BTreeMap<Pairing, Peer>,
    pub(super) connections: BTreeMap<Connection, Wire>,
    pub(super) last_connection: Connection,
    /// Connections whose tasks have not ended.
    pub(super) partings: usize,
    /// What came with a greeting.
    pub(super) first: Option<(Connection, Message)>,
    pub(super) counters: BTreeMap<&'static str, u64>,
    pub(super) clients: Clients,
    pub(super) about: About,
    pub(super) lateness: Lateness,
    /// `None`: this kernel does not count.
    queue: Option<RunQueue>,
    pub(super) said: State,
    pub(super) next_state: Instant,
    looked: Instant,
    next_look: Instant,
    next_keys: Instant,
    pub(super) next_listen: Instant,
    pub(super) orders: Orders,
}

pub(super) struct Peer {
    pub(super) pair: Pair,
    pub(super) interface: InterfaceName,
    pub(super) greetings: Arc<Semaphore>,
    pub(super) sent: Sent,
    /// Its last word, and since when it has another configuration than this node.
    pub(super) state: Option<State>,
    pub(super) drifts_since: Option<Instant>,
    /// Of which it has told.
    pub(super) clients: Remembered,
    /// It was told of this node's.
    pub(super) knows_clients: bool,
}

impl Peer {
    pub(super) fn new((own, peer): Pairing, interface: InterfaceName, now: Instant) -> Self {
        Self {
            pair: Pair::new(own, peer, now),
            interface,
            greetings: Arc::new(Semaphore::new(GREETINGS_AT_ONCE)),
            sent: Sent::default(),
            state: None,
            drifts_since: None,
            clients: Remembered::default(),
            knows_clients: false,
        }
    }
}

pub(super) struct Wire {
    pub(super) with: Pairing,
    pub(super) outgoing: mpsc::Sender<Message>,
    /// Those that it hangs on.
    pub(super) keys: [Key; 2],
}

impl Peering {
    /// What comes over the links is received from the second.
    pub(in super::super) fn new(now: Instant) -> std::io::Result<(Self, mpsc::Receiver<Event>)> {
        let (events, received) = mpsc::channel(INBOX);
        let (admitted, _) = watch::channel(Admitted::default());
        let peering = Self {
            settings: None,
            source: KeySource::default(),
            advert_keys: AdvertKeys::default(),
            node: random::bytes()?,
            events,
            admitted,
            greetings: Arc::new(Semaphore::new(GREETINGS_AT_ONCE)),
            listeners: BTreeMap::new(),
            peers: BTreeMap::new(),
            connections: BTreeMap::new(),
            last_connection: 0,
            partings: 0,
            first: None,
            counters: BTreeMap::new(),
            clients: Clients::new(now),
            about: About::default(),
            lateness: Lateness::new(now),
            queue: RunQueue::open().ok(),
            said: State::default(),
            next_state: now,
            looked: now,
            next_look: now,
            next_keys: now,
            next_listen: now,
            orders: Orders::default(),
        };
        Ok((peering, received))
    }

    pub(in super::super) fn configure(&mut self, config: &Config) {
        self.about.node.clone_from(&config.node);
        self.source.configure(&config.link);
        self.clients.configure(config);
        let now = Instant::now();
        if self.settings.as_ref().is_some_and(|settings| settings.port != config.link.port) {
            for pairing in self.peers.keys().copied().collect::<Vec<_>>() {
                self.renew(pairing, now);
            }
        }
        self.settings = (!config.vrrp.is_empty()).then(|| config.link.clone());
        (self.next_keys, self.next_look) = (now, now);
    }

    pub(in super::super) fn set_digest(&mut self, digest: String) {
        self.about.digest = digest;
    }

    pub(in super::super) fn poll_timeout(&self) -> Instant {
        self.next_event().map_or(self.next_look, |at| at.min(self.next_look))
    }

    pub(in super::super) fn is_due(&self, now: Instant) -> bool {
        is_due(self.next_look, now) || self.next_event().is_some_and(|at| is_due(at, now))
    }

    fn next_event(&self) -> Option<Instant> {
        let pairs = self.peers.values().filter_map(|peer| peer.pair.poll_timeout()).map(|(at, _)| at);
        pairs.chain(self.clients.poll_timeout()).min()
    }

    /// The event loop wanted to turn at `due`.
    pub(in super::super) fn note_turn(&mut self, due: Instant) {
        let waited = || self.queue.as_ref().and_then(RunQueue::waited);
        self.lateness.note(due, Instant::now(), waited);
        if self.lateness.worst() > self.about.late {
            self.look_soon();
        }
    }

    fn look_soon(&mut self) {
        self.next_look = self.next_look.min(self.looked + TURN);
    }

    /// This process did not run.
    pub(in super::super) fn handle_gap(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.pair.handle_gap(now);
        }
    }

    pub(in super::super) fn handle(&mut self, event: Event, instances: &mut [Instance], shell: &mut Shell) {
        let now = Instant::now();
        match event {
            Event::Stranger => {
                self.count(Refusal::Sender.counter());
                shell.hears_stranger = true;
            }
            Event::Unknown => self.count("link_unknown"),
            Event::Keys(found) => self.take_keys(found, shell, now),
            Event::KeyFiles(found) => self.take_key_files(found, instances, shell, now),
            Event::Load(load) => self.lateness.set_load(load, now),
            Event::Accepted { own, peer, stream } => self.greet_back((own, peer), stream),
            Event::Answered { own, peer, result } => {
                let Some(result) = self.unless_order((own, peer), result, instances, shell) else { return };
                if result.is_ok() && !self.peers.contains_key(&(own, peer)) {
                    let Some(interface) = roster::welcome(instances, (own, peer)) else { return };
                    self.peers.insert((own, peer), Peer::new((own, peer), interface, now));
                }
                match result {
                    Ok(meeting) => self.meet((own, peer), Dialler::Peer, meeting, now),
                    Err(refusal) => self.count(refusal.counter()),
                }
            }
            Event::Dialled { own, peer, result } => {
                let Some(known) = self.peers.get_mut(&(own, peer)) else { return };
                match result {
                    Ok(meeting) => self.meet((own, peer), Dialler::Own, meeting, now),
                    Err(failure) => {
                        debug!("no link to {peer}: {failure}");
                        known.pair.handle_failure(failure, now);
                        if let Failure::Refusal(refusal) = failure {
                            self.count(refusal.counter());
                        }
                    }
                }
            }
            Event::Message(connection, message) => {
                self.take_message(connection, &message, instances, shell, now);
            }
            Event::Looked(look) => self.take_look(look, instances, shell, now),
            Event::Ended(connection, end) => {
                self.partings = self.partings.saturating_sub(1);
                if let Err(refusal) = end {
                    self.count(refusal.counter());
                }
                let wire = self.connections.remove(&connection);
                if let Some(peer) = wire.and_then(|wire| self.peers.get_mut(&wire.with)) {
                    peer.pair.handle_end(connection, now);
                }
            }
        }
        self.settle(instances, shell);
        if let Some((connection, message)) = self.first.take() {
            self.take_message(connection, &message, instances, shell, now);
            self.settle(instances, shell);
        }
    }

    /// To be called after everything else of a turn.
    pub(in super::super) fn turn(&mut self, instances: &mut [Instance], shell: &mut Shell) {
        let now = Instant::now();
        if self.next_keys <= now {
            self.next_keys = now + LOOK_AT_KEYS_EVERY;
            self.look_at_keys(shell, now);
            self.look_at_key_files(instances);
        }
        if self.lateness.load_is_due(now) {
            let events = self.events.clone();
            // Ends with the look.
            drop(tokio::spawn(async move {
                let look = || Load { quota: cpu::quota_period(), pressure: cpu::pressure() };
                let load = spawn_blocking(look).await.unwrap_or_default();
                drop(events.send(Event::Load(load)).await);
            }));
        }
        self.look_soon();
        if is_due(self.next_look, now) {
            (self.looked, self.next_look) = (now, now + LOOK_EVERY);
            self.assign(instances, shell, now);
            self.hand_out_link_keys(instances);
            self.about.late = self.lateness.worst();
            self.about.quota = self.lateness.quota();
            self.say_state(instances, now);
            self.say_drift(shell, now);
            self.look_at_clients(instances, shell, now);
            self.next_look = self.clients.next_look(now).map_or(self.next_look, |at| at.min(self.next_look));
        }
        for asked in std::mem::take(&mut shell.asked) {
            self.peers.iter_mut().filter(|((_, peer), _)| *peer == asked).for_each(|(_, p)| p.pair.ask());
        }
        for (family, vrid) in std::mem::take(&mut shell.drained) {
            self.say_drained(family, vrid);
        }
        for peer in self.peers.values_mut() {
            peer.pair.handle_timeout(now);
        }
        self.settle(instances, shell);
        self.tell_clients(instances, shell);
    }

    /// The role ends: the peers are told, and a moment is given for it.
    pub(in super::super) async fn part(
        &mut self,
        received: &mut mpsc::Receiver<Event>,
        instances: &mut [Instance],
        shell: &mut Shell,
    ) {
        for peer in self.peers.values_mut() {
            peer.pair.leave(Farewell::Stopping);
        }
        self.settle(instances, shell);
        self.settings = None;
        let until = tokio::time::Instant::now() + PARTING;
        while self.partings > 0 {
            match tokio::time::timeout_at(until, received.recv()).await {
                Ok(Some(event)) => self.handle(event, instances, shell),
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn look_at_keys(&mut self, shell: &mut Shell, now: Instant) {
        if self.settings.is_none() {
            return shell.warnings.forget(LINK);
        }
        if let Some(looking) = self.source.look(now) {
            let events = self.events.clone();
            // Ends with the look.
            drop(tokio::spawn(async move { drop(events.send(Event::Keys(looking.await)).await) }));
        } else if let Some(problem) = self.source.stalls(now) {
            shell.warnings.set(LINK, "keys", Err(problem), now);
        }
    }

    fn take_keys(&mut self, found: Found, shell: &mut Shell, now: Instant) {
        let had = self.source.keys().ok().cloned();
        let Some(problem) = self.source.take(found) else { return };
        if self.settings.is_none() {
            return;
        }
        shell.warnings.set(LINK, "keys", problem, now);
        self.next_look = now;
        let keys = self.source.keys().ok().cloned();
        match (&had, &keys) {
            (had, keys) if had == keys => return,
            (_, None) => info!("the link to the peers is off"),
            (None, Some(_)) => info!("the link to the peers is on"),
            (Some(_), Some(_)) => info!("the keys of the link to the peers have changed"),
        }
        self.advert_keys.derive(keys.as_ref());
        let is_void =
            |wire: &Wire| !keys.as_ref().is_some_and(|k| wire.keys.iter().all(|key| k.accepts(key)));
        let void: Vec<Pairing> =
            self.connections.values().filter(|wire| is_void(wire)).map(|wire| wire.with).collect();
        for pairing in void {
            self.renew(pairing, now);
        }
    }

    /// Drops the link and begins it anew, under the keys and at the port that there are now.
    fn renew(&mut self, pairing: Pairing, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&pairing) {
            peer.pair.leave(Farewell::Settings);
            peer.pair.begin(now);
        }
    }

    /// Links to those that there should be links to, and to no others.
    fn assign(&mut self, instances: &mut [Instance], shell: &mut Shell, now: Instant) {
        let port =
            self.settings.as_ref().filter(|_| self.source.keys().is_ok()).map(|settings| settings.port);
        let wanted = port.map(|_| roster::wanted(instances)).unwrap_or_default();
        let places = port.map(|_| roster::places(instances)).unwrap_or_default();
        self.listen(port, &places, shell, now);
        let drill = self.takes_orders();
        let open = port.map(|_| roster::open_to_all(instances, drill)).unwrap_or_default();
        let admitted = Admitted { peers: wanted.keys().copied().collect(), open };
        self.admitted.send_if_modified(|before| {
            let is_new = *before != admitted;
            *before = admitted;
            is_new
        });
        let had = self.peers.iter().map(|(pairing, peer)| (pairing, &peer.interface));
        if had.eq(&wanted) {
            return;
        }
        let stays = |pairing: &Pairing, peer: &Peer| wanted.get(pairing) == Some(&peer.interface);
        for (_, peer) in self.peers.iter_mut().filter(|(pairing, peer)| !stays(pairing, peer)) {
            peer.pair.leave(Farewell::Settings);
        }
        self.settle(instances, shell);
        self.peers.retain(|pairing, peer| stays(pairing, peer));
        for (pairing, interface) in wanted {
            self.peers.entry(pairing).or_insert_with(|| Peer::new(pairing, interface, now));
        }
    }

    /// `None`: the peer does not read, or the connection has ended.
    pub(super) fn send(&mut self, connection: Connection, message: Message) -> Option<()> {
        let wire = self.connections.get(&connection)?;
        match wire.outgoing.try_send(message) {
            Ok(()) => {
                self.count("link_sent");
                return Some(());
            }
            Err(TrySendError::Full(_)) => {}
            // It has ended, and what was read before that, a goodbye perhaps, is on its way here.
            Err(TrySendError::Closed(_)) => return None,
        }
        self.count("link_unread");
        let with = self.connections.remove(&connection)?.with;
        self.peers.get_mut(&with)?.pair.handle_end(connection, Instant::now());
        None
    }

    pub(super) fn count(&mut self, counter: &'static str) {
        *self.counters.entry(counter).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::kernel::Kernel;
    use super::super::meetings::tests::{OWN, PEER, greeted};
    use super::*;
    use crate::os::netns;

    const CONNECTION: Connection = 1;

    /// With one peer, and what is sent to it.
    fn linked(now: Instant) -> (Peering, mpsc::Receiver<Message>) {
        let (mut peering, _) = Peering::new(now).unwrap();
        let mut peer = Peer::new((OWN, PEER), InterfaceName::try_from("lo".to_owned()).unwrap(), now);
        let (greeted, (outgoing, sent)) = (greeted(), mpsc::channel(4));
        peer.pair.handle_greeted(CONNECTION, Dialler::Own, greeted.node, now);
        peering.peers.insert((OWN, PEER), peer);
        peering.connections.insert(CONNECTION, Wire { with: (OWN, PEER), outgoing, keys: greeted.keys });
        (peering, sent)
    }

    fn connection(peering: &Peering) -> Option<Connection> {
        peering.peers[&(OWN, PEER)].pair.connection()
    }

    fn count(peering: &Peering, counter: &str) -> u64 {
        peering.counters.get(counter).copied().unwrap_or(0)
    }

    #[test]
    fn a_goodbye_counts_though_something_was_to_be_said_since() {
        netns::with("a_goodbye_counts_though_something_was_to_be_said_since", || {
            let (outbox, _kept) = mpsc::channel(1);
            let mut shell = Shell::new(Kernel::open().unwrap(), outbox);
            for lost in [0, 1] {
                let (mut peering, sent) = linked(Instant::now());
                // It has been read to its end, and what it has said last has not been looked at yet.
                drop(sent);
                assert_eq!(peering.send(CONNECTION, Message::Drained { vrid: 1 }), None);
                if lost == 0 {
                    let goodbye = Message::Farewell(Farewell::Stopping);
                    peering.handle(Event::Message(CONNECTION, goodbye), &mut [], &mut shell);
                }
                peering.handle(Event::Ended(CONNECTION, Ok(())), &mut [], &mut shell);
                assert_eq!((count(&peering, "link_lost"), count(&peering, "link_unread")), (lost, 0));
                assert_eq!(connection(&peering), None);
            }
        });
    }

    #[test]
    fn a_peer_that_does_not_read_is_lost() {
        let (mut peering, _unread) = linked(Instant::now());
        while peering.send(CONNECTION, Message::Drained { vrid: 1 }).is_some() {}
        assert_eq!((count(&peering, "link_sent"), count(&peering, "link_unread")), (4, 1));
        assert_eq!(connection(&peering), None);
    }
}
