//! Buffers of one worker, taken while data flows and given back as soon as it does not.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};

use super::limits::{BUFFER, LARGE_BUFFER, LARGE_BUFFERS_MAX, SPARE_BUFFERS, SPARE_LARGE_BUFFERS};
use crate::http1::{CHUNK_HEADROOM, CHUNK_TAILROOM};

/// Bytes that have been read and not yet used, with free bytes around them for the framing of a chunk.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0; CHUNK_HEADROOM + capacity + CHUNK_TAILROOM],
            start: CHUNK_HEADROOM,
            end: CHUNK_HEADROOM,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// The last read may have left something behind.
    pub(super) fn is_full(&self) -> bool {
        self.end == self.bytes.len() - CHUNK_TAILROOM
    }

    pub(super) fn is_large(&self) -> bool {
        self.bytes.len() >= LARGE_BUFFER
    }

    /// The first `n` bytes, and those behind them.
    pub(super) fn parts(&mut self, n: usize) -> (&[u8], &mut [u8]) {
        let (front, behind) = self.filled_mut().split_at_mut_checked(n).unwrap_or_default();
        (front, behind)
    }

    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Where the next read goes. Empty only if the buffer is full: then `grow` or `consume`.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.is_empty() {
            self.clear();
        }
        let limit = self.bytes.len() - CHUNK_TAILROOM;
        if self.end == limit && self.start > CHUNK_HEADROOM {
            self.bytes.copy_within(self.start..self.end, CHUNK_HEADROOM);
            self.end -= self.start - CHUNK_HEADROOM;
            self.start = CHUNK_HEADROOM;
        }
        self.bytes.get_mut(self.end..limit).unwrap_or_default()
    }

    /// Makes room for `capacity` bytes altogether; never less than before.
    pub(super) fn grow(&mut self, capacity: usize) {
        let wanted = CHUNK_HEADROOM + capacity + CHUNK_TAILROOM;
        if wanted > self.bytes.len() {
            self.bytes.resize(wanted, 0);
        }
    }

    /// A copy with no room for more.
    fn snug(&self) -> Self {
        let mut copy = Self::new(self.filled().len());
        copy.space().copy_from_slice(self.filled());
        copy.end += self.filled().len();
        copy
    }

    /// `n` bytes of `space` have been read into.
    pub(super) fn fill(&mut self, n: usize) {
        self.end = (self.end + n).min(self.bytes.len() - CHUNK_TAILROOM);
    }

    fn clear(&mut self) {
        (self.start, self.end) = (CHUNK_HEADROOM, CHUNK_HEADROOM);
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    /// All the bytes, and where the filled part starts: for framing a chunk around a part of it.
    pub(super) fn whole(&mut self) -> (&mut [u8], usize) {
        (&mut self.bytes, self.start)
    }
}

/// A worker's spare buffers, the last one used on top because the caches know it.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    small: RefCell<Vec<Buffer>>,
    /// So many small ones lay here unused since the last `trim`.
    unused: Cell<usize>,
    large: RefCell<Vec<Buffer>>,
    large_in_use: Cell<usize>,
    texts: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    pub(super) fn take(&self) -> Lent<'_> {
        let mut small = self.small.borrow_mut();
        let buffer = small.pop().unwrap_or_else(|| Buffer::new(BUFFER));
        self.unused.set(self.unused.get().min(small.len()));
        Lent { buffer, owner: self }
    }

    /// A large one, if the worker has not too many in use.
    pub(super) fn take_large(&self) -> Option<Lent<'_>> {
        if self.large_in_use.get() >= LARGE_BUFFERS_MAX {
            return None;
        }
        self.large_in_use.set(self.large_in_use.get() + 1);
        let buffer = self.large.borrow_mut().pop().unwrap_or_else(|| Buffer::new(LARGE_BUFFER));
        Some(Lent { buffer, owner: self })
    }

    /// From time to time: what nobody needed since goes back to the system, by and by.
    pub(super) fn trim(&self) {
        let mut small = self.small.borrow_mut();
        let keep = small.len().saturating_sub(self.unused.get().div_ceil(2));
        small.truncate(keep);
        self.unused.set(small.len());
        self.large.borrow_mut().truncate(SPARE_LARGE_BUFFERS);
    }

    fn give(&self, mut buffer: Buffer) {
        buffer.clear();
        let capacity = buffer.bytes.len();
        // One that grew for an exceptional head is of neither size.
        let (pool, spare) = if capacity == CHUNK_HEADROOM + LARGE_BUFFER + CHUNK_TAILROOM {
            self.large_in_use.set(self.large_in_use.get().saturating_sub(1));
            (&self.large, SPARE_LARGE_BUFFERS)
        } else if capacity == CHUNK_HEADROOM + BUFFER + CHUNK_TAILROOM {
            (&self.small, SPARE_BUFFERS)
        } else {
            return;
        };
        let mut pool = pool.borrow_mut();
        if pool.len() < spare {
            pool.push(buffer);
        }
    }

    /// An empty text to write a head into.
    pub(super) fn take_text(&self) -> Vec<u8> {
        self.texts.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(2048))
    }

    pub(super) fn give_text(&self, mut text: Vec<u8>) {
        text.clear();
        let mut texts = self.texts.borrow_mut();
        if (1..=2 * BUFFER).contains(&text.capacity()) && texts.len() < SPARE_BUFFERS {
            texts.push(text);
        }
    }
}

