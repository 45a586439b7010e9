//! How many CPUs this process may use: its affinity, and its cgroup's quota.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// At least one. A quota of 1.5 CPUs is two: the second thread runs half of the time.
pub fn usable() -> usize {
    let affinity = affinity().unwrap_or(1);
    let narrowest = quotas().into_iter().map(|quota| quota.cpus).min();
    narrowest.map_or(affinity, |cpus| affinity.min(cpus)).max(1)
}

/// A process with a quota may be held up for nearly as long as this once it has used its share; `None`: it has no quota.
pub fn quota_period() -> Option<Duration> {
    quotas().into_iter().map(|quota| quota.period).max()
}

/// The share of the time in which somebody on this machine has waited for a processor, in percent: of the last ten
/// seconds, and of the last minute. `None`: this kernel does not say (CONFIG_PSI).
pub fn pressure() -> Option<[f64; 2]> {
    some(&fs::read_to_string("/proc/pressure/cpu").ok()?)
}

/// `some avg10=1.23 avg60=4.56 avg300=7.89 total=123`
fn some(pressure: &str) -> Option<[f64; 2]> {
    let line = pressure.lines().find_map(|line| line.strip_prefix("some "))?;
    let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name))?.parse().ok();
    Some([field("avg10=")?, field("avg60=")?])
}

/// What the first thread of this process waits for.
#[derive(Debug)]
pub struct RunQueue(File);

impl RunQueue {
    pub fn open() -> io::Result<Self> {
        File::open("/proc/self/schedstat").map(Self)
    }

    /// The time so far in which it wanted to run and other processes did. Whoever is frozen does not want to.
    pub fn waited(&self) -> Option<Duration> {
        let mut space = [0; 80];
        let n = self.0.read_at(&mut space, 0).ok()?;
        scheduled(std::str::from_utf8(space.get(..n)?).ok()?, WAITED)
    }
}

pub(super) const RAN: usize = 0;
const WAITED: usize = 1;

/// A field of `RAN WAITED SLICES`, of which the first two are in nanoseconds.
pub(super) fn scheduled(schedstat: &str, field: usize) -> Option<Duration> {
    schedstat.split_ascii_whitespace().nth(field)?.parse().ok().map(Duration::from_nanos)
}

/// What the kernel's CFS bandwidth control grants a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quota {
    cpus: usize,
    period: Duration,
}

fn affinity() -> Option<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).ok()?;
    Some((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count())
}

/// On the way from this process's group to the root: a group is bound by those above it.
fn quotas() -> Vec<Quota> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups.lines().flat_map(quotas_of_line).collect()
}

/// `hierarchy:controllers:path`; version 2 has the hierarchy 0 and no controllers.
fn quotas_of_line(line: &str) -> Vec<Quota> {
    let Some((controllers, path)) = line.split_once(':').and_then(|(_, rest)| rest.split_once(':')) else {
        return vec![];
    };
    let base = match controllers {
        "" => PathBuf::from("/sys/fs/cgroup"),
        c if c.split(',').any(|c| c == "cpu") => PathBuf::from("/sys/fs/cgroup/cpu"),
        _ => return vec![],
    };
    // In a container without a cgroup namespace the path is the host's, and only the base exists.
    let group = base.join(path.trim_start_matches('/'));
    let group = if group.is_dir() { group } else { base.clone() };
    group.ancestors().take_while(|a| a.starts_with(&base)).filter_map(quota_of_group).collect()
}

fn quota_of_group(group: &Path) -> Option<Quota> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    match read("cpu.max") {
        Some(text) => {
            let (quota, period) = text.trim().split_once(' ')?;
            parse(quota, period)
        }
        None => parse(read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim()),
    }
}

/// Both in microseconds; `max` and -1 are no quota.
fn parse(quota: &str, period: &str) -> Option<Quota> {
    let quota: u64 = quota.parse().ok()?;
    let period: u64 = period.parse().ok().filter(|p| *p > 0)?;
    let cpus = usize::try_from(quota.div_ceil(period)).ok()?.max(1);
    Some(Quota { cpus, period: Duration::from_micros(period) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_on_the_run_queue_is_the_second_number() {
        for (text, expect) in
            [("123 4567 8\n", Some(4567)), ("0 0 0", Some(0)), ("123", None), ("a b c", None), ("", None)]
        {
            assert_eq!(scheduled(text, WAITED), expect.map(Duration::from_nanos), "{text:?}");
        }
        let Ok(queue) = RunQueue::open() else { return println!("skipped: this kernel counts no waiting") };
        let before = queue.waited().unwrap();
        assert!(queue.waited().unwrap() >= before, "the file is read anew");
    }

    #[test]
    fn pressure_is_that_of_some_and_not_of_all() {
        let text = "some avg10=28.22 avg60=78.80 avg300=84.59 total=952629639\n\
                    full avg10=0.00 avg60=1.00 avg300=0.00 total=0\n";
        assert_eq!(some(text), Some([28.22, 78.8]));
        for strange in ["", "some", "some avg10=1", "some avg10=a avg60=1.00", "full avg10=0.00 avg60=0.00"] {
            assert_eq!(some(strange), None, "{strange:?}");
        }
        let Some(now) = pressure() else { return println!("skipped: this kernel tells no pressure") };
        assert!(now.iter().all(|share| (0.0..=100.0).contains(share)), "{now:?}");
    }

    #[test]
    fn quotas_are_rounded_up() {
        let table = [
            ("max", "100000", None),
            ("-1", "100000", None),
            ("50000", "100000", Some(1)),
            ("100000", "100000", Some(1)),
            ("150000", "100000", Some(2)),
            ("0", "100000", Some(1)),
            ("100000", "0", None),
        ];
        for (quota, period, expect) in table {
            let got = parse(quota, period);
            assert_eq!(got.map(|quota| quota.cpus), expect, "{quota} of {period}");
            assert!(got.is_none_or(|quota| quota.period == Duration::from_millis(100)));
        }
        assert!(usable() >= 1);
    }
}
