//! Courses as stories: who is asked for what when, whatever becomes of it.

use super::super::whole::tests::sight;
use super::super::whole::whole;
use super::*;

struct Story {
    course: Course,
    start: Instant,
    now: Instant,
}

impl Story {
    fn new(freeze_ms: Option<u64>) -> Self {
        let now = Instant::now();
        let pair = whole("web", 51, &["2 master", "3 backup"].map(sight)).unwrap();
        let plan = Plan { vrid: 51, freeze: freeze_ms.map(Duration::from_millis) };
        Self { course: Course::new(plan, pair, now), start: now, now }
    }

    /// All that it wants but words, each with the time in milliseconds; time passes as far as the next of it.
    fn next(&mut self) -> Vec<String> {
        let mut wanted = self.drain();
        while wanted.is_empty() {
            let Some((due, _)) = self.course.poll_timeout() else { return vec!["waits".to_owned()] };
            self.now = self.now.max(due);
            self.course.handle_timeout(self.now);
            wanted = self.drain();
        }
        wanted
    }

    fn drain(&mut self) -> Vec<String> {
        let at = (self.now - self.start).as_millis();
        let wanted = std::iter::from_fn(|| self.course.poll_output());
        let text = |output: Output| match output {
            Output::Say(_) => None,
            Output::Mark(mark) => Some(format!("{at} {mark:?}")),
            Output::Look => Some(format!("{at} look")),
            Output::Order(to, Order::HandOver { vrid: 51 }) => Some(format!("{at} {to} hands over")),
            Output::Order(to, Order::Freeze { length }) => Some(format!("{at} {to} freezes {length:?}")),
            Output::Order(..) => Some("another order".to_owned()),
            Output::End(end) => Some(format!("{at} {end:?}")),
        };
        wanted.filter_map(text).collect()
    }

    #[track_caller]
    fn expect(&mut self, wanted: &[&str]) {
        assert_eq!(self.next(), wanted);
    }

    fn done(&mut self, after_ms: u64) {
        self.now += Duration::from_millis(after_ms);
        self.course.handle_outcome(Ok("done".to_owned()), self.now);
    }

    fn refused(&mut self, why: &str) {
        self.course.handle_outcome(Err(why.to_owned()), self.now);
    }

    fn seen(&mut self, texts: [&str; 2]) {
        self.course.handle_looked(&texts.map(sight), self.now);
    }

    /// To the moment before the freeze is ordered.
    fn planned(&mut self) {
        self.expect(&["0 Planned"]);
        self.expect(&["1000 Away", "1000 10.0.0.2 hands over"]);
        self.done(30);
        self.expect(&["1030 look"]);
        self.seen(["2 backup", "3 master"]);
        self.expect(&["3030 Back", "3030 10.0.0.3 hands over"]);
        self.done(30);
        self.expect(&["3060 look"]);
        self.seen(["2 master", "3 backup"]);
    }

    fn frozen(&mut self) {
        self.planned();
        self.expect(&["5060 PlannedOver", "5060 Freeze"]);
        self.expect(&["6060 10.0.0.2 freezes 2s"]);
        self.done(10);
        self.expect(&["6070 Frozen"]);
        // Nobody asks a node that cannot answer.
        self.expect(&["8570 look"]);
    }
}

#[test]
fn away_and_back_and_no_further() {
    let mut story = Story::new(None);
    story.planned();
    story.expect(&["5060 PlannedOver", "5060 Ok(())"]);
    story.expect(&["waits"]);
}

#[test]
fn a_frozen_node_that_preempts_is_waited_for() {
    let mut story = Story::new(Some(2_000));
    story.frozen();
    story.seen(["2 backup", "3 master"]);
    story.expect(&["8770 look"]);
    story.seen(["2 master", "3 master"]);
    story.expect(&["8970 look"]);
    story.seen(["2 master", "3 backup"]);
    story.expect(&["10970 FreezeOver", "10970 Ok(())"]);
}

#[test]
fn a_frozen_node_that_does_not_preempt_is_given_the_address_back() {
    let mut story = Story::new(Some(2_000));
    story.frozen();
    for at in (8_770..=11_570).step_by(200) {
        story.seen(["2 backup", "3 master"]);
        story.expect(&[&format!("{at} look")]);
    }
    story.seen(["2 backup", "3 master"]);
    story.expect(&["11570 10.0.0.3 hands over"]);
    story.done(30);
    story.expect(&["11600 look"]);
    story.seen(["2 master", "3 backup"]);
    story.expect(&["13600 FreezeOver", "13600 Ok(())"]);
}

#[test]
fn what_is_refused_ends_it_and_is_said() {
    let mut story = Story::new(Some(2_000));
    story.expect(&["0 Planned"]);
    story.expect(&["1000 Away", "1000 10.0.0.2 hands over"]);
    story.refused("no peer answers ARP");
    story.expect(&["1000 look"]);
    story.seen(["2 master", "3 backup"]);
    story.expect(&["1000 Err(\"n2 does not hand over: no peer answers ARP; n2 has the address\")"]);
    story.expect(&["waits"]);

    let mut story = Story::new(Some(2_000));
    story.planned();
    story.expect(&["5060 PlannedOver", "5060 Freeze"]);
    story.expect(&["6060 10.0.0.2 freezes 2s"]);
    story.refused("it takes no orders");
    story.expect(&["6060 look"]);
    story.seen(["2 master", "3 backup"]);
    story.expect(&["6060 Err(\"n2 does not stand still: it takes no orders; n2 has the address\")"]);
}

