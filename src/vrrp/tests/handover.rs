//! Planned moves: who may have the address when, what is kept for whom, and what becomes of a wish.

use super::stories::{at, told, whole_story};
use super::*;

#[test]
fn an_orderly_loser_keeps_the_address_for_its_connections_and_the_announcements_stop() {
    let lose = || {
        let mut rig = Rig::standing(settings());
        rig.run(ms(370));
        rig.machine.handle_advert(HIGHER_ADDRESS, &advert(150), rig.now);
        assert_eq!(rig.drain(), "silent, drain 5s, BACKUP");
        assert_eq!(rig.machine.reason().0, "10.0.0.7 is master with priority 150 over 100");
        rig
    };
    let mut rig = lose();
    let mut story = Vec::new();
    // The winner is heard all the time.
    for _ in 0..60 {
        rig.machine.handle_advert(HIGHER_ADDRESS, &advert(150), rig.now);
        story.extend(told(&mut rig, ms(100)));
    }
    let (last, holds) = story.split_last().unwrap();
    assert_eq!(*last, at(5_870_000, "release, destroy, drained"));
    assert!(holds.len() >= 10 && holds.iter().all(|(_, told)| told == "hold"), "{holds:?}");

    let mut rig = lose();
    rig.run(ms(50));
    rig.machine.handle_emptied(rig.now);
    assert_eq!(rig.drain(), "release, destroy, drained", "nobody is left: it need not wait");
    rig.machine.handle_emptied(rig.now);
    assert_eq!(rig.drain(), "");
}

#[test]
fn a_loser_that_wins_again_keeps_its_connections() {
    let mut rig = Rig::in_state(State::Lingering);
    rig.machine.handle_advert(HIGHER_ADDRESS, &advert(0), rig.now);
    let story = whole_story(&mut rig, ms(500));
    assert!(
        story.starts_with("keep, relay to 10.0.0.7, hold, answer, advert 100, announce, MASTER"),
        "{story}"
    );
    rig.machine.handle_emptied(rig.now);
    assert!(!(story + &rig.drain()).contains("release"));
    let since = rig.start + ms(1450) + us(60_937) + Duration::from_nanos(500);
    assert_eq!(rig.machine.master_since(), Some(since));
}

#[test]
fn a_loser_that_wins_again_lets_go_of_what_an_edit_has_taken_away() {
    let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 101));
    let mut rig = Rig::standing(Settings { addresses: vec![VIP, other], ..settings() });
    rig.run(ms(1400));
    rig.machine.handle_advert(HIGHER_ADDRESS, &advert(150), rig.now);
    rig.machine.reconfigure(Settings { addresses: vec![other], ..settings() }, rig.now);
    assert_eq!(rig.drain(), "silent, drain 5s, BACKUP", "its connections go on");
    rig.machine.handle_advert(HIGHER_ADDRESS, &advert(0), rig.now);
    while rig.machine.state() != VrrpState::Master {
        rig.drain();
        (rig.now, _) = rig.machine.poll_timeout().unwrap();
        rig.machine.handle_timeout(rig.now);
    }
    let outputs: Vec<Output> = std::iter::from_fn(|| rig.machine.poll_output()).collect();
    let at = |output: Output| outputs.iter().position(|o| *o == output);
    let gone = at(Output::Release { addresses: vec![VIP] });
    assert!(gone.is_some(), "{outputs:?}");
    assert!(at(Output::DestroySockets { addresses: vec![VIP] }) > gone, "{outputs:?}");
    assert!(at(Output::Hold { addresses: vec![other], lease: settings().lease }) > gone, "{outputs:?}");
    assert_eq!((rig.machine.state(), rig.machine.held()), (VrrpState::Master, [other].as_slice()));
}

#[test]
fn resigning_serves_on_until_a_peer_is_there_and_its_connections_beyond() {
    let mut rig = Rig::in_state(State::Resigning);
    assert_eq!(told(&mut rig, ms(150)), [at(1_500_000, "advert 0")], "a lost release is said again");
    assert!(!rig.machine.has_resigned());
    rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
    assert_eq!(rig.drain(), "silent, drain 5s, BACKUP");
    assert!(rig.machine.has_resigned());
    let story = told(&mut rig, ms(9000));
    assert_eq!(story.last(), Some(&at(7_050_000, "release, destroy, drained, FAULT, resigned")));
    assert_eq!(rig.machine.reason().0, "resigned: 10.0.0.3 has taken over");
}

