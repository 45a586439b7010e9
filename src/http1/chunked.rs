//! The chunked transfer coding (RFC 9112 section 7.1), byte by byte over input cut anywhere.
//!
//! Lines end in CRLF only; sizes are bare hexadecimal digits; extensions and trailers are held to their grammar and
//! bounded. Extensions are dropped, trailers kept for whoever can send them on.

use super::fields::is_token_byte;
use super::limits::{CHUNK_EXTENSIONS_MAX, CHUNK_SIZE_DIGITS_MAX, TRAILERS_MAX};
use super::rules::Names;
use super::trailers::Trailers;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkedError {
    #[error("chunk size")]
    Size,
    #[error("chunk extension")]
    Extension,
    #[error("chunk line end")]
    LineEnd,
    #[error("trailer")]
    Trailer,
    #[error("chunk extensions longer than {CHUNK_EXTENSIONS_MAX} bytes")]
    ExtensionsTooLong,
    #[error("trailers longer than {TRAILERS_MAX} bytes")]
    TrailersTooLong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first digit, and between digits.
    Size {
        digits: u8,
    },
    /// After the semicolon.
    ExtensionStart,
    ExtensionName,
    /// White space after a name or value: only `=` (after a name) or `;` may follow.
    ExtensionGap {
        value_may_follow: bool,
    },
    ValueStart,
    Value,
    Quoted,
    QuotedEscape,
    QuotedEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
    /// For good: whoever asks again, with whatever bytes, must not be told of an end.
    Failed(ChunkedError),
}

/// What the first bytes of the input are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes of framing.
    Framing(usize),
    /// So many bytes of body.
    Data(usize),
    /// So many bytes of framing, and the body is complete; what follows is another message.
    End(usize),
}

/// What `decode` found in a buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the buffer that belong to this body. All of them, unless the body ended before.
    pub consumed: usize,
    /// The body's bytes, moved together: `buffer[start..start + length]`.
    pub start: usize,
    pub length: usize,
}

#[derive(Clone, Debug)]
pub struct Chunked {
    state: State,
    /// Bytes left in the current chunk.
    left: u64,
    extensions: u32,
    /// Bytes of trailers, those included that are dropped.
    trailers: u32,
    /// Few bodies have any.
    kept: Option<Box<Trailers>>,
}

impl Default for Chunked {
    fn default() -> Self {
        Self { state: State::Size { digits: 0 }, left: 0, extensions: 0, trailers: 0, kept: None }
    }
}

impl Chunked {
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailers of a complete body that may go on, as whole lines with their CRLF, without those that are hidden
    /// here; once, and `None` if there are none. They must not be merged into a head (RFC 9110 section 6.5.1).
    pub fn take_trailers(&mut self, hide: &Names) -> Option<Vec<u8>> {
        if !self.is_done() {
            return None;
        }
        self.kept.take().map(|kept| kept.into_lines(hide)).filter(|lines| !lines.is_empty())
    }

