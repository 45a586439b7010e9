//! Validators of a static file and the conditions of a request (RFC 9110 section 13). No clock: file times come in.

use std::time::{Duration, SystemTime};

/// What tells two states of a file apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    /// Strong, with its quotes.
    pub(super) etag: String,
    /// Whole seconds since 1970, which is what the wire carries; at most `MODIFIED_MAX`.
    modified: u64,
}

/// The last second of the year 9999: the wire has no room for a later year, and a file system does.
const MODIFIED_MAX: u64 = 253_402_300_799;

impl Validators {
    /// Nanoseconds count in the tag, so that two edits within a second differ; the same file on two nodes has the
    /// same tag.
    pub(super) fn new(length: u64, modified: Duration) -> Self {
        let etag = format!("\"{:x}-{length:x}\"", modified.as_nanos());
        Self { etag, modified: modified.as_secs().min(MODIFIED_MAX) }
    }

    /// ETag and Last-Modified, each with its CRLF.
    pub(super) fn lines(&self) -> Vec<u8> {
        let date = httpdate::fmt_http_date(self.modified());
        format!("ETag: {}\r\nLast-Modified: {date}\r\n", self.etag).into_bytes()
    }

    fn modified(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.modified)
    }
}

/// The condition fields of a GET or HEAD; lists joined as they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions<'a> {
    pub if_match: Option<&'a [u8]>,
    pub if_none_match: Option<&'a [u8]>,
    pub if_modified_since: Option<&'a [u8]>,
    pub if_unmodified_since: Option<&'a [u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    NotModified,
    PreconditionFailed,
}

/// In the order of RFC 9110 section 13.2.2. A date that cannot be read is no condition.
pub(super) fn verdict(conditions: &Conditions<'_>, validators: &Validators) -> Verdict {
    let modified = validators.modified();
    match (conditions.if_match, conditions.if_unmodified_since.and_then(date)) {
        (Some(tags), _) if !lists(tags, &validators.etag, Comparison::Strong) => {
            return Verdict::PreconditionFailed;
        }
        (None, Some(since)) if modified > since => return Verdict::PreconditionFailed,
        _ => (),
    }
    match (conditions.if_none_match, conditions.if_modified_since.and_then(date)) {
        (Some(tags), _) if lists(tags, &validators.etag, Comparison::Weak) => Verdict::NotModified,
        (None, Some(since)) if modified <= since => Verdict::NotModified,
        _ => Verdict::Send,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Entity tags may hold commas, but ours do not: pieces of a foreign tag never equal it.
fn lists(tags: &[u8], etag: &str, comparison: Comparison) -> bool {
    tags.split(|b| *b == b',').map(<[u8]>::trim_ascii).any(|tag| {
        let opaque = match (tag.strip_prefix(b"W/"), comparison) {
            (Some(_), Comparison::Strong) => return false,
            (Some(opaque), Comparison::Weak) => opaque,
            (None, _) => tag,
        };
        tag == b"*" || opaque == etag.as_bytes()
    })
}

fn date(text: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &[u8] = b"Sun, 09 Sep 2001 01:46:39 GMT";
    const AT: &[u8] = b"Sun, 09 Sep 2001 01:46:40 GMT";
    const AFTER: &[u8] = b"Sun, 09 Sep 2001 01:46:41 GMT";

    #[test]
    fn conditions_in_their_order() {
        use Verdict::*;
        let validators = Validators::new(16, Duration::new(1_000_000_000, 1));
        assert_eq!(validators.etag, "\"de0b6b3a7640001-10\"");
        let same: &[u8] = b"\"de0b6b3a7640001-10\"";
        let weak: &[u8] = b"\"x\" , W/\"de0b6b3a7640001-10\"";
        let other: &[u8] = b"\"x\", W/\"y\"";
        let none = Conditions::default();
        let table = [
            (none, Send),
            (Conditions { if_none_match: Some(same), ..none }, NotModified),
            (Conditions { if_none_match: Some(weak), ..none }, NotModified),
            (Conditions { if_none_match: Some(b"*"), ..none }, NotModified),
            (Conditions { if_none_match: Some(other), ..none }, Send),
            (Conditions { if_none_match: Some(other), if_modified_since: Some(AFTER), ..none }, Send),
            (Conditions { if_modified_since: Some(BEFORE), ..none }, Send),
            (Conditions { if_modified_since: Some(AT), ..none }, NotModified),
            (Conditions { if_modified_since: Some(AFTER), ..none }, NotModified),
            (Conditions { if_modified_since: Some(b"soon"), ..none }, Send),
            (Conditions { if_match: Some(same), ..none }, Send),
            (Conditions { if_match: Some(b"*"), ..none }, Send),
            (Conditions { if_match: Some(weak), ..none }, PreconditionFailed),
            (Conditions { if_match: Some(other), if_none_match: Some(same), ..none }, PreconditionFailed),
            (Conditions { if_match: Some(same), if_unmodified_since: Some(BEFORE), ..none }, Send),
            (Conditions { if_unmodified_since: Some(BEFORE), ..none }, PreconditionFailed),
            (Conditions { if_unmodified_since: Some(AT), if_none_match: Some(same), ..none }, NotModified),
        ];
        for (conditions, expect) in table {
            assert_eq!(verdict(&conditions, &validators), expect, "{conditions:?}");
        }
    }

    #[test]
    fn validators_are_shown_whatever_the_file_system_says() {
        let table = [
            (Duration::ZERO, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (Duration::from_secs(1_000_000_000), "Sun, 09 Sep 2001 01:46:40 GMT"),
            (Duration::from_secs(253_402_300_800), "Fri, 31 Dec 9999 23:59:59 GMT"),
            (Duration::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (modified, expect) in table {
            let validators = Validators::new(1, modified);
            let lines = String::from_utf8(validators.lines()).unwrap();
            assert!(lines.ends_with(&format!("-1\"\r\nLast-Modified: {expect}\r\n")), "{lines}");
            let since = Conditions { if_modified_since: Some(expect.as_bytes()), ..Conditions::default() };
            assert_eq!(verdict(&since, &validators), Verdict::NotModified, "{expect}");
        }
    }
}
