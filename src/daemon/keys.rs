//! Reads the keys of the link between the nodes: from a file, else from the environment. They go no further than the
//! process that signs with them.

use std::io;
use std::path::Path;

use crate::config::KEY_VARIABLE;
use crate::os::snapshot;
use crate::peer::{Keys, MAX_KEY_FILE};

/// `None`: there are none. It may take as long as a file system likes.
pub(super) fn read(file: Option<&Path>) -> Result<Option<Keys>, String> {
    let in_file = match file {
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
        Some((whence, text)) => Keys::parse(&text).map(Some).map_err(|fault| format!("{whence}: {fault}")),
    }
}
