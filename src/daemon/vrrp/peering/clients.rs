//! Open connections of clients: a master tells its peers of them, and who replaces one that fell silent tells the clients.
//! The kernel of a frozen node has acknowledged what they sent, so that nothing else would end their wait.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{debug, info};

use super::super::instance::Instance;
use super::super::shell::Shell;
use super::super::turns::is_due;
use super::connection::Event;
use super::node::{LINK, Peering};
use super::roster::{Pairing, shared};
use crate::config::Config;
use crate::net::{Family, is_link_local};
use crate::os::segment::SegmentSocket;
use crate::os::sock_diag::Connections;
use crate::os::tcp::{Counters, Counts};
use crate::peer::{Bereaved, Change, Client, MAX_CLIENTS, Message, Watched, pause_after};

/// Of one look. Twice what is told of, since half of them may be too young.
const MAX_SEEN: usize = 2 * MAX_CLIENTS;
/// A look is not spared for longer: of two connections one may have come as the other went.
const QUIET_FOR: Duration = Duration::from_secs(10);

/// This node's part, as master and as the one that replaces a master.
pub(super) struct Clients {
    listen: Vec<SocketAddr>,
    /// `None`: a thread looks, with it.
    watch: Option<Box<Watch>>,
    next_look: Instant,
    /// `None`: this kernel does not count.
    counters: Option<Counters>,
    quiet: Option<Quiet>,
    bereaved: Bereaved,
    socket: Option<SegmentSocket>,
}

/// What was there when a look had found nothing that is to be looked at again soon.
#[derive(Debug)]
struct Quiet {
    counts: Counts,
    addresses: Vec<IpAddr>,
    /// The peers remember none.
    none_told: bool,
    until: Instant,
}

impl Quiet {
    /// Another look would find the same.
    fn lasts(&self, counts: Option<Counts>, addresses: &[IpAddr], now: Instant) -> bool {
        let is_same = |counts: Counts| {
            counts.established == self.counts.established
                && (self.none_told || counts.accepted == self.counts.accepted)
        };
        now < self.until && addresses == self.addresses && counts.is_some_and(is_same)
    }
}

impl Clients {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            listen: vec![],
            watch: Some(Box::default()),
            next_look: now,
            counters: Counters::open().ok(),
            quiet: None,
            bereaved: Bereaved::default(),
            socket: None,
        }
    }

    pub(super) fn configure(&mut self, config: &Config) {
        self.listen = config.servers.iter().flat_map(|server| server.listen.iter().copied()).collect();
        self.quiet = None;
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.bereaved.poll_timeout()
    }

    /// `None`: whenever there is a turn.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        Some(self.next_look).filter(|at| *at > now)
    }

    fn listens_at(&self, address: IpAddr, port: u16) -> bool {
        listens_at(&self.listen, address, port)
    }
}

fn listens_at(listen: &[SocketAddr], address: IpAddr, port: u16) -> bool {
    // A listener on [::] has no IPv4.
    let of_family = |ip: IpAddr| Family::of(ip) == Family::of(address);
    let is_at = |ip: IpAddr| (ip.is_unspecified() && of_family(ip)) || ip.to_canonical() == address;
    listen.iter().any(|listener| listener.port() == port && is_at(listener.ip()))
}

/// What goes to the thread that looks, and comes back.
#[derive(Default)]
struct Watch {
    connections: Option<Connections>,
    watched: Watched,
}