#[test]
fn resigning_waits_for_a_peer_until_its_bound() {
    let mut rig = Rig::in_state(State::Resigning);
    let story = told(&mut rig, ms(1000));
    assert_eq!(story.last(), Some(&at(2_400_000, "advert 0, silent, drain 5s, BACKUP")));
    assert!(story.iter().any(|(_, told)| told.contains("hold")), "the lease is renewed meanwhile");
    assert!(rig.machine.has_resigned());
    rig.machine.handle_emptied(rig.now);
    assert_eq!(rig.drain(), "release, destroy, drained, FAULT, resigned");
    assert_eq!(rig.machine.reason().0, "resigned: no peer has taken over");
}

#[test]
fn what_is_kept_for_connections_goes_with_its_lease() {
    for (gap, expect) in [(ms(999), ""), (ms(1000), "release, destroy, drained")] {
        let mut rig = Rig::in_state(State::Lingering);
        rig.machine.handle_gap(paused(gap), rig.now);
        assert!(rig.drain().starts_with(expect), "{gap:?}");
        assert_eq!(rig.machine.is_lingering(), expect.is_empty());
    }
    // Nobody has told of the gap: the kernel dropped it, and it is not put back.
    let mut rig = Rig::in_state(State::Stopping);
    rig.now += ms(1500);
    rig.machine.handle_timeout(rig.now);
    assert_eq!(rig.drain(), "release, destroy, drained, FAULT, resigned");
}

#[test]
fn segments_are_relayed_to_an_old_master_that_still_serves_and_to_no_other() {
    let relays = |told: &str| told.matches("relay to").count();
    let mut silent = Rig::in_state(State::Behind);
    assert_eq!(relays(&whole_story(&mut silent, ms(1000))), 0, "one that fell silent serves nothing");

    let mut outranked = Rig::standing(settings());
    outranked.machine.handle_advert(LOWER_ADDRESS, &advert(50), outranked.now);
    let story = whole_story(&mut outranked, ms(6000));
    assert_eq!((relays(&story), story.matches("end relay").count()), (1, 1), "{story}");

    let mut lost = Rig::in_state(State::Behind);
    lost.machine.handle_advert(HIGHER_ADDRESS, &advert(0), lost.now);
    lost.run(ms(70));
    lost.drain();
    lost.machine.handle_advert(HIGHER_ADDRESS, &advert(200), lost.now);
    let story = lost.drain();
    assert!(story.contains("end relay"), "a relay ends with the mastership: {story}");

    let mut emptied = Rig::in_state(State::Behind);
    emptied.machine.handle_advert(HIGHER_ADDRESS, &advert(0), emptied.now);
    emptied.run(ms(70));
    emptied.machine.handle_drained(LOWER_ADDRESS, emptied.now);
    assert_eq!(emptied.drain(), "", "not the one whose connections they are");
    emptied.machine.handle_drained(HIGHER_ADDRESS, emptied.now);
    assert_eq!((emptied.drain().as_str(), emptied.machine.relays_to()), ("end relay", None));
}

