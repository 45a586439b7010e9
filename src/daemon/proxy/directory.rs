//! The servers of all upstreams, each with its checks and its name's resolution, across configurations: an edit
//! elsewhere must not make a server that is down look up again.

use std::collections::HashMap;
use std::sync::Arc;

use super::checks::Checks;
use super::counters::Vitals;
use super::name::keep_resolved;
use super::resolver::Resolver;
use super::server::{Changes, Server};
use super::snapshot::Snapshot;
use super::task::Task;
use crate::config::{self, Check, Host, Upstream};

#[derive(Default)]
pub(super) struct Directory {
    entries: HashMap<Key, Entry>,
    /// Of each upstream.
    changes: HashMap<String, Arc<Changes>>,
    resolver: Arc<Resolver>,
}

/// Two of them that differ in nothing are the same server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    upstream: String,
    host: Host,
    port: u16,
    /// A server that is checked in another way starts anew.
    check: String,
}

struct Entry {
    server: Arc<Server>,
    upstream: String,
    check: Option<Check>,
    attention: Option<Attention>,
}

/// What is done for a server, for as long as it has an entry.
#[allow(dead_code, reason = "held, not read")]
enum Attention {
    Checks(Checks),
    Name(Task),
}

impl Directory {
    /// Counts the changes of the addresses of `upstream`.
    pub(super) fn changes(&mut self, upstream: &Upstream) -> Arc<Changes> {
        Arc::clone(self.changes.entry(upstream.name.clone()).or_default())
    }

    /// What is known about the server at place `n` of `upstream`.
    pub(super) fn server(&mut self, upstream: &Upstream, n: usize) -> Arc<Server> {
        let (host, port) = match upstream.servers.get(n) {
            Some(server) => (server.host.clone(), server.port),
            // A place that the caller has counted out of the same list.
            None => (Host::Name(String::new()), 0),
        };
        let check = format!("{:?}", upstream.check);
        let key = Key { upstream: upstream.name.clone(), host: host.clone(), port, check };
        let changes = self.changes(upstream);
        let entry = self.entries.entry(key).or_insert_with(|| Entry {
            server: Arc::new(Server::new(host, port, changes)),
            upstream: upstream.name.clone(),
            check: upstream.check.clone(),
            attention: None,
        });
        Arc::clone(&entry.server)
    }

    /// Resolves and checks the servers of `snapshot` and no others.
    pub(super) fn attend(&mut self, snapshot: &Snapshot, resolver: &config::Resolver) {
        let places: HashMap<*const Server, usize> = snapshot
            .upstreams
            .iter()
            .flat_map(|group| &group.servers)
            .enumerate()
            .map(|(place, server)| (Arc::as_ptr(server), place))
            .collect();
        self.entries.retain(|_, entry| places.contains_key(&Arc::as_ptr(&entry.server)));
        self.changes.retain(|name, _| snapshot.upstreams.iter().any(|group| group.config.name == *name));
        if self.resolver.configure(resolver) {
            self.entries.values().for_each(|entry| entry.server.resolve.notify_one());
        }
        let mut new: Vec<&mut Entry> = self.entries.values_mut().filter(|e| e.attention.is_none()).collect();
        new.sort_by_key(|entry| places.get(&Arc::as_ptr(&entry.server)));
        let checked = u32::try_from(new.iter().filter(|e| e.check.is_some()).count()).unwrap_or(u32::MAX);
        let mut place = 0;
        for entry in new {
            let mut checks = Checks::new(entry.check.as_ref(), &entry.upstream, place, checked);
            place += u32::from(entry.check.is_some());
            let server = Arc::clone(&entry.server);
            entry.attention = Some(match &entry.server.host {
                Host::Address(_) => {
                    checks.follow(&server);
                    Attention::Checks(checks)
                }
                Host::Name(name) => {
                    let resolver = Arc::clone(&self.resolver);
                    Attention::Name(Task::spawn(keep_resolved(server, name.clone(), resolver, checks)))
                }
            });
        }
    }

    /// What the resolver counts.
    pub(super) fn vitals(&self) -> &Vitals {
        &self.resolver.vitals
    }
}
