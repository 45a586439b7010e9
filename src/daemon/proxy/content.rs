//! The content of an answer out of a file, read piece by piece: without holding up the worker for a disk, and not
//! without noticing that somebody writes to the file meanwhile.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::buffers::Buffer;
use super::limits::{FILE_READ_MAX, FILE_TIMEOUT};
use crate::gateway::{Segment, Slice};
use crate::os::files::State;
use crate::os::read::read_at_once;

#[derive(Debug)]
pub(super) struct Content {
    file: File,
    /// When the answer was decided upon.
    state: State,
    left: VecDeque<Segment>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the file was written to while it was sent")]
    Changed,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Content {
    pub(super) fn new(file: File, state: State, segments: Vec<Segment>) -> Self {
        Self { file, state, left: segments.into() }
    }

    pub(super) fn left(&self) -> u64 {
        self.left.iter().map(Segment::length).sum()
    }

    /// Everything has been read, and is of one state of the file.
    pub(super) fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// Reads on into `buffer`: until it is full, or until more would have to be waited for. The last bytes come only
    /// if nobody has written to the file since it was opened: without them no client takes the rest for whole.
    pub(super) async fn fill(&mut self, buffer: &mut Buffer) -> Result<(), ReadError> {
        while let Some(segment) = self.left.front_mut() {
            let space = buffer.space();
            let most = usize::try_from(segment.length()).unwrap_or(usize::MAX).min(space.len());
            let space = space.get_mut(..most).unwrap_or_default();
            if segment.length() > 0 && space.is_empty() {
                return Ok(());
            }
            let n = match segment {
                Segment::Text(text) => {
                    space.copy_from_slice(text.get(..most).unwrap_or_default());
                    text.drain(..most);
                    most
                }
                Segment::File(_) if most == 0 => 0,
                Segment::File(slice) => read(&self.file, space, slice).await?,
            };
            buffer.fill(n);
            if segment.length() == 0 {
                self.left.pop_front();
            } else if n == 0 {
                // The file has become shorter.
                return Err(ReadError::Changed);
            } else if n < most {
                return Ok(());
            }
        }
        if State::of(&self.file)? == self.state { Ok(()) } else { Err(ReadError::Changed) }
    }
}

/// From the start of `slice`, which is shortened by what was read.
async fn read(file: &File, space: &mut [u8], slice: &mut Slice) -> io::Result<usize> {
    let n = match read_at_once(file, space, slice.start)? {
        Some(n) => n,
        None => read_elsewhere(file, space, slice.start).await?,
    };
    slice.start += n as u64;
    slice.length = slice.length.saturating_sub(n as u64);
    Ok(n)
}

/// On a thread that may wait for the disk.
async fn read_elsewhere(file: &File, space: &mut [u8], at: u64) -> io::Result<usize> {
    let file = file.try_clone()?;
    let most = space.len().min(FILE_READ_MAX);
    let task = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; most];
        let n = file.read_at(&mut bytes, at)?;
        bytes.truncate(n);
        Ok::<_, io::Error>(bytes)
    });
    let task = tokio::time::timeout(FILE_TIMEOUT, task);
    let bytes = task.await.map_err(|_| io::ErrorKind::TimedOut)?.map_err(io::Error::other)??;
    space.get_mut(..bytes.len()).unwrap_or_default().copy_from_slice(&bytes);
    Ok(bytes.len())
}