#[test]
fn a_failover_leaves_a_backup_that_does_not_come_back_by_itself() {
    for priority in [Priority::DEFAULT, Priority::OWNER] {
        let mut rig = Rig::standing(Settings { priority, ..settings() });
        rig.run(ms(1400));
        rig.drain();
        rig.machine.handle_failover(ms(1000), rig.now);
        assert_eq!(rig.drain(), "advert 0");
        rig.machine.handle_failover(ms(1000), rig.now);
        assert_eq!(rig.drain(), "refused", "one at a time");
        rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
        assert_eq!(rig.drain(), "silent, drain 5s, BACKUP, stepped down");
        for _ in 0..50 {
            rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
            assert!(!whole_story(&mut rig, ms(100)).contains("MASTER"), "{priority:?}");
        }
        rig.machine.handle_eligible(Err("restarting".to_owned()), rig.now);
        rig.machine.handle_eligible(Ok(()), rig.now);
        rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
        assert!(!whole_story(&mut rig, ms(200)).contains("MASTER"), "{priority:?}");
        // Who has the address gives it back, or dies.
        rig.machine.handle_advert(LOWER_ADDRESS, &advert(0), rig.now);
        assert!(whole_story(&mut rig, ms(100)).contains("MASTER"), "{priority:?}");
        if priority == Priority::OWNER {
            continue;
        }
        // And from then on everything is as it was.
        rig.machine.handle_advert(HIGHER_ADDRESS, &advert(254), rig.now);
        rig.run(ms(50));
        rig.machine.handle_advert(HIGHER_ADDRESS, &advert(50), rig.now);
        assert!(whole_story(&mut rig, ms(400)).contains("MASTER"), "{priority:?}");
    }
}

#[test]
fn a_failover_that_nobody_takes_changes_nothing() {
    let mut rig = Rig::in_state(State::Master);
    rig.machine.handle_failover(ms(250), rig.now);
    let story = whole_story(&mut rig, ms(300));
    assert!(story.ends_with("keep, advert 100, refused; "), "{story}");
    assert!(!story.contains("silent") && !story.contains("release"), "{story}");
    assert_eq!(rig.machine.state(), VrrpState::Master);
    let since = rig.machine.master_since();
    assert!(whole_story(&mut rig, ms(100)).starts_with("advert 100; "));
    assert_eq!(rig.machine.master_since(), since);
}

#[test]
fn whoever_waits_for_its_skew_time_is_waited_for() {
    let slow = Settings { advert_interval: Centiseconds::try_from(200).unwrap(), ..settings() };
    let mut rig = Rig::standing(slow);
    rig.run(ms(9_000));
    rig.machine.handle_failover(ms(3_000), rig.now);
    // That of the least priority, of an interval of two seconds.
    rig.run(ms(1_993));
    rig.machine.handle_advert(LOWER_ADDRESS, &advert(1), rig.now);
    assert_eq!((rig.machine.state(), rig.machine.reason().0), (VrrpState::Backup, "10.0.0.3 has taken over"));
}

#[test]
fn nobody_is_waited_for_longer_than_a_skew_time_lasts() {
    for (grouped, expect) in [(false, "within 1s;"), (true, "within 3s;")] {
        let mut rig = Rig::in_state(State::Master);
        rig.machine.handle_grouped(grouped, rig.now);
        rig.machine.handle_failover(ms(3_000), rig.now);
        let begun = rig.now;
        let why = loop {
            let outputs: Vec<Output> = std::iter::from_fn(|| rig.machine.poll_output()).collect();
            let refused = outputs.into_iter().find_map(|output| match output {
                Output::SteppedDown(outcome) => outcome.err(),
                _ => None,
            });
            match refused {
                Some(why) => break why,
                None => (rig.now, _) = rig.machine.poll_timeout().unwrap(),
            }
            rig.machine.handle_timeout(rig.now);
        };
        assert!(why.contains(expect), "{why}");
        assert_eq!(rig.now - begun, if grouped { ms(3_000) } else { ms(1_000) });
    }
}

#[test]
fn only_a_master_fails_over() {
    for state in
        [State::Fault, State::Blocked, State::Alone, State::Behind, State::Lingering, State::Stopping]
    {
        let mut rig = Rig::in_state(state);
        rig.machine.handle_failover(ms(1000), rig.now);
        assert_eq!(rig.drain(), "refused", "{state:?}");
    }
}

