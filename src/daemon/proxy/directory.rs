//! The servers of all upstreams, each with its check and its name's resolution, across configurations: an edit
//! elsewhere must not make a server that is down look up again.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::checks::keep_checked;
use super::name::keep_resolved;
use super::server::Server;
use super::snapshot::Snapshot;
use crate::config::{Check, Host, Upstream};

#[derive(Default)]
pub(super) struct Directory {
    entries: HashMap<Key, Entry>,
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
    tasks: Vec<AbortHandle>,
    attended: bool,
}

impl Directory {
    /// What is known about the server at place `n` of `upstream`.
    pub(super) fn server(&mut self, upstream: &Upstream, n: usize) -> Arc<Server> {
        let (host, port) = match upstream.servers.get(n) {
            Some(server) => (server.host.clone(), server.port),
            // A place that the caller has counted out of the same list.
            None => (Host::Name(String::new()), 0),
        };
        let check = format!("{:?}", upstream.check);
        let key = Key { upstream: upstream.name.clone(), host: host.clone(), port, check };
        let entry = self.entries.entry(key).or_insert_with(|| Entry {
            server: Arc::new(Server::new(host, port)),
            upstream: upstream.name.clone(),
            check: upstream.check.clone(),
            tasks: vec![],
            attended: false,
        });
        Arc::clone(&entry.server)
    }

    /// Resolves and checks the servers of `snapshot` and no others.
    pub(super) fn attend(&mut self, snapshot: &Snapshot) {
        let wanted = |server: &Arc<Server>| {
            snapshot.upstreams.iter().flat_map(|g| &g.servers).any(|s| Arc::ptr_eq(s, server))
        };
        self.entries.retain(|_, entry| wanted(&entry.server));
        for entry in self.entries.values_mut().filter(|e| !e.attended) {
            entry.attended = true;
            if let Host::Name(name) = &entry.server.host {
                let resolving = keep_resolved(Arc::clone(&entry.server), name.clone());
                entry.tasks.push(tokio::spawn(resolving).abort_handle());
            }
            if let Some(check) = &entry.check {
                let checking = keep_checked(Arc::clone(&entry.server), check.clone(), entry.upstream.clone());
                entry.tasks.push(tokio::spawn(checking).abort_handle());
            }
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
