//! Sync groups: of virtual routers that there are, each in one group.

use std::collections::{BTreeMap, HashMap};

use crate::config::document::SyncGroupEntry;
use crate::config::field::{Map, Named};
use crate::config::model::SyncGroup;
use crate::config::names;
use crate::config::problem::{shown, suggestion};
use crate::config::report::{Report, Reported};
use crate::net::Priority;

/// `routers`: the names of all virtual routers, and the priorities that can be read.
pub(in crate::config) fn sync_groups(
    entries: Map<SyncGroupEntry>,
    routers: &BTreeMap<String, Option<Priority>>,
    report: &mut Report<'_>,
) -> Result<Vec<SyncGroup>, Reported> {
    let mut taken: HashMap<String, String> = HashMap::new();
    let mut groups = Vec::new();
    for Named { name, at, slot } in entries.0 {
        let name = names::label(&name).map_err(|fault| report.error(at, fault.what, fault.remedy));
        let built = slot.take().and_then(|entry| {
            let (name, place) = (name?, entry.members.at);
            let members = entry.members.take()?;
            if members.0.len() < 2 {
                return Err(report.error(
                    place,
                    "a sync group has at least two members",
                    "add a virtual router",
                ));
            }
            let mut names = Vec::new();
            for slot in members.0 {
                let at = slot.at;
                let member = slot.take()?.0;
                let Some(priority) = routers.get(&member) else {
                    let remedy = match suggestion(&member, routers.keys().map(String::as_str)) {
                        Some(name) => format!("did you mean {name:?}?"),
                        None => "write the name of one of the virtual routers".to_owned(),
                    };
                    let what = format!("there is no virtual router {}", shown(&member));
                    return Err(report.error(at, what, remedy));
                };
                if *priority == Some(Priority::OWNER) {
                    let what = format!("{member:?} owns its addresses (priority 255) and waits for nobody");
                    return Err(report.error(at, what, "give it a priority below 255"));
                }
                if let Some(other) = taken.insert(member.clone(), name.clone()) {
                    let what = format!("{member:?} is already in the sync group {other:?}");
                    return Err(report.error(at, what, "list each virtual router once"));
                }
                names.push(member);
            }
            Ok(SyncGroup { name, members: names })
        });
        groups.push(built);
    }
    groups.into_iter().collect()
}
