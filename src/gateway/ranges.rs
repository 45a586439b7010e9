//! Ranges of a file (RFC 9110 section 14) and the content that carries them. Opens nothing.

/// Ranges in one request; more of them get the whole file. Players and download programs ask for a few; what asks for
/// hundreds wants the work and not the bytes.
const RANGES_MAX: usize = 16;

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub start: u64,
    pub length: u64,
}

impl Slice {
    /// As Content-Range says it, of `complete` bytes. Never for an empty one.
    fn content_range(self, complete: u64) -> String {
        let last = self.start.saturating_add(self.length).saturating_sub(1);
        format!("Content-Range: bytes {}-{last}/{complete}\r\n", self.start)
    }
}

/// A piece of an answer's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    Text(Vec<u8>),
    File(Slice),
}

impl Segment {
    pub fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::File(slice) => slice.length,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    Whole,
    /// Not empty, and none of them is. In the order in which they were asked for.
    Parts(Vec<Slice>),
    Unsatisfiable,
}

/// What of a file of `length` bytes a Range field asks for.
///
/// RFC 9110 section 14.2 lets a server ignore a field: that is done with another unit, with what cannot be read, with
/// too many ranges, and, as nginx does, with ranges that are together longer than the file, so that overlapping ones
/// cannot multiply it. An empty file has no range to give, but nothing to keep back either.
pub(super) fn select(field: &[u8], length: u64) -> Selection {
    let Some(specs) = specs(field) else { return Selection::Whole };
    if length == 0 || specs.len() > RANGES_MAX {
        return Selection::Whole;
    }
    let parts: Vec<_> = specs.into_iter().filter_map(|spec| spec.of(length)).collect();
    if parts.is_empty() {
        return Selection::Unsatisfiable;
    }
    let total: u128 = parts.iter().map(|part| u128::from(part.length)).sum();
    if total > u128::from(length) { Selection::Whole } else { Selection::Parts(parts) }
}

/// Status 416 says how long the file is (RFC 9110 section 15.5.17).
pub(super) fn unsatisfied_lines(length: u64) -> Vec<u8> {
    format!("Content-Range: bytes */{length}\r\n").into_bytes()
}

/// The content of a 206, with its type and the lines for its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partial {
    /// Of all the parts together; `None`: the file's own.
    pub(super) content_type: Option<String>,
    pub(super) lines: String,
    pub(super) segments: Vec<Segment>,
}

/// `seed` makes a boundary that nobody can have written into the file beforehand.
pub(super) fn partial(parts: &[Slice], length: u64, content_type: &str, seed: u128) -> Partial {
    if let [part] = parts {
        // RFC 9110 section 15.3.7.1: one range is never multipart.
        let segments = vec![Segment::File(*part)];
        return Partial { content_type: None, lines: part.content_range(length), segments };
    }
    let boundary = format!("{seed:024}");
    let mut segments = Vec::with_capacity(2 * parts.len() + 1);
    for part in parts {
        let range = part.content_range(length);
        let head = format!("\r\n--{boundary}\r\nContent-Type: {content_type}\r\n{range}\r\n");
        segments.push(Segment::Text(head.into_bytes()));
        segments.push(Segment::File(*part));
    }
    segments.push(Segment::Text(format!("\r\n--{boundary}--\r\n").into_bytes()));
    let content_type = Some(format!("multipart/byteranges; boundary={boundary}"));
    Partial { content_type, lines: String::new(), segments }
}

#[derive(Clone, Copy)]
enum Spec {
    FromTo(u64, u64),
    Last(u64),
}

impl Spec {
    /// `None`: satisfied by no byte of the file.
    fn of(self, length: u64) -> Option<Slice> {
        let (start, end) = match self {
            Self::FromTo(first, last) => (first, last.saturating_add(1).min(length)),
            Self::Last(n) => (length.saturating_sub(n), length),
        };
        (start < end).then(|| Slice { start, length: end - start })
    }
}

/// RFC 9110 section 14.1.1; `None` where the field does not follow it.
fn specs(field: &[u8]) -> Option<Vec<Spec>> {
    let (unit, set) = field.split_at_checked(b"bytes=".len())?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let members = set.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    // Empty members are allowed, but some of the list must not be.
    let specs = members.filter(|m| !m.is_empty()).map(spec).collect::<Option<Vec<_>>>()?;
    (!specs.is_empty()).then_some(specs)
}

fn spec(text: &[u8]) -> Option<Spec> {
    let dash = text.iter().position(|b| *b == b'-')?;
    let (first, last) = (text.get(..dash)?, text.get(dash + 1..)?);
    match (first, last) {
        (b"", last) => Some(Spec::Last(number(last)?)),
        (first, b"") => Some(Spec::FromTo(number(first)?, u64::MAX)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::FromTo(first, last))
        }
    }
}

