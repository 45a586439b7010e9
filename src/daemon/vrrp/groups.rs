//! Keeps the members of sync groups together: in fault, in taking over and in giving up.

use std::time::{Duration, Instant};

use super::instance::Instance;
use super::shell::Shell;
use crate::config::SyncGroup;
use crate::vrrp::sync_group::{Member, Together, decide};

/// In warnings.
const SYNC_GROUP: &str = "sync group";
/// A member that waits for longer than this for the others says so.
const WAITS_QUIETLY: Duration = Duration::from_secs(1);

/// `own`: what each instance is by itself. A problem of one is a problem of its group.
pub(super) fn with_others(
    groups: &[SyncGroup],
    instances: &[Instance],
    own: Vec<Result<(), String>>,
) -> Vec<Result<(), String>> {
    let known = instances.iter().zip(&own);
    let problems: Vec<_> = known.map(|(i, own)| own.clone().and_then(|()| i.own_problem())).collect();
    let others: Vec<_> = instances.iter().map(|i| fault_of_others(groups, instances, i, &problems)).collect();
    own.into_iter().zip(others).map(|(own, others)| own.and(others)).collect()
}

/// Why the others of its group keep this one from standing. `problems`: what each has by itself, in the order of
/// `instances`.
fn fault_of_others(
    groups: &[SyncGroup],
    instances: &[Instance],
    this: &Instance,
    problems: &[Result<(), String>],
) -> Result<(), String> {
    let Some(group) = group_of(groups, this) else { return Ok(()) };
    for (other, problem) in instances.iter().zip(problems) {
        let is_other = other.config.name != this.config.name && is_member(group, other);
        if let (true, Err(problem)) = (is_other, problem) {
            return Err(format!("{} of the sync group {}: {problem}", other.config.name, group.name));
        }
    }
    Ok(())
}

pub(super) fn keep_together(groups: &[SyncGroup], instances: &mut [Instance], shell: &mut Shell) {
    let now = Instant::now();
    for instance in instances.iter_mut() {
        let grouped = group_of(groups, instance).is_some();
        if grouped != instance.grouped {
            instance.grouped = grouped;
            if !grouped {
                instance.ready_since = None;
                shell.warnings.set(&instance.config.name, SYNC_GROUP, Ok(()), now);
            }
            instance.machine.handle_grouped(grouped, now);
            instance.settle(shell);
        }
    }
    for group in groups {
        let of_group = |instance: &&mut Instance| is_member(group, instance);
        let members: Vec<Member> =
            instances.iter_mut().filter(of_group).map(|instance| instance.machine.member()).collect();
        let lost = instances.iter().find(|i| is_member(group, i) && i.machine.member() == Member::Waiting);
        let lost = lost.map_or_else(String::new, |i| format!("{}: {}", i.config.name, i.machine.reason().0));
        let together = decide(&members);
        for instance in instances.iter_mut().filter(of_group) {
            match together {
                Together::Stay => {}
                Together::Take => instance.machine.handle_take(now),
                Together::LetGo => {
                    let reason = format!("the sync group {} is not whole: {lost}", group.name);
                    instance.machine.handle_let_go(reason, now);
                }
            }
            instance.settle(shell);
            let is_ready = instance.machine.member() == Member::Ready;
            instance.ready_since = instance.ready_since.filter(|_| is_ready).or(is_ready.then_some(now));
            let waits = instance.ready_since.is_some_and(|since| now.duration_since(since) > WAITS_QUIETLY);
            let problem = format!("would be master, and waits for the sync group {}: {lost}", group.name);
            let state = if waits { Err(problem) } else { Ok(()) };
            shell.warnings.set(&instance.config.name, SYNC_GROUP, state, now);
        }
    }
}

fn group_of<'g>(groups: &'g [SyncGroup], instance: &Instance) -> Option<&'g SyncGroup> {
    groups.iter().find(|group| is_member(group, instance))
}

fn is_member(group: &SyncGroup, instance: &Instance) -> bool {
    !instance.leaving && group.members.contains(&instance.config.name)
}
