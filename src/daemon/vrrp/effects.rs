//! Does what a machine wants done, at once and in its order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::authentication::Seal;
use super::instance::Instance;
use super::shell::Shell;
use crate::config::{Transport, VrrpVersion};
use crate::link::{ArpFence, FromVrrp, Transition};
use crate::net::{Cidr, Family, is_link_local};
use crate::os::nft;
use crate::vrrp::{Advert, Output, WarningKind, neighbour, packet_v2, packet_v3};

/// How long a lost address may stay so that the clients of its connections are told.
const TELL_WITHIN: Duration = Duration::from_millis(20);
/// A moment for the kernel, which takes less, for all addresses together; the takeover goes on without it.
const TAKEN_WITHIN: Duration = Duration::from_millis(20);
/// The index of `lo` in every network namespace.
const LOOPBACK: u32 = 1;
/// More sockets than this ends are ended in later turns.
const DESTROY_WITHIN: Duration = Duration::from_millis(20);
/// A busy master makes new ones as fast, and each look at all takes its time.
pub(super) const SWEEPS: u32 = 10;

impl Instance {
    /// Empties the machine's queue. The clocks are read before each step: a node that is frozen in the middle of a
    /// takeover must not go on with it after the thaw. One system call of doubt remains.
    pub(super) fn settle(&mut self, shell: &mut Shell) {
        let (mut was_out, mut is_refused) = (false, false);
        while let Some(output) = self.machine.poll_output() {
            for gap in shell.gaps_after(&mut self.told_gap) {
                was_out = true;
                self.count("gap");
                self.authenticator.handle_gap();
                self.machine.handle_gap(gap, Instant::now());
            }
            if was_out && !self.is_master() && claims_mastership(&output) {
                self.count("stale_output");
                continue;
            }
            // What it has not claimed it does not give up either: a priority 0 would have a backup take over beside the
            // master that there is.
            if is_refused && (claims_mastership(&output) || matches!(output, Output::SendAdvert(_))) {
                continue;
            }
            let takes_over = matches!(output, Output::Hold { .. }) && !self.answering;
            self.perform(output, shell);
            if takes_over && self.is_master() {
                is_refused = self.give_up_if_refused();
            }
        }
        if self.sweeps_left == SWEEPS {
            self.sweep(shell);
        }
    }

    /// Before anybody has heard of the takeover: the peer goes on serving.
    fn give_up_if_refused(&mut self) -> bool {
        let refused = self.aside.problem();
        if refused.is_err() {
            self.machine.handle_eligible(refused.clone(), Instant::now());
        }
        refused.is_err()
    }

