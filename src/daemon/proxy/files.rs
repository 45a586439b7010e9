//! Static files: opens what lies at a path. What is answered with it is the gateway's to say.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::respond::Reply;
use crate::gateway::{Answer, Conditions, Entry, Serving, file_name, serve};
use crate::http1::{Known, RequestHead};
use crate::os::files::{Found, open_beneath};

/// `path` is normalised: it starts with a slash and climbs nowhere.
pub(super) fn reply(
    node: &str,
    root: &Path,
    index: &str,
    path: &[u8],
    head: &RequestHead,
    bytes: &[u8],
) -> Reply<'static> {
    let name = match file_name(head.method, path, index) {
        Ok(name) => name,
        Err(status) => return Reply::Whole(Answer::error(status, node)),
    };
    let (entry, file) = look(root, path, &name);
    let joined = |known| {
        let values: Vec<_> = head.fields.values(known).map(|v| v.of(bytes)).collect();
        (!values.is_empty()).then(|| values.join(&b", "[..]))
    };
    let (matches, none_match) = (joined(Known::IfMatch), joined(Known::IfNoneMatch));
    let date = |known| head.fields.only(known).map(|v| v.of(bytes));
    let conditions = Conditions {
        if_match: matches.as_deref(),
        if_none_match: none_match.as_deref(),
        if_modified_since: date(Known::IfModifiedSince),
        if_unmodified_since: date(Known::IfUnmodifiedSince),
    };
    match (serve(path, head.target.query(bytes), &name, entry, &conditions), file) {
        (Serving::Content { content_type, length, lines }, Some(file)) => {
            Reply::File { content_type, lines, file, length }
        }
        (Serving::Content { .. }, None) => Reply::Whole(Answer::error(500, node)),
        (Serving::NotModified { lines }, _) => Reply::Whole(Answer::not_modified(lines)),
        (Serving::Redirect { lines }, _) => Reply::Whole(Answer::redirect(301, node, lines)),
        (Serving::Refused(status), _) => Reply::Whole(Answer::error(status, node)),
    }
}

/// What lies at `name`, with the file if it is one.
fn look(root: &Path, path: &[u8], name: &[u8]) -> (Entry, Option<File>) {
    match open(root, path, name) {
        Ok(Found::File { file, length, modified }) => (Entry::File { length, modified }, Some(file)),
        Ok(Found::Directory) => (Entry::Directory, None),
        Ok(Found::Other) => (Entry::Special, None),
        Err(error) => (failure(root, name, &error), None),
    }
}

fn open(root: &Path, path: &[u8], name: &[u8]) -> io::Result<Found> {
    let opened = open_beneath(root, as_path(name));
    match (&opened, path.strip_suffix(b"/")) {
        // Without an index the folder is there, but nothing to see.
        (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
            let folder = folder.strip_prefix(b"/").unwrap_or(b".");
            match open_beneath(root, as_path(folder))? {
                Found::Directory => Ok(Found::Directory),
                // A file's name with a slash behind it.
                Found::File { .. } | Found::Other => opened,
            }
        }
        (Ok(_) | Err(_), Some(_) | None) => opened,
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn failure(root: &Path, name: &[u8], error: &io::Error) -> Entry {
    let errno = error.raw_os_error().map(Errno::from_raw);
    match errno {
        // The last: a path that leads through a file.
        Some(Errno::ENOENT | Errno::ENAMETOOLONG | Errno::ENOTDIR) => return Entry::Missing,
        // A socket, or a device that has no driver.
        Some(Errno::ENXIO | Errno::ENODEV) => return Entry::Special,
        _ => (),
    }
    let name = String::from_utf8_lossy(name);
    tracing::warn!(root = %root.display(), %name, "cannot open: {error}");
    match errno {
        // A link out of the root, or too many of them, or no permission.
        Some(Errno::EXDEV | Errno::ELOOP | Errno::EACCES | Errno::EPERM) => Entry::Denied,
        _ => Entry::Broken,
    }
}
