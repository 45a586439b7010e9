//! Between a virtual router and its adverts: trailers are cut off and checked, and added.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::instance::Instance;
use crate::config::{AuthHmac, Transport, VrrpInstance};
use crate::net::Family;
use crate::os::clock;
use crate::vrrp::receive::{Datagram, Received};
use crate::vrrp::{Advert, Authenticator, Bound, Form, Refusal, TRAILER, Trailer, cover, split, uncover};

/// A group's backups have said nothing to anybody: who of them reads a trailer is not known.
pub(super) fn policy(config: &VrrpInstance) -> AuthHmac {
    match (&config.auth_hmac, &config.transport) {
        (AuthHmac::Linked, Transport::Multicast) => AuthHmac::Off,
        (policy, _) => policy.clone(),
    }
}

impl Instance {
    /// What the trailer follows is judged as if it had come alone.
    pub(super) fn take_trailer<'d>(&self, datagram: &Datagram<'d>) -> (Cow<'d, [u8]>, Option<Trailer<'d>>) {
        if !self.authenticator.reads() {
            return (datagram.payload.into(), None);
        }
        let (advert, trailer) = split(datagram.payload, self.config.version, datagram.source);
        match (trailer, Family::of(datagram.source)) {
            (Some(trailer), Family::V6) => (uncover(advert, &trailer).into(), Some(trailer)),
            (trailer, Family::V4 | Family::V6) => (advert.into(), trailer),
        }
    }

    /// After everything else, so that nobody but a peer costs a sum.
    pub(super) fn authenticate(
        &mut self,
        passed: Received,
        datagram: &Datagram<'_>,
        trailer: Option<Trailer<'_>>,
    ) -> Result<Received, Refusal> {
        let bound = Bound { source: datagram.source, version: self.config.version, vrid: self.config.vrid };
        let (now, wall) = (Instant::now(), clock::read().realtime);
        if self.authenticator.check(datagram.payload, trailer, &bound, now, wall)? {
            self.count("advert_authentic");
        }
        Ok(passed)
    }

    /// Without them it could neither tell its peers from others nor be told from others by them. A master whose keys are
    /// others than before gives nothing up for the moment in which they are read.
    pub(super) fn has_keys(&self) -> Result<(), String> {
        match self.authenticator.policy() {
            AuthHmac::Keys(_) if !self.authenticator.reads() && !self.is_master() => {
                Err("it has not got the keys of auth_hmac".to_owned())
            }
            AuthHmac::Keys(_) | AuthHmac::Linked | AuthHmac::Off => Ok(()),
        }
    }
}

/// One advert on its way to all of its destinations. It is signed once, if at all: the trailer does not know where it
/// goes, nor the checksum.
pub(super) struct Seal<'a> {
    authenticator: &'a mut Authenticator,
    bound: Bound,
    now: Instant,
    wall: Duration,
    trailer: Option<[u8; TRAILER]>,
}

impl<'a> Seal<'a> {
    pub(super) fn new(
        authenticator: &'a mut Authenticator,
        own: IpAddr,
        advert: &Advert,
        now: Instant,
    ) -> Self {
        let bound = Bound { source: own, version: advert.version, vrid: advert.vrid };
        Self { authenticator, bound, now, wall: clock::read().realtime, trailer: None }
    }

    /// What is to be sent there, in this order.
    pub(super) fn forms(&mut self, destination: IpAddr, advert: Vec<u8>) -> Vec<Vec<u8>> {
        let form = self.authenticator.form(destination, self.now);
        match form {
            Form::Plain => vec![advert],
            Form::Signed => vec![self.signed(&advert)],
            Form::Both => vec![self.signed(&advert), advert],
        }
    }

    fn signed(&mut self, advert: &[u8]) -> Vec<u8> {
        if self.trailer.is_none() {
            self.trailer = self.authenticator.sign(advert, &self.bound, self.wall);
        }
        match (&self.trailer, Family::of(self.bound.source)) {
            (None, _) => advert.to_vec(),
            (Some(trailer), Family::V4) => [advert, trailer].concat(),
            (Some(trailer), Family::V6) => [cover(advert, trailer).as_slice(), trailer].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::instance;
    use super::*;

    #[test]
    fn a_group_is_never_sent_what_only_some_of_it_have_asked_for() {
        let group = instance("10.0.0.99/24");
        assert_eq!((&group.auth_hmac, policy(&group)), (&AuthHmac::Linked, AuthHmac::Off));
        let listed = VrrpInstance { transport: Transport::Unicast { peers: vec![] }, ..group };
        assert_eq!(policy(&listed), AuthHmac::Linked);
    }
}
