//! Validators of a static file and the conditions of a request (RFC 9110 section 13). No clock: file times come in.

use std::time::{Duration, SystemTime};

/// What tells two states of a file apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    /// With its quotes; strong if settled.
    pub(super) etag: String,
    /// Whole seconds since 1970, which is what the wire carries; at most `MODIFIED_MAX`.
    modified: u64,
    settled: bool,
}

/// The last second of the year 9999: the wire has no room for a later year, and a file system does.
const MODIFIED_MAX: u64 = 253_402_300_799;

/// A file that was written within this time may be written to once more and keep its times: they are as coarse as the
/// file system's clock, which is two seconds at worst (FAT).
const SETTLED: Duration = Duration::from_secs(2);

impl Validators {
    /// Nanoseconds count in the tag, so that two edits within a second differ; the same file on two nodes has the
    /// same tag. `modified` and `now` since 1970.
    ///
    /// A file that has not settled, or whose time lies ahead, gets a weak tag (RFC 9110 section 8.8.1), and one that
    /// a settled file never has, so that whoever got an intermediate state is not told for ever that it is the
    /// last one.
    pub(super) fn new(length: u64, modified: Duration, now: Duration) -> Self {
        let settled = now.checked_sub(modified).is_some_and(|age| age >= SETTLED);
        let nanoseconds = modified.as_nanos();
        let etag = if settled {
            format!("\"{nanoseconds:x}-{length:x}\"")
        } else {
            format!("W/\"{nanoseconds:x}-{length:x}-new\"")
        };
        Self { etag, modified: modified.as_secs().min(MODIFIED_MAX), settled }
    }

    /// ETag and Last-Modified, each with its CRLF.
    ///
    /// No date while another write may have the same one: so whoever shows it later means this state (RFC 9110
    /// section 8.8.2.2). That also leaves out dates ahead of Date, as section 8.8.2.1 asks.
    pub(super) fn lines(&self) -> String {
        let mut lines = format!("ETag: {}\r\n", self.etag);
        if self.settled {
            let date = httpdate::fmt_http_date(self.modified());
            lines.push_str(&format!("Last-Modified: {date}\r\n"));
        }
        lines
    }

    /// What If-Range asks (RFC 9110 section 13.1.5): exactly this state, of which the client has a part already.
    pub(super) fn are(&self, if_range: &[u8]) -> bool {
        self.settled && (if_range == self.etag.as_bytes() || date(if_range) == Some(self.modified()))
    }

    fn modified(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.modified)
    }
}

/// The fields of a GET or HEAD that ask for less than the whole file; lists joined as they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions<'a> {
    pub if_match: Option<&'a [u8]>,
    pub if_none_match: Option<&'a [u8]>,
    pub if_modified_since: Option<&'a [u8]>,
    pub if_unmodified_since: Option<&'a [u8]>,
    pub range: Option<&'a [u8]>,
    pub if_range: Option<&'a [u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    NotModified,
    PreconditionFailed,
}

/// In the order of RFC 9110 section 13.2.2, up to its last step, which is about ranges. A date that cannot be read is no condition.
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
    let (own_is_weak, own) = halves(etag.as_bytes());
    tags.split(|b| *b == b',').map(<[u8]>::trim_ascii).any(|tag| {
        let (is_weak, opaque) = halves(tag);
        let comparable = comparison == Comparison::Weak || !(is_weak || own_is_weak);
        tag == b"*" || (comparable && opaque == own)
    })
}

/// Whether a tag is weak, and the rest of it.
fn halves(tag: &[u8]) -> (bool, &[u8]) {
    tag.strip_prefix(b"W/").map_or((false, tag), |opaque| (true, opaque))
}

fn date(text: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_secs(1_000_000_003);
    const BEFORE: &[u8] = b"Sun, 09 Sep 2001 01:46:39 GMT";
    const AT: &[u8] = b"Sun, 09 Sep 2001 01:46:40 GMT";
    const AFTER: &[u8] = b"Sun, 09 Sep 2001 01:46:41 GMT";

    #[test]
    fn conditions_in_their_order() {
        use Verdict::*;
        let validators = Validators::new(16, Duration::new(1_000_000_000, 1), LATER);
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
    fn a_file_that_was_just_written_has_weak_validators() {
        let (seconds, at) = (Duration::from_secs, Duration::new(1_000_000_000, 1));
        for (now, settled) in [
            (Duration::ZERO, false),
            (at, false),
            (at + SETTLED - Duration::from_nanos(1), false),
            (at + SETTLED, true),
            (at + seconds(99), true),
            (Duration::MAX, true),
        ] {
            let validators = Validators::new(16, at, now);
            let (strong, weak) = ("\"de0b6b3a7640001-10\"", "W/\"de0b6b3a7640001-10-new\"");
            let own = if settled { strong } else { weak };
            let date = if settled { "Last-Modified: Sun, 09 Sep 2001 01:46:40 GMT\r\n" } else { "" };
            assert_eq!(validators.lines(), format!("ETag: {own}\r\n{date}"), "{now:?}");
            let condition = |tag: &'static str| Some(tag.as_bytes());
            let none = Conditions::default();
            for (conditions, expect) in [
                (Conditions { if_none_match: condition(own), ..none }, Verdict::NotModified),
                (Conditions { if_match: condition(weak), ..none }, Verdict::PreconditionFailed),
                (Conditions { if_match: Some(b"*"), ..none }, Verdict::Send),
            ] {
                assert_eq!(verdict(&conditions, &validators), expect, "{now:?} {conditions:?}");
            }
            for (if_range, expect) in [
                (strong.as_bytes(), settled),
                (AT, settled),
                (weak.as_bytes(), false),
                (b"W/\"de0b6b3a7640001-10\"", false),
                (b"\"x\"", false),
                (b"*", false),
                (BEFORE, false),
                (AFTER, false),
                (b"", false),
            ] {
                assert_eq!(validators.are(if_range), expect, "{now:?} {}", String::from_utf8_lossy(if_range));
            }
        }
    }

    #[test]
    fn validators_are_shown_whatever_the_file_system_says() {
        let table = [
            (Duration::ZERO, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (Duration::from_secs(1_000_000_000), "Sun, 09 Sep 2001 01:46:40 GMT"),
            (Duration::from_secs(253_402_300_800), "Fri, 31 Dec 9999 23:59:59 GMT"),
            (Duration::MAX - SETTLED, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        for (modified, expect) in table {
            let validators = Validators::new(1, modified, Duration::MAX);
            let lines = validators.lines();
            assert!(lines.ends_with(&format!("-1\"\r\nLast-Modified: {expect}\r\n")), "{lines}");
            let since = Conditions { if_modified_since: Some(expect.as_bytes()), ..Conditions::default() };
            assert_eq!(verdict(&since, &validators), Verdict::NotModified, "{expect}");
        }
    }
}
