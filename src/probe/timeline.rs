//! Samples in the order in which they were sent -> who answered from when to when, and the outages between.
//! No clock, no socket. Samples end in any order; each is looked at once all earlier ones have ended.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::report::Tally;
use super::sample::{Failure, Kinds, Outcome, Sample, milliseconds};

/// Outages and stints that a report lists; further ones are counted only. A probe that sees more has found a
/// target that flaps, and the first thousand show how.
const LISTED: usize = 1_000;

/// A run of failed requests: from the first one sent to the first good answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    #[serde(rename = "start_ms", with = "milliseconds")]
    pub start: Duration,
    /// To the first good answer; to the end of the last failed request if none came before the probe ended.
    #[serde(rename = "length_ms", with = "milliseconds")]
    pub length: Duration,
    /// A good answer ended it.
    pub over: bool,
    /// How many requests failed.
    pub requests: u64,
    pub looked: Kinds,
    /// Who had answered last before, and first after.
    pub before: Option<String>,
    pub after: Option<String>,
}

/// Answers in a row by the same node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stint {
    pub by: Option<String>,
    /// Start of the first and end of the last of its requests.
    #[serde(rename = "start_ms", with = "milliseconds")]
    pub start: Duration,
    #[serde(rename = "end_ms", with = "milliseconds")]
    pub end: Duration,
    pub requests: u64,
}

/// What is worth a line at the moment it happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Event {
    /// Another node than before answers, without an outage between.
    AnsweredBy {
        #[serde(rename = "at_ms", with = "milliseconds")]
        at: Duration,
        by: Option<String>,
    },
    OutageBegan {
        #[serde(rename = "at_ms", with = "milliseconds")]
        at: Duration,
        how: Failure,
    },
    OutageEnded {
        #[serde(rename = "at_ms", with = "milliseconds")]
        at: Duration,
        outage: Outage,
    },
}

#[derive(Debug, Default)]
pub struct Timeline {
    /// The sequence number that is looked at next.
    next: u64,
    /// Ended before an earlier one did: at most rate x timeout of them.
    early: BTreeMap<u64, Sample>,
    outage: Option<Outage>,
    /// `None`: nobody has answered yet.
    last_by: Option<Option<String>>,
    outages: Vec<Outage>,
    outages_unlisted: u64,
    stints: Vec<Stint>,
    stints_unlisted: u64,
    counts: Counts,
    events: VecDeque<Event>,
}

impl Timeline {
    pub fn handle_sample(&mut self, sample: Sample) {
        self.early.insert(sample.sequence, sample);
        while let Some(sample) = self.early.remove(&self.next) {
            self.next += 1;
            self.look_at(sample);
        }
    }

    /// No further sample will come; those that never ended are passed over.
    pub fn handle_end(&mut self) {
        for (_, sample) in std::mem::take(&mut self.early) {
            self.look_at(sample);
        }
        if let Some(outage) = self.outage.take() {
            self.list_outage(outage);
        }
    }

