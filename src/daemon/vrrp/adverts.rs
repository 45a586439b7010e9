//! Adverts that arrive for a virtual router: what is wrong with them, and what the machine learns of the others.

use std::net::IpAddr;
use std::time::Instant;

use super::instance::{Instance, PACKETS_PER_TURN};
use super::shell::Shell;
use super::wire::Readiness;
use crate::config::{Transport, VrrpInstance};
use crate::os::raw::{self, Packet};
use crate::vrrp::Password;
use crate::vrrp::receive::{self, Datagram, Expectation, Senders};

/// Multicast peers whose MAC addresses are known; a virtual router has a handful.
const MAX_HEARD: usize = 64;

impl Instance {
    pub(super) fn receive_adverts(&mut self, shell: &mut Shell, readiness: Readiness) {
        let mut buffer = [0; raw::BUFFER];
        for _ in 0..PACKETS_PER_TURN {
            let Some(bytes) = self.wire.as_ref().and_then(|wire| wire.next_advert(&mut buffer, readiness))
            else {
                return;
            };
            match bytes {
                Ok(packet) => self.receive_advert(packet, shell),
                Err(_) => self.count("receive_error"),
            }
        }
    }

    fn receive_advert(&mut self, packet: Packet<'_>, shell: &mut Shell) {
        let datagram = match packet {
            Packet::V4(bytes) => Datagram::parse(bytes),
            Packet::V6 { source, destination, hop_limit, payload } => Ok(Datagram {
                source: source.into(),
                destination: destination.into(),
                ttl: hop_limit,
                payload,
            }),
        };
        let datagram = match datagram {
            Ok(datagram) => datagram,
            Err(refusal) => return self.count(refusal.counter()),
        };
        // Every socket on this interface has the adverts for all of this node's virtual routers of the family.
        let (own, family) = (self.config.vrid.get(), self.config.family());
        let is_anothers = |vrid| vrid != own && shell.vrids.contains(&(family, vrid));
        if datagram.vrid().is_some_and(is_anothers) {
            return;
        }
        let source = datagram.source;
        let (payload, trailer) = self.take_trailer(&datagram);
        let datagram = Datagram { payload: &payload, ..datagram };
        let checked = receive::check(&datagram, &self.expectation);
        let received = match checked.and_then(|passed| self.authenticate(passed, &datagram, trailer)) {
            Ok(passed) => passed,
            Err(refusal) => {
                if datagram.vrid() == Some(own) {
                    self.oddities.note_dropped(source, refusal, Instant::now());
                }
                self.hear_unknown(refusal, &datagram, shell);
                return self.count(refusal.counter());
            }
        };
        if let Some(form) = received.checksum {
            self.forms.learn(source, form);
        }
        if received.other_addresses {
            self.count(receive::Received::COUNT_OTHER_ADDRESSES);
        }
        if received.other_interval {
            self.count(receive::Received::COUNT_OTHER_INTERVAL);
        }
        if self.heard.len() < MAX_HEARD {
            self.heard.insert(source);
        }
        let now = self.wake(shell);
        self.oddities.note_taken(source, &received, now);
        self.machine.handle_advert(source, &received.advert, now);
        self.settle(shell);
    }
}

pub(super) fn expectation(
    config: &VrrpInstance,
    password: Option<Password>,
    own: Option<IpAddr>,
    peers: &[IpAddr],
) -> Expectation {
    Expectation {
        version: config.version,
        vrid: config.vrid,
        interval: config.advert_interval,
        addresses: config.addresses().collect(),
        password,
        senders: match config.transport {
            Transport::Multicast => Senders::Multicast,
            Transport::Unicast { .. } => Senders::Unicast(peers.to_vec()),
        },
        own,
    }
}
