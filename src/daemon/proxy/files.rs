//! Static files: opens what lies at a path. What is answered with it is the gateway's to say.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use tokio::time::sleep;

use super::content::{Content, ReadError};
use super::counters::Count;
use super::limits::{FILE_LOOKS, FILE_REST};
use super::respond::Reply;
use super::send_file::FileReply;
use super::worker::Worker;
use crate::gateway::{Answer, Asked, Conditions, Entry, Segment, Serving, file_name, serve};
use crate::http1::{Known, Method, RequestHead};
use crate::os::files::{Found, State, open_beneath};

/// `path` is normalised: it starts with a slash and climbs nowhere.
pub(super) async fn reply<'a>(
    worker: &'a Worker,
    node: &str,
    root: &Path,
    index: &str,
    path: &[u8],
    head: &RequestHead,
    bytes: &[u8],
) -> Reply<'a> {
    let name = match file_name(head.method, path, index) {
        Ok(name) => name,
        Err(status) => return Reply::Whole(Answer::error(status, node)),
    };
    let joined = |known| {
        let values: Vec<_> = head.fields.values(known).map(|v| v.of(bytes)).collect();
        (!values.is_empty()).then(|| values.join(&b", "[..]))
    };
    // If-Range, too: one that comes twice is still a condition, and not met.
    let (matches, none_match, if_range) =
        (joined(Known::IfMatch), joined(Known::IfNoneMatch), joined(Known::IfRange));
    let only = |known| head.fields.only(known).map(|v| v.of(bytes));
    let conditions = Conditions {
        if_match: matches.as_deref(),
        if_none_match: none_match.as_deref(),
        if_modified_since: only(Known::IfModifiedSince),
        if_unmodified_since: only(Known::IfUnmodifiedSince),
        range: only(Known::Range),
        if_range: if_range.as_deref(),
    };
    let asked = Asked { method: head.method, path, query: head.target.query(bytes), conditions };
    for _ in 0..FILE_LOOKS {
        if let Some(reply) = attempt(worker, node, root, &asked, &name).await {
            return reply;
        }
    }
    worker.vitals.count(Count::FilesChanged);
    let name = String::from_utf8_lossy(&name);
    tracing::debug!(root = %root.display(), %name, "does not come to rest");
    Reply::Whole(Answer::retry_soon(node))
}

/// `None`: the file is being written to.
async fn attempt<'a>(
    worker: &'a Worker,
    node: &str,
    root: &Path,
    asked: &Asked<'_>,
    name: &[u8],
) -> Option<Reply<'a>> {
    let now = since_1970();
    let (entry, file) = look(root, asked.path, name);
    Some(match (serve(asked, name, entry, now), file) {
        (Serving::Content { status, content_type, lines, segments }, Some((file, state))) => {
            let length = segments.iter().map(Segment::length).sum();
            let mut reply = FileReply { status, content_type, lines, length, content: None };
            if asked.method == Method::Head {
                return Some(Reply::File(reply));
            }
            // By the clock after the look: one from before would take a write in between for a time ahead.
            if let Some(age) = since_1970().checked_sub(state.modified)
                && let Some(rest) = FILE_REST.checked_sub(age)
            {
                sleep(rest).await;
                return None;
            }
            let mut content = Content::new(file, state, segments);
            let mut first = worker.buffers.take();
            match content.fill(&mut first).await {
                Ok(()) => reply.content = Some((first, content)),
                Err(ReadError::Changed) => return None,
                Err(ReadError::Io(error)) => {
                    complain(root, name, "cannot read", &error);
                    return Some(Reply::error(500, node));
                }
            }
            Reply::File(reply)
        }
        (Serving::Content { .. }, None) => Reply::error(500, node),
        (Serving::NotModified { lines }, _) => Reply::Whole(Answer::not_modified(lines)),
        (Serving::Redirect { lines }, _) => Reply::Whole(Answer::redirect(301, node, lines)),
        (Serving::Unsatisfiable { lines }, _) => Reply::Whole(Answer::unsatisfiable(node, lines)),
        (Serving::Refused(status), _) => Reply::error(status, node),
    })
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// What lies at `name`, with the file if it is one.
fn look(root: &Path, path: &[u8], name: &[u8]) -> (Entry, Option<(File, State)>) {
    match open(root, path, name) {
        Ok(Found::File(file, state)) => {
            let State { length, modified } = state;
            (Entry::File { length, modified }, Some((file, state)))
        }
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
                Found::File(..) | Found::Other => opened,
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
    complain(root, name, "cannot open", error);
    match errno {
        // A link out of the root, or too many of them, or no permission.
        Some(Errno::EXDEV | Errno::ELOOP | Errno::EACCES | Errno::EPERM) => Entry::Denied,
        _ => Entry::Broken,
    }
}

fn complain(root: &Path, name: &[u8], what: &str, error: &io::Error) {
    let name = String::from_utf8_lossy(name);
    tracing::warn!(root = %root.display(), %name, "{what}: {error}");
}
