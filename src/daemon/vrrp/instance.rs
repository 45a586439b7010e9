//! One virtual router: its machine, its sockets, and what reaches it. What comes out of the machine is done in
//! `effects`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::task::Context;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::adverts;
use super::aside::Aside;
use super::authentication;
use super::effects::SWEEPS;
use super::fence;
use super::gate::Gatekeeper;
use super::kernel::for_good;
use super::neighbourhood::Neighbourhood;
use super::oddities::Oddities;
use super::peering::AUTH_KEYS;
use super::place::{Place, Survey};
use super::resolver::Others;
use super::shell::Shell;
use super::turns::must_know_all;
use super::wire::{Readiness, Wire};
use crate::config::{AuthHmac, Transport, VrrpInstance};
use crate::link::ArpFence;
use crate::net::Priority;
use crate::os::nft;
use crate::vrrp::receive::Expectation;
use crate::vrrp::sync_group::Member;
use crate::vrrp::{Authenticator, ChecksumForms, Machine, Password, Settings};

/// Of each socket: what is beyond waits for the next turn, so that a flood leaves time for the timers.
pub(super) const PACKETS_PER_TURN: usize = 64;
/// A predecessor's connections have waited for it already; their clients are told before the role begins.
const START_WITHIN: Duration = Duration::from_millis(200);

/// Between what the kernel was told and what it has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Differences {
    missing: Vec<IpAddr>,
    stray: Vec<IpAddr>,
}

pub(super) struct Instance {
    pub(super) config: VrrpInstance,
    pub(super) machine: Machine,
    pub(super) wire: Option<Wire>,
    pub(super) arp_fence: ArpFence,
    pub(super) counters: BTreeMap<&'static str, u64>,
    /// Configured peers as they resolve, without this node.
    pub(super) peers: Vec<IpAddr>,
    /// Its addresses are given up and nothing more comes out of it; the text says why.
    pub(super) resigned: Option<String>,
    /// The configuration in force does not have it any more.
    pub(super) leaving: bool,
    pub(super) answering: bool,
    /// What the kernel was told to hold, and not told otherwise.
    pub(super) held: BTreeSet<IpAddr>,
    /// Number of the last gap that the machine knows of.
    pub(super) told_gap: u64,
    /// Addresses whose connections are to be ended.
    pub(super) doomed: BTreeSet<IpAddr>,
    /// Addresses at which nothing of before may wait for the end of its time, and how many more tries that is worth.
    pub(super) unswept: BTreeSet<IpAddr>,
    pub(super) sweeps_left: u32,
    /// The kernel would not hold an address.
    pub(super) aside: Aside,
    pub(super) forms: ChecksumForms,
    pub(super) password: Option<Password>,
    pub(super) authenticator: Authenticator,
    pub(super) oddities: Oddities,
    pub(super) expectation: Expectation,
    /// Whose adverts were accepted from the group.
    pub(super) heard: BTreeSet<IpAddr>,
    pub(super) neighbourhood: Neighbourhood,
    /// This kernel can hand segments to another node.
    pub(super) relays: bool,
    /// What became of a wish that it hand over.
    pub(super) stepped_down: Option<Result<String, String>>,
    /// Number of the last question whether connections have ended.
    pub(super) departure: Option<u64>,
    pub(super) gatekeeper: Gatekeeper,
    eligible: Option<Result<(), String>>,
    /// The configured one with what tracking makes of it.
    pub(super) priority: Priority,
    /// As the machine knows it.
    pub(super) grouped: bool,
    /// It waits for the others of its sync group.
    pub(super) ready_since: Option<Instant>,
}

