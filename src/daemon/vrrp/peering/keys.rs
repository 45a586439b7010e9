//! Where the keys of the link come from: a file that is read again and again, else the environment.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;

use crate::config::{KEY_VARIABLE, PeerLink};
use crate::daemon::keys;
use crate::peer::Keys;

/// A read that takes longer is warned of.
const STALLS_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct KeySource {
    file: Option<PathBuf>,
    keys: Option<Keys>,
    /// Why there are none.
    off: String,
    /// Since when they are being read.
    reading: Option<Instant>,
}

/// What was found in a file, or else in the environment.
#[derive(Debug)]
pub(in super::super) struct Found {
    file: Option<PathBuf>,
    keys: Result<Option<Keys>, String>,
}

impl Default for KeySource {
    fn default() -> Self {
        Self { file: None, keys: None, off: "its key is being read".to_owned(), reading: None }
    }
}

impl KeySource {
    pub(super) fn configure(&mut self, link: &PeerLink) {
        if self.file != link.key_file {
            self.file.clone_from(&link.key_file);
            // What is being read is no news any more, however long it takes.
            self.reading = None;
        }
    }

    /// What is to be awaited, and handed to `take`, beside everything else: a file system may keep one waiting. One at a
    /// time.
    pub(super) fn look(&mut self, now: Instant) -> Option<impl Future<Output = Found> + use<>> {
        if self.reading.is_some() {
            return None;
        }
        self.reading = Some(now);
        let file = self.file.clone();
        Some(async move {
            let path = file.clone();
            let read = spawn_blocking(move || keys::read(path.as_deref())).await;
            Found { file, keys: read.unwrap_or_else(|error| Err(error.to_string())) }
        })
    }

    /// That the file has not been read for a long time.
    pub(super) fn stalls(&self, now: Instant) -> Option<String> {
        self.reading.filter(|since| now.duration_since(*since) > STALLS_AFTER)?;
        let file = self.file.as_ref()?.display();
        Some(format!(
            "{file} is not read within {STALLS_AFTER:?}: does its mount answer? The link goes on as it is"
        ))
    }

    pub(super) fn keys(&self) -> Result<&Keys, &str> {
        self.keys.as_ref().ok_or(&self.off)
    }

    /// What is wrong with the keys in force, or that they are not what their file has by now. `None`: another file
    /// counts meanwhile.
    pub(super) fn take(&mut self, found: Found) -> Option<Result<(), String>> {
        if found.file != self.file {
            return None;
        }
        self.reading = None;
        Some(self.judge(found.keys))
    }

    fn judge(&mut self, found: Result<Option<Keys>, String>) -> Result<(), String> {
        match found {
            Ok(Some(keys)) => {
                self.keys = Some(keys);
                Ok(())
            }
            // Whoever takes the key away switches the link off; that is no fault.
            Ok(None) => {
                self.keys = None;
                self.off = match &self.file {
                    Some(file) => format!("there is no {}", file.display()),
                    None => format!("it has no key: neither link.key_file nor {KEY_VARIABLE} is set"),
                };
                match &self.file {
                    Some(_) => Err(format!("the peers cannot be talked to: {}", self.off)),
                    None => Ok(()),
                }
            }
            Err(problem) if self.keys.is_some() => {
                Err(format!("{problem}; the link goes on with the keys that it has"))
            }
            Err(problem) => {
                self.off.clone_from(&problem);
                Err(format!("the peers cannot be talked to: {problem}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_is_read_at_a_time_and_another_one_at_once() {
        let link = |file: &str| PeerLink { port: 1, key_file: Some(file.into()), drill: false };
        let found = |file: &str| {
            let keys = Keys::parse(&[b'k'; 32]).unwrap();
            Found { file: Some(file.into()), keys: Ok(Some(keys)) }
        };
        let now = Instant::now();
        let mut source = KeySource::default();
        source.configure(&link("/stalls"));
        assert!(source.look(now).is_some());
        assert!(source.look(now + STALLS_AFTER).is_none(), "it has not answered");
        assert_eq!(source.stalls(now + STALLS_AFTER), None);
        assert!(source.stalls(now + STALLS_AFTER * 2).unwrap().contains("/stalls is not read within 5s"));
        source.configure(&link("/other"));
        assert!(source.look(now).is_some());
        assert_eq!((source.take(found("/stalls")), source.keys().is_ok()), (None, false));
        assert!(source.look(now).is_none());
        assert_eq!((source.take(found("/other")), source.keys().is_ok()), (Some(Ok(())), true));
        assert!(source.look(now).is_some());
    }
}
