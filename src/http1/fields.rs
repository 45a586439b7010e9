//! Header fields as spans into the head's bytes.

use super::connection::Options;
use super::known::{Known, KnownSet};
use super::lanes::token;
use super::limits::FIELDS_MAX;
use super::lines::{LineFault, Lines};

/// A range of a head's bytes. Heads are shorter than 64 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// Of a head of at most `u16::MAX` bytes.
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u16, end: end as u16 }
    }

    /// The bytes meant; empty if `whole` is not the head that this span was made from.
    pub fn of(self, whole: &[u8]) -> &[u8] {
        whole.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default()
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub(super) fn start(self) -> usize {
        self.start.into()
    }

    pub(super) fn end(self) -> usize {
        self.end.into()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: Span,
    pub value: Span,
    pub known: Known,
    /// Its line is name, colon, one space, value, CRLF: exactly what this proxy would write.
    pub(super) canonical: bool,
}

impl Field {
    /// The whole line, if it is canonical.
    pub(super) fn line(&self) -> Span {
        Span { start: self.name.start, end: self.value.end.saturating_add(2) }
    }
}

/// A head's fields in their order. Give an old one to the next `parse` and its memory is used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    list: Vec<Field>,
    present: KnownSet,
    repeated: KnownSet,
    pub(super) options: Options,
}

/// Why the fields of a head are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldFault {
    Line(LineFault),
    Name,
    TooMany,
}

impl FieldFault {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Line(LineFault::Cut) => "head ends somewhere else",
            Self::Line(LineFault::End) => "line end",
            Self::Line(LineFault::Control) => "control character",
            Self::Name => "field name",
            Self::TooMany => "too many fields",
        }
    }
}

impl Fields {
    pub fn iter(&self) -> impl Iterator<Item = Field> + '_ {
        self.list.iter().copied()
    }

    pub fn values(&self, known: Known) -> impl Iterator<Item = Span> + '_ {
        let list = if self.has(known) { self.list.as_slice() } else { &[] };
        list.iter().filter(move |f| f.known == known).map(|f| f.value)
    }

    /// The only value of a field, `None` where it is missing or repeated.
    pub fn only(&self, known: Known) -> Option<Span> {
        if self.repeated.has(known) { None } else { self.values(known).next() }
    }

    pub fn has(&self, known: Known) -> bool {
        self.present.has(known)
    }

    pub(super) fn is_repeated(&self, known: Known) -> bool {
        self.repeated.has(known)
    }

    /// Reads the lines that are left, up to the empty one that ends a head; the head's length, which a `Span` can
    /// address. Nothing is left of what was in `self`.
    pub(super) fn read(&mut self, head: &[u8], lines: &mut Lines<'_>) -> Result<usize, FieldFault> {
        self.list.clear();
        self.present = KnownSet::default();
        self.repeated = KnownSet::default();
        loop {
            let (start, end) = lines.next().map_err(FieldFault::Line)?;
            if start == end {
                self.options = Options::of(head, self);
                return Ok(end + 2);
            }
            if self.list.len() == FIELDS_MAX {
                return Err(FieldFault::TooMany);
            }
            let name_end = start + token(head, start, end);
            // Also a line that begins with white space, a continued one (RFC 9112 section 5.2), and white space in
            // front of the colon (section 5.1).
            let (true, Some([b':', rest @ ..])) = (name_end > start, head.get(name_end..end)) else {
                return Err(FieldFault::Name);
            };
            let (value, canonical) = match rest {
                [b' ', first, .., last] if !is_space(*first) && !is_space(*last) => (name_end + 2..end, true),
                [b' ', only] if !is_space(*only) => (name_end + 2..end, true),
                [b' '] => (end..end, true),
                _ => {
                    let value = trim(rest);
                    let start = name_end + 1 + rest.iter().take_while(|b| is_space(**b)).count();
                    (start..start + value.len(), false)
                }
            };
            let known = Known::of(head.get(start..name_end).unwrap_or_default());
            self.repeated.insert_if(known, self.present);
            self.present.insert(known);
            let (name, value) = (Span::new(start, name_end), Span::new(value.start, value.end));
            self.list.push(Field { name, value, known, canonical });
        }
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The members of a comma-separated list, without white space and without the empty ones (RFC 9110 section 5.6.1.2).
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(trim).filter(|m| !m.is_empty())
}

/// Without optional white space (RFC 9110 section 5.6.3) at both ends.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// A character of a token (RFC 9110 section 5.6.2).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    const TABLE: [bool; 256] = table();
    const fn table() -> [bool; 256] {
        let mut table = [false; 256];
        let mut at = 0;
        while at < 256 {
            table[at] = matches!(at as u8,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|'
                | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z');
            at += 1;
        }
        table
    }
    TABLE[byte as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_canonical_if_it_would_be_written_so() {
        let table = [
            ("A: b", "b", true),
            ("A: b c", "b c", true),
            ("A: ", "", true),
            ("A:", "", false),
            ("A:b", "b", false),
            ("A:\tb", "b", false),
            ("A:  b", "b", false),
            ("A: b ", "b", false),
            ("A: bc\t", "bc", false),
            ("A:  ", "", false),
            ("A: \t", "", false),
            ("A::", ":", false),
        ];
        for (line, value, canonical) in table {
            let head = format!("{line}\r\n\r\n").into_bytes();
            let mut fields = Fields::default();
            assert_eq!(fields.read(&head, &mut Lines::new(&head)), Ok(head.len()));
            let field = fields.iter().next().unwrap();
            assert_eq!(
                (field.name.of(&head), field.value.of(&head)),
                (&b"A"[..], value.as_bytes()),
                "{line:?}"
            );
            assert_eq!(field.canonical, canonical, "{line:?}");
            if canonical {
                assert_eq!(field.line().of(&head), format!("{line}\r\n").as_bytes());
            }
        }
    }

    #[test]
    fn spans_of_another_head_are_empty() {
        assert!(Span::new(3, 9).of(b"Host").is_empty());
        assert_eq!(Span::new(1, 3).of(b"Host"), b"os");
    }

    #[test]
    fn lists_are_split_at_commas() {
        let got: Vec<_> = members(b" a ,,\tb c ,").collect();
        assert_eq!(got, [&b"a"[..], b"b c"]);
    }
}
