//! What a program writes, cut into lines for the log. Bounded: a program cannot fill it.

/// Of one program; what it writes beyond is thrown away.
const MAX_LINES: usize = 50;
/// Of one line, in bytes.
const MAX_LINE: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Lines {
    line: Vec<u8>,
    said: usize,
    last: String,
}

impl Lines {
    /// The lines that `bytes` has completed, as far as there is room for them.
    pub(super) fn take(&mut self, bytes: &[u8], say: &mut (dyn FnMut(&str) + Send)) {
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(say),
                _ if self.line.len() < MAX_LINE => self.line.push(*byte),
                _ => (),
            }
        }
    }

    /// The last line, whether or not it was the end of one.
    pub(super) fn finish(mut self, say: &mut (dyn FnMut(&str) + Send)) -> String {
        self.end_line(say);
        self.last
    }

    fn end_line(&mut self, say: &mut (dyn FnMut(&str) + Send)) {
        let line = std::mem::take(&mut self.line);
        let line: String = String::from_utf8_lossy(&line).chars().map(printable).collect();
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        line.clone_into(&mut self.last);
        match self.said.cmp(&MAX_LINES) {
            std::cmp::Ordering::Less => say(line),
            std::cmp::Ordering::Equal => say(".. and more, which is left out"),
            std::cmp::Ordering::Greater => return,
        }
        self.said += 1;
    }
}

/// A log must not obey what a program writes.
fn printable(c: char) -> char {
    match c {
        '\t' | '\r' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of `pieces`, and the last line.
    fn lines(pieces: &[&[u8]]) -> (Vec<String>, String) {
        let (mut lines, mut said) = (Lines::default(), vec![]);
        let mut say = |line: &str| said.push(line.to_owned());
        pieces.iter().for_each(|piece| lines.take(piece, &mut say));
        let last = lines.finish(&mut say);
        (said, last)
    }

    #[test]
    fn lines_are_whole_printable_and_few() {
        let table: [(&[&[u8]], &[&str]); 5] = [
            (&[b"a\nb"], &["a", "b"]),
            (&[b"a", b"b\r\n\n", b"c\n"], &["ab", "c"]),
            (&[b"\x1b[31mred\t\xff\n"], &["\u{fffd}[31mred \u{fffd}"]),
            (&[b"\n \n"], &[]),
            (&[], &[]),
        ];
        for (pieces, expect) in table {
            let (said, last) = lines(pieces);
            assert_eq!(said, expect);
            assert_eq!(last, expect.last().copied().unwrap_or_default());
        }
        let (said, last) = lines(&[&b"x".repeat(MAX_LINE * 3), b"\nend"]);
        assert_eq!((said[0].len(), last.as_str()), (MAX_LINE, "end"));
        let (said, last) = lines(&[&b"many\n".repeat(MAX_LINES * 2), b"end"]);
        assert_eq!((said.len(), last.as_str()), (MAX_LINES + 1, "end"));
        assert!(said[MAX_LINES].contains("left out"));
    }
}