    /// Looks at the first bytes of `input`, at least one of them unless it is empty or the body is complete.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, ChunkedError> {
        if self.state == State::Data && !input.is_empty() {
            let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
            self.left -= n as u64;
            if self.left == 0 {
                self.state = State::DataCr;
            }
            return Ok(Step::Data(n));
        }
        if let Some(step) = self.shortcut(input) {
            return Ok(step);
        }
        for (at, byte) in input.iter().enumerate() {
            match self.state {
                State::Data => return Ok(Step::Framing(at)),
                State::Done => return Ok(Step::End(at)),
                State::Failed(error) => return Err(error),
                _ => {
                    let next = self.framing_byte(*byte);
                    self.state = next.unwrap_or_else(State::Failed);
                    next?;
                }
            }
        }
        if self.is_done() { Ok(Step::End(input.len())) } else { Ok(Step::Framing(input.len())) }
    }

    /// What nearly every chunk looks like, taken at once; the rest byte by byte.
    fn shortcut(&mut self, input: &[u8]) -> Option<Step> {
        match self.state {
            State::DataCr if input.starts_with(b"\r\n") => {
                self.state = State::Size { digits: 0 };
                Some(Step::Framing(2))
            }
            State::TrailerStart if input.starts_with(b"\r\n") => {
                self.state = State::Done;
                Some(Step::End(2))
            }
            State::Size { digits: 0 } => {
                let mut size = 0u64;
                for (at, byte) in input.iter().enumerate().take(usize::from(CHUNK_SIZE_DIGITS_MAX) + 1) {
                    match char::from(*byte).to_digit(16) {
                        Some(digit) if at < usize::from(CHUNK_SIZE_DIGITS_MAX) => {
                            size = size << 4 | u64::from(digit);
                        }
                        None if at > 0 && input.get(at..)?.starts_with(b"\r\n") => {
                            self.left = size;
                            self.state = if size == 0 { State::TrailerStart } else { State::Data };
                            return Some(Step::Framing(at + 2));
                        }
                        Some(_) | None => return None,
                    }
                }
                None
            }
            _ => None,
        }
    }

    /// Moves the body's bytes together within `buffer`.
    pub fn decode(&mut self, buffer: &mut [u8]) -> Result<Decoded, ChunkedError> {
        let mut decoded = Decoded::default();
        loop {
            let rest = buffer.get(decoded.consumed..).unwrap_or_default();
            if rest.is_empty() && !self.is_done() {
                return Ok(decoded);
            }
            match self.step(rest)? {
                Step::Framing(n) => decoded.consumed += n,
                Step::End(n) => {
                    decoded.consumed += n;
                    return Ok(decoded);
                }
                Step::Data(n) => {
                    let from = decoded.consumed;
                    if decoded.length == 0 {
                        decoded.start = from;
                    } else {
                        // Always forwards and within: the framing between the runs has been passed over.
                        buffer.copy_within(from..from + n, decoded.start + decoded.length);
                    }
                    decoded.length += n;
                    decoded.consumed += n;
                }
            }
        }
    }

    fn framing_byte(&mut self, byte: u8) -> Result<State, ChunkedError> {
        use State::*;
        let next = match (self.state, byte) {
            (Size { digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == CHUNK_SIZE_DIGITS_MAX {
                    return Err(ChunkedError::Size);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.left = self.left << 4 | u64::from(digit);
                Size { digits: digits + 1 }
            }
            (Size { digits: 1.. }, b'\r') => SizeLf,
            (Size { digits: 1.. }, b';') => ExtensionStart,
            (Size { .. }, _) => return Err(ChunkedError::Size),

            (ExtensionStart, b' ' | b'\t') => ExtensionStart,
            (ExtensionStart | ExtensionName, _) if is_token_byte(byte) => ExtensionName,
            (ExtensionName, b'=') => ValueStart,
            (ExtensionName, b' ' | b'\t') => ExtensionGap { value_may_follow: true },
            (ExtensionGap { value_may_follow }, b' ' | b'\t') => ExtensionGap { value_may_follow },
            (ExtensionGap { value_may_follow: true }, b'=') => ValueStart,
            (ExtensionGap { .. }, b';') => ExtensionStart,
            (ValueStart, b' ' | b'\t') => ValueStart,
            (ValueStart, b'"') => Quoted,
            (ValueStart | Value, _) if is_token_byte(byte) => Value,
            (Quoted, b'"') => QuotedEnd,
            (Quoted, b'\\') => QuotedEscape,
            (Quoted | QuotedEscape, b'\t' | b' '..=b'~' | 0x80..) => Quoted,
            (Value | QuotedEnd, b' ' | b'\t') => ExtensionGap { value_may_follow: false },
            (ExtensionName | Value | QuotedEnd, b';') => ExtensionStart,
            (ExtensionName | Value | QuotedEnd, b'\r') => SizeLf,
            (
                ExtensionStart
                | ExtensionName
                | ExtensionGap { .. }
                | ValueStart
                | Value
                | Quoted
                | QuotedEscape
                | QuotedEnd,
                _,
            ) => return Err(ChunkedError::Extension),

            (SizeLf, b'\n') if self.left == 0 => TrailerStart,
            (SizeLf, b'\n') => Data,
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => Size { digits: 0 },
            (SizeLf | DataCr | DataLf, _) => return Err(ChunkedError::LineEnd),

            (TrailerStart, b'\r') => EndLf,
            (TrailerStart | TrailerName, _) if is_token_byte(byte) => TrailerName,
            (TrailerName, b':') => TrailerValue,
            (TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => TrailerValue,
            (TrailerValue, b'\r') => TrailerLf,
            (TrailerLf, b'\n') => TrailerStart,
            (EndLf, b'\n') => Done,
            (TrailerStart | TrailerName | TrailerValue | TrailerLf | EndLf, _) => {
                return Err(ChunkedError::Trailer);
            }

            // `step` takes these away.
            (Data | Done | Failed(_), _) => self.state,
        };
        match next {
            ExtensionStart
            | ExtensionName
            | ExtensionGap { .. }
            | ValueStart
            | Value
            | Quoted
            | QuotedEscape
            | QuotedEnd => {
                self.extensions += 1;
                if self.extensions as usize > CHUNK_EXTENSIONS_MAX {
                    return Err(ChunkedError::ExtensionsTooLong);
                }
            }
            TrailerName | TrailerValue | TrailerLf => {
                self.trailers += 1;
                if self.trailers as usize > TRAILERS_MAX {
                    return Err(ChunkedError::TrailersTooLong);
                }
                let kept = self.kept.get_or_insert_default();
                if next == TrailerLf {
                    kept.end_line();
                } else {
                    kept.push(byte);
                }
            }
            Size { .. } | SizeLf | Data | DataCr | DataLf | TrailerStart | EndLf | Done | Failed(_) => (),
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Body and what is left over, fed `step` bytes at a time; `Ok(None)`: not complete.
    type Body<T> = Result<Option<(T, T)>, ChunkedError>;

    fn run(input: &[u8], step: usize) -> Body<Vec<u8>> {
        let mut decoder = Chunked::default();
        let mut body = vec![];
        for (at, piece) in input.chunks(step).enumerate() {
            let mut piece = piece.to_vec();
            let decoded = decoder.decode(&mut piece)?;
            body.extend_from_slice(&piece[decoded.start..decoded.start + decoded.length]);
            if decoder.is_done() {
                return Ok(Some((body, input[at * step + decoded.consumed..].to_vec())));
            }
            assert_eq!(decoded.consumed, piece.len(), "an incomplete body takes everything");
        }
        Ok(None)
    }

    fn check(input: &str, expect: Body<&str>) {
        let expect = expect.map(|o| o.map(|(b, r)| (b.as_bytes().to_vec(), r.as_bytes().to_vec())));
        for step in [1, 2, 3, 5, 8, 1 << 20] {
            assert_eq!(run(input.as_bytes(), step), expect, "{input:?} in steps of {step}");
        }
    }

    #[test]
    fn bodies() {
        check("0\r\n\r\n", Ok(Some(("", ""))));
        check("3\r\nabc\r\n0\r\n\r\nGET", Ok(Some(("abc", "GET"))));
        check("3\r\nabc\r\n2\r\nde\r\n00\r\n\r\n", Ok(Some(("abcde", ""))));
        check("A\r\n0123456789\r\n0\r\n\r\n", Ok(Some(("0123456789", ""))));
        check("000000000000001\r\nx\r\n0\r\n\r\n", Ok(Some(("x", ""))));
        check("2\r\n\r\n\r\n0\r\n\r\n", Ok(Some(("\r\n", ""))));
        check("1;a\r\nx\r\n0;b=c\r\n\r\n", Ok(Some(("x", ""))));
        check("1; a = \"q;\\\"\r\"\r\nx", Err(ChunkedError::Extension));
        check("1; a = \"q;\\\"\" ;b\r\nx\r\n0\r\n\r\n", Ok(Some(("x", ""))));
        check("0\r\nA: b\r\nContent-Length: 7\r\n\r\nx", Ok(Some(("", "x"))));
        check("3\r\nab", Ok(None));
        check("", Ok(None));
        check("0\r\n", Ok(None));
    }

    #[test]
    fn trailers_are_kept_apart_and_clean() {
        let hide = Names::from_iter(["x-hidden"]);
        let table = [
            ("0\r\n\r\n", None),
            ("1\r\nx\r\n0\r\nA:b\r\nc:\t d \r\nE:\r\n\r\nF: g", Some("A: b\r\nc: d\r\nE: \r\n")),
            ("0\r\nContent-Length: 5\r\nHOST: x\r\n\r\n", None),
            ("0\r\nA: b\r\nTransfer-Encoding: chunked\r\nA: c\r\n\r\n", Some("A: b\r\nA: c\r\n")),
            ("0\r\nX-Hidden: b\r\n\r\n", None),
            ("0\r\nX-Hidden: b\r\nGrpc-Status: 0\r\n\r\n", Some("Grpc-Status: 0\r\n")),
        ];
        for (input, expect) in table {
            for step in [1, 2, 3, 1000] {
                let mut decoder = Chunked::default();
                for piece in input.as_bytes().chunks(step) {
                    assert!(decoder.is_done() || decoder.take_trailers(&hide).is_none());
                    decoder.decode(&mut piece.to_vec()).unwrap();
                }
                let got = decoder.take_trailers(&hide).map(|lines| String::from_utf8(lines).unwrap());
                assert_eq!(got.as_deref(), expect, "{input:?} in steps of {step}");
                assert_eq!(decoder.take_trailers(&hide), None);
            }
        }
    }

    #[test]
    fn what_was_refused_stays_refused() {
        let mut decoder = Chunked::default();
        let input = b"0;a=\"\r\n\r\n";
        for _ in 0..2 {
            assert_eq!(decoder.decode(&mut input.to_vec()), Err(ChunkedError::Extension));
            assert!(!decoder.is_done());
        }
        assert_eq!(decoder.decode(&mut []), Ok(Decoded::default()));
    }

    #[test]
    fn what_is_not_the_grammar_is_refused() {
        use ChunkedError::*;
        for (input, error) in [
            ("\r\n", Size),
            (";a\r\n", Size),
            (" 1\r\nx", Size),
            ("1 \r\nx", Size),
            ("1\t;a\r\nx", Size),
            ("0x1\r\nx", Size),
            ("+1\r\nx", Size),
            ("-1\r\nx", Size),
            ("1_0\r\nx", Size),
            ("g\r\n", Size),
            ("1\nx\r\n0\r\n\r\n", Size),
            ("1000000000000000\r\n", Size),
            ("fffffffffffffffff\r\n", Size),
            ("1\rx", LineEnd),
            ("1\r\rx", LineEnd),
            ("1\r\nx0\r\n\r\n", LineEnd),
            ("1\r\nx\n0\r\n\r\n", LineEnd),
            ("1\r\nx\r0\r\n\r\n", LineEnd),
            ("1\r\nxy\r\n0\r\n\r\n", LineEnd),
            ("1;\r\nx", Extension),
            ("1;;a\r\nx", Extension),
            ("1;a\nx", Extension),
            ("1;a\0\r\nx", Extension),
            ("1;a=\r\nx", Extension),
            ("1;a b\r\nx", Extension),
            ("1;a=b c\r\nx", Extension),
            ("1;a=\"\n\"\r\nx", Extension),
            ("0\r\n A: b\r\n\r\n", Trailer),
            ("0\r\nA : b\r\n\r\n", Trailer),
            ("0\r\nA\r\n\r\n", Trailer),
            ("0\r\nA: b\n\r\n", Trailer),
            ("0\r\nA: \0\r\n\r\n", Trailer),
            ("0\r\n\n", Trailer),
            ("0\r\n\r\r", Trailer),
        ] {
            check(input, Err(error));
        }
        check(&format!("1;{}\r\nx", "a".repeat(CHUNK_EXTENSIONS_MAX)), Err(ExtensionsTooLong));
        let little = format!("1;{}\r\nx\r\n", "a".repeat(1000));
        check(&little.repeat(20), Err(ExtensionsTooLong));
        check(&format!("0\r\nA:{}\r\n\r\n", "a".repeat(TRAILERS_MAX)), Err(TrailersTooLong));
        check(&format!("0\r\n{}\r\n", "A:\r\n".repeat(TRAILERS_MAX)), Err(TrailersTooLong));
    }
}
