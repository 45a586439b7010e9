//! One configuration with all that belongs to it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::sockets::Sockets;
use crate::config::{Config, built_in};
use crate::link::Generation;
use crate::os::snapshot::Snapshot;
use crate::supervision::{Candidate, RoleName};

#[derive(Clone, Debug)]
pub(super) struct Edition {
    pub(super) generation: Generation,
    pub(super) origin: Origin,
    pub(super) config: Box<Config>,
    pub(super) sockets: Sockets,
    pub(super) warnings: Vec<String>,
    /// It waits for nobody.
    pub(super) is_urgent: bool,
    /// When it came into force, or into being.
    pub(super) since: Instant,
}

impl Edition {
    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            generation: self.generation,
            vrrp: !self.config.vrrp.is_empty(),
            runner: self.config.needs_runner(),
            listen: self.sockets.addresses(),
            drain_timeout: self.config.drain_timeout,
            digest: self.origin.digest,
            is_urgent: self.is_urgent,
        }
    }

    /// What a role gets to see of it.
    pub(super) fn config_for(&self, role: RoleName) -> Box<Config> {
        match role {
            RoleName::Runner => self.config.clone(),
            RoleName::Proxy | RoleName::Vrrp => Box::new(self.config.as_ref().clone().without_secrets()),
        }
    }
}

pub(super) fn is_built_in(path: &Path) -> bool {
    path == Path::new(built_in::NAME)
}

/// The text that a configuration, or a refusal, came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) path: PathBuf,
    pub(super) digest: [u8; 32],
}

impl Origin {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self { path: snapshot.path.clone(), digest: snapshot.digest }
    }

    pub(super) fn is_built_in(&self) -> bool {
        is_built_in(&self.path)
    }

    /// A file that cannot be read has no text.
    pub(super) fn unreadable(path: &Path) -> Self {
        Self { path: path.to_owned(), digest: [0; 32] }
    }

    pub(super) fn hexadecimal(&self) -> String {
        self.digest.iter().map(|b| format!("{b:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load};

    #[test]
    fn credentials_go_to_the_runner_only() {
        let text = "node: n\n\
                    webhooks: [{url: 'https://a.example/s3cret-path', headers: {Authorization: s3cret-token}}]\n\
                    email: {smtp_server: mail.example, notification_email: [c@d.example], smtp_tls: starttls, \
                    notification_email_from: a@b.example, smtp_user: u, smtp_password: s3cret-password}\n\
                    servers: [{listen: [80], routes: [{path: /, respond: {status: 204}}]}]\n";
        let source = Source { name: "vipgate.yaml".into(), folder: "/".into(), text: text.into() };
        let loaded = load(&source, &|_| None).unwrap();
        let edition = Edition {
            generation: Generation(1),
            origin: Origin::unreadable(Path::new("vipgate.yaml")),
            config: Box::new(loaded.config),
            sockets: Sockets::default(),
            warnings: vec![],
            is_urgent: false,
            since: Instant::now(),
        };
        let table = [(RoleName::Proxy, 0), (RoleName::Vrrp, 0), (RoleName::Runner, 3)];
        for (role, secrets) in table {
            let sent = serde_json::to_string(&edition.config_for(role)).unwrap();
            assert_eq!(sent.matches("s3cret").count(), secrets, "{role}: {sent}");
            assert!(sent.contains("\"status\":204"), "{role}: {sent}");
        }
    }
}