/// A buffer that goes back to its worker when it is dropped, also with a task that is given up.
#[derive(Debug)]
pub(super) struct Lent<'a> {
    buffer: Buffer,
    owner: &'a Buffers,
}

impl Lent<'_> {
    /// For what is kept long: takes no more memory than the bytes that are in it.
    pub(super) fn shrink(&mut self) {
        let snug = self.buffer.snug();
        self.owner.give(std::mem::replace(&mut self.buffer, snug));
    }
}

impl Deref for Lent<'_> {
    type Target = Buffer;
    fn deref(&self) -> &Buffer {
        &self.buffer
    }
}

impl DerefMut for Lent<'_> {
    fn deref_mut(&mut self) -> &mut Buffer {
        &mut self.buffer
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let nothing = Buffer { bytes: vec![], start: 0, end: 0 };
        self.owner.give(std::mem::replace(&mut self.buffer, nothing));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_while_the_buffer_moves_them() {
        let mut buffer = Buffer::new(8);
        buffer.space().copy_from_slice(b"abcdefgh");
        buffer.fill(8);
        assert!(buffer.space().is_empty());
        buffer.consume(6);
        assert_eq!(buffer.space().len(), 6);
        buffer.space()[..2].copy_from_slice(b"ij");
        buffer.fill(2);
        assert_eq!(buffer.filled(), b"ghij");
        buffer.grow(10);
        assert_eq!(buffer.filled(), b"ghij");
        assert_eq!(buffer.space().len(), 6);
        buffer.consume(99);
        assert!(buffer.is_empty());
        assert_eq!(buffer.space().len(), 10);
    }

    #[test]
    fn large_buffers_are_few() {
        let buffers = Buffers::default();
        let taken: Vec<_> = (0..LARGE_BUFFERS_MAX).map(|_| buffers.take_large().unwrap()).collect();
        assert!(buffers.take_large().is_none());
        drop(taken);
        assert_eq!(buffers.large.borrow().len(), SPARE_LARGE_BUFFERS);
        assert!(buffers.take_large().is_some());
    }

    #[test]
    fn what_is_kept_long_gives_the_rest_back() {
        let buffers = Buffers::default();
        for bytes in [&b""[..], b"abc"] {
            let mut buffer = buffers.take();
            buffer.space()[..bytes.len()].copy_from_slice(bytes);
            buffer.fill(bytes.len());
            buffer.shrink();
            assert_eq!(buffers.small.borrow().len(), 1);
            assert!(buffer.filled() == bytes && buffer.space().is_empty());
            buffer.grow(2 * BUFFER);
            buffer.space()[0] = b'd';
            buffer.fill(1);
            assert_eq!(buffer.filled(), [bytes, b"d"].concat());
        }
    }

    #[test]
    fn a_buffer_comes_back_empty() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take();
        buffer.space()[0] = b'x';
        buffer.fill(1);
        drop(buffer);
        assert!(buffers.take().is_empty());
    }
}
