//! What adverts are signed with: keys out of files, or derived from the link's; and what peers tell each other over it,
//! so that nobody is sent, or demands, what the other one does not know.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;

use super::super::instance::Instance;
use super::super::shell::Shell;
use super::connection::Event;
use super::node::Peering;
use super::roster::{Pairing, shared};
use crate::config::{AuthHmac, AuthHmacKeys};
use crate::net::Family;
use crate::os::{clock, snapshot};
use crate::peer::{Farewell, Keys, Router, State};
use crate::vrrp::{AuthKey, AuthKeys, Form, Sequence};

/// In warnings.
pub(in super::super) const AUTH_KEYS: &str = "auth_hmac keys";
/// Of a key's file: the longest key in hexadecimal digits, and some white space.
const MAX_FILE: u64 = 256;
/// An advert that is on its way while its sender speaks over the link is not void.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// By their files.
type Texts = BTreeMap<PathBuf, Result<Vec<u8>, String>>;

#[derive(Debug)]
pub(in super::super) struct FoundFiles(Texts);

#[derive(Default)]
pub(super) struct AdvertKeys {
    /// From the link's.
    derived: Option<Arc<AuthKeys>>,
    /// Files with others.
    reading: bool,
}

impl AdvertKeys {
    pub(super) fn derive(&mut self, keys: Option<&Keys>) {
        self.derived = keys.and_then(Keys::for_adverts).map(Arc::new);
    }
}

impl Peering {
    /// One look at a time: a file system may keep one waiting.
    pub(super) fn look_at_key_files(&mut self, instances: &[Instance]) {
        let files: Vec<PathBuf> = instances.iter().flat_map(configured).map(|key| key.file.clone()).collect();
        if self.advert_keys.reading || files.is_empty() {
            return;
        }
        self.advert_keys.reading = true;
        let events = self.events.clone();
        // Ends with the look.
        drop(tokio::spawn(async move {
            let read = move || files.into_iter().map(|file| (file.clone(), read(&file))).collect();
            let found = spawn_blocking(read).await.unwrap_or_default();
            drop(events.send(Event::KeyFiles(FoundFiles(found))).await);
        }));
    }

    pub(super) fn take_key_files(
        &mut self,
        FoundFiles(texts): FoundFiles,
        instances: &mut [Instance],
        shell: &mut Shell,
        now: Instant,
    ) {
        self.advert_keys.reading = false;
        for instance in instances.iter_mut() {
            let AuthHmac::Keys(keys) = instance.authenticator.policy() else { continue };
            // Files that the configuration did not have when the look began are in the next one.
            if !keys.keys.iter().all(|key| texts.contains_key(&key.file)) {
                continue;
            }
            let problem = match parse(keys, &texts) {
                // Whether or not they are others: nothing that peers have shown hangs on keys out of files.
                Ok(keys) => {
                    instance.authenticator.set_keys(Some(Arc::new(keys)));
                    Ok(())
                }
                Err(problem) if instance.authenticator.reads() => {
                    Err(format!("{problem}; adverts go on with the keys that they had"))
                }
                Err(problem) => Err(format!("{problem}: nobody's adverts can be told from a forger's")),
            };
            shell.warnings.set(&instance.config.name, AUTH_KEYS, problem, now);
        }
    }

    pub(super) fn hand_out_link_keys(&self, instances: &mut [Instance]) {
        for instance in instances {
            if *instance.authenticator.policy() == AuthHmac::Linked
                && !instance.authenticator.has(self.advert_keys.derived.as_ref())
            {
                instance.authenticator.set_keys(self.advert_keys.derived.clone());
            }
        }
    }
}

fn configured(instance: &Instance) -> &[crate::config::AuthHmacKey] {
    match instance.authenticator.policy() {
        AuthHmac::Keys(keys) => &keys.keys,
        AuthHmac::Linked | AuthHmac::Off => &[],
    }
}

