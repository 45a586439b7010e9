//! Peers' names, resolved again and again. The last addresses that were found stay until others are. Of a name that never
//! had one it is known whether nobody has it, or nobody says. Whoever speaks and is no peer makes them due: he may be one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::config::Host;
use crate::net::Family;
use crate::os::names::{self, NoAddress};

const AGAIN_AFTER: Duration = Duration::from_secs(5);
const AGAIN_WHILE_UNRESOLVED: Duration = Duration::from_secs(1);
/// After somebody has spoken who is no peer; twice as long after each answer that is no other than before, up to
/// `AGAIN_WHILE_UNRESOLVED`, so that one who never becomes a peer keeps no name server busy.
const AGAIN_FOR_STRANGERS: Duration = Duration::from_millis(100);
/// A name that nobody had when it was asked for may have been taken since. It is asked for every second.
const UNKNOWN_FOR: Duration = Duration::from_secs(3);
/// Of each family. A name of Docker's has as many addresses as its service has containers; more are no peers of anybody.
const MAX_ADDRESSES: usize = 64;

/// Who may be a peer beside those whose addresses are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    None,
    /// Some are listed by names that nobody has at the moment, or nobody but this node.
    Nameless,
    /// In a group anybody may, and so may a host that nobody says anything of.
    Perhaps,
}

#[derive(Debug)]
pub(super) struct Answer {
    name: String,
    asked: Instant,
    addresses: Result<Vec<IpAddr>, NoAddress>,
}

#[derive(Debug, Default)]
struct Entry {
    addresses: Vec<IpAddr>,
    problem: Option<String>,
    asked: Option<Instant>,
    /// When it was asked for, if the last answer said whose it is, or that it is nobody's.
    said: Option<Instant>,
    /// Since the last question, before the next one that is asked because of a stranger.
    pause: Duration,
    /// Such a one is due, or out.
    for_stranger: bool,
    /// `None`: an answer is awaited. At most one question per name is out at a time.
    next: Option<Instant>,
}

impl Entry {
    /// No later than so long after the last question, unless one is out. True: earlier than it would be.
    fn hasten(&mut self, pause: Duration) -> bool {
        let (Some(next), Some(asked)) = (self.next, self.asked) else { return false };
        self.next = Some(next.min(asked + pause));
        self.next != Some(next)
    }

    /// True if the addresses are other ones than before.
    fn take(&mut self, found: Result<Vec<IpAddr>, NoAddress>, now: Instant) -> bool {
        match found {
            Ok(mut addresses) => {
                // An answer to one of two questions is none to the other.
                let answers =
                    |address: &IpAddr| addresses.iter().any(|a| Family::of(*a) == Family::of(*address));
                let kept: Vec<IpAddr> = self.addresses.iter().copied().filter(|a| !answers(a)).collect();
                let lost = kept.first().map(|address| Family::of(*address));
                let again = if lost.is_some() { AGAIN_WHILE_UNRESOLVED } else { AGAIN_AFTER };
                self.next = Some(now + again);
                self.problem =
                    lost.map(|family| format!("it has no {family} address any more; the last ones stay"));
                addresses.extend(kept);
                addresses.sort_unstable();
                let changed = self.addresses != addresses;
                self.addresses = addresses;
                changed
            }
            Err(problem) => {
                self.next = Some(now + AGAIN_WHILE_UNRESOLVED);
                self.problem = Some(problem.to_string());
                false
            }
        }
    }
}

pub(super) struct Resolver {
    names: BTreeMap<String, Entry>,
    answers: mpsc::Sender<Answer>,
}

impl Resolver {
    pub(super) fn new(answers: mpsc::Sender<Answer>) -> Self {
        Self { names: BTreeMap::new(), answers }
    }