    fn perform(&mut self, output: Output, shell: &mut Shell) {
        let now = Instant::now();
        shell.has_news |= !matches!(output, Output::SendAdvert(_) | Output::Count(_));
        match output {
            Output::SendAdvert(advert) => {
                self.narrow_gate(now);
                if self.send_advert(&advert, now) && !advert.releases() {
                    self.gatekeeper.note_advert(now);
                }
            }
            Output::Hold { addresses, lease } => {
                self.raise_gate(now);
                if !self.answering {
                    self.forget_turned_away();
                }
                self.hold(&addresses, lease, shell, now);
            }
            Output::Release { addresses } => self.release(&addresses, shell),
            Output::DestroySockets { addresses } => {
                self.sweep_later(&addresses);
                self.doomed.extend(addresses);
                self.destroy_sockets(shell);
            }
            Output::DiscardReceived => {
                if let Some(Err(error)) = self.wire.as_ref().map(|wire| wire.discard()) {
                    warn!(instance = self.config.name, "what queued up cannot be discarded: {error}");
                }
            }
            Output::AnswerArp(answering) => self.answering = answering,
            Output::Announce { address, form } => {
                if let Some(mac) = self.wire.as_ref().map(|wire| wire.place.mac) {
                    self.send_frame(&neighbour::announcement(mac, address, form));
                }
            }
            Output::Relay { addresses, old } => {
                self.relay(&addresses, old);
                // It may have drained them for as long as it had them, and closed some.
                self.sweep_later(&addresses);
            }
            Output::EndRelay => self.end_relay(),
            Output::TellClients { addresses, old } => shell.bereaved.push((addresses, old)),
            Output::Probe { address } => {
                if let Some(mac) = self.wire.as_ref().map(|wire| wire.place.mac) {
                    self.send_frame(&neighbour::probe(mac, address));
                }
            }
            Output::Drain { addresses, bound, first } => {
                let number = shell.next_departure();
                self.departure = Some(number);
                shell.tell(FromVrrp::Leave { number, addresses, bound, before: first });
                self.keep_gate(now);
            }
            Output::Keep => {
                if let Some(number) = self.departure.take() {
                    shell.tell(FromVrrp::Keep { number });
                }
            }
            Output::SteppedDown(outcome) => self.stepped_down = Some(outcome),
            Output::Ask { peer } => shell.asked.push(peer),
            Output::Drained => {
                self.count("drained");
                shell.drained.push((self.config.family(), self.config.vrid.get()));
            }
            Output::Transition(transition) => {
                let Transition { instance, from, to, reason, .. } = &transition;
                if from == to {
                    info!(instance, "still {to}: {reason}");
                } else {
                    info!(instance, ?from, ?to, "{reason}");
                }
                shell.tell(FromVrrp::Transition(transition));
            }
            Output::Warn { kind, text } => shell.warnings.set(&self.config.name, about(kind), Err(text), now),
            Output::ClearWarn(kind) => shell.warnings.set(&self.config.name, about(kind), Ok(()), now),
            Output::Resigned { reason } => self.resigned = Some(reason),
            Output::Count(counter) => self.count(counter),
        }
    }

    /// True: one has left.
    fn send_advert(&mut self, advert: &Advert, now: Instant) -> bool {
        let Some(wire) = &self.wire else {
            self.count("advert_send_error");
            return false;
        };
        let own = wire.place.own;
        let group = [packet_v3::group(self.config.family())];
        let destinations: &[IpAddr] = match &self.config.transport {
            Transport::Multicast => &group,
            Transport::Unicast { .. } => &self.peers,
        };
        let (mut has_left, mut failed) = (false, false);
        let mut seal = Seal::new(&mut self.authenticator, own, advert, now);
        for destination in destinations {
            let bytes = match (advert.version, &self.config.transport) {
                (VrrpVersion::V2, _) => packet_v2::emit(advert, self.password.as_ref()),
                (VrrpVersion::V3, Transport::Multicast) => {
                    packet_v3::emit(advert, self.forms.for_group(), own, *destination)
                }
                (VrrpVersion::V3, Transport::Unicast { .. }) => {
                    packet_v3::emit(advert, self.forms.for_peer(*destination), own, *destination)
                }
            };
            for bytes in seal.forms(*destination, bytes) {
                match wire.send_advert(*destination, &bytes) {
                    Ok(()) => has_left = true,
                    Err(error) => {
                        debug!(instance = self.config.name, "no advert to {destination}: {error}");
                        failed = true;
                    }
                }
            }
        }
        if failed {
            self.count("advert_send_error");
        }
        has_left
    }

    /// Without it a handover resets the connections that are in the middle of an answer: worth a word, not a failure.
    fn relay(&mut self, addresses: &[IpAddr], old: IpAddr) {
        let Some(place) = self.wire.as_ref().map(|wire| &wire.place) else { return };
        let mac = self.neighbourhood.mac(old);
        match nft::relay::install(self.config.vrid, addresses, old, mac, place.index) {
            Ok(()) => self.count("relay"),
            Err(error) => {
                self.count("relay_error");
                warn!(
                    instance = self.config.name,
                    "open connections of {old} cannot be handed back to it: {error}; they will be reset"
                );
            }
        }
    }

