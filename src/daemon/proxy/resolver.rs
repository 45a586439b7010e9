//! From a name to its addresses: /etc/hosts first, then the name servers of the configuration or of /etc/resolv.conf.

use std::fs::Metadata;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::counters::{Count, Vitals};
use super::limits::{LOOKUPS_MAX, NAME_FILE_MAX, NAME_TRY, TTL_MAX, TTL_MIN};
use super::name_server::{Mute, ask};
use crate::config;
use crate::dns::{Answer, Family, Question, ResolvConf, hosts};

pub(super) struct Resolver {
    settings: ArcSwapOption<config::Resolver>,
    hosts: TextFile,
    resolv_conf: TextFile,
    /// The place of the name server that answered last: one that is dead is not waited for again and again.
    preferred: AtomicUsize,
    turns: Semaphore,
    pub(super) vitals: Arc<Vitals>,
}

/// What a name stands for.
#[derive(Debug)]
pub(super) struct Found {
    /// In order. `None`: nobody could say, which does not mean that there are none.
    pub(super) v4: Option<Vec<IpAddr>>,
    pub(super) v6: Option<Vec<IpAddr>>,
    /// How long this counts.
    pub(super) valid: Duration,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            settings: ArcSwapOption::empty(),
            hosts: TextFile::new("/etc/hosts"),
            resolv_conf: TextFile::new("/etc/resolv.conf"),
            preferred: AtomicUsize::new(0),
            turns: Semaphore::new(LOOKUPS_MAX),
            vitals: Arc::default(),
        }
    }
}

impl Resolver {
    /// Whether these differ from those before.
    pub(super) fn configure(&self, settings: &config::Resolver) -> bool {
        let same = self.settings.load().as_ref().is_some_and(|old| **old == *settings);
        if !same {
            self.settings.store(Some(Arc::new(settings.clone())));
        }
        !same
    }

    pub(super) async fn lookup(&self, name: &str) -> Result<Found, String> {
        let Some(settings) = self.settings.load_full() else { return Err("not configured".into()) };
        // Never closed.
        let _turn = self.turns.acquire().await;
        if let Some(found) = self.without_asking(name) {
            let (v4, v6) = found.into_iter().partition(|address| address.is_ipv4());
            return Ok(Found { v4: Some(v4), v6: Some(v6), valid: TTL_MAX });
        }
        let conf = ResolvConf::parse(&self.resolv_conf.text());
        // The search list belongs to the file's name servers; others are asked for what is written (as by nginx).
        let (servers, candidates) = match settings.servers.as_slice() {
            [] => (conf.servers.as_slice(), conf.candidates(name)),
            servers => (servers, vec![name.to_owned()]),
        };
        let end = Instant::now() + settings.timeout;
        // However short the time, the last of them has its turn.
        let patience =
            u32::try_from(servers.len()).map_or(NAME_TRY, |n| settings.timeout / n.max(1)).min(NAME_TRY);
        let mut found = Err("there is no such name".into());
        for candidate in candidates {
            let answers = self.ask_all(servers, &candidate, patience, end).await;
            found = match answers {
                Ok(answers) => gather(answers, settings.valid),
                // Another name must not take its place only because a name server had a bad moment.
                Err(why) => return self.failed(why),
            };
            if found.is_ok() {
                return found;
            }
        }
        found.or_else(|why| self.failed(why))
    }

    fn failed(&self, why: String) -> Result<Found, String> {
        self.vitals.count(Count::NameFailures);
        Err(why)
    }

    fn without_asking(&self, name: &str) -> Option<Vec<IpAddr>> {
        let found = hosts(&self.hosts.text(), name);
        let bare = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        // RFC 6761 section 6.3: no name server is asked for it.
        if found.is_empty() && (bare == "localhost" || bare.ends_with(".localhost")) {
            return Some(vec![Ipv4Addr::LOCALHOST.into()]);
        }
        Some(found).filter(|found| !found.is_empty())
    }

