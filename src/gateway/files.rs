//! What a request for a static file gets: which name to open, and what to answer with what was found there. Opens
//! nothing itself.

use std::borrow::Cow;
use std::time::Duration;

use super::answer::redirect_lines;
use super::conditional::{Conditions, Validators, Verdict, verdict};
use super::ranges::{Segment, Selection, Slice, partial, select, unsatisfied_lines};
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

/// `lines` are whole lines for the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serving {
    /// 200 or 206 with content, which is left out for HEAD.
    Content { status: u16, content_type: Cow<'static, str>, lines: String, segments: Vec<Segment> },
    /// 304.
    NotModified { lines: String },
    /// 301 to the same path with a slash.
    Redirect { lines: Vec<u8> },
    /// 416.
    Unsatisfiable { lines: Vec<u8> },
    /// An error page of this status.
    Refused(u16),
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub method: Method,
    /// As `file_name` got it.
    pub path: &'a [u8],
    /// With its question mark, or empty.
    pub query: &'a [u8],
    pub conditions: Conditions<'a>,
}

/// `name` as `file_name` gave it; `now` since 1970, and before the file was looked at.
pub fn serve(asked: &Asked<'_>, name: &[u8], entry: Entry, now: Duration) -> Serving {
    let (length, modified) = match entry {
        Entry::File { length, modified } => (length, modified),
        // A folder where the index file should be: there is no list of files to show.
        Entry::Directory if asked.path.ends_with(b"/") => return Serving::Refused(403),
        Entry::Directory => return Serving::Redirect { lines: redirect_lines(asked.path, asked.query) },
        Entry::Special | Entry::Missing => return Serving::Refused(404),
        Entry::Denied => return Serving::Refused(403),
        Entry::Broken => return Serving::Refused(500),
    };
    let validators = Validators::new(length, modified, now);
    match verdict(&asked.conditions, &validators) {
        Verdict::Send => content(asked, content_type(name), length, &validators, now),
        Verdict::NotModified => Serving::NotModified { lines: validators.lines() },
        Verdict::PreconditionFailed => Serving::Refused(412),
    }
}

fn content(
    asked: &Asked<'_>,
    content_type: &'static str,
    length: u64,
    validators: &Validators,
    now: Duration,
) -> Serving {
    let selection = match (asked.conditions.range, asked.conditions.if_range) {
        // RFC 9110 section 14.2: of these methods, ranges are for GET only.
        (Some(_), _) if asked.method != Method::Get => Selection::Whole,
        (Some(_), Some(if_range)) if !validators.are(if_range) => Selection::Whole,
        (Some(range), _) => select(range, length),
        (None, _) => Selection::Whole,
    };
    let mut lines = validators.lines();
    match selection {
        Selection::Whole => {
            lines.push_str("Accept-Ranges: bytes\r\n");
            let segments = vec![Segment::File(Slice { start: 0, length })];
            Serving::Content { status: 200, content_type: content_type.into(), lines, segments }
        }
        Selection::Parts(parts) => {
            let partial = partial(&parts, length, content_type, now.as_nanos());
            lines.push_str(&partial.lines);
            let content_type = partial.content_type.map_or(content_type.into(), Cow::from);
            Serving::Content { status: 206, content_type, lines, segments: partial.segments }
        }
        Selection::Unsatisfiable => Serving::Unsatisfiable { lines: unsatisfied_lines(length) },
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

    const FILE: Entry = Entry::File { length: 16, modified: Duration::from_secs(1_000_000_000) };
    const NOW: Duration = Duration::from_secs(1_000_000_009);
    const ETAG: &[u8] = b"\"de0b6b3a7640000-10\"";
    const LINES: &str = "ETag: \"de0b6b3a7640000-10\"\r\nLast-Modified: Sun, 09 Sep 2001 01:46:40 GMT\r\n";

    fn get<'a>(path: &'a str, query: &'a str, conditions: Conditions<'a>) -> Asked<'a> {
        Asked { method: Method::Get, path: path.as_bytes(), query: query.as_bytes(), conditions }
    }

    fn whole() -> Serving {
        Serving::Content {
            status: 200,
            content_type: "text/html".into(),
            lines: format!("{LINES}Accept-Ranges: bytes\r\n"),
            segments: vec![Segment::File(Slice { start: 0, length: 16 })],
        }
    }

    #[test]
    fn what_is_found_decides() {
        let location = |to: &str| Serving::Redirect { lines: format!("Location: {to}\r\n").into_bytes() };
        let none = Conditions::default();
        let same = Conditions { if_none_match: Some(ETAG), ..none };
        let other = Conditions { if_match: Some(b"\"x\""), ..none };
        let table = [
            ("/a.html", "", "a.html", FILE, none, whole()),
            ("/", "", "index.html", FILE, none, whole()),
            ("/a.html", "?q", "a.html", FILE, same, Serving::NotModified { lines: LINES.into() }),
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
            let got = serve(&get(path, query, conditions), name.as_bytes(), entry, NOW);
            assert_eq!(got, expect, "{path} {entry:?}");
        }
    }

    #[test]
    fn ranges_come_last_and_for_get_only() {
        const RANGE: Conditions<'_> = Conditions {
            if_match: None,
            if_none_match: None,
            if_modified_since: None,
            if_unmodified_since: None,
            range: Some(b"bytes=4-7"),
            if_range: None,
        };
        let part = Serving::Content {
            status: 206,
            content_type: "text/html".into(),
            lines: format!("{LINES}Content-Range: bytes 4-7/16\r\n"),
            segments: vec![Segment::File(Slice { start: 4, length: 4 })],
        };
        let beyond = Conditions { range: Some(b"bytes=16-"), ..RANGE };
        let unsatisfiable = Serving::Unsatisfiable { lines: b"Content-Range: bytes */16\r\n".to_vec() };
        let unchanged = Serving::NotModified { lines: LINES.into() };
        let table = [
            (Method::Get, RANGE, part.clone()),
            (Method::Head, RANGE, whole()),
            (Method::Get, Conditions { if_range: Some(ETAG), ..RANGE }, part.clone()),
            (Method::Get, Conditions { if_range: Some(b"\"x\""), ..RANGE }, whole()),
            (Method::Get, Conditions { if_range: Some(ETAG), range: None, ..RANGE }, whole()),
            (Method::Get, Conditions { range: Some(b"lines=1"), ..RANGE }, whole()),
            (Method::Get, beyond, unsatisfiable),
            (Method::Head, beyond, whole()),
            (Method::Get, Conditions { if_range: Some(b"\"x\""), ..beyond }, whole()),
            (Method::Get, Conditions { if_none_match: Some(ETAG), ..RANGE }, unchanged),
            (Method::Get, Conditions { if_match: Some(ETAG), ..RANGE }, part),
            (Method::Get, Conditions { if_match: Some(b"\"x\""), ..beyond }, Serving::Refused(412)),
        ];
        for (method, conditions, expect) in table {
            let asked = Asked { method, ..get("/a.html", "", conditions) };
            assert_eq!(serve(&asked, b"a.html", FILE, NOW), expect, "{method:?} {conditions:?}");
        }
        let several = Conditions { range: Some(b"bytes=0-0,-1"), ..RANGE };
        match serve(&get("/a.html", "", several), b"a.html", FILE, NOW) {
            Serving::Content { status: 206, content_type, lines, segments } => {
                assert_eq!(content_type, "multipart/byteranges; boundary=000001000000009000000000");
                assert_eq!((&*lines, segments.len()), (LINES, 5));
            }
            other => panic!("{other:?}"),
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
