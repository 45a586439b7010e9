//! The figures of this stack beside those of the tutorial one, in turn, with their ratio. Nothing is demanded.

use std::time::Duration;

use super::faults::Fault;
use crate::figures::Figures;
use crate::lab::Lab;
use crate::runner::{Finding, Verdict};
use crate::shell::Trouble;
use crate::stack::{Kind, Options};

const ROUNDS: usize = 5;

pub(super) fn side_by_side(lab: &mut Lab) -> Verdict {
    let mut tutorial = Lab::default();
    let mut lines = vec![String::new()];
    for fault in [Fault::Pause, Fault::Kill, Fault::Disconnect, Fault::Stop] {
        let (mut ours, mut theirs) = (Figures::default(), Figures::default());
        for _ in 0..ROUNDS {
            ours.add(gap(lab, Kind::Vipgate, fault)?);
            theirs.add(gap(&mut tutorial, Kind::Tutorial, fault)?);
            // After most faults its node does not come back for another round.
            tutorial.tear_down();
        }
        let name = format!("{fault:?}").to_lowercase();
        lines.push(format!("  {name:<10}  vipgate  {ours}"));
        lines.push(format!("  {:<10}  tutorial {theirs}", ""));
        lines.push(format!("  {:<10}  ratio    {}", "", ratio(ours.median(), theirs.median())));
    }
    Ok(Finding::Holds(lines.join("\n")))
}

fn gap(lab: &mut Lab, kind: Kind, fault: Fault) -> Result<Duration, Trouble> {
    fault.gap(lab.settled(Options { kind, preempt: true })?)
}

fn ratio(ours: Duration, theirs: Duration) -> String {
    if theirs.is_zero() {
        "none: no gap there".to_owned()
    } else {
        format!("{:.2}", ours.div_duration_f64(theirs))
    }
}