impl Watch {
    /// Connections at these addresses that this node listens for.
    fn look(&mut self, addresses: &[IpAddr], listen: &[SocketAddr]) -> io::Result<Change> {
        let at_one = |listener: &&SocketAddr| {
            addresses.iter().any(|address| listens_at(&[**listener], *address, listener.port()))
        };
        let ports: BTreeSet<u16> = listen.iter().filter(at_one).map(SocketAddr::port).collect();
        let only = ports.first().copied().filter(|_| ports.len() == 1);
        let v6 = listen.iter().any(SocketAddr::is_ipv6);
        let mut seen = BTreeSet::new();
        if !ports.is_empty() {
            let connections = match &mut self.connections {
                Some(connections) => connections,
                none => none.insert(Connections::open()?),
            };
            connections.list(only, v6, |local, remote| {
                let is_wanted =
                    addresses.contains(&local.ip()) && listens_at(listen, local.ip(), local.port());
                if is_wanted && seen.len() < MAX_SEEN {
                    seen.insert(Client {
                        virtual_address: local.ip(),
                        port: local.port(),
                        address: remote.ip(),
                        client_port: remote.port(),
                    });
                }
            })?;
        }
        Ok(self.watched.look(&seen))
    }
}

/// What a look has found, and what it has cost.
pub(in super::super) struct Look {
    watch: Box<Watch>,
    /// Of the moment before it.
    counts: Option<Counts>,
    addresses: Vec<IpAddr>,
    listen: Vec<SocketAddr>,
    change: io::Result<Change>,
    spent: Duration,
}

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look").field("spent", &self.spent).finish_non_exhaustive()
    }
}

impl Look {
    /// Takes milliseconds where there are thousands of connections: nothing for the event loop.
    fn begin(
        mut watch: Box<Watch>,
        counts: Option<Counts>,
        addresses: Vec<IpAddr>,
        listen: Vec<SocketAddr>,
        events: mpsc::Sender<Event>,
    ) {
        drop(tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let change = watch.look(&addresses, &listen);
            let spent = began.elapsed();
            drop(events.blocking_send(Event::Looked(Self {
                watch,
                counts,
                addresses,
                listen,
                change,
                spent,
            })));
        }));
    }
}

impl Peering {
    /// From time to time, and only for somebody who listens.
    pub(super) fn look_at_clients(&mut self, instances: &[Instance], shell: &mut Shell, now: Instant) {
        let mastered = mastered(instances);
        if mastered.is_empty() || self.linked().is_empty() {
            self.say_no_clients();
            self.clients.next_look = now;
            self.clients.quiet = None;
            shell.warnings.set(LINK, "clients", Ok(()), now);
        } else if is_due(self.clients.next_look, now) {
            let counts = self.clients.counters.as_ref().and_then(Counters::read);
            let is_told =
                self.peers.values().all(|peer| peer.knows_clients || peer.pair.connection().is_none());
            let is_quiet = self.clients.quiet.as_ref().is_some_and(|q| q.lasts(counts, &mastered, now));
            if !(is_told && is_quiet)
                && let Some(watch) = self.clients.watch.take()
            {
                Look::begin(watch, counts, mastered, self.clients.listen.clone(), self.events.clone());
            }
        }
    }

    pub(super) fn take_look(&mut self, look: Look, instances: &[Instance], shell: &mut Shell, now: Instant) {
        let is_idle = look.change.as_ref().is_ok_and(|change| look.watch.watched.is_idle(change));
        self.clients.next_look = now + pause_after(look.spent, is_idle);
        let none_told = look.watch.watched.is_empty();
        let is_current = look.listen == self.clients.listen;
        self.clients.quiet = look.counts.filter(|_| is_idle && is_current).map(|counts| Quiet {
            counts,
            addresses: look.addresses,
            none_told,
            until: now + QUIET_FOR,
        });
        let watch = self.clients.watch.insert(look.watch);
        let problem = look.change.as_ref().map(|_| ()).map_err(|error| {
            format!(
                "connections cannot be listed, so that their clients are not told after a freeze: {error}"
            )
        });
        shell.warnings.set(LINK, "clients", problem, now);
        let Ok(change) = look.change else { return };
        if mastered(instances).is_empty() {
            return self.say_no_clients();
        }
        let all = watch.watched.all();
        for (pairing, connection) in self.linked() {
            let Some(peer) = self.peers.get_mut(&pairing) else { continue };
            let change = if std::mem::replace(&mut peer.knows_clients, true) { &change } else { &all };
            for message in change.clone().messages() {
                if self.send(connection, message).is_none() {
                    break;
                }
            }
        }
    }

