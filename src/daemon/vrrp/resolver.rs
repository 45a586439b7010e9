//! Peers' names, resolved again and again. The last addresses that were found stay until others are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::config::Host;
use crate::net::Family;

const AGAIN_AFTER: Duration = Duration::from_secs(5);
const AGAIN_WHILE_UNRESOLVED: Duration = Duration::from_secs(1);
/// Of each family. A name of Docker's has as many addresses as its service has containers; more are no peers of anybody.
const MAX_ADDRESSES: usize = 64;

#[derive(Debug)]
pub(super) struct Answer {
    name: String,
    addresses: Result<Vec<IpAddr>, String>,
}

#[derive(Debug, Default)]
struct Entry {
    addresses: Vec<IpAddr>,
    problem: Option<String>,
    /// `None`: an answer is awaited. At most one question per name is out at a time.
    next: Option<Instant>,
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
                    let fresh = || Entry { next: Some(now), ..Entry::default() };
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

    /// True if the addresses are other ones than before.
    pub(super) fn handle_answer(&mut self, answer: Answer, now: Instant) -> bool {
        let Some(entry) = self.names.get_mut(&answer.name) else { return false };
        match answer.addresses {
            Ok(mut addresses) => {
                // An answer to one of two questions is none to the other.
                let answers =
                    |address: &IpAddr| addresses.iter().any(|a| Family::of(*a) == Family::of(*address));
                let kept: Vec<IpAddr> = entry.addresses.iter().copied().filter(|a| !answers(a)).collect();
                let lost = kept.first().map(|address| Family::of(*address));
                let again = if lost.is_some() { AGAIN_WHILE_UNRESOLVED } else { AGAIN_AFTER };
                entry.next = Some(now + again);
                entry.problem =
                    lost.map(|family| format!("it has no {family} address any more; the last ones stay"));
                addresses.extend(kept);
                addresses.sort_unstable();
                let changed = entry.addresses != addresses;
                entry.addresses = addresses;
                changed
            }
            Err(problem) => {
                entry.next = Some(now + AGAIN_WHILE_UNRESOLVED);
                entry.problem = Some(problem);
                false
            }
        }
    }

    /// Asks for every name that is due. The answers arrive in the channel.
    pub(super) fn ask(&mut self, now: Instant) {
        for (name, entry) in self.names.iter_mut().filter(|(_, e)| e.next.is_some_and(|at| at <= now)) {
            entry.next = None;
            let (name, answers) = (name.clone(), self.answers.clone());
            // Ends with its answer; nobody waits for it, and after the role's end nobody misses it.
            drop(tokio::spawn(async move {
                let addresses = look_up(&name).await;
                drop(answers.send(Answer { name, addresses }).await);
            }));
        }
    }
}

async fn look_up(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = tokio::net::lookup_host((name, 0)).await.map_err(|error| error.to_string())?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    // IPv4 comes first.
    let v6 = addresses.split_off(addresses.partition_point(IpAddr::is_ipv4));
    addresses.truncate(MAX_ADDRESSES);
    addresses.extend(v6.into_iter().take(MAX_ADDRESSES));
    if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let answer = |resolver: &mut Resolver, addresses: Result<&[u8], &str>| {
            let addresses = addresses
                .map(|last| last.iter().map(|n| IpAddr::from([10, 0, 0, *n])).collect())
                .map_err(str::to_owned);
            let changed = resolver.handle_answer(Answer { name: "backup".to_owned(), addresses }, now);
            let last: Vec<u8> = resolver.addresses(&host, Family::V4).iter().map(last_octet).collect();
            let next = resolver.names["backup"].next.unwrap() - now;
            (changed, last, resolver.problem(&host, Family::V4).is_some(), next.as_secs())
        };
        assert_eq!(answer(&mut resolver, Err("no such name")), (false, vec![], true, 1));
        assert_eq!(answer(&mut resolver, Ok(&[2, 3])), (true, vec![2, 3], false, 5));
        assert_eq!(answer(&mut resolver, Ok(&[2, 3])), (false, vec![2, 3], false, 5));
        assert_eq!(answer(&mut resolver, Err("server failure")), (false, vec![2, 3], true, 1));
        assert_eq!(answer(&mut resolver, Ok(&[4])), (true, vec![4], false, 5));
        assert_eq!(resolver.addresses(&host, Family::V6), [] as [IpAddr; 0]);
        assert_eq!(resolver.problem(&host, Family::V6).as_deref(), Some("it has no IPv6 address"));
        resolver.want([&host].into_iter(), now);
        assert_eq!(resolver.addresses(&host, Family::V4).len(), 1, "asked for again, not forgotten");
        resolver.want(std::iter::empty(), now);
        assert_eq!(resolver.addresses(&host, Family::V4), [] as [IpAddr; 0]);
    }
}