fn read(file: &std::path::Path) -> Result<Vec<u8>, String> {
    snapshot::read_file(file, MAX_FILE).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

fn parse(configured: &AuthHmacKeys, texts: &Texts) -> Result<AuthKeys, String> {
    let mut keys = Vec::new();
    for key in &configured.keys {
        let text = match texts.get(&key.file) {
            Some(text) => text.as_ref().map_err(String::clone)?,
            None => return Err(format!("{} was not read", key.file.display())),
        };
        let parsed = AuthKey::parse(key.id, text);
        keys.push(parsed.map_err(|fault| format!("{}: {fault}", key.file.display()))?);
    }
    let mut keys = keys.into_iter();
    let first = keys.next().ok_or("there are no keys")?;
    Ok(AuthKeys::new(first, keys))
}

/// What this node says to one peer for itself.
pub(super) fn say((own, peer): Pairing, state: &mut State, instances: &mut [Instance], now: Instant) {
    let void = clock::read().realtime.saturating_sub(ON_ITS_WAY);
    state.adverts_void = Sequence::at(void).bits();
    for instance in shared(instances, (own, peer)) {
        instance.authenticator.void_before(void);
        let signs = match instance.authenticator.form(peer, now) {
            Form::Signed | Form::Both => true,
            Form::Plain => false,
        };
        for router in state.routers.iter_mut().filter(|router| is_about(router, instance)) {
            router.signs_hmac = signs && router.reads_hmac;
        }
    }
}

/// The peer's word, which is fresh only once it has answered this node's.
pub(super) fn hear((own, peer): Pairing, state: &State, instances: &mut [Instance]) {
    for instance in shared(instances, (own, peer)) {
        if !of(state, instance).is_some_and(|router| router.reads_hmac) {
            instance.authenticator.peer_shows_nothing(peer);
        } else if state.adverts_void != 0 {
            instance.authenticator.void(peer, Sequence::from_bits(state.adverts_void));
        }
    }
}

/// It has answered what was asked at `asked`, after it had said this.
pub(super) fn believe((own, peer): Pairing, state: &State, asked: Instant, instances: &mut [Instance]) {
    for instance in shared(instances, (own, peer)) {
        if let Some(router) = of(state, instance).filter(|router| router.reads_hmac) {
            instance.authenticator.peer_shows(peer, asked, router.signs_hmac);
        }
    }
}

pub(super) fn unlinked((own, peer): Pairing, instances: &mut [Instance]) {
    for instance in shared(instances, (own, peer)) {
        instance.authenticator.peer_is_unlinked(peer);
    }
}

/// The peer's last word on this connection.
pub(super) fn part(pairing: Pairing, why: Farewell, instances: &mut [Instance]) {
    let (own, peer) = pairing;
    match why {
        // What comes from its address next is somebody else.
        Farewell::Stopping => gone(pairing, instances),
        Farewell::Settings | Farewell::Other => {
            for instance in shared(instances, (own, peer)) {
                instance.authenticator.peer_is_excused(peer);
            }
        }
        Farewell::Duplicate => {}
    }
}

fn gone((own, peer): Pairing, instances: &mut [Instance]) {
    for instance in shared(instances, (own, peer)) {
        instance.authenticator.peer_shows_nothing(peer);
    }
}

pub(super) fn restarted(pairing: Pairing, instances: &mut [Instance]) {
    let (own, peer) = pairing;
    gone(pairing, instances);
    for instance in shared(instances, (own, peer)) {
        instance.authenticator.forget_number(peer);
    }
}

fn of<'s>(state: &'s State, instance: &Instance) -> Option<&'s Router> {
    state.routers.iter().find(|router| is_about(router, instance))
}

fn is_about(router: &Router, instance: &Instance) -> bool {
    (router.vrid, router.ipv6) == (instance.config.vrid.get(), instance.config.family() == Family::V6)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::super::super::kernel::Kernel;
    use super::super::super::tests::instance;
    use super::*;
    use crate::config::{AntiReplay, AuthHmacKey, AuthMode, VrrpInstance};
    use crate::net::Vrid;
    use crate::os::netns;
    use crate::vrrp::Bound;

    /// With one key, whose file has its number for a name.
    fn router(name: &str, vrid: u8, key: u8) -> VrrpInstance {
        let keys = vec![AuthHmacKey { id: key, file: key.to_string().into() }];
        let policy =
            AuthHmacKeys { keys, anti_replay: AntiReplay::Time, time_window: 5, mode: AuthMode::Enforce };
        let address = format!("10.9.0.{vrid}/24");
        let (name, vrid) = (name.to_owned(), Vrid::try_from(i64::from(vrid)).unwrap());
        VrrpInstance { name, vrid, auth_hmac: AuthHmac::Keys(policy), ..instance(&address) }
    }

    /// The second byte of a trailer.
    fn signs_with(instance: &mut Instance) -> u8 {
        let (source, version, vrid) = ([10, 9, 0, 1].into(), instance.config.version, instance.config.vrid);
        let advert = [0; 12];
        let wall = Duration::from_secs(1);
        instance.authenticator.sign(&advert, &Bound { source, version, vrid }, wall).unwrap()[1]
    }

    #[test]
    fn a_router_signs_with_the_keys_that_it_has_been_given_last() {
        netns::with("a_router_signs_with_the_keys_that_it_has_been_given_last", || {
            let (outbox, _kept) = mpsc::channel(64);
            let mut shell = Shell::new(Kernel::open().unwrap(), outbox);
            let now = Instant::now();
            let (mut peering, _) = Peering::new(now).unwrap();
            // Vrid and key of the first and of the second router.
            let before = [(1, 1), (2, 2)];
            let edits =
                [before, [(3, 3), (2, 2)], before, [(2, 1), (1, 2)], before, [(2, 2), (1, 1)], before];
            let configs =
                |edit: [(u8, u8); 2]| [router("a", edit[0].0, edit[0].1), router("b", edit[1].0, edit[1].1)];
            let mut instances = configs(before).map(|config| Instance::start(config, &mut shell, now));
            for edit in edits {
                for (instance, config) in instances.iter_mut().zip(configs(edit)) {
                    instance.reconfigure(config, &mut shell, now);
                }
                let text = |key: u8| (PathBuf::from(key.to_string()), Ok(vec![b'0' + key; 32]));
                let found = FoundFiles((1..=3).map(text).collect());
                peering.take_key_files(found, &mut instances, &mut shell, now);
                assert_eq!(instances.each_mut().map(signs_with), edit.map(|(_, key)| key), "{edit:?}");
            }
        });
    }
}