    /// A peer need not remember what this node serves no more, or what it has itself taken over in good order.
    fn say_no_clients(&mut self) {
        let Some(watch) = self.clients.watch.as_mut().filter(|watch| !watch.watched.is_empty()) else {
            return;
        };
        watch.watched = Watched::default();
        for (pairing, connection) in self.linked() {
            let Some(peer) = self.peers.get_mut(&pairing) else { continue };
            if std::mem::take(&mut peer.knows_clients) {
                let none = Change { anew: true, ..Change::default() };
                self.send(connection, Message::Clients(none));
            }
        }
    }

    /// Kept of a peer is what it may speak of: clients of addresses that it has and this node listens at.
    pub(super) fn remember_clients(&mut self, pairing: Pairing, change: &Change, instances: &mut [Instance]) {
        let others = shared(instances, pairing).filter(|i| !i.is_master());
        let addresses: Vec<IpAddr> = others.flat_map(|instance| instance.config.addresses()).collect();
        let room = MAX_CLIENTS.saturating_sub(self.peers.values().map(|peer| peer.clients.len()).sum());
        let Some(peer) = self.peers.get_mut(&pairing) else { return };
        peer.clients.apply(change, room, |client| {
            // One at a link-local address could not be told without its interface.
            let is_one = !(client.address.is_loopback()
                || client.address.is_unspecified()
                || client.address.is_multicast()
                || client.address == IpAddr::V4(Ipv4Addr::BROADCAST)
                || is_link_local(client.address));
            is_one
                && addresses.contains(&client.virtual_address)
                && self.clients.listens_at(client.virtual_address, client.port)
        });
    }

    /// To be called after everything that may have made this node master.
    pub(super) fn tell_clients(&mut self, instances: &mut [Instance], shell: &mut Shell) {
        let now = Instant::now();
        for (addresses, old) in std::mem::take(&mut shell.bereaved) {
            for (_, peer) in self.peers.iter_mut().filter(|((_, address), _)| *address == old) {
                let clients = peer.clients.take(&addresses);
                if !clients.is_empty() {
                    info!("{} connections that {old} does not serve any more are ended", clients.len());
                    self.clients.bereaved.add(clients, now);
                }
            }
        }
        if self.peers.values().any(|peer| !peer.clients.is_empty()) {
            let mastered = mastered(instances);
            // Of a planned move: they are relayed, and end in good order.
            self.peers.values_mut().for_each(|peer| drop(peer.clients.take(&mastered)));
        }
        for client in self.clients.bereaved.due(now) {
            if is_master_of(client.virtual_address, instances, shell) {
                self.tell_client(&client);
            } else {
                self.clients.bereaved.forget(client.virtual_address);
            }
        }
        if self.clients.bereaved.poll_timeout().is_none() {
            self.clients.socket = None;
        }
    }

    fn tell_client(&mut self, client: &Client) {
        let from = SocketAddr::new(client.virtual_address, client.port);
        let to = SocketAddr::new(client.address, client.client_port);
        let socket = match self.clients.socket.take() {
            Some(socket) => Ok(socket),
            None => SegmentSocket::open(),
        };
        let told = socket.and_then(|socket| self.clients.socket.insert(socket).acknowledge(from, to));
        match told {
            Ok(()) => self.count("clients_told"),
            Err(error) => {
                debug!("{to} cannot be told that its connection to {from} is gone: {error}");
                self.count("clients_untold");
            }
        }
    }
}

fn mastered(instances: &[Instance]) -> Vec<IpAddr> {
    let masters = instances.iter().filter(|instance| instance.is_master());
    masters.flat_map(|instance| instance.config.addresses()).collect()
}

/// Asked before each segment: a node that did not run may have been replaced meanwhile.
fn is_master_of(address: IpAddr, instances: &mut [Instance], shell: &mut Shell) -> bool {
    let Some(instance) = instances.iter_mut().find(|i| i.held.contains(&address)) else { return false };
    let now = instance.wake(shell);
    let is_master = instance.machine.answers(now);
    instance.settle(shell);
    is_master
}