    pub fn poll_output(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub fn tally(&self) -> Tally {
        Tally {
            requests: self.counts.requests,
            failed: self.counts.failed.clone(),
            answered: self.counts.answered.clone(),
            latency: self.counts.latencies.summary(),
            outages: self.outages.clone(),
            outages_unlisted: self.outages_unlisted,
            stints: self.stints.clone(),
            stints_unlisted: self.stints_unlisted,
        }
    }

    fn look_at(&mut self, sample: Sample) {
        self.counts.add(&sample);
        match &sample.outcome {
            Outcome::Answered { by } => self.answered_by(by, &sample),
            Outcome::Failed { how } => self.failed_by(*how, &sample),
        }
    }

    fn answered_by(&mut self, by: &Option<String>, sample: &Sample) {
        match self.outage.take() {
            Some(mut outage) => {
                outage.length = sample.end.saturating_sub(outage.start);
                outage.over = true;
                outage.after = Some(name_of(by));
                self.events.push_back(Event::OutageEnded { at: sample.end, outage: outage.clone() });
                self.list_outage(outage);
                self.open_stint(by, sample);
            }
            None if self.last_by.as_ref() == Some(by) => {
                if let Some(stint) =
                    self.stints.last_mut().filter(|s| self.stints_unlisted == 0 && s.by == *by)
                {
                    stint.end = stint.end.max(sample.end);
                    stint.requests += 1;
                }
            }
            None => {
                self.events.push_back(Event::AnsweredBy { at: sample.end, by: by.clone() });
                self.open_stint(by, sample);
            }
        }
        self.last_by = Some(by.clone());
    }

    fn failed_by(&mut self, how: Failure, sample: &Sample) {
        let before = self.last_by.as_ref().map(name_of);
        let events = &mut self.events;
        let outage = self.outage.get_or_insert_with(|| {
            events.push_back(Event::OutageBegan { at: sample.start, how });
            Outage {
                start: sample.start,
                length: Duration::ZERO,
                over: false,
                requests: 0,
                looked: Kinds::default(),
                before,
                after: None,
            }
        });
        outage.requests += 1;
        outage.looked.add(how);
        outage.length = outage.length.max(sample.end.saturating_sub(outage.start));
    }

    fn open_stint(&mut self, by: &Option<String>, sample: &Sample) {
        if self.stints.len() < LISTED {
            let (start, end) = (sample.start, sample.end);
            self.stints.push(Stint { by: by.clone(), start, end, requests: 1 });
        } else {
            self.stints_unlisted += 1;
        }
    }

    fn list_outage(&mut self, outage: Outage) {
        if self.outages.len() < LISTED {
            self.outages.push(outage);
            return;
        }
        self.outages_unlisted += 1;
        // The longest is what a report is read for: it always stays on the list.
        if let Some(last) = self.outages.last_mut().filter(|last| last.length < outage.length) {
            *last = outage;
        }
    }
}

fn name_of(by: &Option<String>) -> String {
    by.clone().unwrap_or_else(|| Tally::NAMELESS.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// `M@5+1`: sent at 5 ms, answered by M 1 ms later; `!timeout@5+200`: failed so. Given in the order of ending.
    fn sample(sequence: u64, text: &str) -> Sample {
        let (what, when) = text.split_once('@').unwrap();
        let (start, length) = when.split_once('+').unwrap();
        let start = ms(start.parse().unwrap());
        let outcome = match what {
            "!timeout" => Outcome::Failed { how: Failure::Timeout },
            "!refused" => Outcome::Failed { how: Failure::Refused },
            "-" => Outcome::Answered { by: None },
            by => Outcome::Answered { by: Some(by.to_owned()) },
        };
        Sample { sequence, start, end: start + ms(length.parse().unwrap()), outcome }
    }

    fn events(timeline: &mut Timeline) -> Vec<String> {
        std::iter::from_fn(|| timeline.poll_output())
            .map(|event| match event {
                Event::AnsweredBy { at, by } => {
                    format!("{}:{}", at.as_millis(), by.as_deref().unwrap_or("-"))
                }
                Event::OutageBegan { at, how } => format!("{}!{how}", at.as_millis()),
                Event::OutageEnded { at, outage } => format!(
                    "{}:{} after {} ms, {} bad ({})",
                    at.as_millis(),
                    outage.after.as_deref().unwrap_or("?"),
                    outage.length.as_millis(),
                    outage.requests,
                    outage.looked
                ),
            })
            .collect()
    }

    fn check(samples: &[&str], expect: &[&str]) -> Tally {
        let mut timeline = Timeline::default();
        for (sequence, text) in samples.iter().enumerate() {
            timeline.handle_sample(sample(sequence as u64, text));
        }
        timeline.handle_end();
        assert_eq!(events(&mut timeline), expect, "{samples:?}");
        timeline.tally()
    }

    #[test]
    fn an_outage_runs_from_the_first_bad_request_sent_to_the_first_good_answer() {
        check(&[], &[]);
        check(&["M@0+1", "M@5+1"], &["1:M"]);
        check(&["-@0+1", "M@5+1", "M@10+1"], &["1:-", "6:M"]);
        let tally = check(
            &["M@0+1", "!refused@5+0", "!timeout@10+200", "!timeout@15+200", "B@20+3", "B@25+1"],
            &["1:M", "5!refused", "23:B after 18 ms, 3 bad (2 timeout, 1 refused)"],
        );
        assert_eq!(tally.requests, 6);
        assert_eq!(tally.failed.total(), 3);
        assert_eq!(tally.longest_outage(), ms(18));
        assert_eq!(tally.outages[0].before.as_deref(), Some("M"));
        assert_eq!(tally.stints.iter().map(|s| s.requests).collect::<Vec<_>>(), [1, 2]);
        // Two nodes that take turns are a stint each.
        let tally = check(&["M@0+1", "B@5+1", "M@10+1"], &["1:M", "6:B", "11:M"]);
        assert_eq!(tally.stints.len(), 3);
        // The same node after an outage begins a stint of its own.
        let tally = check(
            &["M@0+1", "!refused@5+0", "M@10+1"],
            &["1:M", "5!refused", "11:M after 6 ms, 1 bad (1 refused)"],
        );
        assert_eq!(tally.stints.len(), 2);
    }

    #[test]
    fn an_outage_that_does_not_end_is_as_long_as_its_last_failure_shows() {
        let tally = check(&["M@0+1", "!timeout@5+200", "!timeout@10+200"], &["1:M", "5!timeout"]);
        assert_eq!(tally.longest_outage(), ms(205));
        assert!(!tally.outages[0].over);
        let tally = check(&["!refused@0+0"], &["0!refused"]);
        assert_eq!((tally.outages.len(), tally.outages[0].before.clone()), (1, None));
    }

    #[test]
    fn samples_are_looked_at_in_the_order_in_which_they_were_sent() {
        let mut timeline = Timeline::default();
        timeline.handle_sample(sample(2, "B@10+1"));
        timeline.handle_sample(sample(0, "M@0+20"));
        assert_eq!(events(&mut timeline), ["20:M"], "number 1 has not ended");
        timeline.handle_sample(sample(1, "!timeout@5+200"));
        assert_eq!(events(&mut timeline), ["5!timeout", "11:B after 6 ms, 1 bad (1 timeout)"]);
        // An abandoned number holds nothing back at the end.
        timeline.handle_sample(sample(4, "M@20+1"));
        assert_eq!(events(&mut timeline), [""; 0]);
        timeline.handle_end();
        assert_eq!(events(&mut timeline), ["21:M"]);
    }

    #[test]
    fn lists_are_bounded_and_keep_the_longest_outage() {
        let mut timeline = Timeline::default();
        let rounds = LISTED as u64 + 10;
        for n in 0..rounds {
            let length = if n + 2 == rounds { 900 } else { 1 };
            timeline.handle_sample(sample(2 * n, &format!("!refused@{}+0", n * 1000)));
            timeline.handle_sample(sample(2 * n + 1, &format!("N{n}@{}+{length}", n * 1000)));
        }
        timeline.handle_end();
        let tally = timeline.tally();
        assert_eq!((tally.outages.len(), tally.outages_unlisted), (LISTED, 10));
        assert_eq!((tally.stints.len(), tally.stints_unlisted), (LISTED, 10));
        assert_eq!(tally.longest_outage(), ms(900));
        assert_eq!(tally.answered.len(), crate::probe::counts::NAMES + 1);
        assert_eq!(tally.answered.values().sum::<u64>(), rounds);
    }
}
