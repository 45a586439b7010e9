//! The access log on its way to standard output. Workers never wait for whoever reads that: each collects its lines, and
//! one thread of the process writes them. What there is no room for is dropped, counted, and said in the log.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Bytes that a worker collects before it hands them over in the middle of its turn.
const PARCEL: usize = 64 << 10;
/// Parcels that wait for the thread: about as much as standard output may be behind.
const PARCELS_WAITING: usize = 32;
/// Empty buffers that wait for a worker to use them again.
const SPARE: usize = 4;
/// The kernel writes so much to a pipe as a whole or not at all (PIPE_BUF, pipe(7)): lines of other processes do not get
/// into it, and no half of it is left when this process ends. The limit of a longer line is its own length.
const ATOMIC: usize = 4096;
/// A worker hands over what it has so often at most: each time wakes the thread.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two warnings of lines that were lost.
const WARNING: Duration = Duration::from_secs(10);
/// Looks for room again so often while the log is being ended.
const END_PAUSE: Duration = Duration::from_millis(5);
/// Of the thread, which calls nothing deep.
const STACK: usize = 128 << 10;

/// The thread that writes, and the main thread's end of it.
#[derive(Debug)]
pub(super) struct Writer {
    intake: Intake,
    /// Closed by the thread when it ends.
    ended: Receiver<()>,
}

/// Where workers hand in what they have collected.
#[derive(Clone, Debug)]
pub(super) struct Intake {
    parcels: SyncSender<Parcel>,
    state: Arc<State>,
}

#[derive(Debug)]
enum Parcel {
    Lines {
        text: Vec<u8>,
        lines: u64,
        /// Where the buffer goes when it has been written.
        back: SyncSender<Vec<u8>>,
    },
    End,
}

#[derive(Debug)]
struct State {
    /// Nobody will ever read a line again.
    closed: AtomicBool,
    lost: AtomicU64,
    /// Lost, and not said yet.
    unsaid: AtomicU64,
    /// What the last write failed for; 0: lines are lost for want of room.
    errno: AtomicI32,
    started: Instant,
    /// Milliseconds from `started` to the next warning at the earliest.
    silent_until: AtomicU64,
    /// What workers could not hand in before they ended, with its lines: written last. Less than a parcel each.
    left: Mutex<Vec<(Vec<u8>, u64)>>,
}

/// One worker's.
#[derive(Debug)]
pub(super) struct AccessLog {
    intake: Intake,
    text: Vec<u8>,
    lines: u64,
    spare: Receiver<Vec<u8>>,
    back: SyncSender<Vec<u8>>,
    flushed: Option<Instant>,
}

impl Writer {
    pub(super) fn to_standard_output() -> io::Result<Self> {
        Self::start(io::stdout().as_fd().try_clone_to_owned()?)
    }

    pub(super) fn start(out: OwnedFd) -> io::Result<Self> {
        let state = Arc::new(State {
            closed: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            unsaid: AtomicU64::new(0),
            errno: AtomicI32::new(0),
            started: Instant::now(),
            silent_until: AtomicU64::new(0),
            left: Mutex::default(),
        });
        let (parcels, arrivals) = sync_channel(PARCELS_WAITING);
        let (end, ended) = sync_channel(0);
        let thread_state = Arc::clone(&state);
        std::thread::Builder::new().name("access-log".into()).stack_size(STACK).spawn(move || {
            write_parcels(Pen { out: out.into(), torn: false }, &arrivals, &thread_state);
            drop(end);
        })?;
        Ok(Self { intake: Intake { parcels, state }, ended })
    }

    pub(super) fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// Lets the thread write what has been handed in, for at most `bound`; false: something is left. For the end of the
    /// process, when the workers have ended: what is handed in later is lost.
    pub(super) fn finish(self, bound: Duration) -> bool {
        let end = Instant::now() + bound;
        let is_over = |wait| self.ended.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected);
        while let Err(TrySendError::Full(_)) = self.intake.parcels.try_send(Parcel::End) {
            if Instant::now() >= end {
                return false;
            }
            if is_over(END_PAUSE) {
                return true;
            }
        }
        is_over(end.saturating_duration_since(Instant::now()))
    }
}

impl Intake {
    pub(super) fn worker(&self) -> AccessLog {
        let (back, spare) = sync_channel(SPARE);
        AccessLog { intake: self.clone(), text: vec![], lines: 0, spare, back, flushed: None }
    }

    /// Of all workers, since the start.
    pub(super) fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }
}

impl AccessLog {
    /// `write` appends one line with its end. It is not called where nobody reads the log any more.
    pub(super) fn line(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.intake.state.closed.load(Ordering::Relaxed) {
            return;
        }
        let before = self.text.len();
        write(&mut self.text);
        self.lines += u64::from(self.text.len() > before);
        if self.text.len() >= PARCEL {
            self.hand_in();
            if self.text.len() >= PARCEL {
                self.intake.state.lose(self.lines, 0);
                self.text.clear();
                self.lines = 0;
            }
        }
    }

