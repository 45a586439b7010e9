//! Static files: what lies at a path, with its validators.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::respond::{Body, Reply};
use crate::gateway::{Conditions, Validators, Verdict, redirect_lines, verdict};
use crate::http1::{Known, RequestHead};
use crate::os::files::{Found, open_beneath};

/// For a name whose ending says nothing.
const DEFAULT_TYPE: &str = "application/octet-stream";

/// `path` is normalised: it starts with a slash and climbs nowhere.
pub(super) fn reply(
    node: &str,
    root: &Path,
    index: &str,
    path: &[u8],
    head: &RequestHead,
    bytes: &[u8],
) -> Reply {
    if !head.method.is_retrieval() {
        return Reply::page(405, node).with_lines(b"Allow: GET, HEAD\r\n");
    }
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    let opened = match relative.strip_suffix(b"/") {
        Some(folder) => open_index(root, folder, index),
        None if relative.is_empty() => open_index(root, b"", index),
        None => open_beneath(root, &as_path(relative)).map(|found| (found, as_path(relative))),
    };
    match opened {
        Ok((Found::File { file, length, modified }, name)) => {
            let validators = Validators::new(length, modified);
            let file = Body::File { file, length };
            found(node, &validators, file, &name, head, bytes)
        }
        Ok((Found::Directory, _)) if !relative.is_empty() && !relative.ends_with(b"/") => {
            Reply::page(301, node).with_lines(&redirect_lines(path, head.target.query(bytes)))
        }
        Ok((Found::Directory | Found::Other, _)) => Reply::page(403, node),
        Err(error) => Reply::page(status(root, relative, &error), node),
    }
}

fn as_path(bytes: &[u8]) -> std::path::PathBuf {
    Path::new(OsStr::from_bytes(bytes)).to_owned()
}

/// The index of a folder. Without one the folder is there, but nothing to see.
fn open_index(root: &Path, folder: &[u8], index: &str) -> io::Result<(Found, std::path::PathBuf)> {
    let folder = if folder.is_empty() { as_path(b".") } else { as_path(folder) };
    let name = folder.join(index);
    match open_beneath(root, &name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            open_beneath(root, &folder).and_then(|found| match found {
                Found::Directory => Ok((Found::Directory, name)),
                // A file's name with a slash behind it.
                Found::File { .. } | Found::Other => Err(io::ErrorKind::NotFound.into()),
            })
        }
        found => found.map(|found| (found, name)),
    }
}

fn found(
    node: &str,
    validators: &Validators,
    body: Body,
    name: &Path,
    head: &RequestHead,
    bytes: &[u8],
) -> Reply {
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
    match verdict(&conditions, validators) {
        Verdict::PreconditionFailed => Reply::page(412, node),
        Verdict::NotModified => {
            Reply { status: 304, content_type: None, lines: validators.lines(), body: Body::Nothing }
        }
        Verdict::Send => Reply {
            status: 200,
            content_type: Some(mime_guess::from_path(name).first_raw().unwrap_or(DEFAULT_TYPE).to_owned()),
            lines: validators.lines(),
            body,
        },
    }
}

fn status(root: &Path, path: &[u8], error: &io::Error) -> u16 {
    use nix::errno::Errno;
    match error.raw_os_error().map(Errno::from_raw) {
        // The last: a path that leads through a file.
        Some(Errno::ENOENT | Errno::ENAMETOOLONG | Errno::ENOTDIR) => 404,
        None if error.kind() == io::ErrorKind::NotFound => 404,
        _ => {
            let path = String::from_utf8_lossy(path);
            tracing::warn!(root = %root.display(), %path, "cannot open: {error}");
            match error.raw_os_error().map(Errno::from_raw) {
                // A link out of the root, or too many of them, or no permission.
                Some(Errno::EXDEV | Errno::ELOOP | Errno::EACCES | Errno::EPERM) => 403,
                _ => 500,
            }
        }
    }
}
