//! Which virtual router becomes which one of another configuration, and who makes room first.

use std::time::Instant;

use tracing::info;

use super::instance::Instance;
use super::shell::Shell;
use crate::config::VrrpInstance;
use crate::net::{Family, Vrid};

/// One of the new configuration.
pub(super) struct Heir {
    pub(super) wanted: VrrpInstance,
    /// What becomes it in place; `None`: it begins anew.
    pub(super) from: Option<Instance>,
    /// Its predecessor was handing over and could not end that.
    pub(super) cut_short: bool,
}

/// Each wanted one with what becomes it, and those that nobody wants any more. A fence and a gate have the name of their
/// virtual router's id, so that whoever has an id that another one takes leaves before that one begins.
pub(super) fn arrange(
    mut before: Vec<Instance>,
    wanted: Vec<VrrpInstance>,
    shell: &mut Shell,
    now: Instant,
) -> (Vec<Heir>, Vec<Instance>) {
    let ids: Vec<_> = wanted.iter().map(id).collect();
    let mut heirs: Vec<Heir> = wanted.into_iter().map(|wanted| heir(wanted, &mut before)).collect();
    for heir in &mut heirs {
        let wanted = &heir.wanted;
        let stays = |from: &mut Instance| {
            let had = id(&from.config);
            from.can_become(wanted) && (had == id(wanted) || !ids.contains(&had))
        };
        if let Some(mut gone) = heir.from.take_if(|from| !stays(from)) {
            heir.cut_short = gone.machine.is_handing_over();
            gone.leave(shell, now);
        }
    }
    for mut gone in before.extract_if(.., |gone| ids.contains(&id(&gone.config))) {
        info!(instance = gone.config.name, "no longer configured, and another virtual router takes its id");
        gone.leave(shell, now);
    }
    (heirs, before)
}

/// One with another name and the same id is the same virtual router to everybody else.
fn heir(wanted: VrrpInstance, before: &mut Vec<Instance>) -> Heir {
    let known = |instance: &Instance| !instance.leaving && instance.config.name == wanted.name;
    let same = |instance: &Instance| id(&instance.config) == id(&wanted);
    let found = before.iter().position(known).or_else(|| before.iter().position(same));
    let from = found.map(|index| before.swap_remove(index));
    Heir { wanted, from, cut_short: false }
}

fn id(config: &VrrpInstance) -> (Family, Vrid) {
    (config.family(), config.vrid)
}
