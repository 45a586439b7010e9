//! What a drill does, step by step: away and back as planned; then the master stands still, and the address is brought
//! home, which is tried once more where something has gone wrong. Whoever carries it out answers each `Look` and each
//! `Order` once. No clock, no socket.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::whole::{Pair, Sight, master_of};
use crate::peer::Order;

/// Before each phase: what is normal.
const BEFORE: Duration = Duration::from_secs(1);
/// With the other node, and at home again: longer than an announcement lasts, and than kept connections need to move.
const STAY: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Whoever says that it was done has it done; the other node's word is as old as its last turn.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
/// A node that has thawed is elected within this, if it preempts at all.
const PREEMPTS_WITHIN: Duration = Duration::from_secs(3);
/// After the end of a freeze somebody has to be master, and nobody else.
const HEALS_WITHIN: Duration = Duration::from_secs(15);
/// The order was obeyed a moment after its answer, and the node is asked only when it can answer again.
const AFTER_THAW: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub vrid: u8,
    /// `None`: the planned phase only.
    pub freeze: Option<Duration>,
}

/// What begins, and when is to be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    Planned,
    Away,
    Back,
    PlannedOver,
    Freeze,
    Frozen,
    FreezeOver,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Mark(Mark),
    /// Ask all nodes how they are.
    Look,
    Order(IpAddr, Order),
    /// For whoever watches.
    Say(String),
    /// `Err`: why it could not be carried to its end, and how the pair was left.
    End(Result<(), String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Before the planned phase.
    Watching,
    Away,
    /// Somebody else has to be seen as master; `Returned`, `CameHome`: the holder.
    Taken,
    Held(IpAddr),
    Back,
    Returned,
    Home,
    /// Before the freeze.
    Calm,
    Freezing(Duration),
    Frozen,
    Thawed,
    Returning,
    CameHome,
    Settling,
    /// Something has gone wrong: where is the address?
    Failed,
    /// Who has it has been asked to hand it back.
    Restoring(IpAddr),
    Restored,
    Over,
}

#[derive(Debug)]
pub struct Course {
    plan: Plan,
    pair: Pair,
    step: Step,
    /// When the step ends, or when to look.
    due: Option<Instant>,
    /// Since when it is looked for what the step waits for.
    since: Instant,
    is_interrupted: bool,
    /// Why it is not carried to its end.
    failure: Option<String>,
    outputs: VecDeque<Output>,
}

impl Course {
    pub fn new(plan: Plan, pair: Pair, now: Instant) -> Self {
        let mut course = Self {
            plan,
            pair,
            step: Step::Watching,
            due: Some(now + BEFORE),
            since: now,
            is_interrupted: false,
            failure: None,
            outputs: VecDeque::new(),
        };
        course.output(Output::Mark(Mark::Planned));
        course
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let why = match self.step {
            Step::Taken | Step::Returned | Step::Thawed | Step::CameHome | Step::Failed | Step::Restored => {
                "the nodes are looked at again"
            }
            Step::Frozen => "the freeze is over",
            _ => "a step has lasted long enough",
        };
        self.due.map(|at| (at, why))
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.due.take_if(|at| *at <= now).is_none() {
            return;
        }
        match self.step {
            Step::Watching => {
                self.say(format!("planned: {} is asked to hand over", self.pair.name));
                self.hand_over(self.pair.holder, Mark::Away, Step::Away);
            }
            Step::Held(by) => {
                self.say(format!("planned: {} is asked to hand it back", self.name(by)));
                self.hand_over(by, Mark::Back, Step::Back);
            }
            Step::Home => {
                self.output(Output::Mark(Mark::PlannedOver));
                match self.plan.freeze.filter(|_| !self.is_interrupted) {
                    Some(_) => {
                        self.output(Output::Mark(Mark::Freeze));
                        self.enter(Step::Calm, now + BEFORE);
                    }
                    None => self.end(),
                }
            }
            Step::Calm => {
                let Some(length) = self.plan.freeze else { return self.end() };
                self.say(format!("freeze: {} is ordered to stand still for {length:?}", self.pair.name));
                self.step = Step::Freezing(length);
                self.output(Output::Order(self.pair.holder, Order::Freeze { length }));
            }
            Step::Taken | Step::Returned | Step::Thawed | Step::CameHome | Step::Failed | Step::Restored => {
                self.output(Output::Look)
            }
            Step::Frozen => {
                (self.step, self.since) = (Step::Thawed, now);
                self.output(Output::Look);
            }
            Step::Settling => {
                self.output(Output::Mark(Mark::FreezeOver));
                self.end();
            }
            // These wait for an answer.
            Step::Away
            | Step::Back
            | Step::Freezing(_)
            | Step::Returning
            | Step::Restoring(_)
            | Step::Over => (),
        }
    }

