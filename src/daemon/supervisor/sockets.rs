//! The listening sockets. They belong to PID 1, so that a proxy that is restarted finds its backlog.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use crate::config::Config;
use crate::os::listener;

/// The sockets of one address, one for each worker; the admin endpoint has one in all.
pub(super) type Group = Arc<[OwnedFd]>;

/// The sockets of one configuration. An address that two configurations share has one group; it closes with the
/// last of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets {
    servers: BTreeMap<SocketAddr, Group>,
    admin: Option<(SocketAddr, Group)>,
}

impl Sockets {
    /// The sockets of `config`, those of `open` among them, the others opened here.
    pub(super) fn open(config: &Config, workers: usize, open: &Self) -> Result<Self, CannotListen> {
        let addresses = config.servers.iter().flat_map(|server| &server.listen);
        let mut sockets = BTreeMap::new();
        for address in addresses {
            if sockets.contains_key(address) {
                continue;
            }
            let group = match open.servers.get(address) {
                Some(group) => Arc::clone(group),
                None => group(*address, workers)?,
            };
            sockets.insert(*address, group);
        }
        let admin = match config.admin.map(|admin| admin.listen) {
            None => None,
            Some(address) => match open.admin.as_ref().filter(|(open, _)| *open == address) {
                Some(open) => Some(open.clone()),
                None => Some((address, group(address, 1)?)),
            },
        };
        Ok(Self { servers: sockets, admin })
    }

    /// Those of the servers.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.keys().copied().collect()
    }

    /// Those of the servers.
    pub(super) fn groups(&self) -> impl Iterator<Item = (SocketAddr, &Group)> {
        self.servers.iter().map(|(address, group)| (*address, group))
    }

    pub(super) fn admin(&self) -> Option<(SocketAddr, &Group)> {
        self.admin.as_ref().map(|(address, group)| (*address, group))
    }

    pub(super) fn has(&self, given: &Weak<[OwnedFd]>) -> bool {
        let mut all = self.servers.values().chain(self.admin.as_ref().map(|(_, group)| group));
        all.any(|group| given.ptr_eq(&Arc::downgrade(group)))
    }
}

fn group(address: SocketAddr, sockets: usize) -> Result<Group, CannotListen> {
    let opened: io::Result<Group> = (0..sockets).map(|_| listener::listen(address)).collect();
    opened.map_err(|error| CannotListen { address, error })
}

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}; {}", self.remedy())]
pub(super) struct CannotListen {
    address: SocketAddr,
    error: io::Error,
}

impl CannotListen {
    pub(super) fn is_permission(&self) -> bool {
        self.error.kind() == io::ErrorKind::PermissionDenied
    }

    fn remedy(&self) -> String {
        match self.error.kind() {
            io::ErrorKind::PermissionDenied => format!(
                "port {} is privileged here: set the sysctl net.ipv4.ip_unprivileged_port_start=0, or \
                 cap_add: [NET_BIND_SERVICE], or listen on a port from 1024 on",
                self.address.port()
            ),
            io::ErrorKind::AddrInUse => {
                "another program listens there: stop it, or choose another port".into()
            }
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported if self.address.is_ipv6() => {
                "IPv6 is switched off here: remove the address, or enable_ipv6 in the network".into()
            }
            _ if self.error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => {
                "IPv6 is switched off here: remove the address, or enable_ipv6 in the network".into()
            }
            _ if self.error.raw_os_error() == Some(nix::libc::EMFILE) => {
                "too many sockets: fewer workers or listen addresses, or a higher ulimit nofile".into()
            }
            _ => "remove the address, or repair what the error names".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_remedy() {
        let v4 = "0.0.0.0:80";
        let table = [
            (v4, nix::libc::EACCES, "net.ipv4.ip_unprivileged_port_start"),
            (v4, nix::libc::EADDRINUSE, "another program"),
            ("[::]:80", nix::libc::EADDRNOTAVAIL, "IPv6"),
            ("[::]:80", nix::libc::EAFNOSUPPORT, "IPv6"),
            (v4, nix::libc::EMFILE, "nofile"),
            (v4, nix::libc::ENOMEM, "repair"),
        ];
        for (address, number, expect) in table {
            let error = io::Error::from_raw_os_error(number);
            let text = CannotListen { address: address.parse().unwrap(), error }.to_string();
            assert!(text.contains(expect) && text.contains(address), "{text}");
        }
    }
}
