//! What a person asks of the virtual routers: hand over, stand back, stand in again. Each question is answered once, when
//! all that it concerns have come to an end with it; until then there is no second one that moves an address.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::instance::Instance;
use super::shell::Shell;
use crate::config::SyncGroup;
use crate::link::{FromVrrp, VrrpState, Wish};

/// A peer needs its skew time and a packet: most are given less.
const BOUND: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(super) struct Wishes {
    open: Option<Open>,
    /// Every virtual router stays out of the election, those to come as well.
    stands_back: bool,
}

#[derive(Debug)]
struct Open {
    question: u64,
    wish: Wish,
    awaited: BTreeSet<String>,
    said: Vec<String>,
    refused: bool,
}

impl Wishes {
    pub(super) fn handle(
        &mut self,
        question: u64,
        wish: Wish,
        groups: &[SyncGroup],
        instances: &mut [Instance],
        shell: &mut Shell,
        now: Instant,
    ) {
        if self.open.is_some() && wish != Wish::StandIn {
            let why = "a failover or a drain is under way; ask again when it has been answered";
            return shell.tell(FromVrrp::SteppedDown { question, outcome: Err(why.to_owned()) });
        }
        let concerned = match &wish {
            Wish::Failover { instance } => masters(instance.as_deref(), groups, instances),
            Wish::StandBack => {
                self.stands_back = true;
                Ok(instances.iter().filter(|i| !i.leaving).map(|i| i.config.name.clone()).collect())
            }
            Wish::StandIn => {
                if let Some(open) = self.open.as_mut().filter(|open| open.wish == Wish::StandBack) {
                    open.refused = true;
                    open.said.push("`vipgate drain --undo` came meanwhile".to_owned());
                }
                self.stand_in(instances, shell, now);
                let outcome = Ok("this node stands for election again".to_owned());
                return shell.tell(FromVrrp::SteppedDown { question, outcome });
            }
        };
        let concerned = concerned.and_then(|names| {
            let alone = instances.iter().filter(|i| names.contains(&i.config.name)).find_map(without_peer);
            alone.map_or(Ok(names), Err)
        });
        let awaited = match concerned {
            Ok(names) => names,
            Err(reason) => {
                self.stands_back &= wish != Wish::StandBack;
                return shell.tell(FromVrrp::SteppedDown { question, outcome: Err(reason) });
            }
        };
        for instance in instances.iter_mut().filter(|i| awaited.contains(&i.config.name)) {
            instance.stepped_down = None;
            match wish {
                Wish::Failover { .. } => instance.machine.handle_failover(BOUND, now),
                Wish::StandBack | Wish::StandIn => instance.machine.handle_stand_back(BOUND, now),
            }
            instance.settle(shell);
        }
        self.open = Some(Open { question, wish, awaited, said: vec![], refused: false });
    }

    /// A virtual router that was not there when somebody asked.
    pub(super) fn tell_new(&self, instance: &mut Instance, shell: &mut Shell, now: Instant) {
        if self.stands_back {
            instance.machine.handle_stand_back(BOUND, now);
            instance.settle(shell);
        }
    }

    /// Answers what has come to an end.
    pub(super) fn collect(&mut self, instances: &mut [Instance], shell: &mut Shell, now: Instant) {
        let Some(mut open) = self.open.take() else { return };
        for instance in instances.iter_mut() {
            let name = &instance.config.name;
            if open.awaited.contains(name)
                && let Some(outcome) = instance.stepped_down.take()
            {
                open.awaited.remove(name);
                open.refused |= outcome.is_err();
                open.said.push(format!("{name}: {}", outcome.unwrap_or_else(|why| why)));
            }
        }
        // Those that the configuration has lost meanwhile say nothing any more.
        open.awaited.retain(|name| instances.iter().any(|i| i.config.name == *name));
        if !open.awaited.is_empty() {
            self.open = Some(open);
            return;
        }
        let text = open.said.join("; ");
        let outcome = if open.refused { Err(text) } else { Ok(text) };
        shell.tell(FromVrrp::SteppedDown { question: open.question, outcome });
        if open.refused && open.wish == Wish::StandBack {
            // Half of a node is not drained.
            self.stand_in(instances, shell, now);
        }
    }

    fn stand_in(&mut self, instances: &mut [Instance], shell: &mut Shell, now: Instant) {
        self.stands_back = false;
        for instance in instances {
            instance.machine.handle_stand_in(now);
            instance.settle(shell);
        }
    }
}

