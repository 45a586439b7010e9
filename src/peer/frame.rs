//! Frames after the greeting: a length, a place in the stream, a kind, what it says, and a signature over all of it.
//! No socket.
//!
//! ```text
//!  0        2                10     11                  length - 30      length + 2
//!  +--------+----------------+------+---------- .. -----+----------------+
//!  | length | counter        | kind | payload           | signature      |
//!  +--------+----------------+------+---------- .. -----+----------------+
//! ```
//! The counter begins at 0 in each direction of each connection, whose keys are its own: a frame counts once, there, and
//! after the one before it.

use hmac::Mac;

use super::key::{SIGNATURE, Signature};
use super::refusal::Refusal;

const LENGTH: usize = 2;
const COUNTER: usize = 8;
const OVERHEAD: usize = COUNTER + 1 + SIGNATURE;
/// Longest frame in bytes, without its length: a bound for what one peer can have read at once.
pub const MAX_FRAME: usize = 16 << 10;
/// Longest payload in bytes.
pub(super) const MAX_PAYLOAD: usize = MAX_FRAME - OVERHEAD;

/// Both directions of one connection.
#[derive(Debug)]
pub struct Session {
    pub sealer: Sealer,
    pub opener: Opener,
}

/// Signs what is sent.
#[derive(Debug)]
pub struct Sealer {
    key: Signature,
    counter: u64,
}

impl Sealer {
    pub(super) fn new(key: Signature) -> Self {
        Self { key, counter: 0 }
    }

    /// A whole frame; `None` for a payload that no frame can hold.
    pub fn seal(&mut self, kind: u8, payload: &[u8]) -> Option<Vec<u8>> {
        if payload.len() > MAX_PAYLOAD {
            return None;
        }
        let length = u16::try_from(OVERHEAD + payload.len()).ok()?;
        let next = self.counter.checked_add(1)?;
        let mut frame = Vec::with_capacity(LENGTH + usize::from(length));
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&self.counter.to_be_bytes());
        frame.push(kind);
        frame.extend_from_slice(payload);
        let signature = self.key.clone().chain_update(&frame).finalize().into_bytes();
        frame.extend_from_slice(&signature);
        self.counter = next;
        Some(frame)
    }
}

/// Judges what is received.
#[derive(Debug)]
pub struct Opener {
    key: Signature,
    counter: u64,
}

impl Opener {
    pub(super) fn new(key: Signature) -> Self {
        Self { key, counter: 0 }
    }

    /// Kind and payload of a frame, which comes without its length. The signature is looked at before anything else.
    pub fn open<'f>(&mut self, frame: &'f [u8]) -> Result<(u8, &'f [u8]), Refusal> {
        let Some(signed) = frame.len().checked_sub(SIGNATURE).filter(|signed| *signed > COUNTER) else {
            return Err(Refusal::Length);
        };
        let length = u16::try_from(frame.len()).map_err(|_| Refusal::Length)?;
        let (content, signature) = frame.split_at(signed);
        let expect = self.key.clone().chain_update(length.to_be_bytes()).chain_update(content);
        expect.verify_slice(signature).map_err(|_| Refusal::Forged)?;
        let (counter, rest) = content.split_at(COUNTER);
        if counter != self.counter.to_be_bytes() {
            return Err(Refusal::Replayed);
        }
        self.counter = self.counter.checked_add(1).ok_or(Refusal::Replayed)?;
        let (kind, payload) = rest.split_first().ok_or(Refusal::Length)?;
        Ok((*kind, payload))
    }
}

/// Puts frames together from what a stream delivers: fill a part of `space`, say how much with `filled`, then take frames
/// until there is none.
#[derive(Debug)]
pub struct Frames {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self { buffer: vec![0; LENGTH + MAX_FRAME].into(), start: 0, end: 0 }
    }
}

impl Frames {
    /// Never empty once `take` has said that there is no whole frame.
    pub fn space(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    pub fn filled(&mut self, n: usize) {
        self.end = (self.end + n).min(self.buffer.len());
    }

    /// The next frame without its length.
    pub fn take(&mut self) -> Result<Option<&[u8]>, Refusal> {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
        let Some((length, _)) = waiting.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes(*length));
        if !(OVERHEAD..=MAX_FRAME).contains(&length) {
            return Err(Refusal::Length);
        }
        let from = self.start + LENGTH;
        let to = from + length;
        if to > self.end {
            return Ok(None);
        }
        self.start = to;
        Ok(self.buffer.get(from..to))
    }

