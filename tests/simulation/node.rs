//! A node: the process (the machine under test and a shell around it) and the kernel, which goes on without it.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use vipgate::config::VrrpVersion;
use vipgate::link::VrrpState;
use vipgate::net::MacAddr;
use vipgate::vrrp::arp::Frame as Arp;
use vipgate::vrrp::neighbour::{self, Meaning};
use vipgate::vrrp::packet_v3::{GROUP, TTL};
use vipgate::vrrp::receive::{Datagram, Expectation, Senders, check};
use vipgate::vrrp::{
    ChecksumForms, Claim, Claimant, Gap, Machine, Output, Password, Settings, packet_v2, packet_v3, timing,
};

use crate::clock::{Clock, MS, Nanos};
use crate::lan::Frame;
use crate::link::{Links, Message};

/// What each of the two sockets holds for a process that does not read.
const INBOX: usize = 256;
/// The shell looks at its clocks this often: a shorter gap is none.
const GAP_NOTICED: Nanos = 5 * MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freeze {
    /// `docker pause`: its clocks go on.
    Paused,
    /// A suspended machine: CLOCK_MONOTONIC stands still and nothing arrives.
    Suspended,
}

pub(crate) struct Node {
    pub(crate) id: usize,
    pub(crate) address: IpAddr,
    pub(crate) mac: MacAddr,
    pub(crate) settings: Settings,
    pub(crate) password: Option<Password>,
    /// Empty: multicast.
    pub(crate) peers: Vec<IpAddr>,
    pub(crate) clock: Clock,
    /// None: the process is dead.
    pub(crate) machine: Option<Machine>,
    pub(crate) frozen: Option<(Freeze, Nanos)>,
    adverts: VecDeque<Frame>,
    arp: VecDeque<Frame>,
    pub(crate) up: bool,
    pub(crate) eligible: bool,
    forms: ChecksumForms,
    /// MAC addresses behind accepted adverts; the simulation derives them from the source address.
    known: Vec<MacAddr>,
    /// Set by `AnswerArp`.
    pub(crate) answering: bool,
    /// The kernel's lease of the virtual address.
    pub(crate) held_until: Option<Nanos>,
    /// Asked to give the addresses up, and has them still.
    pub(crate) resigning: bool,
    /// And to stay in the election.
    fails_over: bool,
    /// And to end.
    stops: bool,
    /// Has handed over on request, and must not preempt whoever has the addresses.
    pub(crate) yielded: bool,
    pub(crate) links: Links,
    /// Until then the kernel lets packets for the address in, whether or not the process runs.
    pub(crate) open_until: Nanos,
    /// Counts its processes.
    pub(crate) life: u64,
    /// Whether the shell sees a gap while its own clock runs on, or leaves that to the machine.
    notices_gaps: bool,
}

/// What one turn of the event loop did.
#[derive(Default)]
pub(crate) struct Deed {
    pub(crate) sent: Vec<Frame>,
    pub(crate) log: Vec<String>,
    pub(crate) became: Option<VrrpState>,
    pub(crate) resigned: bool,
    pub(crate) broadcasts: usize,
    /// An ARP answer, an announcement or an advert that claims mastership left the node.
    pub(crate) claimed: bool,
    pub(crate) advertised: bool,
    /// An advert was accepted by `receive::check` and given to the machine: interval, priority.
    pub(crate) heard: Vec<(Duration, u8)>,
    /// To the peer of that number.
    pub(crate) letters: Vec<(usize, Message)>,
    pub(crate) asked: Vec<IpAddr>,
    pub(crate) answered: u64,
    /// To whom this node has promised to be patient, and for how long.
    pub(crate) promised: Vec<(usize, Duration)>,
    /// On whose promise of how much it relies, from when on; `None`: on none of that one's any more.
    pub(crate) relies: Vec<(usize, Option<(Duration, std::time::Instant)>)>,
    /// Why it became master: its link told it.
    pub(crate) by_link: bool,
}

pub(crate) struct Identity {
    pub(crate) id: usize,
    pub(crate) settings: Settings,
    pub(crate) password: Option<Password>,
    pub(crate) peers: Vec<IpAddr>,
    pub(crate) clock: Clock,
    pub(crate) notices_gaps: bool,
    pub(crate) linked: bool,
    /// The CFS period of a quota, zero: none.
    pub(crate) quota: Duration,
}

