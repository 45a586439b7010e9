//! A body, however it is delimited: taken apart on one side, framed anew on the other.

use super::chunked::{Chunked, ChunkedError, Decoded};
use super::framing::Framing;
use super::rules::Names;

/// Takes a body's bytes out of what a connection delivers.
#[derive(Clone, Debug)]
pub enum BodyDecoder {
    /// So many bytes are to come.
    Length(u64),
    Chunked(Chunked),
    Close,
}

impl BodyDecoder {
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(n) => Self::Length(n),
            Framing::Chunked => Self::Chunked(Chunked::default()),
            Framing::Close => Self::Close,
        }
    }

    /// Moves the body's bytes in `buffer` together.
    pub fn decode(&mut self, buffer: &mut [u8]) -> Result<Decoded, ChunkedError> {
        match self {
            Self::Length(left) => {
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= n as u64;
                Ok(Decoded { consumed: n, start: 0, length: n })
            }
            Self::Chunked(chunked) => chunked.decode(buffer),
            Self::Close => Ok(Decoded { consumed: buffer.len(), start: 0, length: buffer.len() }),
        }
    }

    /// `n` bytes of a body of known length have gone by unseen.
    pub fn pass(&mut self, n: usize) {
        if let Self::Length(left) = self {
            *left = left.saturating_sub(n as u64);
        }
    }

    /// Not one byte more belongs to this body. A body that ends with its connection never says so.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_done(),
            Self::Close => false,
        }
    }

    /// The end of the connection is the end of the body, not its loss.
    pub fn ends_with_connection(&self) -> bool {
        match self {
            Self::Close => true,
            Self::Length(_) | Self::Chunked(_) => false,
        }
    }

    /// Trailers of a complete body, to be sent on behind the last chunk: see `Chunked::take_trailers`.
    pub fn take_trailers(&mut self, hide: &Names) -> Option<Vec<u8>> {
        match self {
            Self::Chunked(chunked) => chunked.take_trailers(hide),
            Self::Length(_) | Self::Close => None,
        }
    }

    /// Bytes to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::Close => None,
        }
    }
}

/// Free bytes in front of data that `frame_chunk` needs: 16 digits and CRLF.
pub const CHUNK_HEADROOM: usize = 18;
/// Free bytes behind the data: CRLF and the last chunk.
pub const CHUNK_TAILROOM: usize = 2 + LAST_CHUNK.len();
/// Ends a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Makes one chunk of `buffer[start..start + length]`, within the buffer, followed by the last chunk if `last`;
/// returns where it lies. The caller has kept `CHUNK_HEADROOM` and `CHUNK_TAILROOM` free. No data makes no chunk,
/// since an empty one would end the body.
pub fn frame_chunk(buffer: &mut [u8], start: usize, length: usize, last: bool) -> std::ops::Range<usize> {
    let mut from = start;
    let mut to = start + length;
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = buffer.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        bytes.len()
    };
    if length > 0 {
        let (line, first) = size_line(length);
        let line = line.get(first..).unwrap_or_default();
        from = start.saturating_sub(line.len());
        put(from, line);
        to += put(to, b"\r\n");
    }
    if last {
        to += put(to, LAST_CHUNK);
    }
    from..to
}

/// A chunk's size and its line end, and where they begin.
fn size_line(length: usize) -> ([u8; CHUNK_HEADROOM], usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut line = [b'0'; CHUNK_HEADROOM];
    line[CHUNK_HEADROOM - 2..].copy_from_slice(b"\r\n");
    let mut at = CHUNK_HEADROOM - 2;
    let mut rest = length;
    while rest > 0 && at > 0 {
        at -= 1;
        if let (Some(place), Some(digit)) = (line.get_mut(at), DIGITS.get(rest & 15)) {
            *place = *digit;
        }
        rest >>= 4;
    }
    (line, at)
}

