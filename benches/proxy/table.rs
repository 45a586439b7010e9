//! What was measured, as text: one line per program, with the ratio and its verdict in vipgate's.

use std::time::Duration;

use crate::measure::Column;
use crate::rows::{Measure, Opponent, Row};

/// How vipgate does in a row.
pub(crate) struct Verdict {
    /// To the best opponent, round by round; in the row of instructions the number itself.
    pub(crate) ratio: f64,
    spread: (f64, f64),
    /// Of the least values: what it is on a machine that others use less.
    least: f64,
    best: usize,
    pub(crate) missed: bool,
    word: &'static str,
}

/// `None`: there is nothing to compare.
pub(crate) fn judge(row: &Row, columns: &[Column]) -> Option<Verdict> {
    let ours = columns.first()?;
    let others = columns.iter().enumerate().skip(1).filter(|(_, column)| is_opponent(row, column));
    let (best, opponent) = others.min_by(|(_, a), (_, b)| median(&a.values).total_cmp(&median(&b.values)))?;
    let ratios: Vec<f64> = if is_ratio(row) {
        ours.values.iter().zip(&opponent.values).map(|(ours, theirs)| ours / theirs).collect()
    } else {
        ours.values.clone()
    };
    let ratio = median(&ratios);
    let (low, high) = ratios.iter().fold((ratio, ratio), |(low, high), r| (low.min(*r), high.max(*r)));
    let least = least(&ours.values) / least(&opponent.values);
    let word = if ratio <= row.goal {
        "goal reached"
    } else if ratio <= row.must {
        "must reached"
    } else {
        "MUST MISSED"
    };
    Some(Verdict { ratio, spread: (low, high), least, best, missed: ratio > row.must, word })
}

/// A second vipgate is no opponent, except where the row is about vipgate alone.
fn is_opponent(row: &Row, column: &Column) -> bool {
    is_about_vipgate(row) || !column.program.is_vipgate()
}

fn is_about_vipgate(row: &Row) -> bool {
    match row.measure {
        Measure::Cost { against, .. } | Measure::Idle { against, .. } | Measure::Instructions { against } => {
            against.contains(&Opponent::OneRoute)
        }
    }
}

/// Whether must and goal are ratios.
fn is_ratio(row: &Row) -> bool {
    match row.measure {
        Measure::Cost { .. } | Measure::Idle { .. } => true,
        Measure::Instructions { .. } => is_about_vipgate(row),
    }
}

pub(crate) fn print(row: &Row, columns: &[Column]) -> Option<Verdict> {
    let verdict = judge(row, columns);
    println!("\n{}: {}", row.name, row.what);
    println!(
        "  {:<18}{:>11}{:>10}{:>8}{:>10}{:>10}{:>14}{:>10}",
        "",
        unit(row),
        "least",
        "spread",
        "p50",
        "p99",
        "RSS MB",
        "syscalls"
    );
    for (n, column) in columns.iter().enumerate() {
        let mark = if verdict.as_ref().is_some_and(|v| v.best == n) { "*" } else { "" };
        println!(
            "  {:<18}{:>11}{:>10}{:>8}{:>10}{:>10}{:>14}{:>10}",
            format!("{}{mark}", column.program),
            value(row, median(&column.values)),
            value(row, least(&column.values)),
            spread(&column.values),
            time(median_of(&column.p50)),
            time(median_of(&column.p99)),
            memory(column),
            column.syscalls.map_or_else(|| "-".to_owned(), |calls| format!("{calls:.2}")),
        );
    }
    if let Some(verdict) = &verdict {
        println!("  => {}", line(row, verdict));
        for other in columns.iter().skip(1).filter(|column| !is_opponent(row, column)) {
            let ratios: Vec<f64> = columns
                .first()
                .map(|ours| other.values.iter().zip(&ours.values).map(|(other, ours)| other / ours).collect())
                .unwrap_or_default();
            let of_least =
                columns.first().map_or(f64::NAN, |ours| least(&other.values) / least(&ours.values));
            println!(
                "     {} / vipgate = {:.3}, spread {}, of the least {of_least:.3}",
                other.program,
                median(&ratios),
                spread(&ratios)
            );
        }
    }
    verdict
}

fn line(row: &Row, verdict: &Verdict) -> String {
    let Verdict { ratio, spread: (low, high), least, word, .. } = verdict;
    let Row { must, goal, .. } = row;
    if is_ratio(row) {
        format!(
            "ratio {ratio:.2} to * ({low:.2}..{high:.2}, of the least {least:.2}); \
             must {must:.2}, goal {goal:.2}: {word}"
        )
    } else {
        format!("{ratio:.0}; must {must:.0}, goal {goal:.0}: {word}")
    }
}

fn unit(row: &Row) -> &'static str {
    match row.measure {
        Measure::Cost { .. } => "CPU us/req",
        Measure::Idle { .. } => "RSS KiB",
        Measure::Instructions { .. } => "instr./req",
    }
}

fn value(row: &Row, value: f64) -> String {
    match row.measure {
        Measure::Cost { .. } => format!("{:.2}", value * 1e6),
        Measure::Idle { .. } => format!("{:.0}", value / 1024.0),
        Measure::Instructions { .. } => format!("{value:.0}"),
    }
}

/// From the least to the greatest, in percent of the median.
fn spread(values: &[f64]) -> String {
    let middle = median(values);
    let (low, high) = values.iter().fold((middle, middle), |(low, high), v| (low.min(*v), high.max(*v)));
    if values.len() < 2 { "-".to_owned() } else { format!("{:.0} %", (high - low) / middle * 100.0) }
}

fn memory(column: &Column) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    match column.memory.resident {
        0 => "-".to_owned(),
        resident => format!("{:.1} ({:.1})", mib(resident), mib(column.memory.proportional)),
    }
}

fn time(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{:.2} ms", time.as_secs_f64() * 1e3))
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn median_of(values: &[Duration]) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied()
}