pub(crate) fn address(id: usize) -> IpAddr {
    [10, 0, 0, 1 + u8::try_from(id).unwrap_or(0)].into()
}

/// The simulated network is an IPv4 one: the machine knows no difference.
pub(crate) fn v4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => unreachable!("nobody here has one"),
    }
}

pub(crate) fn mac(address: IpAddr) -> MacAddr {
    let [a, b, c, d] = v4(address).octets();
    MacAddr([2, 0, a, b, c, d])
}

impl Node {
    pub(crate) fn new(identity: Identity) -> Self {
        let address = address(identity.id);
        Self {
            id: identity.id,
            address,
            mac: mac(address),
            settings: identity.settings,
            password: identity.password,
            peers: identity.peers,
            clock: identity.clock,
            machine: None,
            frozen: None,
            adverts: VecDeque::new(),
            arp: VecDeque::new(),
            up: true,
            eligible: true,
            forms: ChecksumForms::default(),
            known: Vec::new(),
            answering: false,
            held_until: None,
            resigning: false,
            stops: false,
            fails_over: false,
            yielded: false,
            open_until: 0,
            links: Links::new(identity.linked, identity.quota),
            life: 0,
            notices_gaps: identity.notices_gaps,
        }
    }

    pub(crate) fn state(&self) -> Option<VrrpState> {
        self.machine.as_ref().map(Machine::state)
    }

    pub(crate) fn runs(&self) -> bool {
        self.machine.is_some() && self.frozen.is_none()
    }

    /// A living process answers who-has for the virtual address.
    pub(crate) fn answers(&self) -> bool {
        self.runs() && self.up && self.answering
    }

    /// A connection to the address would be accepted, if only by its kernel.
    pub(crate) fn accepts(&self, now: Nanos) -> bool {
        self.up && self.holds(now) && now < self.open_until
    }

    pub(crate) fn holds(&self, now: Nanos) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    pub(crate) fn start(&mut self, now: Nanos) -> Deed {
        // What a process that died has left in the kernel is reconciled before the first advert.
        self.held_until = None;
        self.answering = false;
        (self.resigning, self.stops) = (false, false);
        self.yielded = false;
        self.life += 1;
        self.discard();
        self.known.clear();
        self.machine = Some(Machine::new(self.settings.clone(), self.clock.local(now)));
        self.tell_surroundings(now)
    }

    /// The kernel keeps the address until its lease ends; nobody answers.
    pub(crate) fn die(&mut self) {
        self.machine = None;
        self.frozen = None;
        self.answering = false;
        self.links.die();
        self.discard();
    }

    fn discard(&mut self) {
        self.adverts.clear();
        self.arp.clear();
    }

    pub(crate) fn resign(&mut self, bound: Duration, now: Nanos) -> Deed {
        (self.resigning, self.stops) = (true, true);
        self.act(now, |machine, local| machine.handle_resign(bound, local))
    }

    pub(crate) fn fail_over(&mut self, bound: Duration, now: Nanos) -> Deed {
        (self.resigning, self.fails_over) = (true, true);
        self.act(now, |machine, local| machine.handle_failover(bound, local))
    }

    pub(crate) fn stand_back(&mut self, bound: Duration, now: Nanos) -> Deed {
        (self.resigning, self.fails_over) = (true, false);
        self.act(now, |machine, local| machine.handle_stand_back(bound, local))
    }

    /// One that is still handing over goes on as a backup that has handed over.
    pub(crate) fn stand_in(&mut self, now: Nanos) -> Deed {
        self.fails_over |= self.resigning;
        self.act(now, Machine::handle_stand_in)
    }

    pub(crate) fn emptied(&mut self, now: Nanos) -> Deed {
        self.act(now, Machine::handle_emptied)
    }

    /// What netlink and PID 1 would tell.
    pub(crate) fn tell_surroundings(&mut self, now: Nanos) -> Deed {
        let primary = self.up.then_some(self.address);
        let eligible = if self.eligible { Ok(()) } else { Err("the proxy is down".to_owned()) };
        let settings = self.settings.clone();
        let peers = (!self.peers.is_empty()).then(|| self.peers.clone());
        self.act(now, |machine, local| {
            machine.reconfigure(settings, local);
            machine.handle_peers(peers, local);
            machine.handle_interface(primary, local);
            machine.handle_eligible(eligible, local);
        })
    }

