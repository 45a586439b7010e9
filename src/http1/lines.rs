//! The lines of a head that is whole: each ends in CRLF, and the only control character in one is the tab.

use super::lanes::{BLOCK, controls_from};

/// What RFC 9112 sections 2.2 and 5 forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineFault {
    /// A CR without LF, or a LF without CR.
    End,
    /// Another control character.
    Control,
    /// The bytes end without an end of line.
    Cut,
}

#[derive(Debug)]
pub(super) struct Lines<'h> {
    head: &'h [u8],
    /// Where the current line begins.
    start: usize,
    /// Where the block begins that `controls` speaks of.
    base: usize,
    /// Those that have not been looked at.
    controls: u64,
}

impl<'h> Lines<'h> {
    pub(super) fn new(head: &'h [u8]) -> Self {
        let controls = controls_from(head, 0).unwrap_or_default();
        Self { head, start: 0, base: 0, controls }
    }

    /// Begin and end of the next line, without its CRLF.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<(usize, usize), LineFault> {
        loop {
            let at = self.control()?;
            match self.head.get(at) {
                Some(b'\t') => (),
                Some(b'\r') => {
                    if self.head.get(at + 1) != Some(&b'\n') {
                        return Err(LineFault::End);
                    }
                    // That LF.
                    self.control()?;
                    let start = self.start;
                    self.start = at + 2;
                    return Ok((start, at));
                }
                Some(b'\n') => return Err(LineFault::End),
                _ => return Err(LineFault::Control),
            }
        }
    }

    #[inline]
    fn control(&mut self) -> Result<usize, LineFault> {
        while self.controls == 0 {
            self.base += BLOCK;
            self.controls = controls_from(self.head, self.base).ok_or(LineFault::Cut)?;
        }
        let at = self.base + self.controls.trailing_zeros() as usize;
        self.controls &= self.controls - 1;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_crlf_and_hold_no_controls() {
        use LineFault::*;
        type Row = (&'static str, &'static [(usize, usize)], LineFault);
        let table: [Row; 9] = [
            ("", &[], Cut),
            ("a", &[], Cut),
            ("a\r", &[], End),
            ("a\r\n\r\n", &[(0, 1), (3, 3)], Cut),
            ("a\tb\r\nc", &[(0, 3)], Cut),
            ("a\nb\r\n", &[], End),
            ("\r\nb\rc\r\n", &[(0, 0)], End),
            ("a\r\nb\0\r\n", &[(0, 1)], Control),
            ("a\x7f\r\n", &[], Control),
        ];
        for (text, expect, fault) in table {
            let mut lines = Lines::new(text.as_bytes());
            for line in expect {
                assert_eq!(lines.next(), Ok(*line), "{text:?}");
            }
            assert_eq!(lines.next(), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn lines_are_found_across_blocks() {
        for length in 0..140 {
            let text = format!("{}\r\n\t\r\n{0}\r\n", "a".repeat(length)).into_bytes();
            let mut lines = Lines::new(&text);
            assert_eq!(lines.next(), Ok((0, length)));
            assert_eq!(lines.next(), Ok((length + 2, length + 3)));
            assert_eq!(lines.next(), Ok((length + 5, 2 * length + 5)));
            assert_eq!(lines.next(), Err(LineFault::Cut));
        }
    }
}