    /// These names from now on, and no others.
    pub(super) fn want<'h>(&mut self, hosts: impl Iterator<Item = &'h Host>, now: Instant) {
        let mut before = std::mem::take(&mut self.names);
        for host in hosts {
            match host {
                Host::Address(_) => {}
                Host::Name(name) => {
                    let entry = before.remove(name);
                    let fresh = || Entry { next: Some(now), pause: AGAIN_FOR_STRANGERS, ..Entry::default() };
                    self.names.entry(name.clone()).or_insert_with(|| entry.unwrap_or_else(fresh));
                }
            }
        }
    }

    /// Those of one family.
    pub(super) fn addresses(&self, host: &Host, family: Family) -> Vec<IpAddr> {
        let found = match host {
            Host::Address(address) => std::slice::from_ref(address),
            Host::Name(name) => self.names.get(name).map_or(&[][..], |entry| &entry.addresses),
        };
        found.iter().copied().filter(|address| Family::of(*address) == family).collect()
    }

    /// Why a name has no addresses of a family, or only old ones.
    pub(super) fn problem(&self, host: &Host, family: Family) -> Option<String> {
        let name = match host {
            Host::Address(_) => return None,
            Host::Name(name) => name,
        };
        let entry = self.names.get(name)?;
        let has_others = !entry.addresses.is_empty() && self.addresses(host, family).is_empty();
        let lacks = || has_others.then(|| format!("it has no {family} address"));
        entry.problem.clone().or_else(lacks)
    }

    /// `own`: this node's addresses.
    pub(super) fn others(&self, peers: &[Host], family: Family, own: &[IpAddr], now: Instant) -> Others {
        let addresses = |host: &Host| self.addresses(host, family);
        let is_name = |host: &Host| match host {
            Host::Address(_) => false,
            Host::Name(_) => true,
        };
        let mut unfound: Vec<&Host> = peers.iter().filter(|host| addresses(host).is_empty()).collect();
        // Beside those of others, a name that only this node has is its own. Alone it may be that of a service whose other
        // containers have not started, and one that comes up during a stall is looked for only where somebody may come.
        if unfound.is_empty() && peers.iter().flat_map(addresses).all(|address| own.contains(&address)) {
            unfound = peers.iter().filter(|host| is_name(host)).collect();
        }
        if unfound.is_empty() {
            Others::None
        } else if unfound.iter().all(|host| self.is_no_others(host, own, now)) {
            Others::Nameless
        } else {
            Others::Perhaps
        }
    }

    /// Nobody else is there under this name, or was a moment ago, and nobody else ever was: of an address there would be
    /// another way to find out.
    fn is_no_others(&self, host: &Host, own: &[IpAddr], now: Instant) -> bool {
        let entry = match host {
            Host::Address(_) => None,
            Host::Name(name) => self.names.get(name),
        };
        let is_fresh = |entry: &Entry| entry.said.is_some_and(|asked| now < asked + UNKNOWN_FOR);
        let is_own = |entry: &Entry| entry.addresses.iter().all(|address| own.contains(address));
        entry.is_some_and(|entry| is_own(entry) && is_fresh(entry))
    }

    /// These may be others' at any moment: they are asked for as often as names that nobody has.
    pub(super) fn await_others(&mut self, hosts: &[Host]) {
        for entry in self.names.iter_mut().filter(|(name, _)| is_among(name, hosts)).map(|(_, entry)| entry) {
            entry.hasten(AGAIN_WHILE_UNRESOLVED);
        }
    }

    /// Somebody speaks who is no peer by the addresses that were found last.
    pub(super) fn hear_stranger(&mut self) {
        for entry in self.names.values_mut() {
            entry.for_stranger |= entry.hasten(entry.pause);
        }
    }

    /// True if the addresses are other ones than before.
    pub(super) fn handle_answer(&mut self, answer: Answer, now: Instant) -> bool {
        let Some(entry) = self.names.get_mut(&answer.name) else { return false };
        let says_no = answer.addresses == Err(NoAddress::NoSuchName);
        entry.said = (says_no || answer.addresses.is_ok()).then_some(answer.asked);
        let changed = entry.take(answer.addresses, now);
        let was_for_stranger = std::mem::take(&mut entry.for_stranger);
        entry.pause = if was_for_stranger && !changed {
            (entry.pause * 2).min(AGAIN_WHILE_UNRESOLVED)
        } else {
            AGAIN_FOR_STRANGERS
        };
        changed
    }

    #[cfg(test)]
    pub(super) fn pretend_answer(&mut self, name: &str, addresses: Vec<IpAddr>, now: Instant) {
        self.handle_answer(Answer { name: name.to_owned(), asked: now, addresses: Ok(addresses) }, now);
    }

    /// Asks for every name that is due. The answers arrive in the channel.
    pub(super) fn ask(&mut self, now: Instant) {
        for (name, entry) in self.names.iter_mut().filter(|(_, e)| e.next.is_some_and(|at| at <= now)) {
            (entry.next, entry.asked) = (None, Some(now));
            let (name, answers) = (name.clone(), self.answers.clone());
            // Ends with its answer; nobody waits for it, and after the role's end nobody misses it.
            drop(tokio::spawn(async move {
                let addresses = look_up(name.clone()).await;
                drop(answers.send(Answer { name, asked: now, addresses }).await);
            }));
        }
    }
}

fn is_among(name: &str, hosts: &[Host]) -> bool {
    hosts.iter().any(|host| matches!(host, Host::Name(other) if other == name))
}