/// It has handed over, and the other one does not hand it back.
fn away_for_good() -> Story {
    let mut story = Story::new(None);
    story.expect(&["0 Planned"]);
    story.expect(&["1000 Away", "1000 10.0.0.2 hands over"]);
    story.done(0);
    story.expect(&["1000 look"]);
    story.seen(["2 backup", "3 master"]);
    story.expect(&["3000 Back", "3000 10.0.0.3 hands over"]);
    story.refused("nobody takes over");
    story.expect(&["3000 look"]);
    story
}

#[test]
fn what_goes_wrong_far_from_home_is_brought_home_once() {
    let why = "the address has not come back to n2: nobody takes over";
    let asked = |sight: [&str; 2]| {
        let mut story = away_for_good();
        story.seen(sight);
        story.expect(&["3000 10.0.0.3 hands over"]);
        story
    };
    let mut story = asked(["2 backup", "3 master"]);
    story.done(40);
    story.expect(&["3040 look"]);
    story.seen(["2 backup", "3 backup"]);
    story.expect(&["3240 look"]);
    story.seen(["2 master", "3 backup"]);
    story.expect(&[&format!("3240 Err(\"{why}; n2 has been given the address back\")")]);
    story.expect(&["waits"]);

    // An interrupt changes nothing.
    let mut story = asked(["2 !it does not answer", "3 master"]);
    story.course.handle_interrupt(story.now);
    story.refused("no peer answers ARP");
    let left = "n3 has not given the address back: no peer answers ARP";
    story.expect(&[&format!("3000 Err(\"{why}; {left}\")")]);

    let mut story = asked(["2 backup", "3 master"]);
    story.done(0);
    while story.next()[0].ends_with("look") {
        story.seen(["2 backup", "3 master"]);
        if story.now - story.start == Duration::from_millis(3_000) + SEEN_WITHIN {
            let left = "n2 has not got the address back: n3 is master";
            story.expect(&[&format!("8000 Err(\"{why}; {left}\")")]);
        }
    }

    // The order was obeyed, and its answer lost.
    let mut story = away_for_good();
    story.seen(["2 master", "3 backup"]);
    story.expect(&[&format!("3000 Err(\"{why}; n2 has the address\")")]);

    // Nobody can be asked.
    let mut story = away_for_good();
    while story.now - story.start < Duration::from_millis(3_000) + SEEN_WITHIN {
        story.seen(["2 !it does not answer", "3 backup"]);
        story.next();
    }
    story.seen(["2 !it does not answer", "3 backup"]);
    let left = "n2 has not got the address back: nobody alone is master";
    story.expect(&[&format!("8000 Err(\"{why}; {left}\")")]);
}

#[test]
fn what_never_comes_ends_it() {
    let mut story = Story::new(None);
    story.expect(&["0 Planned"]);
    story.expect(&["1000 Away", "1000 10.0.0.2 hands over"]);
    story.done(0);
    while story.next()[0].ends_with("look") {
        story.seen(["2 master", "3 backup"]);
    }
    assert_eq!(story.now - story.start, BEFORE + SEEN_WITHIN);
    story.expect(&["waits"]);

    let mut story = Story::new(Some(2_000));
    story.frozen();
    story.seen(["2 master", "3 master"]);
    while story.next()[0].ends_with("look") {
        story.seen(["2 master", "3 master"]);
    }
    assert_eq!(story.now - story.start, Duration::from_millis(8_570) + HEALS_WITHIN + SEEN_WITHIN);
}

#[test]
fn an_interrupt_brings_the_address_home() {
    let mut story = Story::new(Some(2_000));
    story.expect(&["0 Planned"]);
    story.course.handle_interrupt(story.now);
    story.expect(&["0 Err(\"interrupted\")"]);

    let mut story = Story::new(Some(2_000));
    story.expect(&["0 Planned"]);
    story.expect(&["1000 Away", "1000 10.0.0.2 hands over"]);
    story.course.handle_interrupt(story.now);
    story.done(30);
    story.expect(&["1030 look"]);
    story.seen(["2 backup", "3 master"]);
    story.expect(&["1030 Back", "1030 10.0.0.3 hands over"]);
    story.done(30);
    story.expect(&["1060 look"]);
    story.seen(["2 master", "3 backup"]);
    story.expect(&["1060 PlannedOver", "1060 Err(\"interrupted\")"]);

    let mut story = Story::new(Some(2_000));
    story.expect(&["0 Planned"]);
    story.expect(&["1000 Away", "1000 10.0.0.2 hands over"]);
    story.done(30);
    story.expect(&["1030 look"]);
    story.seen(["2 backup", "3 master"]);
    story.course.handle_interrupt(story.now);
    story.expect(&["1030 Back", "1030 10.0.0.3 hands over"]);

    let mut story = Story::new(Some(2_000));
    story.frozen();
    story.course.handle_interrupt(story.now);
    story.seen(["2 master", "3 backup"]);
    story.expect(&["10570 FreezeOver", "10570 Err(\"interrupted\")"]);
}