/// However large: beyond 64 bits every number lies behind the end of every file.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |n: u64, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::Selection::*;
    use super::*;

    fn parts<const N: usize>(of: [(u64, u64); N]) -> Selection {
        Parts(of.map(|(start, length)| Slice { start, length }).to_vec())
    }

    #[test]
    fn what_a_field_asks_for() {
        let ones = |n| format!("bytes={}", vec!["0-0"; n].join(","));
        let table = [
            ("bytes=0-0", 10, parts([(0, 1)])),
            ("bytes=0-9", 10, parts([(0, 10)])),
            ("BYTES=2-", 10, parts([(2, 8)])),
            ("bytes=9-99", 10, parts([(9, 1)])),
            ("bytes=-3", 10, parts([(7, 3)])),
            ("bytes=-99", 10, parts([(0, 10)])),
            ("bytes=0-99999999999999999999999", 10, parts([(0, 10)])),
            ("bytes=-99999999999999999999999", 10, parts([(0, 10)])),
            ("bytes=0-18446744073709551615", u64::MAX, parts([(0, u64::MAX)])),
            ("bytes=0-0,5-6 ,\t-1", 10, parts([(0, 1), (5, 2), (9, 1)])),
            ("bytes=5-6,0-0", 10, parts([(5, 2), (0, 1)])),
            ("bytes=,0-0,,", 10, parts([(0, 1)])),
            ("bytes= 0-0", 10, parts([(0, 1)])),
            ("bytes=0-4,5-9", 10, parts([(0, 5), (5, 5)])),
            ("bytes=0-0,20-30,-0", 10, parts([(0, 1)])),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=10-11,12-12", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, Unsatisfiable),
            // Together longer than the file.
            ("bytes=0-,-1", 10, Whole),
            ("bytes=0-5,4-9", 10, Whole),
            ("bytes=0-,0-,0-", u64::MAX, Whole),
            // Nothing to divide.
            ("bytes=0-0", 0, Whole),
            ("bytes=-1", 0, Whole),
            // Not of the grammar.
            ("", 10, Whole),
            ("bytes", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes=,", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=1", 10, Whole),
            ("bytes=1--2", 10, Whole),
            ("bytes=--1", 10, Whole),
            ("bytes=1-2-3", 10, Whole),
            ("bytes=2-1", 10, Whole),
            ("bytes=0-0,2-1", 10, Whole),
            ("bytes=1 - 2", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("bytes=0x1-2", 10, Whole),
            ("bytes =0-0", 10, Whole),
            ("bytes:0-0", 10, Whole),
            ("lines=0-0", 10, Whole),
            ("\u{e4}bytes=0-0", 10, Whole),
            (&ones(RANGES_MAX + 1), 99, Whole),
        ];
        for (field, length, expect) in table {
            assert_eq!(select(field.as_bytes(), length), expect, "{field} of {length}");
        }
        assert!(matches!(select(ones(RANGES_MAX).as_bytes(), 99), Parts(p) if p.len() == RANGES_MAX));
    }

    proptest::proptest! {
        #[test]
        fn no_field_gets_more_than_there_is(set in "[-0-9, ]{0,40}", length in 0_u64..200) {
            if let Parts(parts) = select(format!("bytes={set}").as_bytes(), length) {
                let inside = |p: &Slice| p.length > 0 && p.start + p.length <= length;
                assert!(!parts.is_empty() && parts.iter().all(inside), "{parts:?}");
                assert!(parts.iter().map(|p| p.length).sum::<u64>() <= length, "{parts:?}");
            }
        }

        #[test]
        fn any_bytes_may_come(field: Vec<u8>, length: u64) {
            select(&field, length);
        }
    }

    #[test]
    fn one_range_is_sent_as_it_is() {
        let slice = Slice { start: 2, length: 3 };
        let expect = Partial {
            content_type: None,
            lines: "Content-Range: bytes 2-4/10\r\n".into(),
            segments: vec![Segment::File(slice)],
        };
        assert_eq!(partial(&[slice], 10, "text/plain", 7), expect);
        assert_eq!(unsatisfied_lines(10), b"Content-Range: bytes */10\r\n");
    }

    #[test]
    fn several_ranges_are_parts_with_heads() {
        let slices = [Slice { start: 5, length: 2 }, Slice { start: 0, length: 1 }];
        let got = partial(&slices, 10, "text/plain", 7);
        let boundary = "000000000000000000000007";
        let content_type = format!("multipart/byteranges; boundary={boundary}");
        assert_eq!((got.content_type, got.lines), (Some(content_type), String::new()));
        let head = |range| {
            let head =
                format!("\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10");
            Segment::Text(format!("{head}\r\n\r\n").into())
        };
        let end = Segment::Text(format!("\r\n--{boundary}--\r\n").into());
        let [a, b] = slices.map(Segment::File);
        assert_eq!(got.segments, [head("5-6"), a, head("0-0"), b, end]);
        let length: u64 = got.segments.iter().map(Segment::length).sum();
        assert_eq!(length, 2 * 87 + 3 + 32);
    }
}
