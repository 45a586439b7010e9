//! What a request for a static file gets: which name to open, and what to answer with what was found there. Opens
//! nothing itself.

use std::borrow::Cow;
use std::time::Duration;

use super::answer::redirect_lines;
use super::conditional::{Conditions, Validators, Verdict, verdict};
use crate::http1::Method;

/// The name to open beneath the root, relative to it; else the status that says why there is none.
///
/// `path` in the form that `normalise` gives it, so that no segment climbs.
pub fn file_name<'a>(method: Method, path: &'a [u8], index: &str) -> Result<Cow<'a, [u8]>, u16> {
    if !method.is_retrieval() {
        return Err(405);
    }
    match path {
        [b'/', folder @ ..] if path.ends_with(b"/") => Ok(Cow::Owned([folder, index.as_bytes()].concat())),
        [b'/', name @ ..] => Ok(Cow::Borrowed(name)),
        // `*` is nobody's file.
        _ => Err(404),
    }
}

/// What was found under the name that `file_name` gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `modified` since 1970.
    File {
        length: u64,
        modified: Duration,
    },
    Directory,
    /// A device, pipe or socket.
    Special,
    Missing,
    /// Not readable, or outside the root.
    Denied,
    /// The system could not open it.
    Broken,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serving {
    /// 200 with the file; its content is left out for HEAD.
    Content { content_type: &'static str, length: u64, lines: Vec<u8> },
    /// 304.
    NotModified { lines: Vec<u8> },
    /// 301 to the same path with a slash.
    Redirect { lines: Vec<u8> },
    /// An error page of this status.
    Refused(u16),
}

/// `path` as `file_name` got it, `name` as it gave it; `query` with its question mark, or empty. `lines` of the result
/// are whole lines for the head.
pub fn serve(path: &[u8], query: &[u8], name: &[u8], entry: Entry, conditions: &Conditions<'_>) -> Serving {
    let (length, modified) = match entry {
        Entry::File { length, modified } => (length, modified),
        // A folder where the index file should be: there is no list of files to show.
        Entry::Directory if path.ends_with(b"/") => return Serving::Refused(403),
        Entry::Directory => return Serving::Redirect { lines: redirect_lines(path, query) },
        Entry::Special | Entry::Missing => return Serving::Refused(404),
        Entry::Denied => return Serving::Refused(403),
        Entry::Broken => return Serving::Refused(500),
    };
    let validators = Validators::new(length, modified);
    match verdict(conditions, &validators) {
        Verdict::Send => {
            Serving::Content { content_type: content_type(name), length, lines: validators.lines() }
        }
        Verdict::NotModified => Serving::NotModified { lines: validators.lines() },
        Verdict::PreconditionFailed => Serving::Refused(412),
    }
}

/// By the name's extension. Without a charset, as nginx: a page that names its own must not be overruled.
fn content_type(name: &[u8]) -> &'static str {
    let file = name.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let extension = match file.iter().rposition(|b| *b == b'.') {
        Some(dot @ 1..) => file.get(dot + 1..).unwrap_or_default(),
        // A name that only begins with a dot is hidden, not a type.
        Some(0) | None => b"",
    };
    std::str::from_utf8(extension)
        .ok()
        .and_then(|extension| mime_guess::from_ext(extension).first_raw())
        .unwrap_or("application/octet-stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beneath_the_root() {
        let table = [
            (Method::Get, "/", Ok("index.html")),
            (Method::Head, "/a", Ok("a")),
            (Method::Get, "/a/", Ok("a/index.html")),
            (Method::Get, "/a/b.c", Ok("a/b.c")),
            (Method::Get, "*", Err(404)),
            (Method::Get, "", Err(404)),
            (Method::Post, "/a", Err(405)),
            (Method::Put, "/a", Err(405)),
            (Method::Delete, "/a", Err(405)),
            (Method::Options, "*", Err(405)),
            (Method::Other, "/", Err(405)),
        ];
        for (method, path, expect) in table {
            let got = file_name(method, path.as_bytes(), "index.html");
            assert_eq!(got.map(Cow::into_owned), expect.map(|n| n.as_bytes().to_vec()), "{method:?} {path}");
        }
    }

    #[test]
    fn what_is_found_decides() {
        const FILE: Entry = Entry::File { length: 16, modified: Duration::from_secs(1_000_000_000) };
        const ETAG: &[u8] = b"\"de0b6b3a7640000-10\"";
        let lines = "ETag: \"de0b6b3a7640000-10\"\r\nLast-Modified: Sun, 09 Sep 2001 01:46:40 GMT\r\n";
        let lines = || lines.as_bytes().to_vec();
        let html = || Serving::Content { content_type: "text/html", length: 16, lines: lines() };
        let location = |to: &str| Serving::Redirect { lines: format!("Location: {to}\r\n").into_bytes() };
        let none = Conditions::default();
        let same = Conditions { if_none_match: Some(ETAG), ..none };
        let other = Conditions { if_match: Some(b"\"x\""), ..none };
        let table = [
            ("/a.html", "", "a.html", FILE, none, html()),
            ("/", "", "index.html", FILE, none, html()),
            ("/a.html", "?q", "a.html", FILE, same, Serving::NotModified { lines: lines() }),
            ("/a.html", "", "a.html", FILE, other, Serving::Refused(412)),
            ("/a", "?q=/", "a", Entry::Directory, same, location("/a/?q=/")),
            ("/a\\b", "", "a\\b", Entry::Directory, none, location("/a%5Cb/")),
            ("/a/", "", "a/index.html", Entry::Directory, none, Serving::Refused(403)),
            ("/a", "", "a", Entry::Special, none, Serving::Refused(404)),
            ("/a", "", "a", Entry::Missing, other, Serving::Refused(404)),
            ("/a", "", "a", Entry::Denied, none, Serving::Refused(403)),
            ("/a", "", "a", Entry::Broken, none, Serving::Refused(500)),
        ];
        for (path, query, name, entry, conditions, expect) in table {
            let got = serve(path.as_bytes(), query.as_bytes(), name.as_bytes(), entry, &conditions);
            assert_eq!(got, expect, "{path} {entry:?}");
        }
    }

    #[test]
    fn types_by_extension() {
        let table: [(&[u8], &str); 10] = [
            (b"a.html", "text/html"),
            (b"x/a.b.CSS", "text/css"),
            (b"a.svg", "image/svg+xml"),
            (b"a.json", "application/json"),
            (b"a", "application/octet-stream"),
            (b"a.css/b", "application/octet-stream"),
            (b"a.", "application/octet-stream"),
            (b"x/.html", "application/octet-stream"),
            (b"a.\xff", "application/octet-stream"),
            (b"", "application/octet-stream"),
        ];
        for (name, expect) in table {
            assert_eq!(content_type(name), expect, "{}", String::from_utf8_lossy(name));
        }
    }
}
