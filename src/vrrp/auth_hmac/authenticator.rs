//! Of one virtual router: whether its adverts are signed, for whom, and whose have to be.
//!
//! Where keys are configured, `mode` says so, as keepalived's does. Where none are, the nodes find out over their links,
//! and for unicast only: an advert to a group also reaches backups that have never said a word, and who cannot read a
//! trailer drops the advert and takes the address. The rules, with the reasons in ARCHITECTURE.md:
//!
//! - signed for a peer: once it has said that it reads trailers;
//! - demanded of a peer: once it has said that it signs;
//! - both count for as long as its answers are fresh, which is less than the time for which a peer that is lost is sent
//!   each advert twice, signed and plain, so that at no moment one demands what the other does not send.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::key::AuthKeys;
use super::sequence::Sequence;
use super::trailer::{self, Bound, TRAILER, Trailer};
use crate::config::{AntiReplay, AuthHmac, AuthMode};
use crate::vrrp::refusal::Refusal;

/// States are answered every second; one that is asked after so long has not said a thing.
pub const SHOWN_FOR: Duration = Duration::from_secs(3);
/// Whoever demanded signatures has ceased to by then, with ten times the patience.
const BOTH_FOR: Duration = Duration::from_secs(30);
/// Senders whose last number is remembered; a virtual router has a handful.
const MAX_SENDERS: usize = 64;

/// What a destination is sent for each advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Plain,
    Signed,
    /// Signed first: whoever can read that need not see the other one as an attack.
    Both,
}

#[derive(Debug)]
pub struct Authenticator {
    policy: AuthHmac,
    /// Of the files, or derived from the link's.
    keys: Option<Arc<AuthKeys>>,
    sent: Option<Sequence>,
    /// The last number of each sender that was accepted.
    marks: BTreeMap<IpAddr, Sequence>,
    shown: BTreeMap<IpAddr, Shown>,
}

/// By a peer over its link.
#[derive(Clone, Copy, Debug)]
struct Shown {
    /// When this node asked what was answered last.
    asked: Instant,
    linked: bool,
    signs: bool,
}

impl Authenticator {
    pub fn new(policy: AuthHmac) -> Self {
        Self { policy, keys: None, sent: None, marks: BTreeMap::new(), shown: BTreeMap::new() }
    }

    /// Numbers go on where they were, and so do keys until others have been read; what peers have shown has to be shown
    /// anew.
    pub fn configure(&mut self, policy: AuthHmac) {
        if self.policy != policy {
            if std::mem::discriminant(&self.policy) != std::mem::discriminant(&policy) {
                self.keys = None;
            }
            self.policy = policy;
            self.shown.clear();
        }
    }

    pub fn policy(&self) -> &AuthHmac {
        &self.policy
    }

