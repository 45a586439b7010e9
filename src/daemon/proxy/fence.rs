//! One worker's fence: what waited in a process that was frozen is not processed before the vrrp role has said that
//! no other node can have answered for the virtual addresses meanwhile.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::counters::{Count, Vitals};
use super::crew::Event;
use super::limits::VERDICT_TIMEOUT;
use crate::health::{Clearance, Gap, GapWatch};
use crate::link::{Boottime, FenceQuery};
use crate::os::clock;

pub(super) struct Fence {
    worker: usize,
    watch: RefCell<GapWatch>,
    /// Question and gap, both without an answer.
    questions: RefCell<Vec<(u64, u64)>>,
    next_question: Cell<u64>,
    events: mpsc::Sender<Event>,
    decided: Notify,
    /// Whoever accepts has to empty its queue now, to tell what waited from what comes.
    pub(super) found: Notify,
    virtual_addresses: RefCell<Vec<IpAddr>>,
    vitals: std::sync::Arc<Vitals>,
}

/// What the fence knows about one connection.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// The gap up to which it is known to be good.
    good: Cell<u64>,
    /// Its local address, asked for when it matters.
    local: OnceCell<Option<IpAddr>>,
}

impl Standing {
    pub(super) fn good_up_to(gap: u64) -> Self {
        Self { good: Cell::new(gap), local: OnceCell::new() }
    }
}

impl Fence {
    pub(super) fn new(worker: usize, events: mpsc::Sender<Event>, vitals: std::sync::Arc<Vitals>) -> Self {
        let now = clock::boottime_ns();
        Self {
            worker,
            watch: RefCell::new(GapWatch::new(now)),
            questions: RefCell::default(),
            // Numbers that an earlier proxy of this machine has not used, and its late verdicts do not carry.
            next_question: Cell::new(now),
            events,
            decided: Notify::new(),
            found: Notify::new(),
            virtual_addresses: RefCell::default(),
            vitals,
        }
    }

    pub(super) fn configure(&self, bound: Option<Duration>, virtual_addresses: &[IpAddr]) {
        self.watch.borrow_mut().set_bound(bound, clock::boottime_ns());
        virtual_addresses.clone_into(&mut self.virtual_addresses.borrow_mut());
    }

    /// Compares clocks: to be called whenever something arrived, before it is acted upon.
    pub(super) fn look(self: &Rc<Self>) {
        // Without something to lose, the clock need not be asked.
        if self.watch.borrow().is_idle() {
            return;
        }
        let gap = self.watch.borrow_mut().observe(clock::boottime_ns());
        if let Some(gap) = gap {
            self.ask(gap);
        }
    }

    /// Gaps found so far.
    pub(super) fn gaps(&self) -> u64 {
        self.watch.borrow().found()
    }

    /// Whether what came over a connection may be processed now. Waits for a verdict if one is missing. False: reset
    /// the connection, without an answer.
    pub(super) async fn clears(
        self: &Rc<Self>,
        standing: &Standing,
        local: impl Fn() -> Option<IpAddr>,
    ) -> bool {
        self.look();
        if standing.good.get() == self.gaps() {
            return true;
        }
        let local = *standing.local.get_or_init(local);
        // A connection whose own address is unknown is one that is closed.
        if local.is_some_and(|address| !self.virtual_addresses.borrow().contains(&address.to_canonical())) {
            standing.good.set(self.gaps());
            return true;
        }
        loop {
            let decided = self.decided.notified();
            let clearance = self.watch.borrow().clearance(standing.good.get());
            match clearance {
                Clearance::Clear => {
                    standing.good.set(self.gaps());
                    return true;
                }
                Clearance::Lost => {
                    self.vitals.count(Count::FenceRefused);
                    return false;
                }
                Clearance::Wait => decided.await,
            }
            self.look();
        }
    }

    /// The vrrp role's answer to question `nonce`.
    pub(super) fn verdict(&self, nonce: u64, held: bool) {
        let mut questions = self.questions.borrow_mut();
        let Some(at) = questions.iter().position(|(n, _)| *n == nonce) else { return };
        let (_, gap) = questions.swap_remove(at);
        drop(questions);
        if !held {
            tracing::info!(
                worker = self.worker,
                "virtual addresses were lost meanwhile: what waited is refused"
            );
        }
        self.watch.borrow_mut().decide(gap, held);
        self.decided.notify_waiters();
    }

    fn ask(self: &Rc<Self>, gap: Gap) {
        self.vitals.count(Count::FenceGaps);
        self.found.notify_waiters();
        let nonce = self.next_question.get();
        self.next_question.set(nonce.wrapping_add(1));
        self.questions.borrow_mut().push((nonce, gap.number));
        let query = FenceQuery { nonce, since: Boottime(gap.since) };
        tracing::info!(
            worker = self.worker,
            gap = gap.number,
            "did not run for a while; asking whether the virtual addresses were held"
        );
        // A full queue is as good as a lost question: the time-out below answers it.
        let _ = self.events.try_send(Event::FenceQuery { worker: self.worker, query });
        let fence = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(VERDICT_TIMEOUT).await;
            fence.verdict(nonce, false);
        });
    }
}