    /// To be called at the end of each turn of the worker, also when nothing happened: no line waits for longer than
    /// `PAUSE` and a turn.
    pub(super) fn turn(&mut self, now: Instant) {
        if self.flushed.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE) {
            self.flushed = (!self.text.is_empty()).then_some(now).or(self.flushed);
            self.flush();
        }
    }

    /// What there is no room for stays here, as long as it is less than a parcel.
    pub(super) fn flush(&mut self) {
        if !self.text.is_empty() {
            self.hand_in();
        }
        self.intake.state.warn();
    }

    fn hand_in(&mut self) {
        let text = std::mem::take(&mut self.text);
        let parcel = Parcel::Lines { text, lines: self.lines, back: self.back.clone() };
        match self.intake.parcels.try_send(parcel) {
            Ok(()) => (self.text, self.lines) = (self.spare.try_recv().unwrap_or_default(), 0),
            Err(TrySendError::Full(Parcel::Lines { text, .. })) => self.text = text,
            // The thread has said why it ended, or the process ends.
            Err(TrySendError::Disconnected(_) | TrySendError::Full(Parcel::End)) => {
                self.intake.state.lost.fetch_add(self.lines, Ordering::Relaxed);
                self.lines = 0;
            }
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
        if !self.text.is_empty() {
            let rest = (std::mem::take(&mut self.text), self.lines);
            self.intake.state.left.lock().unwrap_or_else(PoisonError::into_inner).push(rest);
        }
    }
}

impl State {
    fn lose(&self, lines: u64, errno: i32) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        self.unsaid.fetch_add(lines, Ordering::Relaxed);
        self.errno.store(errno, Ordering::Relaxed);
    }

    /// Says what was lost, unless that was done a moment ago.
    fn warn(&self) {
        if self.unsaid.load(Ordering::Relaxed) == 0 {
            return;
        }
        let Some(lines) = self.due(self.started.elapsed()) else { return };
        match self.errno.load(Ordering::Relaxed) {
            0 => tracing::warn!(
                lines,
                "lines of the access log were dropped, because standard output is read too slowly: see what the \
                 container's log driver waits for, give it `mode: non-blocking`, or set `access_log: off`"
            ),
            errno => tracing::warn!(
                lines,
                "lines of the access log were dropped, because standard output cannot be written: {}",
                Errno::from_raw(errno)
            ),
        }
    }

    /// How many lines are to be spoken of, if it is time for that; one caller gets them.
    fn due(&self, since_start: Duration) -> Option<u64> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let silent_until = self.silent_until.load(Ordering::Relaxed);
        if ms(since_start) < silent_until {
            return None;
        }
        let next = ms(since_start + WARNING);
        let swap =
            self.silent_until.compare_exchange(silent_until, next, Ordering::Relaxed, Ordering::Relaxed);
        swap.ok().map(|_| self.unsaid.swap(0, Ordering::Relaxed))
    }
}

/// Until the end is asked for, or nobody reads any more.
fn write_parcels(mut pen: Pen, arrivals: &Receiver<Parcel>, state: &State) {
    while let Ok(Parcel::Lines { mut text, lines, back }) = arrivals.recv() {
        if !pen.write(&text, lines, state) {
            return;
        }
        text.clear();
        if text.capacity() <= 2 * PARCEL {
            // With more than it will use, the worker lets go of this one.
            let _ = back.try_send(text);
        }
    }
    let left = std::mem::take(&mut *state.left.lock().unwrap_or_else(PoisonError::into_inner));
    for (text, lines) in left {
        if !pen.write(&text, lines, state) {
            return;
        }
    }
}

struct Pen {
    out: File,
    /// A write failed in the middle of a line.
    torn: bool,
}

impl Pen {
    /// False: nobody reads any more.
    fn write(&mut self, text: &[u8], lines: u64, state: &State) -> bool {
        let mut rest = text;
        let mut written = 0;
        while let Some((chunk, later)) = first_lines(rest) {
            let begun = if self.torn { write_whole(&self.out, b"\n") } else { Ok(()) };
            match begun.and_then(|()| write_whole(&self.out, chunk)) {
                Ok(()) => {
                    self.torn = false;
                    written += count_lines(chunk);
                    rest = later;
                }
                Err(error) if is_end(&error) => {
                    state.closed.store(true, Ordering::Relaxed);
                    state.lost.fetch_add(lines.saturating_sub(written), Ordering::Relaxed);
                    tracing::warn!(
                        "standard output is closed ({error}): there is no access log from here on; if that is \
                         meant, set `access_log: off`"
                    );
                    return false;
                }
                Err(error) => {
                    self.torn = true;
                    let errno = error.raw_os_error().unwrap_or(Errno::EIO as i32);
                    state.lose(lines.saturating_sub(written), errno);
                    return true;
                }
            }
        }
        true
    }
}

/// As many whole lines as may be written at once, at least one; and the rest.
fn first_lines(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.is_empty() {
        return None;
    }
    let end = match text.get(..ATOMIC) {
        None => text.len(),
        Some(most) => {
            let last = memchr::memrchr(b'\n', most).or_else(|| memchr::memchr(b'\n', text));
            last.map_or(text.len(), |at| at + 1)
        }
    };
    text.split_at_checked(end)
}

fn count_lines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

fn write_whole(mut out: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            // Another process that has the same pipe has made it so; this one's writes may take their time.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut writable = [PollFd::new(out.as_fd(), PollFlags::POLLOUT)];
                // Whatever it says, the next write finds out.
                let _ = poll(&mut writable, PollTimeout::NONE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EPIPE | Errno::EBADF))
}

#[cfg(test)]
#[path = "access_log_tests.rs"]
mod tests;