    /// The answers for both families; `None`: nobody could say. An error if that is so of both. `patience`: with each
    /// name server, in the first round.
    async fn ask_all(
        &self,
        servers: &[SocketAddr],
        name: &str,
        mut patience: Duration,
        end: Instant,
    ) -> Result<[Option<Answer>; 2], String> {
        let question = |family| Question::try_new(name, family).map_err(|error| error.to_string());
        let (a, aaaa) = (question(Family::V4)?, question(Family::V6)?);
        let mut last = "no name server answers in time".to_owned();
        loop {
            let first = self.preferred.load(Ordering::Relaxed);
            let mut worth_waiting = false;
            for turn in 0..servers.len() {
                let place = first.wrapping_add(turn).checked_rem(servers.len()).unwrap_or_default();
                let Some(server) = servers.get(place) else { continue };
                let until = end.min(Instant::now() + patience);
                let both = tokio::join!(
                    ask(*server, &a, until, &self.vitals),
                    ask(*server, &aaaa, until, &self.vitals)
                );
                let is_found = |answer: &Result<Answer, Mute>| matches!(answer, Ok(Answer::Addresses { .. }));
                let (a, aaaa) = both;
                // One family is enough to go on with; that there is none is for both to say.
                if is_found(&a) || is_found(&aaaa) || a.is_ok() && aaaa.is_ok() {
                    self.preferred.store(place, Ordering::Relaxed);
                    return Ok([a.ok(), aaaa.ok()]);
                }
                for mute in [a.err(), aaaa.err()].into_iter().flatten() {
                    match mute {
                        Mute::Silent => worth_waiting = true,
                        Mute::Refused(why) => last = format!("{why} ({server})"),
                    }
                }
                if Instant::now() >= end {
                    return Err(last);
                }
            }
            if !worth_waiting {
                return Err(last);
            }
            patience *= 2;
        }
    }
}

/// An error where neither family has an address.
fn gather(answers: [Option<Answer>; 2], valid: Option<Duration>) -> Result<Found, String> {
    let mut ttl = u32::MAX;
    let mut exists = false;
    let [v4, v6] = answers.map(|answer| match answer {
        Some(Answer::Addresses { addresses, ttl: own }) => {
            ttl = ttl.min(own);
            Some(addresses)
        }
        Some(Answer::NoAddress) => {
            exists = true;
            Some(vec![])
        }
        Some(Answer::NoSuchName) => Some(vec![]),
        Some(Answer::Truncated | Answer::Failed(_)) | None => None,
    });
    if [&v4, &v6].iter().all(|family| family.as_ref().is_none_or(|addresses| addresses.is_empty())) {
        return Err(match exists {
            true => "the name has no address".into(),
            false => "there is no such name".into(),
        });
    }
    let ttl = Duration::from_secs(ttl.into()).clamp(TTL_MIN, TTL_MAX);
    Ok(Found { v4, v6, valid: valid.unwrap_or(ttl) })
}

/// A small file that somebody else may write anew, read again when it looks different.
struct TextFile {
    path: &'static str,
    last: Mutex<(Option<Stamp>, Arc<str>)>,
}

/// Change time, inode and size.
type Stamp = (i64, i64, u64, u64);

impl TextFile {
    fn new(path: &'static str) -> Self {
        Self { path, last: Mutex::new((None, "".into())) }
    }

    /// Empty where there is no such file.
    fn text(&self) -> Arc<str> {
        let stamp = |m: Metadata| (m.ctime(), m.ctime_nsec(), m.ino(), m.size());
        let stamp = std::fs::metadata(self.path).ok().map(stamp);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0 != stamp {
            *last = (stamp, read_file(self.path).unwrap_or_default().into());
        }
        Arc::clone(&last.1)
    }
}

fn read_file(path: &str) -> io::Result<String> {
    let mut bytes = vec![];
    std::fs::File::open(path)?.take(NAME_FILE_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(ttl: u32) -> Option<Answer> {
        Some(Answer::Addresses { addresses: vec![[192, 0, 2, 1].into()], ttl })
    }

    #[test]
    fn how_long_an_answer_counts() {
        let hour = Some(Duration::from_secs(3600));
        for (ttl, valid, expect) in [
            (0, None, TTL_MIN),
            (5, None, Duration::from_secs(5)),
            (600, None, TTL_MAX),
            (5, hour, Duration::from_secs(3600)),
            (600, Some(Duration::from_secs(1)), Duration::from_secs(1)),
        ] {
            let found = gather([addresses(ttl), Some(Answer::NoAddress)], valid).unwrap();
            assert_eq!(found.valid, expect, "{ttl} {valid:?}");
        }
        assert_eq!(gather([addresses(9), addresses(3)], None).unwrap().valid, Duration::from_secs(3));
    }

    #[test]
    fn a_family_that_nobody_could_speak_for_is_not_an_empty_one() {
        let found = gather([addresses(5), None], None).unwrap();
        assert!(found.v4.is_some() && found.v6.is_none());
        let found = gather([Some(Answer::NoAddress), addresses(5)], None).unwrap();
        assert!(found.v4.is_some_and(|v4| v4.is_empty()));
        for (answers, expect) in [
            ([Some(Answer::NoSuchName), Some(Answer::NoSuchName)], "there is no such name"),
            ([Some(Answer::NoAddress), Some(Answer::NoAddress)], "the name has no address"),
        ] {
            assert_eq!(gather(answers, None).unwrap_err(), expect);
        }
    }
}
