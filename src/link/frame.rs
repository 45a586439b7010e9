//! The form of a message on the wire: its length in four bytes, big-endian, then that many bytes of JSON.
//!
//! Reading never asks for a byte beyond the frame that it is in, so a descriptor that travels with a frame's first
//! byte cannot be mistaken for another frame's. No socket, no clock.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest body in bytes. A configuration is at most 1 MiB as written; its JSON form repeats every default.
pub const MAX_BODY: usize = 16 << 20;

/// Bytes in front of the body.
const PREFIX: usize = 4;

/// Memory is asked for in steps, as bytes really arrive: a length alone costs its sender nothing.
const STEP: usize = 64 << 10;

/// What makes a stream unusable: after any of these the next frame's start is unknown or not to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes exceeds the limit of {MAX_BODY}")]
    TooLong(usize),
    #[error("a frame does not hold the message that was expected: {0}")]
    Malformed(serde_json::Error),
    #[error("a message cannot be written as JSON: {0}")]
    Unwritable(serde_json::Error),
    #[error("the stream ended inside a frame")]
    Truncated,
}

/// A whole frame, ready to be sent.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; PREFIX];
    serde_json::to_writer(&mut frame, message).map_err(FrameError::Unwritable)?;
    let body = frame.len() - PREFIX;
    match u32::try_from(body) {
        Ok(length) if body <= MAX_BODY => frame[..PREFIX].copy_from_slice(&length.to_be_bytes()),
        _ => return Err(FrameError::TooLong(body)),
    }
    Ok(frame)
}

/// The message in a frame's body.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(body).map_err(FrameError::Malformed)
}

/// Puts frames together from what a stream delivers: fill a part of `space`, say how much with `filled`.
#[derive(Debug, Default)]
pub struct Assembler {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix and the body that have arrived.
    arrived: usize,
    body: Vec<u8>,
}

impl Assembler {
    /// Not one byte of the next frame has arrived.
    pub fn is_between_frames(&self) -> bool {
        self.arrived == 0
    }

    /// Where the next bytes go: never empty, never beyond the end of the frame.
    pub fn space(&mut self) -> &mut [u8] {
        match self.arrived.checked_sub(PREFIX) {
            None => &mut self.prefix[self.arrived..],
            Some(start) => {
                let end = self.length().min(start + STEP);
                self.body.resize(end, 0);
                &mut self.body[start..]
            }
        }
    }

    /// `n` bytes of `space` have been filled; the frame's body if that completes it.
    pub fn filled(&mut self, n: usize) -> Result<Option<Vec<u8>>, FrameError> {
        self.arrived += n;
        let Some(body) = self.arrived.checked_sub(PREFIX) else { return Ok(None) };
        let length = self.length();
        if length > MAX_BODY {
            return Err(FrameError::TooLong(length));
        }
        if body < length {
            return Ok(None);
        }
        self.arrived = 0;
        Ok(Some(std::mem::take(&mut self.body)))
    }

    /// The stream has ended: an error if that cuts a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        if self.is_between_frames() { Ok(()) } else { Err(FrameError::Truncated) }
    }

    fn length(&self) -> usize {
        u32::from_be_bytes(self.prefix) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `stream` in reads of at most `step` bytes.
    fn frames(stream: &[u8], step: usize) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut assembler = Assembler::default();
        let mut rest = stream;
        let mut whole = vec![];
        while !rest.is_empty() {
            let space = assembler.space();
            let n = space.len().min(step).min(rest.len());
            assert!(n > 0, "space is never empty");
            space[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            whole.extend(assembler.filled(n)?);
        }
        assembler.finish().map(|()| whole)
    }

    #[test]
    fn frames_survive_any_cut() {
        let messages = ["", "a", &"x".repeat(STEP * 2 + 17), "end"];
        let stream: Vec<u8> = messages.iter().flat_map(|m| encode(m).unwrap()).collect();
        for step in [1, 2, 3, 5, 4096, STEP, usize::MAX] {
            let got: Vec<String> =
                frames(&stream, step).unwrap().iter().map(|b| decode(b).unwrap()).collect();
            assert_eq!(got, messages, "in reads of {step}");
        }
    }

    #[test]
    fn what_cannot_be_a_frame_is_an_error() {
        let table: [(&[u8], &str); 4] = [
            (&[0xff, 0xff, 0xff, 0xff], "exceeds the limit"),
            (&[0x01, 0x00, 0x00, 0x01], "exceeds the limit"),
            (&[0, 0], "ended inside"),
            (&[0, 0, 0, 2, b'{'], "ended inside"),
        ];
        for (stream, expect) in table {
            let error = frames(stream, 1).unwrap_err().to_string();
            assert!(error.contains(expect), "{stream:?}: {error}");
        }
        assert!(decode::<u32>(b"\"text\"").is_err());
        assert!(matches!(encode(&"x".repeat(MAX_BODY)), Err(FrameError::TooLong(_))));
    }

    #[test]
    fn an_announced_length_alone_takes_no_memory() {
        let mut assembler = Assembler::default();
        assembler.space().copy_from_slice(&u32::try_from(MAX_BODY).unwrap().to_be_bytes());
        assert!(assembler.filled(PREFIX).unwrap().is_none());
        assert_eq!(assembler.space().len(), STEP);
    }
}
