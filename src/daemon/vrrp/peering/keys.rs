//! Where the keys of the link come from: a file that is read again and again, else the environment.

use std::io;
use std::path::PathBuf;

use crate::config::{KEY_VARIABLE, PeerLink};
use crate::os::snapshot;
use crate::peer::{Keys, MAX_KEY_FILE};

#[derive(Debug, Default)]
pub(super) struct KeySource {
    file: Option<PathBuf>,
    keys: Option<Keys>,
    /// Why there are none.
    off: String,
}

impl KeySource {
    pub(super) fn configure(&mut self, link: &PeerLink) {
        self.file.clone_from(&link.key_file);
    }

    pub(super) fn keys(&self) -> Result<&Keys, &str> {
        self.keys.as_ref().ok_or(&self.off)
    }

    /// What is wrong with the keys in force, or that they are not what their file has by now.
    pub(super) fn look(&mut self) -> Result<(), String> {
        match self.read() {
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

    fn read(&self) -> Result<Option<Keys>, String> {
        let in_file = match &self.file {
            Some(file) => match snapshot::read_file(file, MAX_KEY_FILE as u64) {
                Ok(text) => Some((file.display().to_string(), text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(format!("{} cannot be read: {error}", file.display())),
            },
            None => None,
        };
        let in_environment = || {
            let text = std::env::var(KEY_VARIABLE).ok().filter(|text| !text.trim().is_empty())?;
            Some((KEY_VARIABLE.to_owned(), text.into_bytes()))
        };
        match in_file.or_else(in_environment) {
            None => Ok(None),
            Some((whence, text)) => {
                Keys::parse(&text).map(Some).map_err(|fault| format!("{whence}: {fault}"))
            }
        }
    }
}
