//! Figures of made-up answers.

use super::*;
use crate::probe::Failure;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// `M 5+1`: sent at 5 ms, answered by M 1 ms later; `! 5+200`: reset; `- 5+1`: by nobody knows whom.
fn sample(text: &str) -> Sample {
    let (what, when) = text.split_once(' ').unwrap();
    let (start, length) = when.split_once('+').unwrap();
    let start = ms(start.parse().unwrap());
    let outcome = match what {
        "!" => Outcome::Failed { how: Failure::Reset },
        "-" => Outcome::Answered { by: None },
        by => Outcome::Answered { by: Some(by.to_owned()) },
    };
    Sample { sequence: 0, start, end: start + ms(length.parse().unwrap()), outcome }
}

fn samples(fresh: &[&str], kept: &[&str]) -> Samples {
    let all = |texts: &[&str]| texts.iter().map(|text| sample(text)).collect();
    Samples { fresh: all(fresh), kept: all(kept), reopened: vec![ms(50), ms(5_000)], connections: 8 }
}

/// 0 begins, 20 away, 60 back, 100 over.
fn move_away(fresh: &[&str]) -> Phase {
    let marks = [(Mark::Planned, 0), (Mark::Away, 20), (Mark::Back, 60), (Mark::PlannedOver, 100)];
    let marks = marks.into_iter().map(|(mark, at)| (mark, ms(at))).collect();
    planned(&samples(fresh, &["M 5+1", "! 30+1", "B 99+1", "B 100+1"]), &marks, "M").unwrap()
}

/// 0 begins, 20 frozen for 100, 300 over.
fn stand_still(fresh: &[&str], kept: &[&str]) -> Phase {
    let marks = [(Mark::Freeze, 0), (Mark::Frozen, 20), (Mark::FreezeOver, 300)];
    let marks = marks.into_iter().map(|(mark, at)| (mark, ms(at))).collect();
    freeze(&samples(fresh, kept), &marks, "M", ms(100)).unwrap()
}

#[test]
fn a_phase_counts_what_was_sent_in_it() {
    let phase = move_away(&["M 10+1", "! 20+1", "B 40+1", "M 70+1000", "M 80+1", "M 100+1"]);
    assert_eq!((phase.requests, phase.failed.total(), phase.late), (5, 1, 1));
    assert_eq!(phase.answered, [("M".to_owned(), 3), ("B".to_owned(), 1)].into_iter().collect());
    let kept = &phase.kept;
    assert_eq!((kept.requests, kept.failed.total(), kept.reopened, kept.connections), (3, 1, 1, 8));
    assert_eq!(phase.length, ms(100));
}

#[test]
fn the_gap_is_the_longest_time_without_an_answer() {
    let gap = |fresh: &[&str]| move_away(fresh).gap;
    assert_eq!(gap(&[]), ms(100));
    // Whatever failed, waited, or came in another order.
    assert_eq!(gap(&["M 9+1", "! 11+1", "M 12+48", "! 50+1", "B 79+1"]), ms(50));
    // To the end of the phase, also where an answer comes after it.
    assert_eq!(gap(&["M 9+1", "M 19+1", "B 20+200"]), ms(80));
    assert_eq!(gap(&["M 39+1", "M 79+1"]), ms(40));
}

#[test]
fn in_a_planned_move_only_one_answers_what_is_sent_later() {
    let double = |fresh: &[&str]| move_away(fresh).double_answers;
    // Before the other one has answered, each may.
    assert_eq!(double(&["M 10+1", "M 21+1", "B 22+3", "M 24+9", "B 40+1", "M 70+1"]), Some(0));
    assert_eq!(double(&["M 10+1", "B 22+3", "M 26+1", "B 40+1", "M 70+1"]), Some(1));
    assert_eq!(double(&["M 10+1", "B 22+3", "M 70+1", "B 72+1", "B 73+1"]), Some(2));
    assert_eq!(double(&["- 10+1", "- 22+3", "- 70+1"]), None, "it is not known");
    let moved = |fresh: &[&str]| move_away(fresh).moved;
    assert_eq!(moved(&["M 10+1", "B 22+3"]), Some(true));
    assert_eq!(moved(&["M 10+1", "M 22+3"]), Some(false));
    assert_eq!(moved(&["- 10+1"]), None);
}

#[test]
fn what_a_thawed_node_answers_of_before_is_a_second_answer() {
    let double = |fresh: &[&str], kept: &[&str]| stand_still(fresh, kept).double_answers;
    assert_eq!(double(&["M 10+1", "B 60+1", "M 200+1"], &["M 10+1", "M 210+1"]), Some(0), "at home again");
    assert_eq!(double(&["M 10+1", "M 25+200", "B 60+1"], &[]), Some(1), "it waited in the frozen node");
    assert_eq!(double(&["M 10+1", "B 60+1", "M 61+1"], &[]), Some(1), "it never was frozen");
    assert_eq!(double(&["M 10+1", "B 60+1"], &["M 15+150", "M 16+1"]), Some(1), "on a kept connection");
    assert_eq!(double(&["- 10+1", "- 60+1"], &[]), None);
    assert_eq!(stand_still(&["M 10+1", "M 60+1"], &[]).moved, Some(false));
}

#[test]
fn what_fails_once_somebody_else_answers_is_told_apart() {
    let phase = stand_still(&["M 10+1", "! 25+40", "! 60+2", "B 60+1", "! 62+1", "M 200+1"], &[]);
    assert_eq!((phase.failed.total(), phase.failed_later.total()), (3, 1));
    // Without names the longest gap is taken for the takeover.
    let phase = stand_still(&["- 10+1", "! 25+40", "- 190+10", "! 210+1", "- 250+1"], &[]);
    assert_eq!((phase.gap, phase.failed_later.total()), (ms(189), 1));
}

#[test]
fn a_phase_that_was_not_ended_has_no_figures() {
    let marks: Marks = [(Mark::Planned, ms(0)), (Mark::Away, ms(20))].into_iter().collect();
    assert_eq!(planned(&Samples::default(), &marks, "M"), None);
    assert_eq!(freeze(&Samples::default(), &marks, "M", ms(100)), None);
}
