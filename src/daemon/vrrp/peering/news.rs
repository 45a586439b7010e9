//! What comes over the links, done: told to the virtual routers, answered, remembered, warned of.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::super::instance::Instance;
use super::super::shell::Shell;
use super::auth_hmac;
use super::node::{LINK, Peering};
use super::roster::{Pairing, shared};
use super::words::{masters, state};
use crate::net::Family;
use crate::peer::{Connection, Message, Output, State};
use crate::vrrp::PeerNews;

/// Changes are said as soon as they are seen, and everything again so often.
const STATE_EVERY: Duration = Duration::from_secs(1);
/// Nodes that are shown the same folder take an edit one after the other.
const DRIFT_AFTER: Duration = Duration::from_secs(10);

impl Peering {
    /// Does what the pairs want done.
    pub(super) fn settle(&mut self, instances: &mut [Instance], shell: &mut Shell) {
        let all: Vec<Pairing> = self.peers.keys().copied().collect();
        for pairing in all {
            while let Some(output) = self.peers.get_mut(&pairing).and_then(|peer| peer.pair.poll_output()) {
                self.perform(pairing, output, instances, shell);
            }
        }
    }

    fn perform(&mut self, pairing: Pairing, output: Output, instances: &mut [Instance], shell: &mut Shell) {
        let (_, peer) = pairing;
        match output {
            Output::Dial { patience } => self.dial(pairing, patience),
            // One that the peer does not read is ended there.
            Output::Send(connection, message) => drop(self.send(connection, message)),
            // What it still has to say it says, then it ends.
            Output::Close(connection) => drop(self.connections.remove(&connection)),
            Output::Linked(connection) => {
                info!("linked with {peer}");
                tell(pairing, PeerNews::Askable(true), instances, shell);
                if let Some(peer) = self.peers.get_mut(&pairing) {
                    // Whoever it is now has its own.
                    peer.clients.clear();
                    peer.knows_clients = false;
                }
                self.send_state(pairing, connection, instances, Instant::now());
            }
            Output::Restarted => {
                auth_hmac::restarted(pairing, instances);
                tell(pairing, PeerNews::Restarted, instances, shell);
            }
            Output::Unlinked => {
                info!("the link to {peer} has ended");
                if let Some(peer) = self.peers.get_mut(&pairing) {
                    // It may have another one when it comes back.
                    peer.drifts_since = None;
                }
                auth_hmac::unlinked(pairing, instances);
                tell(pairing, PeerNews::Askable(false), instances, shell);
            }
            Output::Alive { masters } => {
                let now = Instant::now();
                for instance in shared(instances, pairing) {
                    if masters.contains(&instance.config.vrid.get()) {
                        instance.machine.handle_peer(peer, PeerNews::Alive, now);
                        instance.settle(shell);
                    }
                }
            }
            Output::Gone => {
                warn!(
                    "the process of {peer} is gone: its link has broken off, and nobody is there to take it up"
                );
                tell(pairing, PeerNews::Gone, instances, shell);
            }
            Output::Count(counter) => self.count(counter),
        }
    }