#[test]
fn a_wish_ends_with_what_made_it_possible() {
    type Event = fn(&mut Machine, Instant);
    let table: [(&str, Event, &str, VrrpState); 3] = [
        (
            "the proxy is gone",
            |m, now| m.handle_eligible(Err("the proxy is down".to_owned()), now),
            "silent, advert 0, release, destroy, refused, FAULT",
            VrrpState::Fault,
        ),
        (
            "it was out",
            |m, now| m.handle_gap(paused(ms(2300)), now),
            "silent, release, destroy, discard, refused, BACKUP",
            VrrpState::Backup,
        ),
        ("it is to stop", |m, now| m.handle_resign(ms(1000), now), "refused", VrrpState::Master),
    ];
    for (case, event, expect, state) in table {
        let mut rig = Rig::in_state(State::Master);
        rig.machine.handle_failover(ms(1000), rig.now);
        rig.drain();
        event(&mut rig.machine, rig.now);
        assert_eq!((rig.drain().as_str(), rig.machine.state()), (expect, state), "{case}");
    }
}

#[test]
fn whoever_stands_back_takes_no_address_until_it_is_let_in() {
    for state in [State::Alone, State::Behind, State::Master, State::Fault, State::Blocked] {
        let mut rig = Rig::in_state(state);
        rig.machine.handle_stand_back(ms(1000), rig.now);
        if state == State::Master {
            rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
            assert_eq!(rig.drain(), "advert 0, silent, drain 5s, FAULT, stepped down");
            assert!(rig.machine.is_lingering());
            rig.machine.handle_eligible(Ok(()), rig.now);
            assert!(rig.machine.is_lingering(), "what is no news ends no connection");
            assert!(whole_story(&mut rig, ms(2000)).contains("hold"));
            rig.machine.handle_emptied(rig.now);
            assert_eq!(rig.drain(), "release, destroy, drained");
        } else {
            assert!(rig.drain().ends_with("stepped down"), "{state:?}");
        }
        rig.machine.handle_interface(Some(OWN), rig.now);
        rig.machine.handle_eligible(Ok(()), rig.now);
        rig.machine.handle_interface(None, rig.now);
        rig.machine.handle_interface(Some(OWN), rig.now);
        rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
        rig.machine.handle_advert(LOWER_ADDRESS, &advert(0), rig.now);
        assert!(!whole_story(&mut rig, ms(5000)).contains("MASTER"), "{state:?}");
        assert!(rig.machine.reason().0.contains("--undo"), "{state:?}");
        rig.machine.handle_stand_in(rig.now);
        assert!(whole_story(&mut rig, ms(500)).contains("MASTER"), "{state:?}");
    }
    let mut rig = Rig::in_state(State::Master);
    rig.machine.handle_stand_back(ms(250), rig.now);
    let story = whole_story(&mut rig, ms(300));
    assert!(
        story.ends_with("keep, advert 100, refused; "),
        "nobody takes over: it keeps the address: {story}"
    );
}

#[test]
fn whoever_is_let_in_before_it_stands_back_is_a_backup() {
    let mut rig = Rig::in_state(State::Master);
    rig.machine.handle_stand_back(ms(1000), rig.now);
    rig.machine.handle_stand_in(rig.now);
    assert_eq!(rig.drain(), "advert 0", "nothing is answered before the peer has taken over");
    rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
    assert_eq!(rig.drain(), "silent, drain 5s, BACKUP, stepped down");

    let mut rig = Rig::in_state(State::Master);
    rig.machine.handle_resign(ms(1000), rig.now);
    rig.machine.handle_stand_in(rig.now);
    rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
    assert!(rig.machine.has_resigned(), "a stop is not taken back");
}

#[test]
fn what_is_configured_during_a_handover_counts_after_it() {
    let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 101));
    let another_address = || Settings { addresses: vec![other], ..settings() };
    let another_router = || Settings { vrid: Vrid::try_from(7).unwrap(), ..settings() };
    type End = fn(&mut Rig);
    let nobody: End = |rig| rig.run(ms(260));
    let taken: End = |rig| rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
    let failed: End = |rig| rig.machine.handle_eligible(Err("no".to_owned()), rig.now);
    for (case, changed, end, state) in [
        ("it stays master of another address", another_address(), nobody, VrrpState::Master),
        ("it leaves as what it was", another_router(), nobody, VrrpState::Backup),
        ("a backup for another address", another_address(), taken, VrrpState::Backup),
        ("a backup of another router", another_router(), taken, VrrpState::Backup),
        ("in fault", another_router(), failed, VrrpState::Fault),
    ] {
        let mut rig = Rig::in_state(State::Master);
        rig.machine.handle_failover(ms(250), rig.now);
        rig.drain();
        rig.machine.reconfigure(changed.clone(), rig.now);
        assert_eq!((rig.drain().as_str(), rig.machine.settings()), ("", &settings()), "{case}");
        end(&mut rig);
        assert_eq!((rig.machine.settings(), rig.machine.state()), (&changed, state), "{case}");
        if state == VrrpState::Master {
            assert_eq!(rig.machine.held(), [other], "{case}");
        }
    }
    // Taken back meanwhile.
    let mut rig = Rig::in_state(State::Master);
    rig.machine.handle_failover(ms(250), rig.now);
    rig.machine.reconfigure(another_router(), rig.now);
    rig.machine.reconfigure(settings(), rig.now);
    rig.run(ms(260));
    assert_eq!((rig.machine.settings(), rig.machine.state()), (&settings(), VrrpState::Master));
}

