//! Time-outs without timers: a connection writes down until when it waits, and the worker's turn wakes those whose time
//! has come. A timer of the runtime would cost each wait a place in its wheel, and nearly all of them end early.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::os::clock;

/// What a connection waits for; each has a deadline of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    ClientRead,
    ClientWrite,
    UpstreamRead,
    UpstreamWrite,
}

const WAITS: usize = 4;

const NEVER: u64 = u64::MAX;

/// A worker's clock for deadlines, in milliseconds, as fine as the kernel's tick.
#[derive(Debug)]
pub(super) struct Deadlines {
    now: Cell<u64>,
    /// No connection waits for anything before then.
    earliest: Cell<u64>,
}

/// One connection's deadlines, and whom to wake.
#[derive(Debug)]
pub(super) struct Alarm {
    at: [Cell<u64>; WAITS],
    /// When it was last looked at: what was over by then has woken its connection, and does not do so again.
    rung: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { at: [const { Cell::new(NEVER) }; WAITS], rung: Cell::new(0), waker: RefCell::default() }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { now: Cell::new(clock::coarse_ms()), earliest: Cell::new(NEVER) }
    }
}

impl Deadlines {
    /// From the moment of the call, `wait` may last for `bound`.
    pub(super) fn arm(&self, alarm: &Alarm, wait: Wait, bound: Duration) {
        let now = clock::coarse_ms();
        self.now.set(now);
        let at = now.saturating_add(u64::try_from(bound.as_millis()).unwrap_or(NEVER));
        alarm.set(wait, at);
        if at < self.earliest.get() {
            self.earliest.set(at);
        }
    }

    /// Whether somebody's time may have come since the last call: then each alarm is to be looked at by `ring`.
    pub(super) fn are_due(&self) -> bool {
        let now = clock::coarse_ms();
        self.now.set(now);
        let due = now >= self.earliest.get();
        if due {
            self.earliest.set(NEVER);
        }
        due
    }

    /// Wakes whoever waits for `alarm`, if it is time for anything; notes when it is for the rest.
    pub(super) fn ring(&self, alarm: &Alarm) {
        let now = self.now.get();
        let before = alarm.rung.replace(now);
        if alarm.at.iter().any(|at| (before + 1..=now).contains(&at.get())) {
            alarm.wake();
        }
        let next = alarm.at.iter().map(Cell::get).filter(|at| *at > now).min().unwrap_or(NEVER);
        self.earliest.set(self.earliest.get().min(next));
    }

    /// How long nobody has to be woken.
    pub(super) fn left(&self) -> Duration {
        Duration::from_millis(self.earliest.get().saturating_sub(self.now.get()))
    }

    /// Ready when the time of `wait` is up. The caller is woken then, and not before.
    pub(super) fn poll(&self, alarm: &Alarm, wait: Wait, cx: &Context<'_>) -> Poll<()> {
        alarm.listen(cx);
        if alarm.get(wait) <= self.now.get() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Alarm {
    pub(super) fn disarm(&self, wait: Wait) {
        self.set(wait, NEVER);
    }

    /// Whom to wake: a connection is one task, so that this changes hardly ever.
    pub(super) fn listen(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn get(&self, wait: Wait) -> u64 {
        self.at.get(wait as usize).map_or(NEVER, Cell::get)
    }

    fn set(&self, wait: Wait, at: u64) {
        if let Some(cell) = self.at.get(wait as usize) {
            cell.set(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn whoever_is_due_is_woken_and_nobody_else() {
        let deadlines = Deadlines::default();
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let cx = Context::from_waker(&waker);
        let (soon, late) = (Alarm::default(), Alarm::default());
        deadlines.arm(&late, Wait::ClientRead, Duration::from_secs(3600));
        assert!(!deadlines.are_due() && deadlines.left() > Duration::from_secs(3000));
        assert!(deadlines.poll(&late, Wait::ClientRead, &cx).is_pending());
        deadlines.arm(&soon, Wait::UpstreamRead, Duration::ZERO);
        assert!(deadlines.poll(&soon, Wait::ClientRead, &cx).is_pending());
        assert!(deadlines.poll(&soon, Wait::UpstreamRead, &cx).is_ready());
        assert!(deadlines.are_due());
        deadlines.ring(&late);
        assert_eq!(bell.0.load(Ordering::SeqCst), 0);
        deadlines.ring(&soon);
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
        // What is not due yet is remembered.
        assert!(!deadlines.are_due() && deadlines.left() > Duration::from_secs(3000));
        // One that is over, and still written down, hides none that is to come.
        deadlines.arm(&soon, Wait::ClientWrite, Duration::from_secs(60));
        deadlines.arm(&late, Wait::ClientRead, Duration::ZERO);
        assert!(deadlines.are_due());
        deadlines.ring(&soon);
        assert!(!deadlines.are_due() && deadlines.left() <= Duration::from_secs(60));
        assert_eq!(
            bell.0.load(Ordering::SeqCst),
            1,
            "nobody is woken twice for what nobody waits for any more"
        );
        soon.disarm(Wait::UpstreamRead);
        assert!(deadlines.poll(&soon, Wait::UpstreamRead, &cx).is_pending());
    }
}
