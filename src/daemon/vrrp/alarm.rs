//! Wakes the event loop at a moment. The runtime's own timers come up to a millisecond late, and wake it on the way there
//! to look how long it still is.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::unix::AsyncFd;

use crate::daemon::event_loop::readable;
use crate::os::timer::Timer;

pub(super) struct Alarm {
    timer: AsyncFd<Timer>,
    set: Option<Instant>,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { timer: readable(Timer::new()?)?, set: None })
    }

    /// Ready once `at` has come.
    pub(super) fn poll(&mut self, at: Instant, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.set != Some(at) {
                self.timer.get_ref().set(at.saturating_duration_since(Instant::now()))?;
                self.set = Some(at);
            }
            ready!(self.timer.poll_read_ready(context))?.clear_ready();
            self.set = None;
            // Otherwise it was what had been set before, and this one may have come with it.
            if Instant::now() >= at {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::event_loop;
    use std::future::poll_fn;
    use std::time::Duration;

    const SOON: Duration = Duration::from_millis(20);
    const NEVER: Duration = Duration::from_secs(600);

    #[test]
    fn it_rings_at_the_last_moment_that_was_asked_for_and_never_before() {
        let runtime = event_loop::build(1).unwrap();
        event_loop::play(&runtime, async {
            let mut alarm = Alarm::new().unwrap();
            let begun = Instant::now();
            for at in [begun + SOON, begun + SOON, begun, begun + SOON * 2] {
                poll_fn(|context| alarm.poll(at, context)).await.unwrap();
                assert!(Instant::now() >= at);
            }
            // It has rung unheard, and was then asked for another moment.
            for again in [NEVER, SOON * 2] {
                let (missed, at) = (Instant::now() + SOON, Instant::now() + again);
                tokio::select! {
                    biased;
                    _ = poll_fn(|context| alarm.poll(missed, context)) => panic!("too early"),
                    () = tokio::task::yield_now() => std::thread::sleep(SOON),
                }
                tokio::select! {
                    biased;
                    rung = poll_fn(|context| alarm.poll(at, context)) => rung.unwrap(),
                    () = tokio::time::sleep(SOON * 10) => assert_eq!(again, NEVER, "it must ring"),
                }
                assert!(again == NEVER || Instant::now() >= at);
            }
        });
    }
}
