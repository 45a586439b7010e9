//! How many CPUs this process may use: its affinity, and its cgroup's quota.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

/// At least one. A quota of 1.5 CPUs is two: the second thread runs half of the time.
pub fn usable() -> usize {
    let affinity = affinity().unwrap_or(1);
    quota().map_or(affinity, |quota| affinity.min(quota)).max(1)
}

fn affinity() -> Option<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).ok()?;
    Some((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).count())
}

/// The narrowest quota on the way from this process's group to the root: a group is bound by those above it.
fn quota() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(quota_of_line).min()
}

/// `hierarchy:controllers:path`; version 2 has the hierarchy 0 and no controllers.
fn quota_of_line(line: &str) -> Option<usize> {
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let base = match controllers {
        "" => PathBuf::from("/sys/fs/cgroup"),
        c if c.split(',').any(|c| c == "cpu") => PathBuf::from("/sys/fs/cgroup/cpu"),
        _ => return None,
    };
    // In a container without a cgroup namespace the path is the host's, and only the base exists.
    let group = base.join(path.trim_start_matches('/'));
    let group = if group.is_dir() { group } else { base.clone() };
    group.ancestors().take_while(|a| a.starts_with(&base)).filter_map(quota_of_group).min()
}

fn quota_of_group(group: &Path) -> Option<usize> {
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    match read("cpu.max") {
        Some(text) => {
            let (quota, period) = text.trim().split_once(' ')?;
            cpus(quota, period)
        }
        None => cpus(read("cpu.cfs_quota_us")?.trim(), read("cpu.cfs_period_us")?.trim()),
    }
}

/// Both in microseconds; `max` and -1 are no quota.
fn cpus(quota: &str, period: &str) -> Option<usize> {
    let quota: u64 = quota.parse().ok()?;
    let period: u64 = period.parse().ok().filter(|p| *p > 0)?;
    usize::try_from(quota.div_ceil(period)).ok().map(|n| n.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(cpus(quota, period), expect, "{quota} of {period}");
        }
        assert!(usable() >= 1);
    }
}