#[cfg(test)]
mod tests {
    use super::super::super::kernel::Kernel;
    use super::super::super::tests::instance;
    use super::*;
    use crate::config::VrrpInstance;
    use crate::net::Priority;
    use crate::os::netns;

    #[test]
    fn a_look_is_spared_while_it_would_find_the_same() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let counts = |established, accepted| Some(Counts { established, accepted });
        let (one, other) = ([IpAddr::from([10, 9, 0, 99])], [IpAddr::from([10, 9, 0, 98])]);
        let table = [
            ("nothing has happened", true, counts(3, 7), &one, 1, true),
            ("one came", true, counts(4, 8), &one, 1, false),
            ("one went", true, counts(2, 7), &one, 1, false),
            ("one came and went, and nobody knows of any", true, counts(3, 8), &one, 1, true),
            ("one came, and perhaps one went that a peer knows of", false, counts(3, 8), &one, 1, false),
            ("another address came", true, counts(3, 7), &other, 1, false),
            ("for long", true, counts(3, 7), &one, 10, false),
            ("the kernel does not say", true, None, &one, 1, false),
        ];
        for (what, none_told, counts, addresses, seconds, expect) in table {
            let before = Counts { established: 3, accepted: 7 };
            let quiet = Quiet { counts: before, addresses: one.to_vec(), none_told, until: after(10) };
            assert_eq!(quiet.lasts(counts, addresses, after(seconds)), expect, "{what}");
        }
    }

    #[test]
    fn a_node_that_was_frozen_among_its_clients_does_not_go_on() {
        netns::with("a_node_that_was_frozen_among_its_clients_does_not_go_on", || {
            netns::loopback_up();
            let (outbox, _kept) = mpsc::channel(64);
            let mut shell = Shell::new(Kernel::open().unwrap(), outbox);
            let now = Instant::now();
            shell.survey(now);
            let owner = VrrpInstance { priority: Priority::OWNER, ..instance("10.9.0.99/24") };
            let mut router = Instance::start(owner, &mut shell, now);
            router.arp_fence = crate::link::ArpFence::Nftables;
            router.machine.handle_eligible(Ok(()), now);
            router.machine.handle_interface(Some([10, 9, 0, 1].into()), now);
            router.settle(&mut shell);
            let mut instances = [router];
            let mut may =
                |shell: &mut Shell, last| is_master_of([10, 9, 0, last].into(), &mut instances, shell);
            assert!(may(&mut shell, 99));
            assert!(!may(&mut shell, 98), "nobody's");
            shell.pretend_gap(Duration::from_secs(5));
            assert!(!may(&mut shell, 99), "it may have been replaced");
            let [mut router] = instances;
            router.leave(&mut shell, Instant::now());
        });
    }

    #[test]
    fn a_client_is_one_of_a_listener_that_has_the_address() {
        let listen = |text: &str| -> Vec<SocketAddr> { vec![text.parse().unwrap()] };
        let address = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 99));
        for (listener, port, expect) in [
            ("0.0.0.0:80", 80, true),
            ("[::]:80", 80, false),
            ("10.9.0.99:80", 80, true),
            ("[::ffff:10.9.0.99]:80", 80, true),
            ("0.0.0.0:80", 81, false),
            ("10.9.0.98:80", 80, false),
            ("[::1]:80", 80, false),
        ] {
            assert_eq!(listens_at(&listen(listener), address, port), expect, "{listener}");
        }
        let address = "2001:db8::99".parse().unwrap();
        for (listener, expect) in [
            ("[::]:80", true),
            ("[2001:db8::99]:80", true),
            ("[2001:db8::98]:80", false),
            ("0.0.0.0:80", false),
        ] {
            assert_eq!(listens_at(&listen(listener), address, 80), expect, "{listener}");
        }
    }
}
