//! What a drill says at its end, for programs (serde) and for people (`Display`), and what of it is too much. No clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::figures::Phase;
use crate::probe::milliseconds;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub router: String,
    pub url: String,
    /// The node that had the address, and has it again if all went well.
    pub holder: String,
    pub planned: Option<Phase>,
    pub freeze: Option<Phase>,
    /// What makes the figures say less.
    pub warnings: Vec<String>,
    /// What did not go as it should; empty: the drill has passed.
    pub wrong: Vec<String>,
    /// A gap shorter than this may be the prober's own.
    #[serde(rename = "own_lateness_ms", with = "milliseconds")]
    pub own_lateness: Duration,
}

/// What may happen at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub gap: Duration,
}

impl Bounds {
    /// In a planned move nothing is lost; in the other one what the frozen node had, and nothing later.
    pub fn exceeded(&self, planned: Option<&Phase>, freeze: Option<&Phase>) -> Vec<String> {
        let mut wrong = vec![];
        for (name, phase) in [("planned", planned), ("freeze", freeze)] {
            let Some(phase) = phase else { continue };
            let mut demand = |count: u64, what: String| {
                if count > 0 {
                    wrong.push(format!("{name}: {what}"));
                }
            };
            let lost = if name == "planned" { &phase.failed } else { &phase.failed_later };
            let after = if name == "planned" { "" } else { " after the takeover" };
            demand(lost.total(), format!("{} failed{after}: {lost}", plural(lost.total(), "request")));
            if name == "planned" {
                let cut = &phase.kept.failed;
                demand(
                    phase.late,
                    format!("{} waited for most of a second and more", plural(phase.late, "request")),
                );
                demand(cut.total(), format!("{} cut: {cut}", plural(cut.total(), "kept connection")));
            }
            demand(
                u64::from(phase.gap > self.gap),
                format!(
                    "nobody answered for {} ms, and {} ms are allowed",
                    phase.gap.as_millis(),
                    self.gap.as_millis()
                ),
            );
            let double = phase.double_answers.unwrap_or(0);
            demand(
                double,
                format!("{} came from a node that had the address no more", plural(double, "answer")),
            );
            demand(u64::from(phase.moved == Some(false)), "no other node has ever answered".to_owned());
        }
        wrong
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, phase) in [("planned", &self.planned), ("freeze", &self.freeze)] {
            let Some(phase) = phase else { continue };
            writeln!(f, "{name}, {:.1} s", phase.length.as_secs_f64())?;
            write_phase(f, name, phase)?;
        }
        writeln!(f, "prober itself late by {} ms at worst", self.own_lateness.as_millis())?;
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        match self.wrong.as_slice() {
            [] => write!(f, "passed: {} has the address of {} again", self.holder, self.router),
            wrong => write!(f, "FAILED: {}", wrong.join("\nFAILED: ")),
        }
    }
}

fn write_phase(f: &mut fmt::Formatter<'_>, name: &str, phase: &Phase) -> fmt::Result {
    let names: Vec<String> = phase.answered.iter().map(|(by, count)| format!("{by} {count}")).collect();
    let answered = if names.is_empty() { "by nobody".to_owned() } else { names.join(", ") };
    writeln!(f, "  gap        {} ms", phase.gap.as_millis())?;
    writeln!(f, "  requests   {}, answered {answered}; late {}", phase.requests, phase.late)?;
    let failed = match phase.failed.total() {
        0 => "none".to_owned(),
        total => format!("{total}: {}", phase.failed),
    };
    match name {
        "planned" => writeln!(f, "  failed     {failed}")?,
        _ => writeln!(f, "  failed     {failed}; after the takeover {}", phase.failed_later.total())?,
    }
    let double = phase.double_answers.map_or_else(|| "not known".to_owned(), |count| count.to_string());
    writeln!(f, "  double     {double}")?;
    let kept = &phase.kept;
    let cut = match kept.failed.total() {
        0 => "none".to_owned(),
        total => format!("{total} ({})", kept.failed),
    };
    let connections = plural(kept.connections, "connection");
    writeln!(f, "  kept       {connections}, cut {cut}, closed in good order {}", kept.reopened)
}

fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::figures::KeptFigures;
    use crate::probe::{Failure, Kinds};

    fn phase() -> Phase {
        Phase {
            length: Duration::from_millis(5_060),
            requests: 1_012,
            answered: [("master".to_owned(), 600), ("backup".to_owned(), 412)].into_iter().collect(),
            failed: Kinds::default(),
            failed_later: Kinds::default(),
            late: 0,
            gap: Duration::from_millis(9),
            double_answers: Some(0),
            moved: Some(true),
            kept: KeptFigures { connections: 8, requests: 400, reopened: 16, ..KeptFigures::default() },
        }
    }

    fn resets(count: u64) -> Kinds {
        [(Failure::Reset, count)].into_iter().collect()
    }

    #[test]
    fn what_is_too_much() {
        let bounds = Bounds { gap: Duration::from_millis(500) };
        let check = |change: &dyn Fn(&mut Phase), planned: &[&str], freeze: &[&str]| {
            let mut phase = phase();
            change(&mut phase);
            assert_eq!(bounds.exceeded(Some(&phase), None), planned);
            assert_eq!(bounds.exceeded(None, Some(&phase)), freeze);
        };
        check(&|_| (), &[], &[]);
        check(&|p| p.gap = bounds.gap, &[], &[]);
        check(&|p| p.failed = resets(1), &["planned: 1 request failed: 1 reset"], &[]);
        check(
            &|p| (p.failed, p.failed_later) = (resets(3), resets(2)),
            &["planned: 3 requests failed: 3 reset"],
            &["freeze: 2 requests failed after the takeover: 2 reset"],
        );
        check(&|p| p.late = 1, &["planned: 1 request waited for most of a second and more"], &[]);
        check(&|p| p.kept.failed = resets(8), &["planned: 8 kept connections cut: 8 reset"], &[]);
        check(
            &|p| p.gap = Duration::from_millis(501),
            &["planned: nobody answered for 501 ms, and 500 ms are allowed"],
            &["freeze: nobody answered for 501 ms, and 500 ms are allowed"],
        );
        check(
            &|p| p.double_answers = Some(1),
            &["planned: 1 answer came from a node that had the address no more"],
            &["freeze: 1 answer came from a node that had the address no more"],
        );
        check(&|p| p.double_answers = None, &[], &[]);
        check(
            &|p| p.moved = Some(false),
            &["planned: no other node has ever answered"],
            &["freeze: no other node has ever answered"],
        );
        assert_eq!(bounds.exceeded(None, None), [""; 0]);
    }

    #[test]
    fn a_report_is_read_by_people_and_by_programs() {
        let mut freeze = Phase { gap: Duration::from_millis(85), failed: resets(12), ..phase() };
        freeze.kept.failed = resets(8);
        let mut report = Report {
            router: "web".to_owned(),
            url: "http://172.20.128.4/".to_owned(),
            holder: "master".to_owned(),
            planned: Some(phase()),
            freeze: Some(freeze),
            warnings: vec!["the nodes are of different versions".to_owned()],
            wrong: vec![],
            own_lateness: Duration::from_millis(3),
        };
        let expect = "planned, 5.1 s
  gap        9 ms
  requests   1012, answered backup 412, master 600; late 0
  failed     none
  double     0
  kept       8 connections, cut none, closed in good order 16
freeze, 5.1 s
  gap        85 ms
  requests   1012, answered backup 412, master 600; late 0
  failed     12: 12 reset; after the takeover 0
  double     0
  kept       8 connections, cut 8 (8 reset), closed in good order 16
prober itself late by 3 ms at worst
warning: the nodes are of different versions
passed: master has the address of web again";
        assert_eq!(report.to_string(), expect);
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
        assert!(json.contains(r#""gap_ms":85.0"#), "{json}");
        report.wrong = vec!["a".to_owned(), "b".to_owned()];
        assert!(report.to_string().ends_with("\nFAILED: a\nFAILED: b"));
    }
}