    pub(super) fn take_message(
        &mut self,
        connection: Connection,
        message: &Message,
        instances: &mut [Instance],
        shell: &mut Shell,
        now: Instant,
    ) {
        self.count("link_received");
        let Some(pairing) = self.connections.get(&connection).map(|wire| wire.with) else { return };
        let Some(peer) = self.peers.get_mut(&pairing) else { return };
        if let Message::Farewell(why) = message
            && peer.pair.connection() == Some(connection)
        {
            auth_hmac::part(pairing, *why, instances);
        }
        if !peer.pair.handle_message(connection, message, now) {
            return;
        }
        match message {
            Message::Ask { id } => {
                let alive = Message::Alive { id: *id, masters: masters(instances, Family::of(pairing.0)) };
                self.send(connection, alive);
            }
            Message::State(state) => {
                let other = !state.digest.is_empty()
                    && !self.about.digest.is_empty()
                    && state.digest != self.about.digest;
                // Of whose clients it was told before an edit it has kept those that it could serve then.
                if peer.state.as_ref().is_some_and(|before| before.digest != state.digest) {
                    peer.knows_clients = false;
                }
                peer.drifts_since = other.then(|| peer.drifts_since.unwrap_or(now));
                peer.state = Some((**state).clone());
                auth_hmac::hear(pairing, state, instances);
                // A virtual router may be younger than the link.
                tell(pairing, PeerNews::Askable(true), instances, shell);
                tell(pairing, PeerNews::Late(Duration::from_nanos(state.late_ns)), instances, shell);
                tell(pairing, PeerNews::Quota(Duration::from_nanos(state.quota_ns)), instances, shell);
                let bounds = shared(instances, pairing)
                    .map(|i| (i.config.vrid.get(), i.machine.promise(pairing.1, now)))
                    .collect();
                self.send(connection, Message::Patience { id: state.id, bounds });
            }
            Message::Patience { id, bounds } => {
                let Some(asked) = peer.sent.answered(*id) else { return };
                if let Some(state) = &peer.state {
                    auth_hmac::believe(pairing, state, asked, instances);
                }
                for instance in shared(instances, pairing) {
                    let vrid = instance.config.vrid.get();
                    if let Some((_, bound)) = bounds.iter().find(|(of, _)| *of == vrid) {
                        let news = PeerNews::Patient { bound: *bound, asked };
                        instance.machine.handle_peer(pairing.1, news, now);
                        instance.settle(shell);
                    }
                }
            }
            Message::Drained { vrid } => {
                for instance in shared(instances, pairing).filter(|i| i.config.vrid.get() == *vrid) {
                    instance.machine.handle_drained(pairing.1, now);
                    instance.settle(shell);
                }
            }
            Message::Clients(change) => self.remember_clients(pairing, change, instances),
            // The pair's own.
            Message::Alive { .. } | Message::Farewell(_) | Message::Order(_) | Message::Outcome(_) => {}
        }
    }

    /// To everybody, when something has changed, or a while after it was last said.
    pub(super) fn say_state(&mut self, instances: &mut [Instance], now: Instant) {
        let state = state(instances, &self.about);
        if state == self.said && now < self.next_state {
            return;
        }
        self.said = state;
        self.next_state = now + STATE_EVERY;
        for (pairing, connection) in self.linked() {
            self.send_state(pairing, connection, instances, now);
        }
    }

    pub(super) fn say_drained(&mut self, family: Family, vrid: u8) {
        for (_, connection) in self.linked().into_iter().filter(|((own, _), _)| Family::of(*own) == family) {
            self.send(connection, Message::Drained { vrid });
        }
    }

    pub(super) fn linked(&self) -> Vec<(Pairing, Connection)> {
        self.peers.iter().filter_map(|(pairing, p)| Some((*pairing, p.pair.connection()?))).collect()
    }

    fn send_state(
        &mut self,
        pairing: Pairing,
        connection: Connection,
        instances: &mut [Instance],
        now: Instant,
    ) {
        let Some(peer) = self.peers.get_mut(&pairing) else { return };
        let mut state = State { id: peer.sent.number(now), ..self.said.clone() };
        auth_hmac::say(pairing, &mut state, instances, now);
        self.send(connection, Message::State(Box::new(state)));
    }

    pub(super) fn say_drift(&mut self, shell: &mut Shell, now: Instant) {
        let drifts = |since: &Option<Instant>| since.is_some_and(|since| now >= since + DRIFT_AFTER);
        let others: Vec<String> = self
            .peers
            .iter()
            .filter(|(_, peer)| drifts(&peer.drifts_since))
            .map(|((_, address), peer)| match &peer.state {
                Some(state) if !state.node.is_empty() => format!("{} ({address})", state.node),
                _ => address.to_string(),
            })
            .collect();
        let result = if others.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "another configuration than this node's is in force at {}: show all nodes the same file",
                others.join(", ")
            ))
        };
        shell.warnings.set(LINK, "drift", result, now);
    }
}

/// Every virtual router that the peer plays as well.
fn tell(pairing: Pairing, news: PeerNews, instances: &mut [Instance], shell: &mut Shell) {
    let now = Instant::now();
    for instance in shared(instances, pairing) {
        instance.machine.handle_peer(pairing.1, news, now);
        instance.settle(shell);
    }
}