    /// The very same, or none.
    pub fn has(&self, keys: Option<&Arc<AuthKeys>>) -> bool {
        match (&self.keys, keys) {
            (Some(own), Some(keys)) => Arc::ptr_eq(own, keys),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Who has shown something under other keys is not held to it.
    pub fn set_keys(&mut self, keys: Option<Arc<AuthKeys>>) {
        self.keys = keys;
        self.handle_gap();
    }

    /// Trailers are looked for; otherwise an advert with one is too long.
    pub fn reads(&self) -> bool {
        self.keys.is_some()
    }

    /// Peers may count on it that trailers under the link's keys are read.
    pub fn reads_for_peers(&self) -> bool {
        self.policy == AuthHmac::Linked && self.reads()
    }

    /// For `status`. Until signed adverts are demanded of a peer, plain ones of anybody's are taken in its name.
    pub fn describe(&self, now: Instant) -> String {
        match &self.policy {
            AuthHmac::Off => "off".to_owned(),
            AuthHmac::Linked if self.keys.is_none() => "off: the link has no key".to_owned(),
            AuthHmac::Linked => {
                let fresh = self.shown.iter().filter(|(_, shown)| shown.is_fresh(now)).map(|(peer, _)| *peer);
                let (demanded, others): (Vec<_>, Vec<_>) = fresh.partition(|peer| self.demands(*peer, now));
                match (list(&demanded), list(&others)) {
                    (None, None) => "off: no peer has shown that it reads it".to_owned(),
                    (Some(demanded), None) => format!("with {demanded}"),
                    (None, Some(others)) => format!("signed for {others}, not yet demanded"),
                    (Some(demanded), Some(others)) => {
                        format!("with {demanded}; signed for {others}, not yet demanded")
                    }
                }
            }
            AuthHmac::Keys(_) if self.keys.is_none() => "its keys cannot be read".to_owned(),
            AuthHmac::Keys(keys) => match keys.keys.first() {
                Some(active) => format!("{}, key {}", keys.mode, active.id),
                None => keys.mode.to_string(),
            },
        }
    }

    /// `destination`: a peer, or the group.
    pub fn form(&self, destination: IpAddr, now: Instant) -> Form {
        match (&self.policy, &self.keys) {
            (AuthHmac::Off, _) | (_, None) => Form::Plain,
            (AuthHmac::Keys(keys), Some(_)) => match keys.mode {
                AuthMode::Enforce | AuthMode::Permissive => Form::Signed,
                AuthMode::ReceiveOnly => Form::Plain,
            },
            (AuthHmac::Linked, Some(_)) => match self.shown.get(&destination) {
                Some(shown) if shown.linked && shown.is_fresh(now) => Form::Signed,
                Some(shown) if now < shown.asked + BOTH_FOR => Form::Both,
                Some(_) | None => Form::Plain,
            },
        }
    }

    /// The trailer for this advert, whatever its checksum. `wall`: since 1970.
    pub fn sign(&mut self, advert: &[u8], bound: &Bound, wall: Duration) -> Option<[u8; TRAILER]> {
        let keys = self.keys.clone()?;
        let sequence = self.next_sequence(wall);
        self.sent = Some(sequence);
        Some(trailer::sign(keys.active()?, advert, sequence, bound))
    }

    fn next_sequence(&self, wall: Duration) -> Sequence {
        let clock = Sequence::at(wall);
        match self.sent {
            Some(sent) if !clock.is_after(sent) => {
                // A clock that was put right: receivers would not take the time before for as long as it was wrong.
                let is_stranded = |window: u32| i64::from(sent.seconds_ahead_of(wall)) > i64::from(window);
                if self.window().is_some_and(is_stranded) { clock } else { sent.next() }
            }
            Some(_) | None => clock,
        }
    }

    /// In seconds; `None`: the clocks do not matter.
    fn window(&self) -> Option<u32> {
        match &self.policy {
            AuthHmac::Keys(keys) if keys.anti_replay == AntiReplay::Time => Some(keys.time_window),
            AuthHmac::Keys(_) | AuthHmac::Linked | AuthHmac::Off => None,
        }
    }

    /// For an advert that has passed everything else. True: its sender has the key; false: it need not.
    pub fn check(
        &mut self,
        advert: &[u8],
        trailer: Option<Trailer<'_>>,
        bound: &Bound,
        now: Instant,
        wall: Duration,
    ) -> Result<bool, Refusal> {
        let Some(trailer) = trailer else {
            return if self.demands(bound.source, now) { Err(Refusal::AuthExtMissing) } else { Ok(false) };
        };
        trailer.check()?;
        let sequence = trailer.sequence();
        let is_outside =
            |sequence: Sequence, window: u32| sequence.seconds_ahead_of(wall).unsigned_abs() > window;
        // Before the sum, which a flood of captured adverts would cost otherwise.
        if self.window().is_some_and(|window| is_outside(sequence, window)) {
            return Err(Refusal::AuthExtStale);
        }
        let keys = self.keys.clone();
        let mut known = keys.iter().flat_map(|keys| keys.with_id(trailer.key_id())).peekable();
        if known.peek().is_none() {
            return Err(Refusal::AuthExtUnknownKey);
        }
        if !known.any(|key| trailer.is_signed_with(key, advert, bound)) {
            return Err(Refusal::AuthExtInvalidHmac);
        }
        // From here on it is the sender's word. A mark that time alone would refuse says nothing any more: the sender's
        // clock was put right.
        let mark = self.marks.get(&bound.source).copied();
        let mark = mark.filter(|mark| !self.window().is_some_and(|window| is_outside(*mark, window)));
        if mark.is_some_and(|mark| !sequence.is_after(mark)) {
            return Err(Refusal::AuthExtReplay);
        }
        self.remember(bound.source, sequence);
        Ok(true)
    }

    fn demands(&self, source: IpAddr, now: Instant) -> bool {
        match (&self.policy, &self.keys) {
            (AuthHmac::Off, _) | (AuthHmac::Linked, None) => false,
            (AuthHmac::Keys(keys), _) => match keys.mode {
                AuthMode::Enforce => true,
                AuthMode::Permissive | AuthMode::ReceiveOnly => false,
            },
            (AuthHmac::Linked, Some(_)) => {
                self.shown.get(&source).is_some_and(|shown| shown.signs && shown.is_fresh(now))
            }
        }
    }

    fn remember(&mut self, source: IpAddr, sequence: Sequence) {
        if !self.marks.contains_key(&source) && self.marks.len() >= MAX_SENDERS {
            let oldest = self.marks.iter().max_by_key(|(_, mark)| mark.distance_to(sequence));
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                self.marks.remove(&oldest);
            }
        }
        self.marks.insert(source, sequence);
    }

    /// The peer has answered what this node asked at `asked`, and says of itself that it reads trailers; `signs`: and
    /// that its adverts to this node have one.
    pub fn peer_shows(&mut self, peer: IpAddr, asked: Instant, signs: bool) {
        if self.reads_for_peers() {
            self.shown.insert(peer, Shown { asked, linked: true, signs });
        }
    }

    /// It does neither, or it has gone in good order, or it is another process.
    pub fn peer_shows_nothing(&mut self, peer: IpAddr) {
        self.shown.remove(&peer);
    }

    /// It has other keys by now, or another configuration: what it sends may be unreadable here, and plain.
    pub fn peer_is_excused(&mut self, peer: IpAddr) {
        if let Some(shown) = self.shown.get_mut(&peer) {
            shown.signs = false;
        }
    }

    pub fn peer_is_unlinked(&mut self, peer: IpAddr) {
        if let Some(shown) = self.shown.get_mut(&peer) {
            shown.linked = false;
        }
    }

    /// To be said to the peers, as `void` takes it. This node signs with greater numbers from here on, whatever its clock
    /// does.
    pub fn void_before(&mut self, wall: Duration) -> Sequence {
        let said = Sequence::at(wall);
        if self.sent.is_none_or(|sent| said.is_after(sent)) {
            self.sent = Some(said);
        }
        said
    }

    /// Another process of the peer's, whose clock may be another one.
    pub fn forget_number(&mut self, peer: IpAddr) {
        self.marks.remove(&peer);
    }

    /// The peer's word over its link: whatever it has signed up to then is old.
    pub fn void(&mut self, peer: IpAddr, until: Sequence) {
        if self.marks.get(&peer).is_none_or(|mark| until.is_after(*mark)) {
            self.remember(peer, until);
        }
    }

    /// This process did not run: who has signed before may be somebody else by now.
    pub fn handle_gap(&mut self) {
        for shown in self.shown.values_mut() {
            shown.signs = false;
        }
    }
}

fn list(peers: &[IpAddr]) -> Option<String> {
    let texts: Vec<String> = peers.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

impl Shown {
    fn is_fresh(self, now: Instant) -> bool {
        now < self.asked + SHOWN_FOR
    }
}
