//! How connections with peers come about: the listeners, whoever dials them, and whom this node dials.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::super::shell::Shell;
use super::connection::{self, Credentials, Event, Meeting, Route};
use super::node::{LINK, Peering, Wire};
use super::roster::Pairing;
use crate::net::InterfaceName;
use crate::os::random;
use crate::peer::{Dialler, Ends, Failure, Key, Message, Refusal};

/// For one connection: a list of all clients, and more than a peer that runs leaves unread.
const OUTBOX: usize = 256;
/// A listener that could not be opened is tried again after this.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Peering {
    /// At every own address of a virtual router.
    pub(super) fn listen(
        &mut self,
        port: Option<u16>,
        places: &BTreeMap<IpAddr, InterfaceName>,
        shell: &mut Shell,
        now: Instant,
    ) {
        self.listeners.retain(|own, (interface, at, task)| {
            let stays = places.get(own) == Some(interface) && Some(*at) == port;
            if !stays {
                task.abort();
            }
            stays
        });
        let Some(port) = port.filter(|_| self.next_listen <= now) else { return };
        let mut problems = vec![];
        for (own, interface) in places {
            if self.listeners.contains_key(own) {
                continue;
            }
            match connection::listen(*own, port, interface) {
                Ok(listener) => {
                    let accepts = connection::accept_all(
                        listener,
                        *own,
                        self.admitted.subscribe(),
                        self.events.clone(),
                    );
                    let task = tokio::spawn(accepts).abort_handle();
                    self.listeners.insert(*own, (interface.clone(), port, task));
                }
                Err(error) => {
                    self.next_listen = now + LISTEN_AGAIN_AFTER;
                    let at = SocketAddr::new(*own, port);
                    problems.push(format!("the link to the peers cannot listen at {at}: {error}"));
                }
            }
        }
        let result = if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) };
        shell.warnings.set(LINK, "listeners", result, now);
    }

    /// Somebody has dialled from a peer's address, whoever that is.
    pub(super) fn greet_back(&mut self, pairing: Pairing, stream: TcpStream) {
        let Some(ours) = self.credentials() else { return };
        let greetings = self.peers.get(&pairing).map_or(&self.greetings, |peer| &peer.greetings);
        let Ok(place) = Arc::clone(greetings).try_acquire_owned() else {
            return self.count(Refusal::Crowd.counter());
        };
        let ends = Ends { dialler: pairing.1, listener: pairing.0 };
        let events = self.events.clone();
        // Ends within its patience, or with the role.
        drop(tokio::spawn(async move {
            let result = connection::answer(stream, ends, &ours).await;
            drop(events.send(Event::Answered { own: pairing.0, peer: pairing.1, result }).await);
            // Given back where it was taken, whoever is known as a peer by now.
            drop(place);
        }));
    }

    pub(super) fn dial(&mut self, pairing: Pairing, patience: Duration) {
        let Some(peer) = self.peers.get_mut(&pairing) else { return };
        let route = self.settings.as_ref().map(|settings| Route {
            own: pairing.0,
            peer: pairing.1,
            interface: peer.interface.clone(),
            port: settings.port,
        });
        let (Some(route), Some(ours)) = (route, self.credentials()) else {
            return self.fail_to_dial(pairing, Failure::Local, Instant::now());
        };
        let events = self.events.clone();
        // Ends within its patience, or with the role.
        drop(tokio::spawn(async move {
            let result = connection::dial(&route, &ours, patience).await;
            drop(events.send(Event::Dialled { own: route.own, peer: route.peer, result }).await);
        }));
    }

    /// Whatever becomes of an attempt, the pair has to know, or it waits for that for ever.
    fn fail_to_dial(&mut self, pairing: Pairing, failure: Failure, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&pairing) {
            peer.pair.handle_failure(failure, now);
        }
    }

    fn credentials(&self) -> Option<Credentials> {
        let keys = self.source.keys().ok()?.clone();
        Some(Credentials { keys, node: self.node, nonce: random::bytes().ok()? })
    }

    pub(super) fn meet(&mut self, pairing: Pairing, by: Dialler, mut meeting: Box<Meeting>, now: Instant) {
        let first = meeting.first.take();
        // Who has dialled this node has thought better of it: the two have another connection. Whoever is dialled by this
        // one has said nothing yet.
        if matches!(first, Some(Message::Farewell(_))) {
            return;
        }
        let is_current = |key: &Key| self.source.keys().is_ok_and(|keys| keys.accepts(key));
        if !meeting.greeted.keys.iter().all(is_current) {
            if by == Dialler::Own {
                self.fail_to_dial(pairing, Failure::Refusal(Refusal::Key), now);
            }
            return self.count(Refusal::Key.counter());
        }
        let Some(peer) = self.peers.get_mut(&pairing) else { return };
        self.last_connection += 1;
        let connection = self.last_connection;
        let (outgoing, queue) = mpsc::channel(OUTBOX);
        let (node, keys) = (meeting.greeted.node, meeting.greeted.keys.clone());
        // Ends with either side's end, of which the role learns.
        drop(tokio::spawn(connection::converse(connection, meeting, queue, self.events.clone())));
        self.partings += 1;
        self.connections.insert(connection, Wire { with: pairing, outgoing, keys });
        peer.pair.handle_greeted(connection, by, node, now);
        self.first = first.map(|message| (connection, message));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tokio::net::TcpListener;

    use super::super::super::kernel::Kernel;
    use super::super::node::Peer;
    use super::*;
    use crate::os::netns;
    use crate::peer::{Frames, Greeted, Keys, Output, Secret, accept, greet};

    pub(in super::super) const OWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    pub(in super::super) const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3));

    /// With one peer, who is being dialled.
    fn dialling(now: Instant) -> Peering {
        let (mut peering, _) = Peering::new(now).unwrap();
        let mut peer = Peer::new((OWN, PEER), InterfaceName::try_from("lo".to_owned()).unwrap(), now);
        peer.pair.handle_timeout(now);
        assert!(matches!(peer.pair.poll_output(), Some(Output::Dial { .. })));
        peering.peers.insert((OWN, PEER), peer);
        peering
    }

    fn is_dialled_again(peering: &mut Peering) {
        let pair = &mut peering.peers.get_mut(&(OWN, PEER)).unwrap().pair;
        let (at, _) = pair.poll_timeout().expect("it is to be dialled again");
        pair.handle_timeout(at);
        assert!(matches!(pair.poll_output(), Some(Output::Dial { .. })));
    }

    /// Under a key that no peering has.
    pub(in super::super) fn greeted() -> Greeted {
        let keys = Keys::parse(&[b'k'; 32]).unwrap();
        let ends = Ends { dialler: OWN, listener: PEER };
        let secret = |node| Secret { keys: &keys, node: [node; 16], nonce: [node; 32] };
        let (question, _) = greet(&secret(1), ends).unwrap();
        accept(&secret(2), ends, &question).unwrap().greeted
    }

    async fn meeting() -> Box<Meeting> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        Box::new(Meeting { stream, greeted: greeted(), frames: Frames::default(), first: None })
    }

    #[tokio::test]
    async fn a_dial_that_other_keys_have_overtaken_is_followed_by_another() {
        let now = Instant::now();
        let mut peering = dialling(now);
        peering.meet((OWN, PEER), Dialler::Own, meeting().await, now);
        assert_eq!(peering.counters[Refusal::Key.counter()], 1);
        is_dialled_again(&mut peering);
        // What the peer has dialled says nothing about this node's attempt.
        peering.meet((OWN, PEER), Dialler::Peer, meeting().await, now);
        assert_eq!(peering.counters[Refusal::Key.counter()], 2);
        assert_eq!(peering.peers[&(OWN, PEER)].pair.poll_timeout(), None);
    }

    #[test]
    fn a_dial_that_could_not_begin_is_followed_by_another() {
        let mut peering = dialling(Instant::now());
        peering.dial((OWN, PEER), Duration::ZERO);
        is_dialled_again(&mut peering);
    }

    #[test]
    fn a_stranger_who_dials_has_peers_asked_for() {
        netns::with("a_stranger_who_dials_has_peers_asked_for", || {
            let (outbox, _kept) = mpsc::channel(1);
            let mut shell = Shell::new(Kernel::open().unwrap(), outbox);
            let (mut peering, _) = Peering::new(Instant::now()).unwrap();
            peering.handle(Event::Stranger, &mut [], &mut shell);
            assert!(shell.hears_stranger);
        });
    }
}
