//! One member of a sync group: it says that it could be master, and becomes it, or stops, with the others.

use super::stories::told;
use super::sync_group::Member;
use super::*;

fn grouped() -> Rig {
    let mut rig = Rig::standing(settings());
    rig.machine.handle_grouped(true, rig.now);
    rig
}

#[test]
fn a_member_takes_over_when_it_is_told_to() {
    let mut rig = grouped();
    assert_eq!(rig.machine.member(), Member::Moving, "it has yet to hear whether there is a master");
    rig.run(ms(2000));
    assert_eq!((rig.machine.state(), rig.machine.member()), (VrrpState::Backup, Member::Ready));
    rig.machine.handle_take(rig.now);
    assert_eq!(rig.drain(), "hold, answer, advert 100, announce, MASTER");
    assert!(rig.machine.reason().0.starts_with("no master was heard"), "{}", rig.machine.reason().0);
    assert_eq!(rig.machine.member(), Member::Master);
}

#[test]
fn a_member_that_hears_a_master_again_is_ready_no_more() {
    let mut rig = grouped();
    rig.run(ms(400));
    assert_eq!(rig.machine.member(), Member::Ready);
    rig.machine.handle_advert(HIGHER_ADDRESS, &advert(50), rig.now);
    assert_eq!(rig.machine.member(), Member::Ready, "a lesser one is no reason to wait");
    rig.machine.handle_advert(HIGHER_ADDRESS, &advert(150), rig.now);
    assert_eq!(rig.machine.member(), Member::Waiting);
    rig.machine.handle_take(rig.now);
    assert_eq!((rig.drain().as_str(), rig.machine.state()), ("", VrrpState::Backup));
}

#[test]
fn a_member_gives_up_with_the_others_and_listens_again() {
    let mut rig = Rig::in_state(State::Master);
    rig.machine.handle_grouped(true, rig.now);
    rig.machine.handle_let_go("the other one is not".to_owned(), rig.now);
    assert_eq!(rig.drain(), "silent, advert 0, drain 5s, BACKUP");
    rig.machine.handle_let_go("again".to_owned(), rig.now);
    assert_eq!((rig.drain().as_str(), rig.machine.reason().0), ("", "the other one is not"));
    let story = told(&mut rig, ms(2000));
    assert!(story.iter().all(|(_, told)| !told.contains("MASTER")), "{story:?}");
    assert_eq!(rig.machine.member(), Member::Ready);
}

#[test]
fn what_leaves_its_group_goes_by_itself() {
    let mut rig = grouped();
    rig.run(ms(400));
    rig.machine.handle_grouped(false, rig.now);
    assert_eq!(rig.machine.state(), VrrpState::Master);
}