impl Instance {
    /// Takes away what a predecessor of this process has left in the kernel.
    pub(super) fn start(config: VrrpInstance, shell: &mut Shell, now: Instant) -> Self {
        let addresses: Vec<IpAddr> = config.addresses().collect();
        shell.kernel.destroy_sockets(&addresses, START_WITHIN);
        match shell.kernel.release(&addresses) {
            Ok(0) => {}
            Ok(_) => info!(instance = config.name, "removed virtual addresses that a predecessor has left"),
            Err(error) => {
                warn!(instance = config.name, "a predecessor's addresses cannot be removed: {error}")
            }
        }
        let mut instance = Self {
            doomed: addresses.iter().copied().collect(),
            unswept: addresses.into_iter().collect(),
            sweeps_left: SWEEPS,
            told_gap: shell.last_gap(),
            machine: Machine::new(Settings::new(&config, shell.drain_timeout), now),
            expectation: adverts::expectation(&config, None, None, &[]),
            authenticator: Authenticator::new(authentication::policy(&config)),
            priority: config.priority,
            grouped: false,
            ready_since: None,
            config,
            wire: None,
            arp_fence: ArpFence::None,
            counters: BTreeMap::new(),
            peers: vec![],
            resigned: None,
            leaving: false,
            answering: false,
            held: BTreeSet::new(),
            aside: Aside::default(),
            forms: ChecksumForms::default(),
            password: None,
            oddities: Oddities::default(),
            heard: BTreeSet::new(),
            neighbourhood: Neighbourhood::default(),
            relays: false,
            stepped_down: None,
            departure: None,
            gatekeeper: Gatekeeper::default(),
            eligible: None,
        };
        instance.expect();
        instance.try_relay(shell, now);
        instance.remove_gate();
        instance.destroy_sockets(shell);
        instance.sweep(shell);
        instance
    }

    /// Another configuration for the same virtual router; it stays what it is. The kernel is silent about an address
    /// before it gets it, and until it has lost it.
    pub(super) fn reconfigure(&mut self, config: VrrpInstance, shell: &mut Shell, now: Instant) {
        let before = std::mem::replace(&mut self.config, config);
        if before == self.config && self.machine.settings().drain_timeout == shell.drain_timeout {
            return;
        }
        // It may be what helps.
        self.aside = Aside::default();
        if before.name != self.config.name {
            shell.warnings.rename(&before.name, &self.config.name);
        }
        if !matches!(self.config.auth_hmac, AuthHmac::Keys(_)) {
            shell.warnings.set(&self.config.name, AUTH_KEYS, Ok(()), now);
        }
        self.expect();
        if is_multicast(&before) != is_multicast(&self.config)
            && let Some(wire) = self.wire.take()
        {
            self.open_wire(wire.place, shell, now);
        }
        let both: Vec<IpAddr> = before.addresses().chain(self.config.addresses()).collect();
        self.raise_fence(&both, shell, now);
        if let Some(wire) = &mut self.wire
            && let Err(error) = wire.watch(&both)
        {
            warn!(instance = self.config.name, "questions for the new addresses cannot be received: {error}");
        }
        self.machine.reconfigure(self.settings(shell), now);
        self.settle(shell);
        if before.vrid != self.config.vrid && self.arp_fence == ArpFence::Nftables {
            drop(nft::silence::remove(before.family(), before.vrid));
            drop(nft::relay::remove(before.family(), before.vrid));
        }
        if before.vrid != self.config.vrid {
            drop(nft::gate::remove(before.family(), before.vrid));
            self.keep_nobody();
        }
        self.keep_gate(now);
        self.raise_fence(&self.guarded(), shell, now);
    }

    /// The configured addresses, and those that it has had and still holds: whoever hands over keeps them until that is
    /// done.
    pub(super) fn guarded(&self) -> Vec<IpAddr> {
        let all: BTreeSet<_> = self.config.addresses().chain(self.held.iter().copied()).collect();
        all.into_iter().collect()
    }

    /// Otherwise it is left, and the other one begun. Who hands over cannot become another virtual router meanwhile.
    pub(super) fn can_become(&self, wanted: &VrrpInstance) -> bool {
        let is_another = (self.config.vrid, self.config.version) != (wanted.vrid, wanted.version);
        // One of the other family has nothing of it but the name.
        let is_of_family = self.config.family() == wanted.family();
        let is_gone = self.resigned.is_some() || self.leaving;
        is_of_family && !is_gone && !(is_another && self.machine.is_handing_over())
    }

    /// Takes the interface that the last survey shows, or the lack of one.
    pub(super) fn locate(&mut self, shell: &mut Shell, now: Instant) {
        let had = self.wire.as_ref().map(|wire| &wire.place);
        let found = Place::find(&self.config, &shell.virtual_addresses, &shell.survey, had);
        let problem = found.as_ref().map(|_| ()).map_err(String::clone);
        shell.warnings.set(&self.config.name, "interface", problem, now);
        match (&mut self.wire, found) {
            (Some(wire), Ok(place)) if wire.place == place => return,
            (Some(wire), Ok(place)) if is_same_interface(&wire.place, &place) => {
                info!(instance = self.config.name, "own address {} instead of {}", place.own, wire.place.own);
                wire.place = place;
                self.expect();
            }
            (wire, Ok(place)) => {
                if wire.is_some() {
                    self.lose_wire(shell, now);
                }
                self.open_wire(place, shell, now);
            }
            (Some(_), Err(_)) => self.lose_wire(shell, now),
            (None, Err(_)) => {}
        }
        self.raise_fence(&self.guarded(), shell, now);
        self.machine.handle_interface(self.wire.as_ref().map(|wire| wire.place.own), now);
        self.settle(shell);
    }