    pub(crate) fn thaw(&mut self, now: Nanos, told_first: bool) -> Deed {
        let Some((freeze, since)) = self.frozen.take() else { return Deed::default() };
        let gap = now - since;
        if freeze == Freeze::Paused {
            self.links.was_late(gap, now);
        }
        let noticed = match freeze {
            Freeze::Suspended => {
                self.clock.stood += gap;
                self.held_until = self.held_until.map(|until| until + gap);
                true
            }
            Freeze::Paused => self.notices_gaps,
        };
        let mut deed = Deed::default();
        let length = Duration::from_nanos(gap);
        let hidden = match freeze {
            Freeze::Suspended => length,
            Freeze::Paused => Duration::ZERO,
        };
        let told = Gap { length, hidden };
        if noticed && gap > GAP_NOTICED {
            deed.append(self.act(now, |machine, local| machine.handle_gap(told, local)));
        }
        // Sockets before timers: that is the contract. What netlink and PID 1 have to say comes when it comes.
        if told_first {
            deed.append(self.tell_surroundings(now));
        }
        deed.append(self.read_sockets(now));
        for letter in std::mem::take(&mut self.links.waiting) {
            deed.append(self.read(letter, address(letter.from), now));
        }
        deed.append(self.wake(now));
        deed.append(self.tell_surroundings(now));
        deed
    }

    fn read_sockets(&mut self, now: Nanos) -> Deed {
        let mut deed = Deed::default();
        while let Some(frame) = self.adverts.pop_front().or_else(|| self.arp.pop_front()) {
            deed.append(self.process(&frame, now));
        }
        deed
    }

    pub(crate) fn wake(&mut self, now: Nanos) -> Deed {
        self.act(now, |machine, local| machine.handle_timeout(local))
    }

    pub(crate) fn receive(&mut self, frame: Frame, now: Nanos) -> Deed {
        match self.frozen {
            _ if !self.up || self.machine.is_none() => Deed::default(),
            None => self.process(&frame, now),
            Some((Freeze::Suspended, _)) => Deed::default(),
            Some((Freeze::Paused, _)) => {
                let socket = match frame {
                    Frame::Advert { .. } => &mut self.adverts,
                    Frame::Arp(_) => &mut self.arp,
                };
                if socket.len() < INBOX {
                    socket.push_back(frame);
                }
                Deed::default()
            }
        }
    }

    fn process(&mut self, frame: &Frame, now: Nanos) -> Deed {
        match frame {
            Frame::Advert { source, destination, ttl, payload } => {
                let datagram = Datagram { source: *source, destination: *destination, ttl: *ttl, payload };
                let Ok(received) = check(&datagram, &self.expectation()) else { return Deed::default() };
                if let Some(form) = received.checksum {
                    self.forms.learn(*source, form);
                }
                if !self.known.contains(&mac(*source)) {
                    self.known.push(mac(*source));
                }
                let advert = received.advert;
                let mut deed = self.act(now, |machine, local| machine.handle_advert(*source, &advert, local));
                deed.heard.push((advert.interval.duration(), advert.priority));
                deed
            }
            Frame::Arp(bytes) => self.process_arp(bytes, now),
        }
    }

    fn process_arp(&mut self, bytes: &[u8], now: Nanos) -> Deed {
        let Ok(frame) = Arp::parse(bytes) else { return Deed::default() };
        match frame.meaning(self.mac, &self.settings.addresses) {
            Meaning::Own | Meaning::Nothing => Deed::default(),
            Meaning::Claim { address, mac } => {
                let by = if self.known.contains(&mac) { Claimant::Peer } else { Claimant::Stranger };
                self.act(now, |machine, local| machine.handle_claim(Claim { address, mac, by }, local))
            }
            Meaning::Request { address, asker_mac, asker } => {
                let mut answers = false;
                let mut deed = self.act(now, |machine, local| answers = machine.answers(local));
                if answers && self.answering {
                    let reply = neighbour::reply(self.mac, address, asker_mac, asker).unwrap_or_default();
                    deed.sent.push(Frame::Arp(reply.into()));
                    deed.claimed = true;
                }
                deed
            }
        }
    }

    /// One call and one full drain, as the contract says.
    pub(crate) fn act(&mut self, now: Nanos, call: impl FnOnce(&mut Machine, std::time::Instant)) -> Deed {
        let local = self.clock.local(now);
        let mut deed = Deed::default();
        let Some(machine) = &mut self.machine else { return deed };
        call(machine, local);
        while let Some(output) = self.machine.as_mut().and_then(Machine::poll_output) {
            self.carry_out(output, now, &mut deed);
        }
        deed
    }