/// The same for data that is copied: one chunk of `data`, behind `out`, and the last chunk if `last`.
pub fn append_chunk(out: &mut Vec<u8>, data: &[u8], last: bool) {
    if !data.is_empty() {
        let (line, first) = size_line(data.len());
        out.extend_from_slice(line.get(first..).unwrap_or_default());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
    if last {
        out.extend_from_slice(LAST_CHUNK);
    }
}

/// Ends a chunked body with trailers: whole lines as `take_trailers` gives them.
pub fn append_last_chunk(out: &mut Vec<u8>, trailers: &[u8]) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(b"\r\n");
}

/// Appends `data`, which `body` has just decoded, in chunks; and the end with its trailers, if that was all.
pub fn append_decoded(out: &mut Vec<u8>, data: &[u8], body: &mut BodyDecoder, hide: &Names) {
    append_chunk(out, data, false);
    if body.is_done() {
        append_last_chunk(out, &body.take_trailers(hide).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_framed_in_place() {
        for (length, last, expect_line) in [
            (0, false, ""),
            (0, true, ""),
            (1, false, "1\r\n"),
            (15, true, "f\r\n"),
            (4096, true, "1000\r\n"),
        ] {
            let mut buffer = vec![b'.'; CHUNK_HEADROOM + length + CHUNK_TAILROOM];
            let range = frame_chunk(&mut buffer, CHUNK_HEADROOM, length, last);
            let data = ".".repeat(length);
            let end = if length > 0 { "\r\n" } else { "" };
            let tail = if last { "0\r\n\r\n" } else { "" };
            let expect = format!("{expect_line}{data}{end}{tail}");
            assert_eq!(buffer[range], *expect.as_bytes());
            let mut copied = vec![];
            append_chunk(&mut copied, data.as_bytes(), last);
            assert_eq!(copied, expect.as_bytes());
        }
    }

    #[test]
    fn what_is_framed_is_decoded() {
        let data = vec![7; 70_000];
        let mut buffer = vec![0; CHUNK_HEADROOM + data.len() + CHUNK_TAILROOM];
        buffer[CHUNK_HEADROOM..CHUNK_HEADROOM + data.len()].copy_from_slice(&data);
        let range = frame_chunk(&mut buffer, CHUNK_HEADROOM, data.len(), true);
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let framed = &mut buffer[range];
        let decoded = decoder.decode(framed).unwrap();
        assert_eq!(framed[decoded.start..decoded.start + decoded.length], data);
        assert!(decoder.is_done() && decoded.consumed == framed.len());
    }

    #[test]
    fn trailers_go_on_behind_the_last_chunk() {
        let table = [
            ("0\r\n\r\n", "0\r\n\r\n"),
            ("1\r\na\r\n1\r\nb\r\n0\r\nHost: a\r\n\r\n", "2\r\nab\r\n0\r\n\r\n"),
            ("2;x\r\nab\r\n0\r\nX:y\r\nTe: b\r\nz: \r\n\r\n", "2\r\nab\r\n0\r\nX: y\r\nz: \r\n\r\n"),
        ];
        for (input, expect) in table {
            let mut body = BodyDecoder::new(Framing::Chunked);
            let mut bytes = input.as_bytes().to_vec();
            let decoded = body.decode(&mut bytes).unwrap();
            let data = &bytes[decoded.start..decoded.start + decoded.length];
            let mut out = vec![];
            append_decoded(&mut out, data, &mut body, Default::default());
            assert_eq!(String::from_utf8(out).unwrap(), expect, "{input:?}");
        }
    }

    #[test]
    fn a_length_is_counted_down() {
        let mut decoder = BodyDecoder::new(Framing::Length(5));
        assert_eq!(decoder.decode(&mut [0; 3]), Ok(Decoded { consumed: 3, start: 0, length: 3 }));
        assert_eq!(decoder.left(), Some(2));
        assert_eq!(decoder.decode(&mut [0; 3]), Ok(Decoded { consumed: 2, start: 0, length: 2 }));
        assert!(decoder.is_done() && !decoder.ends_with_connection());
        let mut decoder = BodyDecoder::new(Framing::Length(5));
        decoder.pass(3);
        assert_eq!(decoder.left(), Some(2));
        decoder.pass(3);
        assert!(decoder.is_done());
        assert!(BodyDecoder::new(Framing::None).is_done());
        assert!(!BodyDecoder::new(Framing::Close).is_done());
    }
}