    /// Compares the kernel with what it was told, and puts it right.
    pub(super) fn verify(&mut self, shell: &mut Shell, now: Instant) {
        let addresses: Vec<IpAddr> = self.config.addresses().collect();
        shell.warnings.set(&self.config.name, "for good", for_good(&addresses, &shell.survey), now);
        let (family, vrid) = (self.config.family(), self.config.vrid);
        if self.arp_fence == ArpFence::Nftables && !nft::silence::present(family, vrid).unwrap_or(true) {
            warn!(
                instance = self.config.name,
                "somebody has removed the ARP fence; it is put in place again"
            );
            self.count("fence_lost");
            self.raise_fence(&addresses, shell, now);
        }
        if self.differences(&shell.survey) != Differences::default() {
            // The survey may be older than the last change.
            shell.survey(now);
        }
        // What a freeze has cost must not be taken back after the thaw.
        let now = self.wake(shell);
        let Differences { missing, stray } = self.differences(&shell.survey);
        if !missing.is_empty() {
            warn!(instance = self.config.name, "somebody has removed {missing:?}; put in place again");
            self.count("address_lost");
            shell.address_moved();
            self.hold(&missing, self.config.lease, shell, now);
        }
        if !stray.is_empty() {
            // A removal failed, or somebody else plays this virtual router on the same machine.
            self.count("address_stray");
            self.release(&stray, shell);
        }
        self.look_for_peers(shell, now);
        self.say_who_is_absent(shell, now);
        self.say_what_is_odd(shell, now);
        self.keep_gate(now);
    }

    fn differences(&self, survey: &Survey) -> Differences {
        let leased = |address: &IpAddr| {
            survey.addresses.iter().any(|a| a.cidr.address() == *address && a.valid.is_some())
        };
        Differences {
            missing: self.held.iter().copied().filter(|a| !leased(a)).collect(),
            stray: self.config.addresses().filter(|a| leased(a) && !self.held.contains(a)).collect(),
        }
    }

    pub(super) fn set_peers(&mut self, peers: Vec<IpAddr>, others: Others, shell: &mut Shell, now: Instant) {
        if self.peers != peers {
            info!(instance = self.config.name, "peers: {peers:?}");
            self.peers = peers;
            self.expect();
            self.keep_gate(now);
        }
        let peers = |known: bool| known.then(|| self.peers.clone());
        let (all, named) = (peers(others == Others::None), peers(others == Others::Nameless));
        self.machine.handle_peers(all, now);
        self.machine.handle_named(named, now);
        self.settle(shell);
    }

    pub(super) fn set_eligible(&mut self, proxy: Result<(), String>, shell: &mut Shell, now: Instant) {
        self.aside.look_again(now);
        let eligible = self.aside.problem().and(proxy);
        if self.eligible.as_ref() != Some(&eligible) {
            self.eligible = Some(eligible.clone());
            self.machine.handle_eligible(eligible, now);
            self.settle(shell);
        }
    }

    /// Before anything else that a wake-up brings: what arrived may have waited while this process did not run.
    pub(super) fn wake(&mut self, shell: &mut Shell) -> Instant {
        for gap in shell.gaps_after(&mut self.told_gap) {
            self.count("gap");
            self.authenticator.handle_gap();
            self.machine.handle_gap(gap, Instant::now());
            self.settle(shell);
        }
        Instant::now()
    }

    /// What has arrived comes before what is due, since an advert in the queue is no silence.
    pub(super) fn turn(&mut self, shell: &mut Shell, readiness: Readiness) {
        let readiness = if self.must_know_all(Instant::now()) { Readiness::Unknown } else { readiness };
        self.receive(shell, readiness);
        let mut now = self.wake(shell);
        // Its time may have come since.
        if readiness == Readiness::Known && self.must_know_all(now) {
            self.receive(shell, Readiness::Unknown);
            now = self.wake(shell);
        }
        self.handle_timeout(shell, now);
        self.let_in(shell);
    }