    fn carry_out(&mut self, output: Output, now: Nanos, deed: &mut Deed) {
        match output {
            Output::SendAdvert(advert) => {
                let claims = !advert.releases();
                deed.claimed |= claims;
                deed.advertised = true;
                let local = self.clock.local(now);
                let bound = self.machine.as_ref().map_or(Duration::ZERO, |m| m.takeover_bound(local));
                self.open_until = now + u64::try_from(timing::gate(bound).as_nanos()).unwrap_or(0);
                deed.log.push(format!("advert {}", advert.priority));
                let destinations = if self.peers.is_empty() { vec![GROUP] } else { self.peers.clone() };
                for destination in destinations {
                    let payload: Rc<[u8]> = match advert.version {
                        VrrpVersion::V2 => packet_v2::emit(&advert, self.password.as_ref()),
                        VrrpVersion::V3 => {
                            let form = if destination == GROUP {
                                self.forms.for_group()
                            } else {
                                self.forms.for_peer(destination)
                            };
                            packet_v3::emit(&advert, form, self.address, destination)
                        }
                    }
                    .into();
                    deed.sent.push(Frame::Advert { source: self.address, destination, ttl: TTL, payload });
                }
            }
            Output::Hold { lease, .. } => {
                self.held_until = Some(now + u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX));
            }
            Output::Release { .. } => {
                self.held_until = None;
                self.open_until = 0;
            }
            Output::DestroySockets { .. }
            | Output::Relay { .. }
            | Output::EndRelay
            | Output::TellClients { .. }
            | Output::Drain { .. }
            | Output::Keep
            | Output::Drained => {}
            Output::SteppedDown(outcome) => {
                deed.log.push(format!("stepped down: {outcome:?}"));
                self.resigning = self.stops;
                self.yielded |= outcome.is_ok() && self.fails_over;
            }
            Output::DiscardReceived => self.discard(),
            Output::AnswerArp(answer) => self.answering = answer,
            Output::Announce { address, form } => {
                deed.claimed = true;
                self.broadcast(&Arp::announcement(self.mac, v4(address), form), deed);
            }
            Output::Probe { address } => self.broadcast(&Arp::probe(self.mac, v4(address)), deed),
            Output::Ask { peer } => {
                deed.log.push(format!("asks {peer}"));
                deed.asked.push(peer);
            }
            Output::Transition(t) => {
                deed.log.push(format!("{:?} -> {:?}: {}", t.from, t.to, t.reason));
                deed.became = Some(t.to);
                deed.by_link = t.to == VrrpState::Master && t.reason.contains("link");
            }
            Output::Warn { text, .. } => deed.log.push(format!("warning: {text}")),
            Output::ClearWarn(kind) => deed.log.push(format!("no longer: {kind:?}")),
            Output::Resigned { reason } => {
                deed.log.push(format!("resigned: {reason}"));
                deed.resigned = true;
            }
            Output::Count("peer_answered") => deed.answered += 1,
            Output::Count(_) => {}
        }
    }

    fn broadcast(&self, frame: &Arp, deed: &mut Deed) {
        deed.broadcasts += 1;
        deed.sent.push(Frame::Arp(frame.emit().into()));
    }

    fn expectation(&self) -> Expectation {
        Expectation {
            version: self.settings.version,
            vrid: self.settings.vrid,
            interval: self.settings.advert_interval,
            addresses: self.settings.addresses.clone(),
            password: self.password.clone(),
            senders: if self.peers.is_empty() {
                Senders::Multicast
            } else {
                Senders::Unicast(self.peers.clone())
            },
            own: Some(self.address),
        }
    }
}

impl Deed {
    fn append(&mut self, mut later: Self) {
        self.sent.append(&mut later.sent);
        self.log.append(&mut later.log);
        self.heard.append(&mut later.heard);
        self.became = later.became.or(self.became);
        self.resigned |= later.resigned;
        self.broadcasts += later.broadcasts;
        self.claimed |= later.claimed;
        self.advertised |= later.advertised;
        self.letters.append(&mut later.letters);
        self.asked.append(&mut later.asked);
        self.answered += later.answered;
        self.promised.append(&mut later.promised);
        self.relies.append(&mut later.relies);
        self.by_link |= later.by_link;
    }
}