async fn look_up(name: String) -> Result<Vec<IpAddr>, NoAddress> {
    let found = spawn_blocking(move || names::addresses(&name)).await;
    let mut addresses = found.map_err(|error| NoAddress::NoAnswer(error.to_string()))??;
    addresses.sort_unstable();
    addresses.dedup();
    // IPv4 comes first.
    let v6 = addresses.split_off(addresses.partition_point(IpAddr::is_ipv4));
    addresses.truncate(MAX_ADDRESSES);
    addresses.extend(v6.into_iter().take(MAX_ADDRESSES));
    if addresses.is_empty() { Err(NoAddress::NoSuchName) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_failure() -> NoAddress {
        NoAddress::NoAnswer("server failure".to_owned())
    }

    fn answer_at(asked: Instant, addresses: Result<&[u8], NoAddress>) -> Answer {
        let addresses = addresses.map(|last| last.iter().map(|n| IpAddr::from([10, 0, 0, *n])).collect());
        Answer { name: "backup".to_owned(), asked, addresses }
    }

    #[test]
    fn a_name_is_nobodys_for_as_long_as_that_is_the_last_word() {
        let (answers, _kept) = mpsc::channel(1);
        let mut resolver = Resolver::new(answers);
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let address = Host::Address([10, 0, 0, 9].into());
        let peers = [address, Host::Name("backup".to_owned())];
        resolver.want(peers.iter(), start);
        assert_eq!(
            resolver.others(&peers, Family::V4, &[], start),
            Others::Perhaps,
            "it has not been asked for"
        );
        assert_eq!(resolver.others(&peers[..1], Family::V4, &[], start), Others::None);
        let mut check = |answer: Result<&[u8], NoAddress>, now: u64, expect: Others| {
            resolver.handle_answer(answer_at(start, answer.clone()), at(now));
            assert_eq!(resolver.others(&peers, Family::V4, &[], at(now)), expect, "{answer:?} {now}");
            assert_eq!(resolver.others(&peers, Family::V6, &[], at(now)), Others::Perhaps);
        };
        check(Err(server_failure()), 0, Others::Perhaps);
        check(Err(NoAddress::NoSuchName), 2_999, Others::Nameless);
        // The word is as old as the question.
        check(Err(NoAddress::NoSuchName), 3_000, Others::Perhaps);
        check(Err(NoAddress::NoSuchName), 1, Others::Nameless);
        check(Err(server_failure()), 1, Others::Perhaps);
        // It is somebody's, and whether he is there can be seen on the network from then on.
        check(Ok(&[2]), 1, Others::None);
        check(Err(NoAddress::NoSuchName), 1, Others::None);
    }

    #[test]
    fn a_name_that_only_this_node_has_is_its_own_or_a_service_of_which_it_is_the_first() {
        const OWN: u8 = 1;
        let start = Instant::now();
        let own = [IpAddr::from([10, 0, 0, OWN])];
        let [backup, other] = ["backup", "other"].map(|name| Host::Name(name.to_owned()));
        let [own_address, peer] = [OWN, 9].map(|last| Host::Address([10, 0, 0, last].into()));
        let shared = [backup.clone()];
        let check = |peers: &[Host], answers: &[Result<&[u8], NoAddress>], seconds: u64, expect: Others| {
            let (sender, _kept) = mpsc::channel(1);
            let mut resolver = Resolver::new(sender);
            resolver.want(peers.iter(), start);
            for answer in answers {
                resolver.handle_answer(answer_at(start, answer.clone()), start);
            }
            let now = start + Duration::from_secs(seconds);
            let others = resolver.others(peers, Family::V4, &own, now);
            assert_eq!(others, expect, "{peers:?} {answers:?} {seconds}");
        };
        check(&shared, &[Ok(&[OWN])], 2, Others::Nameless);
        check(&shared, &[Ok(&[OWN])], 3, Others::Perhaps);
        check(&shared, &[Ok(&[OWN]), Err(NoAddress::NoSuchName)], 0, Others::Nameless);
        check(&shared, &[Ok(&[OWN]), Err(server_failure())], 0, Others::Perhaps);
        check(&shared, &[Ok(&[OWN, 2])], 9, Others::None);
        check(&shared, &[Ok(&[OWN, 2]), Ok(&[OWN])], 0, Others::Nameless);
        check(&[backup.clone(), peer], &[Ok(&[OWN])], 9, Others::None);
        check(&[backup.clone(), own_address.clone()], &[Ok(&[OWN])], 0, Others::Nameless);
        check(&[own_address], &[], 0, Others::None);
        check(&[backup, other], &[Ok(&[OWN])], 0, Others::Perhaps);
    }

    /// Asks what is due at that time: whether the name was.
    fn asks(resolver: &mut Resolver, at: Instant) -> bool {
        let before = resolver.names["backup"].asked;
        resolver.ask(at);
        resolver.names["backup"].asked != before
    }

    /// It has asked for one name, and waits for the answer.
    fn asking(start: Instant) -> (Resolver, Host, mpsc::Receiver<Answer>) {
        let (answers, kept) = mpsc::channel(1);
        let mut resolver = Resolver::new(answers);
        let host = Host::Name("backup".to_owned());
        resolver.want([&host].into_iter(), start);
        assert!(asks(&mut resolver, start));
        (resolver, host, kept)
    }

    #[tokio::test]
    async fn whoever_speaks_and_is_no_peer_has_names_asked_for_at_once_and_not_without_end() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let (mut resolver, _, _kept) = asking(start);
        resolver.hear_stranger();
        assert!(!asks(&mut resolver, at(500)), "one question is out");
        let found = |resolver: &mut Resolver, now: u64, last: &[u8]| {
            resolver.handle_answer(answer_at(at(now), Ok(last)), at(now))
        };
        assert!(found(&mut resolver, 500, &[1]));
        assert!(!asks(&mut resolver, at(2_000)), "nobody has spoken");
        resolver.hear_stranger();
        assert!(asks(&mut resolver, at(2_000)));
        // Of one who stays a stranger: so long after each question comes the next.
        let mut asked = 2_000;
        for pause in [200, 400, 800, 1_000, 1_000] {
            assert!(!found(&mut resolver, asked + 1, &[1]));
            resolver.hear_stranger();
            assert!(!asks(&mut resolver, at(asked + pause - 1)), "{pause}");
            assert!(asks(&mut resolver, at(asked + pause)), "{pause}");
            asked += pause;
        }
        // He is a peer, and the next stranger is another one.
        assert!(found(&mut resolver, asked + 1, &[1, 2]));
        resolver.hear_stranger();
        assert!(!asks(&mut resolver, at(asked + 99)));
        assert!(asks(&mut resolver, at(asked + 100)));
    }

    #[tokio::test]
    async fn a_name_that_others_may_have_soon_is_asked_for_every_second() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let (mut resolver, host, _kept) = asking(start);
        resolver.handle_answer(answer_at(start, Ok(&[1])), at(1));
        resolver.await_others(&[Host::Name("other".to_owned())]);
        assert!(!asks(&mut resolver, at(1_000)));
        resolver.await_others(&[host]);
        assert!(asks(&mut resolver, at(1_000)));
    }

    #[test]
    fn the_last_addresses_stay_until_there_are_others() {
        let last_octet = |address: &IpAddr| match address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => unreachable!(),
        };
        let (answers, _kept) = mpsc::channel(1);
        let mut resolver = Resolver::new(answers);
        let now = Instant::now();
        let host = Host::Name("backup".to_owned());
        resolver.want([&host].into_iter(), now);
        let answer = |resolver: &mut Resolver, addresses: Result<&[u8], NoAddress>| {
            let changed = resolver.handle_answer(answer_at(now, addresses), now);
            let last: Vec<u8> = resolver.addresses(&host, Family::V4).iter().map(last_octet).collect();
            let next = resolver.names["backup"].next.unwrap() - now;
            (changed, last, resolver.problem(&host, Family::V4).is_some(), next.as_secs())
        };
        assert_eq!(answer(&mut resolver, Err(NoAddress::NoSuchName)), (false, vec![], true, 1));
        assert_eq!(answer(&mut resolver, Ok(&[2, 3])), (true, vec![2, 3], false, 5));
        assert_eq!(answer(&mut resolver, Ok(&[2, 3])), (false, vec![2, 3], false, 5));
        assert_eq!(answer(&mut resolver, Err(server_failure())), (false, vec![2, 3], true, 1));
        assert_eq!(answer(&mut resolver, Ok(&[4])), (true, vec![4], false, 5));
        assert_eq!(resolver.addresses(&host, Family::V6), [] as [IpAddr; 0]);
        assert_eq!(resolver.problem(&host, Family::V6).as_deref(), Some("it has no IPv6 address"));
        resolver.want([&host].into_iter(), now);
        assert_eq!(resolver.addresses(&host, Family::V4).len(), 1, "asked for again, not forgotten");
        resolver.want(std::iter::empty(), now);
        assert_eq!(resolver.addresses(&host, Family::V4), [] as [IpAddr; 0]);
    }
}