#[test]
fn without_a_relay_connections_end_before_the_address_moves() {
    let standing = || {
        let mut rig = Rig::in_state(State::Master);
        rig.machine.handle_relays(false);
        rig.machine.handle_resign(ms(1000), rig.now);
        assert_eq!(rig.drain(), "drain first 5s");
        rig
    };
    // The first idle moment.
    let mut rig = standing();
    assert_eq!(whole_story(&mut rig, ms(150)), "advert 100; ");
    rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
    assert_eq!(rig.drain(), "advert 100, warn TwoMasters", "it is master as before");
    rig.machine.handle_emptied(rig.now);
    assert_eq!(rig.drain(), "advert 0");
    rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
    assert_eq!(rig.drain(), "silent, clear TwoMasters, drain 100ms, BACKUP");
    let story = told(&mut rig, ms(800));
    assert_eq!(story.last(), Some(&at(1_850_000, "release, destroy, drained, FAULT, resigned")));
    // Or the bound.
    let mut rig = standing();
    let story = told(&mut rig, ms(5100));
    let releases = story.iter().position(|(_, told)| told.contains("advert 0")).unwrap();
    assert_eq!(story[releases].0, ms(6500));
    // And nobody relays to an old master.
    let mut rig = Rig::in_state(State::Behind);
    rig.machine.handle_relays(false);
    rig.machine.handle_advert(HIGHER_ADDRESS, &advert(0), rig.now);
    assert!(!whole_story(&mut rig, ms(1000)).contains("relay"));
}

#[test]
fn clients_are_told_only_after_a_move_that_nobody_has_planned() {
    let heard = |priority: u8| {
        move |rig: &mut Rig| rig.machine.handle_advert(HIGHER_ADDRESS, &advert(priority), rig.now)
    };
    let gone = |rig: &mut Rig| rig.machine.handle_peer(HIGHER_ADDRESS, PeerNews::Gone, rig.now);
    type Before = Box<dyn Fn(&mut Rig)>;
    let table: [(&str, Vec<Before>, bool); 7] = [
        ("nobody was heard", vec![], false),
        ("it is silent", vec![Box::new(heard(150))], true),
        ("its process is gone", vec![Box::new(heard(150)), Box::new(gone)], true),
        ("it has released", vec![Box::new(heard(150)), Box::new(heard(0))], false),
        ("it is the lesser one", vec![Box::new(heard(50))], false),
        ("it is the lesser one, and gone", vec![Box::new(heard(50)), Box::new(gone)], true),
        ("it came back", vec![Box::new(heard(150)), Box::new(gone), Box::new(heard(0))], false),
    ];
    for relays in [true, false] {
        for (what, before, expect) in &table {
            let mut rig = Rig::standing(settings());
            rig.machine.handle_relays(relays);
            before.iter().for_each(|event| event(&mut rig));
            let story = whole_story(&mut rig, ms(500));
            let told = story.find("tell clients of 10.0.0.7");
            assert_eq!(told.is_some(), *expect, "{what}: {story}");
            assert!(told.is_none_or(|at| story.find("announce").is_some_and(|announced| announced < at)));
            assert_eq!(rig.machine.state(), VrrpState::Master, "{what}");
        }
    }
}
