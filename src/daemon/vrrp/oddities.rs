//! What is wrong with the adverts that arrive for this virtual router, for a person to read: RFC 9568 section 7.1 wants it
//! logged, at a limited rate. No clock of its own.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::instance::Instance;
use super::shell::Shell;
use crate::vrrp::Refusal;
use crate::vrrp::receive::Received;

/// Longer than version 2's usual interval, so that a peer is one warning and not one per advert.
const SAID_FOR: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oddity {
    Dropped(Refusal),
    OtherAddresses,
    OtherInterval,
}

/// The last of one kind. Another one waits until this one is over, so that two peers do not take turns in the log; the
/// counters have them all.
#[derive(Debug, Default)]
pub(super) struct Oddities {
    said: Option<(IpAddr, Oddity, Instant)>,
}

impl Oddities {
    /// Of an advert with this virtual router's number. Whose own it is, and who is no peer, is no fault of the advert.
    pub(super) fn note_dropped(&mut self, source: IpAddr, refusal: Refusal, now: Instant) {
        if !matches!(refusal, Refusal::Own | Refusal::Sender | Refusal::Destination) {
            self.note(source, Oddity::Dropped(refusal), now);
        }
    }

    pub(super) fn note_taken(&mut self, source: IpAddr, received: &Received, now: Instant) {
        if received.other_addresses {
            self.note(source, Oddity::OtherAddresses, now);
        }
        if received.other_interval {
            self.note(source, Oddity::OtherInterval, now);
        }
    }

    fn note(&mut self, source: IpAddr, oddity: Oddity, now: Instant) {
        let is_another = |(from, what, at)| (from, what) != (source, oddity) && now < at + SAID_FOR;
        if !self.said.is_some_and(is_another) {
            self.said = Some((source, oddity, now));
        }
    }

    fn check(&self, now: Instant) -> Result<(), String> {
        match self.said.filter(|(_, _, at)| now < *at + SAID_FOR) {
            None => Ok(()),
            Some((source, oddity, _)) => Err(match oddity {
                Oddity::Dropped(refusal) => format!("adverts from {source} are dropped: {refusal}"),
                Oddity::OtherAddresses => {
                    format!("{source} advertises another list of addresses than this node's")
                }
                Oddity::OtherInterval => format!("{source} advertises another interval than this node's"),
            }),
        }
    }
}

impl Instance {
    /// As often as the kernel is looked at, however many of them came.
    pub(super) fn say_what_is_odd(&self, shell: &mut Shell, now: Instant) {
        shell.warnings.set(&self.config.name, "adverts", self.oddities.check(now), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_is_said_until_it_is_over() {
        use Oddity::{Dropped, OtherAddresses, OtherInterval};
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let [a, b]: [IpAddr; 2] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        let ttl = "adverts from 10.0.0.1 are dropped: TTL is not 255 (RFC 9568 section 5.1.1.3)";
        let list = "10.0.0.2 advertises another list of addresses than this node's";
        let interval = "10.0.0.2 advertises another interval than this node's";
        let mut oddities = Oddities::default();
        for (ms, arrives, says) in [
            (0, None, None),
            (1_000, Some((a, Dropped(Refusal::Ttl))), Some(ttl)),
            (2_000, Some((b, OtherAddresses)), Some(ttl)),
            (3_000, Some((a, Dropped(Refusal::Ttl))), Some(ttl)),
            (5_999, Some((b, OtherAddresses)), Some(ttl)),
            (6_000, None, None),
            (6_001, Some((b, OtherAddresses)), Some(list)),
            (6_002, Some((b, OtherInterval)), Some(list)),
            (9_001, Some((b, OtherInterval)), Some(interval)),
        ] {
            if let Some((source, oddity)) = arrives {
                oddities.note(source, oddity, at(ms));
            }
            assert_eq!(oddities.check(at(ms)).err().as_deref(), says, "{ms}");
        }
    }

    #[test]
    fn who_is_no_peer_is_nothing_to_speak_of() {
        let (now, source) = (Instant::now(), [10, 0, 0, 1].into());
        for refusal in [Refusal::Own, Refusal::Sender, Refusal::Destination] {
            let mut oddities = Oddities::default();
            oddities.note_dropped(source, refusal, now);
            assert_eq!(oddities.check(now), Ok(()), "{refusal:?}");
        }
    }
}
