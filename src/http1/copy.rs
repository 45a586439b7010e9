//! Writing lines: fields that stay as they are go over in one piece with their neighbours.

use super::fields::{Field, Fields, Span};
use super::framing::Framing;

/// A stretch of a head that has been checked and will be written as it is.
#[derive(Debug, Default)]
pub(super) struct Run {
    start: usize,
    end: usize,
}

impl Run {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    #[inline]
    pub(super) fn add(&mut self, out: &mut Vec<u8>, head: &[u8], line: Span) {
        if line.start() != self.end {
            self.write(out, head);
            self.start = line.start();
        }
        self.end = line.end();
    }

    pub(super) fn write(&mut self, out: &mut Vec<u8>, head: &[u8]) {
        out.extend_from_slice(head.get(self.start..self.end).unwrap_or_default());
        self.start = self.end;
    }
}

/// Appends those of `fields` that are to be kept, behind `run`.
#[inline]
pub(super) fn copy_fields(
    out: &mut Vec<u8>,
    head: &[u8],
    fields: &Fields,
    mut run: Run,
    keep: impl Fn(&Field) -> bool,
) {
    for field in fields.iter().filter(|field| keep(field)) {
        if field.canonical {
            run.add(out, head, field.line());
        } else {
            run.write(out, head);
            line(out, field.name.of(head), field.value.of(head));
        }
    }
    run.write(out, head);
}

pub(super) fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn framing_line(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(n) => {
            out.extend_from_slice(b"Content-Length: ");
            number(out, n);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::None | Framing::Close => (),
    }
}

pub(super) fn number(out: &mut Vec<u8>, n: u64) {
    let mut digits = [0; 20];
    let mut rest = n;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}