    /// The stream has ended: a refusal if that cuts a frame.
    pub fn finish(&self) -> Result<(), Refusal> {
        if self.start == self.end { Ok(()) } else { Err(Refusal::Truncated) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::hello::tests::meet;
    use super::super::key::tests::keys;
    use super::*;

    fn pair() -> (Session, Session) {
        meet(&keys("a"), &keys("a")).unwrap()
    }

    /// Everything that arrives in these pieces, until the first refusal.
    fn read(opener: &mut Opener, stream: &[u8], step: usize) -> (Vec<(u8, Vec<u8>)>, Option<Refusal>) {
        let (mut frames, mut got, mut rest) = (Frames::default(), vec![], stream);
        loop {
            loop {
                let frame = match frames.take() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(refusal) => return (got, Some(refusal)),
                };
                match opener.open(frame) {
                    Ok((kind, payload)) => got.push((kind, payload.to_vec())),
                    Err(refusal) => return (got, Some(refusal)),
                }
            }
            if rest.is_empty() {
                return (got, frames.finish().err());
            }
            let space = frames.space();
            assert!(!space.is_empty());
            let n = step.min(rest.len()).min(space.len());
            space[..n].copy_from_slice(&rest[..n]);
            frames.filled(n);
            rest = &rest[n..];
        }
    }

    #[test]
    fn frames_arrive_in_order_however_they_are_cut() {
        let long = vec![7; MAX_PAYLOAD];
        for step in [1, 2, 41, 100, 1000, usize::MAX] {
            let (mut a, mut b) = pair();
            let sent: [(u8, &[u8]); 4] = [(1, b"one"), (2, b""), (3, &long), (4, b"four")];
            let stream: Vec<u8> =
                sent.iter().flat_map(|(kind, p)| a.sealer.seal(*kind, p).unwrap()).collect();
            let (got, refusal) = read(&mut b.opener, &stream, step);
            assert_eq!(refusal, None);
            assert!(got.iter().map(|(kind, p)| (*kind, p.as_slice())).eq(sent), "step {step}");
            assert_eq!(a.sealer.seal(1, &[0; MAX_PAYLOAD + 1]), None);
        }
    }

    #[test]
    fn what_is_not_the_next_frame_of_the_peer_is_refused() {
        let (mut a, mut b) = pair();
        let frames: Vec<Vec<u8>> = (0..3).map(|n| a.sealer.seal(n, b"text").unwrap()).collect();
        let [first, second, third] = frames.try_into().unwrap();
        let changed = |at: usize, value: u8| {
            let mut frame = first.clone();
            frame[at] ^= value;
            frame
        };
        let own = b.sealer.seal(0, b"text").unwrap();
        let other = meet(&keys("b"), &keys("b")).unwrap().0.sealer.seal(0, b"text").unwrap();
        let cut = first[..first.len() - 1].to_vec();
        let table: [(&str, Vec<u8>, usize, Refusal); 10] = [
            ("said twice", [&first[..], &first].concat(), 1, Refusal::Replayed),
            ("one is missing", [&first[..], &third].concat(), 1, Refusal::Replayed),
            ("out of order", second.clone(), 0, Refusal::Replayed),
            ("its own came back", own, 0, Refusal::Forged),
            ("another key", other, 0, Refusal::Forged),
            ("another kind", changed(10, 1), 0, Refusal::Forged),
            ("another text", changed(11, 1), 0, Refusal::Forged),
            ("another counter", changed(9, 1), 0, Refusal::Forged),
            ("an impossible length", vec![0xff; 100], 0, Refusal::Length),
            ("cut", cut, 0, Refusal::Truncated),
        ];
        for (what, stream, whole, expect) in table {
            let mut opener = Opener::new(b.opener.key.clone());
            let (got, refusal) = read(&mut opener, &stream, usize::MAX);
            assert_eq!((got.len(), refusal), (whole, Some(expect)), "{what}");
        }
        let empty = [0, u8::try_from(OVERHEAD - 1).unwrap()].to_vec();
        assert_eq!(read(&mut b.opener, &empty, 1).1, Some(Refusal::Length));
    }

    #[test]
    fn one_flipped_bit_never_passes() {
        let (mut a, b) = pair();
        let frame = a.sealer.seal(1, b"text").unwrap();
        for bit in 0..frame.len() * 8 {
            let mut bytes = frame.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (got, refusal) = read(&mut Opener::new(b.opener.key.clone()), &bytes, usize::MAX);
            assert!(got.is_empty() && refusal.is_some(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn any_stream_is_judged_without_harm(
            stream in proptest::collection::vec(any::<u8>(), 0..400),
            step in 1_usize..50,
            sound in 0_usize..3,
        ) {
            let (mut a, mut b) = pair();
            let mut bytes: Vec<u8> = (0..sound).flat_map(|_| a.sealer.seal(1, b"text").unwrap()).collect();
            bytes.extend(&stream);
            let (got, _) = read(&mut b.opener, &bytes, step);
            prop_assert_eq!(got.len(), sound);
        }
    }
}