/// The proxy has no connection any more of the addresses that this number stands for.
pub(super) fn left(number: u64, instances: &mut [Instance], shell: &mut Shell) {
    if let Some(instance) = instances.iter_mut().find(|i| i.departure == Some(number)) {
        instance.departure = None;
        instance.machine.handle_emptied(Instant::now());
        instance.settle(shell);
    }
}

/// The master that was named with the others of its sync group, or all of them.
fn masters(
    wanted: Option<&str>,
    groups: &[SyncGroup],
    instances: &[Instance],
) -> Result<BTreeSet<String>, String> {
    let states: Vec<(&str, VrrpState, &str)> = instances
        .iter()
        .filter(|i| !i.leaving)
        .map(|i| (i.config.name.as_str(), i.machine.state(), i.machine.reason().0))
        .collect();
    choose(wanted, groups, &states)
}

fn choose(
    wanted: Option<&str>,
    groups: &[SyncGroup],
    states: &[(&str, VrrpState, &str)],
) -> Result<BTreeSet<String>, String> {
    if let Some(wanted) = wanted.filter(|wanted| states.iter().all(|(name, ..)| name != wanted)) {
        let names: Vec<&str> = states.iter().map(|(name, ..)| *name).collect();
        return Err(format!("there is no virtual router {wanted} here, but {}", names.join(", ")));
    }
    // A peer takes one of a group only with the others.
    let is_meant = |name: &str| {
        wanted.is_none_or(|wanted| {
            let has = |group: &SyncGroup, name: &str| group.members.iter().any(|member| member == name);
            name == wanted || groups.iter().any(|group| has(group, wanted) && has(group, name))
        })
    };
    let asked = || states.iter().filter(|(name, ..)| is_meant(name));
    let masters: BTreeSet<String> = asked()
        .filter(|(_, state, _)| *state == VrrpState::Master)
        .map(|(name, ..)| (*name).to_owned())
        .collect();
    if masters.is_empty() {
        let why: Vec<String> =
            asked().map(|(name, state, reason)| format!("{name} is {state} ({reason})")).collect();
        return Err(format!("this node is not master: {}; ask the node that is", why.join("; ")));
    }
    Ok(masters)
}

/// A master whose peers are all away has nobody to hand over to. Who is in a multicast group is not known.
fn without_peer(instance: &Instance) -> Option<String> {
    if !instance.is_master() || !instance.is_alone() {
        return None;
    }
    let peers: Vec<String> = instance.peers.iter().map(ToString::to_string).collect();
    let who = if peers.is_empty() { "it knows no peer".to_owned() } else { peers.join(", ") };
    Some(format!(
        "{}: nobody would take over: no peer answers {} ({who}); this node stays master",
        instance.config.name,
        instance.asked_by()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use VrrpState::{Backup, Master};

    #[test]
    fn who_is_meant() {
        let both = [("mail", Master, "a"), ("web", Backup, "b")];
        let three = [("mail", Master, ""), ("web", Master, ""), ("x", Master, "")];
        let members = ["mail", "web"].map(str::to_owned).to_vec();
        let group = [SyncGroup { name: "G".to_owned(), members }];
        type Row<'a> = (
            Option<&'a str>,
            &'a [SyncGroup],
            &'a [(&'a str, VrrpState, &'a str)],
            Result<&'a [&'a str], &'a str>,
        );
        let table: [Row<'_>; 9] = [
            (None, &[], &both, Ok(&["mail"])),
            (Some("mail"), &[], &both, Ok(&["mail"])),
            (
                Some("web"),
                &[],
                &both,
                Err("this node is not master: web is BACKUP (b); ask the node that is"),
            ),
            (Some("ftp"), &[], &both, Err("there is no virtual router ftp here, but mail, web")),
            (None, &[], &[("x", Master, ""), ("y", Master, "")], Ok(&["x", "y"])),
            (None, &[], &both[1..], Err("this node is not master: web is BACKUP (b); ask the node that is")),
            (Some("mail"), &[], &three, Ok(&["mail"])),
            (Some("mail"), &group, &three, Ok(&["mail", "web"])),
            (Some("x"), &group, &three, Ok(&["x"])),
        ];
        for (wanted, groups, states, expect) in table {
            let expect = expect.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(
                choose(wanted, groups, states),
                expect.map_err(str::to_owned),
                "{wanted:?} {groups:?}"
            );
        }
    }
}