    /// Puts the relay's table there and away again, before the first address is held.
    pub(super) fn try_relay(&mut self, shell: &mut Shell, now: Instant) {
        let addresses: Vec<IpAddr> = self.config.addresses().collect();
        let nobody = match self.config.family() {
            Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        let tried = nft::relay::install(self.config.vrid, &addresses, nobody, None, LOOPBACK);
        self.end_relay();
        self.relays = tried.is_ok();
        self.machine.handle_relays(self.relays);
        let result = tried.map_err(|error| {
            format!(
                "connections are not handed back to the node that has them when an address moves ({error}): they are \
                 ended before, within {:?}, and what is open then is cut",
                shell.drain_timeout
            )
        });
        shell.warnings.set(&self.config.name, "relay", result, now);
    }

    pub(super) fn end_relay(&mut self) {
        if let Err(error) = nft::relay::remove(self.config.family(), self.config.vrid) {
            debug!(instance = self.config.name, "the relay's table cannot be removed: {error}");
        }
    }

    pub(super) fn send_frame(&mut self, frame: &[u8]) {
        let sent = self.wire.as_ref().map(|wire| wire.send_frame(frame));
        if let Some(Err(error)) = sent {
            debug!(instance = self.config.name, "a frame about an address is not sent: {error}");
            self.count("arp_send_error");
        }
    }

    /// Where the kernel shall hold an address: on `lo` behind the fence, else where it answers for it by itself. What comes
    /// for a link-local address over an interface finds it on that interface only.
    fn target(&self, address: IpAddr, shell: &Shell) -> Option<(u32, bool, Cidr)> {
        match self.arp_fence {
            _ if is_link_local(address) => {
                Some((self.wire.as_ref()?.place.index, false, Cidr::host(address)))
            }
            ArpFence::Nftables | ArpFence::Sysctl | ArpFence::Loopback => {
                Some((shell.survey.loopback()?, true, Cidr::host(address)))
            }
            ArpFence::None => {
                let index = self.wire.as_ref()?.place.index;
                let configured = self.config.virtual_addresses.iter().find(|c| c.address() == address);
                Some((index, false, configured.copied().unwrap_or(Cidr::host(address))))
            }
        }
    }

    pub(super) fn hold(&mut self, addresses: &[IpAddr], lease: Duration, shell: &mut Shell, now: Instant) {
        let (mut new, mut refused) = (vec![], None);
        for address in addresses {
            let result = match self.target(*address, shell) {
                Some((link, loopback, cidr)) => {
                    let put = shell.kernel.put(link, loopback, cidr, lease);
                    new.extend((put.is_ok() && !self.held.contains(address)).then_some((*address, link)));
                    put.map_err(|error| error.to_string())
                }
                None => Err("there is no interface for it".to_owned()),
            };
            if let Err(error) = result {
                let problem = format!("the kernel does not take {address}: {error}");
                warn!(instance = self.config.name, "{problem}");
                self.count("hold_error");
                refused = Some(problem);
            }
        }
        match refused {
            Some(problem) => self.aside.note_failure(problem, now),
            None => self.aside.note_success(),
        }
        // Nobody is told of an address before packets for it are taken.
        let until = Instant::now() + TAKEN_WITHIN;
        for (address, link) in &new {
            if !shell.kernel.wait_until_taken(*address, *link, until) {
                self.count("hold_late");
            }
        }
        // Connections from here on are wanted.
        self.doomed.retain(|doomed| !addresses.contains(doomed));
        self.sweep_later(&new.iter().map(|(address, _)| *address).collect::<Vec<_>>());
        let before = self.held.len();
        self.held.extend(addresses);
        if self.held.len() != before {
            shell.address_moved();
        }
    }

    /// Goes on with what one turn had no time for.
    pub(super) fn destroy_sockets(&mut self, shell: &mut Shell) {
        if self.doomed.is_empty() {
            return;
        }
        let addresses: Vec<IpAddr> = self.doomed.iter().copied().collect();
        if !shell.kernel.destroy_sockets(&addresses, DESTROY_WITHIN) {
            self.doomed.clear();
        }
    }

    /// What waits for the end of its time at these addresses has nothing to say any more: of those of before, some have
    /// been drained since the address was lost.
    pub(super) fn sweep_later(&mut self, addresses: &[IpAddr]) {
        if !addresses.is_empty() {
            self.unswept.extend(addresses);
            self.sweeps_left = SWEEPS;
        }
    }

    /// At first once everybody has been told where the addresses are.
    pub(super) fn sweep(&mut self, shell: &mut Shell) {
        if self.unswept.is_empty() {
            return;
        }
        let addresses: Vec<IpAddr> = self.unswept.iter().copied().collect();
        self.sweeps_left = self.sweeps_left.saturating_sub(1);
        if !shell.kernel.forget_waiting(&addresses, DESTROY_WITHIN) || self.sweeps_left == 0 {
            self.unswept.clear();
            self.sweeps_left = 0;
        }
    }

    pub(super) fn release(&mut self, addresses: &[IpAddr], shell: &mut Shell) {
        // Clients are told before the address goes: a reset needs it as its source. What comes in meanwhile ends with
        // the `DestroySockets` that follows.
        self.close_gate(addresses);
        shell.kernel.destroy_sockets(addresses, TELL_WITHIN);
        if let Err(error) = shell.kernel.release(addresses) {
            warn!(
                instance = self.config.name,
                "{addresses:?} cannot be removed: {error}; their lease ends them"
            );
            self.count("release_error");
        }
        self.held.retain(|held| !addresses.contains(held));
        shell.address_moved();
    }
}

/// What only a master may say or do.
fn claims_mastership(output: &Output) -> bool {
    match output {
        Output::SendAdvert(advert) => !advert.releases(),
        Output::Hold { .. }
        | Output::Announce { .. }
        | Output::AnswerArp(true)
        | Output::Relay { .. }
        | Output::TellClients { .. } => true,
        Output::Release { .. }
        | Output::DestroySockets { .. }
        | Output::DiscardReceived
        | Output::AnswerArp(false)
        | Output::EndRelay
        | Output::Probe { .. }
        | Output::Ask { .. }
        | Output::Drain { .. }
        | Output::Keep
        | Output::Drained
        | Output::SteppedDown(_)
        | Output::Transition(_)
        | Output::Warn { .. }
        | Output::ClearWarn(_)
        | Output::Resigned { .. }
        | Output::Count(_) => false,
    }
}

fn about(kind: WarningKind) -> &'static str {
    match kind {
        WarningKind::TwoMasters => "two masters",
        WarningKind::Stranger => "stranger",
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use nix::errno::Errno;

    use super::*;
    use crate::config::VrrpInstance;
    use crate::daemon::vrrp::kernel::Kernel;
    use crate::daemon::vrrp::tests::instance;
    use crate::link::VrrpState;
    use crate::net::Priority;
    use crate::os::{netns, sock_diag};

    /// Lets the machine of an address owner take over, with a gap of this length before its outputs are performed.
    fn take_over(gap: Duration, expect: (VrrpState, bool, usize)) {
        let (mut router, mut shell) = take_over_after(gap, || (), expect);
        router.leave(&mut shell, Instant::now());
    }

    /// `before` happens between its start and that. Where it stands then.
    fn take_over_after(
        gap: Duration,
        before: impl FnOnce(),
        expect: (VrrpState, bool, usize),
    ) -> (Instance, Shell) {
        let (outbox, _kept) = tokio::sync::mpsc::channel(64);
        let mut shell = Shell::new(Kernel::open().unwrap(), outbox);
        let now = Instant::now();
        shell.survey(now);
        let owner = VrrpInstance { priority: Priority::OWNER, ..instance("10.9.0.99/24") };
        let mut router = Instance::start(owner, &mut shell, now);
        router.arp_fence = crate::link::ArpFence::Nftables;
        before();
        router.machine.handle_eligible(Ok(()), now);
        router.machine.handle_interface(Some([10, 9, 0, 1].into()), now);
        shell.pretend_gap(gap);
        router.settle(&mut shell);
        shell.survey(now);
        let kernel_has =
            shell.survey.addresses.iter().filter(|a| a.cidr == "10.9.0.99/32".parse().unwrap()).count();
        assert_eq!((router.machine.state(), router.answering, kernel_has), expect, "{gap:?}");
        (router, shell)
    }

    #[test]
    fn a_takeover_that_was_frozen_in_its_middle_does_not_go_on() {
        netns::with("a_takeover_that_was_frozen_in_its_middle_does_not_go_on", || {
            netns::loopback_up();
            take_over(Duration::ZERO, (VrrpState::Master, true, 1));
            take_over(Duration::from_secs(5), (VrrpState::Backup, false, 0));
        });
    }

    #[test]
    fn a_takeover_that_the_kernel_refuses_is_not_told_to_anybody() {
        netns::with("a_takeover_that_the_kernel_refuses_is_not_told_to_anybody", || {
            // `lo` is down, and without a socket each advert is an error.
            let (mut router, mut shell) =
                take_over_after(Duration::ZERO, || (), (VrrpState::Fault, false, 0));
            let count = |counter| router.counters.get(counter).copied();
            assert_eq!((count("hold_error"), count("advert_send_error")), (Some(1), None));
            assert!(router.held.is_empty());
            router.leave(&mut shell, Instant::now());
        });
    }

    #[test]
    fn who_gets_an_address_answers_for_no_connection_that_was_closed_there_before() {
        netns::with("who_gets_an_address_answers_for_no_connection_that_was_closed_there_before", || {
            netns::loopback_up();
            let waiting = || netns::output("ss", &["-Htn", "state", "time-wait"]);
            let close_one = || {
                let listener = TcpListener::bind("10.9.0.99:7000").unwrap();
                let client = TcpStream::connect("10.9.0.99:7000").unwrap();
                drop(listener.accept().unwrap());
                drop(client);
                assert!(waiting().unwrap().contains("10.9.0.99:7000"));
            };
            let drained = || {
                netns::output("ip", &["address", "add", "10.9.0.99/32", "dev", "lo"]).unwrap();
                close_one();
                netns::output("ip", &["address", "delete", "10.9.0.99/32", "dev", "lo"]).unwrap();
            };
            if waiting().is_none() {
                return;
            }
            let (mut router, mut shell) =
                take_over_after(Duration::ZERO, drained, (VrrpState::Master, true, 1));
            let left = waiting().unwrap();
            let addresses = vec![IpAddr::from([10, 9, 0, 99])];
            let again = sock_diag::forget_waiting(&addresses, Duration::from_secs(1)).unwrap();
            if again.last_error == Some(Errno::EOPNOTSUPP) {
                return println!("skipped: this kernel ends nothing that waits");
            }
            assert_eq!(left, "");
            // It gets back what it has not let go of.
            close_one();
            router.perform(Output::Relay { addresses, old: [10, 9, 0, 2].into() }, &mut shell);
            router.settle(&mut shell);
            assert_eq!(waiting().as_deref(), Some(""));
        });
    }

    #[test]
    fn what_a_predecessor_was_relaying_ends_with_the_start() {
        netns::with("what_a_predecessor_was_relaying_ends_with_the_start", || {
            let config = instance("10.9.0.99/24");
            let addresses: Vec<IpAddr> = config.addresses().collect();
            nft::relay::install(config.vrid, &addresses, IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2)), None, 1)
                .unwrap();
            let (outbox, _kept) = tokio::sync::mpsc::channel(1);
            let mut shell = Shell::new(Kernel::open().unwrap(), outbox);
            drop(Instance::start(config, &mut shell, Instant::now()));
            let Some(ruleset) = netns::output("nft", &["list", "ruleset"]) else { return };
            assert_eq!(ruleset, "");
        });
    }
}
