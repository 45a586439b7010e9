//! How connections end whose node stops, or whose address has moved to a peer: each is answered once more, with
//! `Connection: close`; those that bring no request are closed when they have had time to; what has switched to another
//! protocol is closed shortly before the bound; what is left then is cut.
//!
//! A connection that is closed while its client is sending loses a request, and nobody can tell in time. So one that is
//! idle is waited for: as long as the address's new owner relays, since nothing presses; in a stop for `DRAIN_IDLE`.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::client::{Client, Leaving};
use super::counters::Count;
use super::crew::{Command, Event};
use super::limits::{DRAIN_FAREWELL, DRAIN_IDLE, DRAIN_SETTLE};
use super::worker::Worker;

/// What the vrrp role has asked for with this number.
#[derive(Debug)]
pub(super) struct Departure {
    number: u64,
    addresses: Vec<IpAddr>,
    schedule: Schedule,
    /// Not over before then: who has connected before the move may not have come yet.
    settled: Instant,
    /// What this worker had cut when it began.
    cut_before: u64,
}

#[derive(Clone, Copy, Debug)]
struct Schedule {
    /// Until then, a connection without a request is waited for.
    idle: Instant,
    /// Then tunnels are closed.
    farewell: Instant,
    end: Instant,
}

impl Schedule {
    fn new(now: Instant, idle: Duration, bound: Duration) -> Self {
        let farewell = bound.saturating_sub(DRAIN_FAREWELL.min(bound / 2));
        Self { idle: now + idle.min(farewell), farewell: now + farewell, end: now + bound }
    }

    fn leaving(&self, now: Instant) -> Leaving {
        if now >= self.farewell {
            Leaving::Now
        } else if now >= self.idle {
            Leaving::WhenIdle
        } else {
            Leaving::AfterNext
        }
    }
}

impl Departure {
    fn concerns(&self, client: &Client) -> bool {
        let Some(local) = client.local_addr() else { return false };
        self.addresses.contains(&local.ip().to_canonical())
    }
}

impl Worker {
    /// The connections of these addresses are to end within `bound`. `before`: the addresses move at the first moment
    /// without one.
    pub(super) fn leave(&self, number: u64, addresses: Vec<IpAddr>, bound: Duration, before: bool) {
        let now = Instant::now();
        let idle = if before { DRAIN_IDLE } else { bound };
        let schedule = Schedule::new(now, idle, bound);
        let cut_before = self.cut.get();
        let settled = if before { now } else { now + DRAIN_SETTLE.min(bound) };
        self.departures.borrow_mut().push(Departure { number, addresses, schedule, settled, cut_before });
    }

    /// They need not: what has been told to go goes, but nothing is cut.
    pub(super) fn keep(&self, number: u64) {
        self.departures.borrow_mut().retain(|departure| departure.number != number);
    }

    /// What is due of every departure: new connections come in all the time.
    pub(super) async fn depart(&self) {
        if self.departures.borrow().is_empty() {
            return;
        }
        let now = Instant::now();
        let mut left = vec![];
        self.departures.borrow_mut().retain(|departure| {
            let schedule = &departure.schedule;
            let is_over = now >= schedule.end;
            let open = self.end_those(schedule.leaving(now), is_over, |client| departure.concerns(client));
            if !is_over && (open > 0 || now < departure.settled) {
                return true;
            }
            left.push((departure.number, self.cut.get() - departure.cut_before));
            false
        });
        for (number, cut) in left {
            let event = Event::Left { worker: self.index, number, cut };
            // The main thread reads events as long as it lives.
            let _ = self.events.send(event).await;
        }
    }

    /// It may be answered before the next look at all connections.
    pub(super) fn tell_new(&self, client: &Client) {
        client.leave(self.leaving.get());
        let departures = self.departures.borrow();
        if !departures.is_empty() {
            let now = Instant::now();
            for departure in departures.iter().filter(|departure| departure.concerns(client)) {
                client.leave(departure.schedule.leaving(now));
            }
        }
    }

    /// How many there are of them.
    fn end_those(&self, leaving: Leaving, cut: bool, concerns: impl Fn(&Client) -> bool) -> usize {
        let connections = self.connections.borrow();
        let those = connections.values().filter(|connection| concerns(&connection.client));
        those
            .map(|connection| {
                connection.client.leave(leaving);
                if cut && let Some(task) = &connection.task {
                    self.count_cut(&connection.client);
                    task.abort();
                }
            })
            .count()
    }

    /// A connection that was not ended by its client, nor with an answer.
    pub(super) fn count_cut(&self, client: &Client) {
        if !client.counted.replace(true) {
            self.vitals.count(Count::Cut);
            self.cut.set(self.cut.get() + 1);
        }
    }

    /// All of them, and then the worker's own end. Those whose address has moved already have no more time than they had.
    pub(super) async fn drain(self: &Rc<Self>, bound: Duration, mut inbox: mpsc::Receiver<Command>) {
        let schedule = Schedule::new(Instant::now(), DRAIN_IDLE, bound);
        let cut_before = self.cut.get();
        let mut accepts = true;
        loop {
            let now = Instant::now();
            // Until then, connections arrive that were made before the address moved.
            if now >= schedule.idle && std::mem::replace(&mut accepts, false) {
                for listener in self.listeners.borrow_mut().drain(..) {
                    listener.stop();
                }
                self.siblings.retain(|_| false);
                // The listeners empty their queues in their own turn.
                tokio::task::yield_now().await;
            }
            self.depart().await;
            let is_over = now >= schedule.end;
            self.leaving.set(schedule.leaving(now));
            self.end_those(self.leaving.get(), is_over, |_| true);
            tokio::task::yield_now().await;
            if is_over || (!accepts && self.connections.borrow().is_empty()) {
                break;
            }
            tokio::select! {
                () = sleep(self.turn_length()) => (),
                command = inbox.recv() => match command {
                    Some(Command::Verdict(verdict)) => self.fence.verdict(verdict.nonce, verdict.held),
                    Some(Command::Keep { number }) => self.keep(number),
                    Some(Command::Commit { .. } | Command::Leave { .. } | Command::Drain { .. }) => (),
                    None => return,
                },
            }
            self.turn();
        }
        // What it has collected goes to whoever writes it, before the end is told.
        *self.access_log.borrow_mut() = None;
        let event = Event::Drained { worker: self.index, cut: self.cut.get() - cut_before };
        // The main thread reads events as long as it lives.
        let _ = self.events.send(event).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_what_and_until_when() {
        let start = Instant::now();
        // Patience with the idle, the bound; what a connection is told at each of these moments.
        type Told<'a> = &'a [(u64, Leaving)];
        let table: [(u64, u64, Told<'_>); 4] = [
            (
                500,
                5_000,
                &[
                    (0, Leaving::AfterNext),
                    (499, Leaving::AfterNext),
                    (500, Leaving::WhenIdle),
                    (4_499, Leaving::WhenIdle),
                    (4_500, Leaving::Now),
                ],
            ),
            (5_000, 5_000, &[(4_499, Leaving::AfterNext), (4_500, Leaving::Now)]),
            (500, 600, &[(299, Leaving::AfterNext), (300, Leaving::Now)]),
            (0, 0, &[(0, Leaving::Now)]),
        ];
        for (idle, bound, told) in table {
            let ms = Duration::from_millis;
            let schedule = Schedule::new(start, ms(idle), ms(bound));
            for (at, expect) in told {
                assert_eq!(schedule.leaving(start + ms(*at)), *expect, "{idle} {bound} {at}");
            }
        }
    }
}