    fn must_know_all(&self, now: Instant) -> bool {
        self.machine.poll_timeout().is_some_and(|(due, _)| must_know_all(self.is_master(), due, now))
    }

    fn handle_timeout(&mut self, shell: &mut Shell, now: Instant) {
        self.destroy_sockets(shell);
        if self.machine.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.machine.handle_timeout(now);
            self.settle(shell);
            // Its group takes over together.
            shell.has_news |= self.machine.member() == Member::Ready;
        }
        self.sweep(shell);
    }

    pub(super) fn resign(&mut self, bound: Duration, shell: &mut Shell, now: Instant) {
        self.machine.handle_resign(bound, now);
        self.settle(shell);
    }

    /// Leaves nothing of it in the kernel, whatever it was doing.
    pub(super) fn leave(&mut self, shell: &mut Shell, now: Instant) {
        self.resign(Duration::ZERO, shell, now);
        self.machine.handle_timeout(now);
        self.machine.handle_emptied(now);
        self.settle(shell);
        self.answering = false;
        if !self.held.is_empty() {
            self.release(&self.held.iter().copied().collect::<Vec<_>>(), shell);
        }
        if self.arp_fence == ArpFence::Nftables {
            drop(nft::silence::remove(self.config.family(), self.config.vrid));
        }
        self.end_relay();
        self.remove_gate();
        self.wire = None;
        shell.warnings.forget(&self.config.name);
    }

    /// Reads what has arrived: adverts first, for they say who is master.
    pub(super) fn receive(&mut self, shell: &mut Shell, readiness: Readiness) {
        self.receive_adverts(shell, readiness);
        self.receive_frames(shell, readiness);
    }

    pub(super) fn is_readable(&self, context: &mut Context<'_>) -> bool {
        self.wire.as_ref().is_some_and(|wire| wire.is_readable(context))
    }

    pub(super) fn count(&mut self, counter: &'static str) {
        *self.counters.entry(counter).or_default() += 1;
    }

    fn open_wire(&mut self, place: Place, shell: &mut Shell, now: Instant) {
        let addresses: Vec<IpAddr> = self.config.addresses().collect();
        let place_name = place.name.clone();
        let opened = Wire::open(place, is_multicast(&self.config), &addresses);
        let result = match opened {
            Ok(wire) => {
                info!(instance = self.config.name, "on {place_name}, own address {}", wire.place.own);
                self.wire = Some(wire);
                Ok(())
            }
            Err(error) => Err(format!("sockets on {place_name} cannot be opened: {error}")),
        };
        shell.warnings.set(&self.config.name, "sockets", result, now);
        self.heard.clear();
        self.expect();
    }

    fn lose_wire(&mut self, shell: &mut Shell, now: Instant) {
        self.machine.handle_interface(None, now);
        self.settle(shell);
        self.wire = None;
        self.expect();
    }

    fn raise_fence(&mut self, addresses: &[IpAddr], shell: &mut Shell, now: Instant) {
        let Some(wire) = &self.wire else { return };
        let (arp_fence, problem) = match shell.survey.loopback() {
            Some(_) => fence::raise(self.config.vrid, addresses, &wire.place),
            None => {
                (ArpFence::None, Err("lo is down: a frozen node goes on answering; switch it on".to_owned()))
            }
        };
        shell.warnings.set(&self.config.name, "fence", problem, now);
        // A kernel that answers for an address by itself must not keep it once a peer has it.
        self.machine.handle_relays(self.relays && arp_fence != ArpFence::None);
        let held: Vec<IpAddr> = self.held.iter().copied().collect();
        if std::mem::replace(&mut self.arp_fence, arp_fence) != arp_fence && !held.is_empty() {
            // It stays master; the address moves from the interface to lo, or back.
            self.release(&held, shell);
            self.hold(&held, self.config.lease, shell, now);
        }
    }

    fn expect(&mut self) {
        self.authenticator.configure(authentication::policy(&self.config));
        self.password = self.config.password.as_deref().and_then(Password::try_new);
        let own = self.wire.as_ref().map(|wire| wire.place.own);
        self.expectation = adverts::expectation(&self.config, self.password.clone(), own, &self.peers);
    }
}

fn is_multicast(config: &VrrpInstance) -> bool {
    match config.transport {
        Transport::Multicast => true,
        Transport::Unicast { .. } => false,
    }
}

fn is_same_interface(a: &Place, b: &Place) -> bool {
    (a.index, &a.name, a.mac) == (b.index, &b.name, b.mac)
}