    /// Of the last order.
    pub fn handle_outcome(&mut self, outcome: Result<String, String>, now: Instant) {
        let is_done = outcome.is_ok();
        let why = outcome.unwrap_or_else(|why| why);
        match (self.step, is_done) {
            (Step::Away, true) => self.look_for(Step::Taken, now),
            (Step::Back, true) => self.look_for(Step::Returned, now),
            (Step::Returning, true) => self.look_for(Step::CameHome, now),
            (Step::Freezing(length), true) => {
                self.output(Output::Mark(Mark::Frozen));
                self.enter(Step::Frozen, now + length + AFTER_THAW);
            }
            (Step::Restoring(_), true) => self.look_for(Step::Restored, now),
            (Step::Away, false) => self.fail(format!("{} does not hand over: {why}", self.pair.name), now),
            (Step::Freezing(_), false) => {
                self.fail(format!("{} does not stand still: {why}", self.pair.name), now);
            }
            (Step::Back | Step::Returning, false) => {
                self.fail(format!("the address has not come back to {}: {why}", self.pair.name), now);
            }
            (Step::Restoring(by), false) => {
                self.give_up(&format!("{} has not given the address back: {why}", self.name(by)));
            }
            _ => (),
        }
    }

    pub fn handle_looked(&mut self, sights: &[Sight], now: Instant) {
        let master = master_of(self.plan.vrid, sights);
        let is_home = master == Some(self.pair.holder);
        let waited = now.saturating_duration_since(self.since);
        match (self.step, master) {
            (Step::Taken, Some(by)) if !is_home => {
                self.say(format!("planned: {} has it", self.name(by)));
                self.enter(Step::Held(by), if self.is_interrupted { now } else { now + STAY });
            }
            (Step::Returned, _) if is_home => {
                self.say(format!("planned: {} has it again", self.pair.name));
                self.enter(Step::Home, if self.is_interrupted { now } else { now + STAY });
            }
            (Step::Thawed | Step::CameHome, _) if is_home => {
                self.say(format!("freeze: {} has it again", self.pair.name));
                self.enter(Step::Settling, now + STAY);
            }
            (Step::Thawed, Some(by)) if waited >= PREEMPTS_WITHIN => {
                self.say(format!("freeze: {} is asked to hand it back", self.name(by)));
                self.step = Step::Returning;
                self.output(Output::Order(by, Order::HandOver { vrid: self.plan.vrid }));
            }
            (Step::Taken | Step::Returned | Step::CameHome, _) if waited >= SEEN_WITHIN => {
                let who = self.master(master);
                self.fail(format!("{SEEN_WITHIN:?} after a failover {who} is master"), now);
            }
            (Step::Thawed, None) if waited >= HEALS_WITHIN => {
                self.fail(format!("{HEALS_WITHIN:?} after the freeze there is not one master"), now);
            }
            (Step::Failed, _) if is_home => self.give_up(&format!("{} has the address", self.pair.name)),
            (Step::Restored, _) if is_home => {
                self.give_up(&format!("{} has been given the address back", self.pair.name));
            }
            (Step::Failed, Some(by)) => {
                self.say(format!("{} is asked to hand it back", self.name(by)));
                self.step = Step::Restoring(by);
                self.output(Output::Order(by, Order::HandOver { vrid: self.plan.vrid }));
            }
            (Step::Failed | Step::Restored, _) if waited >= SEEN_WITHIN => {
                let who = self.master(master);
                self.give_up(&format!("{} has not got the address back: {who} is master", self.pair.name));
            }
            (
                Step::Taken | Step::Returned | Step::Thawed | Step::CameHome | Step::Failed | Step::Restored,
                _,
            ) => self.due = Some(now + LOOK_EVERY),
            _ => (),
        }
    }

    /// The address is brought home first.
    pub fn handle_interrupt(&mut self, now: Instant) {
        self.is_interrupted = true;
        match self.step {
            Step::Watching | Step::Calm => self.end(),
            Step::Held(_) | Step::Home | Step::Settling => self.due = Some(now),
            _ => (),
        }
    }

    fn hand_over(&mut self, from: IpAddr, mark: Mark, step: Step) {
        self.step = step;
        self.output(Output::Mark(mark));
        self.output(Output::Order(from, Order::HandOver { vrid: self.plan.vrid }));
    }

    fn look_for(&mut self, step: Step, now: Instant) {
        (self.step, self.since) = (step, now);
        self.output(Output::Look);
    }

    fn enter(&mut self, step: Step, until: Instant) {
        (self.step, self.due) = (step, Some(until));
    }

    fn end(&mut self) {
        let end = if self.is_interrupted { Err("interrupted".to_owned()) } else { Ok(()) };
        (self.step, self.due) = (Step::Over, None);
        self.output(Output::End(end));
    }

    /// An order whose answer is lost may have been carried out, so that the nodes say where the address is.
    fn fail(&mut self, why: String, now: Instant) {
        self.say(why.clone());
        self.failure = Some(why);
        self.look_for(Step::Failed, now);
    }

    /// `left`: how the pair is left.
    fn give_up(&mut self, left: &str) {
        (self.step, self.due) = (Step::Over, None);
        let why = self.failure.take().into_iter().chain([left.to_owned()]).collect::<Vec<_>>();
        self.output(Output::End(Err(why.join("; "))));
    }

    fn master(&self, master: Option<IpAddr>) -> String {
        master.map_or_else(|| "nobody alone".to_owned(), |by| self.name(by))
    }

    fn name(&self, address: IpAddr) -> String {
        let mut others = self.pair.others.iter();
        let name = others.find(|(at, _)| *at == address).map(|(_, name)| name.clone());
        name.unwrap_or_else(|| self.pair.name.clone())
    }

    fn say(&mut self, what: String) {
        self.output(Output::Say(what));
    }

    fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }
}

#[cfg(test)]
#[path = "course_tests.rs"]
mod tests;
