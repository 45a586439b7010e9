//! Where the values of variables go, and what must be changed in them there.

/// What the text is written into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// A header field's value. No head that was parsed holds a control character, but a path that was decoded may:
    /// they are percent-encoded again, so that no value ends its line (RFC 9110 section 5.5).
    Field,
    /// A line of text: as nginx's `escape=default`, `\xHH`.
    Line,
    /// A string of JSON. What is not UTF-8 becomes U+FFFD.
    Json,
}

pub(super) struct Sink<'o> {
    out: &'o mut Vec<u8>,
    escape: Escape,
}

impl<'o> Sink<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, escape: Escape) -> Self {
        Self { out, escape }
    }

    /// For what needs no escaping anywhere: digits, addresses.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// The same.
    pub(super) fn own(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// What others have written.
    pub(super) fn text(&mut self, bytes: &[u8]) {
        match self.escape {
            Escape::Field => runs(self.out, bytes, is_control, |out, byte| hex(out, b"%", byte)),
            Escape::Line => runs(
                self.out,
                bytes,
                |byte| is_control(byte) || byte == b'\t' || byte >= 0x7f || byte == b'"' || byte == b'\\',
                |out, byte| hex(out, b"\\x", byte),
            ),
            Escape::Json => json(self.out, bytes),
        }
    }

    pub(super) fn lower_case(&mut self, bytes: &[u8]) {
        let start = self.out.len();
        self.text(bytes);
        if let Some(written) = self.out.get_mut(start..) {
            written.make_ascii_lowercase();
        }
    }
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 && byte != b'\t' || byte == 0x7f
}

/// Copies what is in order as a whole: nearly always that is everything.
fn runs(
    out: &mut Vec<u8>,
    mut bytes: &[u8],
    is_special: impl Fn(u8) -> bool,
    special: impl Fn(&mut Vec<u8>, u8),
) {
    // Without an early end, so that the compiler can look at many bytes at once.
    if !bytes.iter().fold(false, |any, byte| any | is_special(*byte)) {
        out.extend_from_slice(bytes);
        return;
    }
    while let Some(at) = bytes.iter().position(|byte| is_special(*byte)) {
        let (before, rest) = bytes.split_at_checked(at).unwrap_or_default();
        out.extend_from_slice(before);
        let Some((byte, rest)) = rest.split_first() else { return };
        special(out, *byte);
        bytes = rest;
    }
    out.extend_from_slice(bytes);
}

fn hex(out: &mut Vec<u8>, prefix: &[u8], byte: u8) {
    let digit = |n: u8| if n < 10 { b'0' + n } else { b'A' + (n - 10) };
    out.extend_from_slice(prefix);
    out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
}

/// RFC 8259 section 7.
fn json(out: &mut Vec<u8>, bytes: &[u8]) {
    let is_special = |byte| byte < 0x20 || byte == b'"' || byte == b'\\';
    // Nearly all of it is ASCII, and need not be looked at twice.
    if !bytes.iter().fold(false, |any, byte| any | is_special(*byte) | (*byte >= 0x80)) {
        out.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        runs(out, chunk.valid().as_bytes(), is_special, |out, byte| match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => hex(out, b"\\u00", byte),
        });
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_out_is_escaped() {
        let odd = b"a\"\\ \t\r\n\0\x1f\x7f\x80\xc3\xa4\xe2\x82(\xff%z";
        let table = [
            (Escape::Field, &b"a\"\\ \t%0D%0A%00%1F%7F\x80\xc3\xa4\xe2\x82(\xff%z"[..]),
            (Escape::Line, br"a\x22\x5C \x09\x0D\x0A\x00\x1F\x7F\x80\xC3\xA4\xE2\x82(\xFF%z"),
            (
                Escape::Json,
                "a\\\"\\\\ \\t\\r\\n\\u0000\\u001F\x7f\u{fffd}\u{e4}\u{fffd}(\u{fffd}%z".as_bytes(),
            ),
        ];
        for (escape, expect) in table {
            let mut out = b"x".to_vec();
            Sink::new(&mut out, escape).text(odd);
            assert_eq!(out.escape_ascii().to_string(), [b"x", expect].concat().escape_ascii().to_string());
        }
    }

    #[test]
    fn every_byte_stays_in_its_place() {
        for byte in 0..=255 {
            let text = [b'a', byte, b'"', byte];
            let mut out = vec![b'"'];
            Sink::new(&mut out, Escape::Json).text(&text);
            out.push(b'"');
            let back: String = serde_json::from_slice(&out).unwrap();
            assert_eq!(back, String::from_utf8_lossy(&text), "{byte}");
            let mut out = vec![];
            Sink::new(&mut out, Escape::Line).text(&text);
            assert!(out.iter().all(|b| matches!(b, b' '..=b'~') && *b != b'"'), "{byte}");
            let mut out = vec![];
            Sink::new(&mut out, Escape::Field).text(&text);
            assert!(!out.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "{byte}");
        }
    }

    #[test]
    fn names_are_written_in_lower_case() {
        let mut out = b"A".to_vec();
        Sink::new(&mut out, Escape::Line).lower_case(b"Example.ORG");
        assert_eq!(out, b"Aexample.org");
    }
}
