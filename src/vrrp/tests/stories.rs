//! What takes more than one event to tell: takeovers, fences, conflicts, handovers, changes of the configuration.

use super::*;

pub(super) fn at(micros: u64, told: &str) -> (Duration, String) {
    (us(micros), told.to_owned())
}

/// Without the nanoseconds: timers are exact, tables are for people.
pub(super) fn told(rig: &mut Rig, duration: Duration) -> Vec<(Duration, String)> {
    let micros = |d: Duration| Duration::from_micros(d.as_micros().try_into().unwrap());
    rig.story(duration).into_iter().map(|(d, told)| (micros(d), told)).collect()
}

#[test]
fn a_lonely_node_takes_over_and_announces_on_schedule() {
    let mut rig = Rig::standing(settings());
    let story = told(&mut rig, ms(1400));
    let expect = [
        at(360_937, "hold, answer, advert 100, announce, MASTER"),
        at(370_937, "announce"),
        at(410_937, "announce"),
        at(460_937, "advert 100, announce"),
        at(560_937, "advert 100"),
        at(660_937, "advert 100"),
        at(760_937, "advert 100"),
        at(860_937, "advert 100, hold, announce"),
        at(960_937, "advert 100"),
        at(1_060_937, "advert 100"),
        at(1_160_937, "advert 100"),
        at(1_260_937, "advert 100"),
        at(1_360_937, "advert 100, hold, announce"),
    ];
    assert_eq!(story, expect);
    assert_eq!(rig.machine.reason().0, "no master was heard for 361ms");
}

#[test]
fn a_lease_is_renewed_together_with_an_advert() {
    let mut rig = Rig::in_state(State::Master);
    // Each timer is served a little late, now more and now less.
    let mut late = [300, 100, 200].into_iter().cycle().map(us);
    let mut renewals = 0;
    for _ in 0..200 {
        let (due, _) = rig.machine.poll_timeout().unwrap();
        rig.now = due + late.next().unwrap();
        rig.machine.handle_timeout(rig.now);
        let told = rig.drain();
        assert!(told.contains("advert 100"), "{told:?}");
        renewals += usize::from(told.contains("hold"));
    }
    assert_eq!(renewals, 40, "each half of a second, with every fifth advert");
}

#[test]
fn it_first_stands_when_interface_and_proxy_are_both_there() {
    let mut rig = Rig::new(settings());
    assert_eq!(rig.machine.reason().0, "starting");
    rig.machine.handle_eligible(Ok(()), rig.now);
    assert_eq!(
        (rig.drain().as_str(), rig.machine.reason().0),
        ("FAULT", "no interface for the virtual addresses")
    );
    rig.machine.handle_interface(Some(OWN), rig.now);
    assert_eq!(rig.drain(), "BACKUP, probe");
    rig.machine.handle_eligible(Err("the proxy is down".to_owned()), rig.now);
    assert_eq!((rig.drain().as_str(), rig.machine.reason().0), ("FAULT", "the proxy is down"));
    rig.machine.handle_eligible(Err("the proxy is down".to_owned()), rig.now);
    assert_eq!(rig.drain(), "", "the same reason is no news");
    assert_eq!(rig.machine.poll_timeout(), None);
}

#[test]
fn the_owner_of_the_addresses_does_not_wait() {
    let mut rig = Rig::new(Settings { priority: Priority::OWNER, preempt: false, ..settings() });
    rig.machine.handle_interface(Some(OWN), rig.now);
    rig.machine.handle_eligible(Ok(()), rig.now);
    assert_eq!(rig.drain(), "hold, answer, advert 255, announce, MASTER");
}

#[test]
fn the_owner_of_the_addresses_costs_a_living_master_no_connection() {
    let table = [
        (100, ms(0), "relay to 10.0.0.7, hold, answer, advert 255, announce, MASTER"),
        (100, ms(299), "relay to 10.0.0.7, hold, answer, advert 255, announce, MASTER"),
        (0, ms(299), "relay to 10.0.0.7, hold, answer, advert 255, announce, MASTER"),
        (100, ms(300), "hold, answer, advert 255, announce, MASTER"),
        // Another owner gives nothing up.
        (255, ms(0), "hold, answer, advert 255, announce, MASTER"),
    ];
    for (priority, silent, expect) in table {
        let mut rig = Rig::new(Settings { priority: Priority::OWNER, ..settings() });
        rig.machine.handle_interface(Some(OWN), rig.now);
        rig.machine.handle_advert(HIGHER_ADDRESS, &advert(priority), rig.now);
        rig.now += silent;
        rig.drain();
        rig.machine.handle_eligible(Ok(()), rig.now);
        assert_eq!(rig.drain(), expect, "priority {priority}, silent for {silent:?}");
    }
}

#[test]
fn version_3_waits_by_the_masters_interval_and_version_2_by_its_own() {
    let slow = |mut advert: Advert| {
        advert.interval = Centiseconds::try_from(100).unwrap();
        advert
    };
    for (version, expect) in [(VrrpVersion::V3, us(3_609_375)), (VrrpVersion::V2, us(300_000 + 609_375))] {
        let mut rig = Rig::standing(Settings { version, ..settings() });
        rig.machine.handle_advert(HIGHER_ADDRESS, &slow(advert(150)), rig.now);
        let (at, why) = rig.machine.poll_timeout().unwrap();
        assert_eq!((at - rig.now, why), (expect, "the master is silent"), "{version:?}");
    }
}

#[test]
fn a_release_is_followed_within_the_skew_time() {
    let mut rig = Rig::in_state(State::Behind);
    rig.machine.handle_advert(HIGHER_ADDRESS, &advert(0), rig.now);
    assert_eq!(rig.machine.heard_master(), None);
    let takeover = "relay to 10.0.0.7, hold, answer, advert 100, announce, MASTER";
    assert_eq!(told(&mut rig, ms(61)), [at(110_937, takeover)]);
    assert_eq!(rig.machine.reason().0, "10.0.0.7 has released it");
    rig.run(ms(5450));
    assert_eq!(rig.machine.relays_to(), Some(HIGHER_ADDRESS));
    assert!(whole_story(&mut rig, ms(100)).contains("end relay"));
}

#[test]
fn a_master_that_was_silent_too_long_fences_itself_whatever_wakes_it() {
    type Wake = fn(&mut Machine, Instant);
    let wakes: [(&str, Wake); 8] = [
        ("ARP request", |m, now| _ = m.answers(now)),
        ("timer", |m, now| m.handle_timeout(now)),
        ("advert of a lesser peer", |m, now| m.handle_advert(LOWER_ADDRESS, &advert(50), now)),
        ("claim", |m, now| m.handle_claim(PEERS_CLAIM, now)),
        ("gap", |m, now| m.handle_gap(Gap { length: ms(1), hidden: ms(0) }, now)),
        ("interface", |m, now| m.handle_interface(Some(HIGHER_ADDRESS), now)),
        ("eligibility", |m, now| m.handle_eligible(Ok(()), now)),
        ("configuration", |m, now| m.reconfigure(Settings { lease: ms(2000), ..settings() }, now)),
    ];
    for (case, wake) in wakes {
        // The last advert went out at 1360.9375 ms, 39.0625 ms ago.
        let mut rig = Rig::in_state(State::Master);
        rig.now += us(300_000 - 39_063);
        wake(&mut rig.machine, rig.now);
        assert_eq!(rig.machine.state(), VrrpState::Master, "{case}: merely late");

        let mut rig = Rig::in_state(State::Master);
        rig.now += us(300_000 - 39_062);
        wake(&mut rig.machine, rig.now);
        assert_eq!(rig.drain(), "silent, release, destroy, discard, BACKUP", "{case}");
        assert_eq!(rig.machine.reason().0, "did not run for 300.0ms", "{case}");
        let (down, _) = rig.machine.poll_timeout().unwrap();
        assert_eq!((down - rig.now).as_micros(), 360_937, "{case}: a whole down interval");
    }
}

#[test]
fn a_lease_that_ran_out_fences_though_no_peer_could_be_master_yet() {
    let slow = Settings { advert_interval: Centiseconds::try_from(100).unwrap(), ..settings() };
    for (late, expect) in [(ms(999), VrrpState::Master), (ms(1000), VrrpState::Backup)] {
        let mut rig = Rig::standing(slow.clone());
        rig.run(us(3_609_375));
        assert_eq!(rig.machine.state(), VrrpState::Master);
        rig.now += late;
        rig.machine.handle_timeout(rig.now);
        assert_eq!(rig.machine.state(), expect, "{late:?}");
    }
}

#[test]
fn nopreempt_survives_a_pause() {
    for preempt in [true, false] {
        let mut rig = Rig::standing(Settings { preempt, ..settings() });
        rig.run(ms(1400));
        rig.machine.handle_gap(paused(ms(2300)), rig.now);
        assert_eq!(rig.machine.reason().0, "did not run for 2.3s");
        for _ in 0..20 {
            rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
            rig.run(ms(100));
        }
        let expect = if preempt { VrrpState::Master } else { VrrpState::Backup };
        assert_eq!(rig.machine.state(), expect, "preempt {preempt}");
    }
}

#[test]
fn a_late_down_timer_is_excused_once_and_a_very_late_one_always() {
    let late_by = |rig: &mut Rig, late: Duration| {
        let (due, _) = rig.machine.poll_timeout().unwrap();
        rig.now = due + late;
        rig.machine.handle_timeout(rig.now);
        let told = rig.drain();
        let next = rig.machine.poll_timeout().map(|(at, why)| (at - rig.now, why));
        (told, next.filter(|(_, why)| *why == "the master is silent").map(|(wait, _)| wait.as_millis()))
    };
    let takeover = "hold, answer, advert 100, announce, tell clients of 10.0.0.7, MASTER";
    let mut rig = Rig::in_state(State::Behind);
    assert_eq!(late_by(&mut rig, ms(500)), ("discard".to_owned(), Some(360)), "as long as a takeover takes");
    assert_eq!(late_by(&mut rig, ms(500)), ("discard".to_owned(), Some(360)), "and again");
    assert_eq!(late_by(&mut rig, ms(50)).0, takeover, "excused before");

    let mut rig = Rig::in_state(State::Behind);
    assert_eq!(late_by(&mut rig, ms(50)), (String::new(), Some(50)), "time given back");
    assert_eq!(late_by(&mut rig, ms(50)).0, takeover, "but once");

    let mut rig = Rig::in_state(State::Behind);
    assert_eq!(late_by(&mut rig, ms(2)).0, takeover, "as timers are");
}

#[test]
fn a_stranger_is_waited_out() {
    let mut rig = Rig::standing(settings());
    rig.machine.handle_claim(STRANGERS_CLAIM, rig.now);
    let story = told(&mut rig, ms(1300));
    assert_eq!(story, [at(360_937, "FAULT, warn Stranger, probe")]);
    assert_eq!(
        rig.machine.reason().0,
        "10.0.0.100 is answered by 02:00:00:00:00:09, which is no configured peer"
    );
    rig.machine.handle_claim(STRANGERS_CLAIM, rig.now);
    let story = told(&mut rig, ms(3361));
    let expect = [
        at(1_360_937, "probe"),
        at(2_360_937, "probe"),
        at(3_360_937, "probe"),
        at(4_300_000, "clear Stranger, BACKUP, probe"),
        at(4_660_937, "hold, answer, advert 100, announce, MASTER"),
    ];
    assert_eq!(story, expect);
}

#[test]
fn a_masters_own_answer_to_the_probe_is_no_stranger() {
    let mut rig = Rig::standing(settings());
    rig.machine.handle_claim(STRANGERS_CLAIM, rig.now);
    rig.run(ms(50));
    rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
    rig.run(ms(400));
    assert_eq!(rig.machine.state(), VrrpState::Master);
}

#[test]
fn defence_is_bounded_and_begins_anew_after_quiet() {
    let mut rig = Rig::in_state(State::Master);
    let defences = |rig: &mut Rig, millis: u64| {
        let mut n = 0;
        for _ in 0..millis {
            rig.machine.handle_claim(STRANGERS_CLAIM, rig.now);
            let mut told = rig.drain();
            told += &whole_story(rig, ms(1));
            n += told.matches("announce").count();
        }
        n
    };
    assert_eq!(defences(&mut rig, 99), 1, "the first at once, the next after 100 ms");
    assert_eq!(defences(&mut rig, 901), 9, "one per 100 ms");
    assert_eq!(defences(&mut rig, 20_000), 0, "ten, then no more while it goes on");
    let story = told(&mut rig, ms(1100));
    assert!(story.iter().any(|(_, told)| told.contains("clear Stranger")), "{story:?}");
    assert_eq!(defences(&mut rig, 1000), 10, "after quiet it is another conflict");
}

#[test]
fn a_claim_right_after_the_takeover_makes_no_more_than_the_announcements_leave_room_for() {
    let mut rig = Rig::standing(settings());
    let mut frames = 0;
    for millis in 0..1361 {
        rig.now = rig.start + ms(millis);
        rig.machine.handle_timeout(rig.now);
        if rig.machine.state() == VrrpState::Master {
            rig.machine.handle_claim(STRANGERS_CLAIM, rig.now);
        }
        while let Some(output) = rig.machine.poll_output() {
            frames += usize::from(matches!(output, Output::Announce { .. }));
        }
    }
    // Five steps of two frames, and a defence 200, 300, 400, 600, 700, 800 and 900 ms after the first.
    assert_eq!(frames, 17, "in the first second");
}

pub(super) fn whole_story(rig: &mut Rig, duration: Duration) -> String {
    rig.story(duration).into_iter().map(|(_, told)| told + "; ").collect()
}

#[test]
fn a_peers_claim_is_first_an_election() {
    let mut rig = Rig::in_state(State::Master);
    rig.machine.handle_claim(PEERS_CLAIM, rig.now);
    assert_eq!(rig.drain(), "advert 100");
    rig.run(ms(99));
    let mut won = rig;
    assert_eq!(
        told(&mut won, ms(1)),
        [at(1_600_000, "advert 100, announce")],
        "still master: the last word is ours"
    );

    let mut rig = Rig::in_state(State::Master);
    rig.machine.handle_claim(PEERS_CLAIM, rig.now);
    rig.machine.handle_advert(HIGHER_ADDRESS, &advert(150), rig.now);
    rig.drain();
    assert_eq!(told(&mut rig, ms(300)), [], "the winner's announcement stands");
}

#[test]
fn a_peer_that_lost_is_answered_and_then_announced_over() {
    let mut rig = Rig::in_state(State::Master);
    for _ in 0..30 {
        rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
        rig.run(ms(100));
    }
    let story = whole_story(&mut rig, ms(1000));
    assert_eq!(story.matches("announce").count(), 1, "{story}");
    assert!(story.contains("announce, clear TwoMasters"), "{story}");
}

#[test]
fn an_advert_that_crosses_the_first_one_is_no_second_master() {
    for (after, warns) in [(0, false), (49, false), (50, true)] {
        let mut rig = Rig::standing(settings());
        while rig.machine.state() != VrrpState::Master {
            rig.run(ms(1));
        }
        rig.run(ms(after));
        rig.drain();
        rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
        assert_eq!(rig.drain().contains("warn TwoMasters"), warns, "after {after} ms");
    }
}

#[test]
fn a_reconfigured_master_stays_master_and_says_what_changed() {
    let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 101));
    type Change = fn(&mut Settings);
    let table: [(&str, Change, &str); 6] = [
        ("nothing", |_| {}, ""),
        ("priority", |s| s.priority = Priority::try_from(150).unwrap(), "hold, advert 150"),
        ("interval", |s| s.advert_interval = Centiseconds::try_from(50).unwrap(), "hold, advert 100"),
        ("lease", |s| s.lease = Duration::from_secs(5), "hold, advert 100"),
        (
            "another address",
            |s| s.addresses = vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 101))],
            "release, destroy, hold, answer, advert 100, announce",
        ),
        (
            "another router id",
            |s| s.vrid = Vrid::try_from(7).unwrap(),
            "silent, advert 0, release, destroy, FAULT, BACKUP, probe",
        ),
    ];
    for (case, change, expect) in table {
        let mut rig = Rig::in_state(State::Master);
        let mut changed = settings();
        change(&mut changed);
        rig.machine.reconfigure(changed, rig.now);
        assert_eq!(rig.drain(), expect, "{case}");
    }
    let mut rig = Rig::in_state(State::Master);
    rig.machine.reconfigure(Settings { addresses: vec![VIP, other], ..settings() }, rig.now);
    let released = std::iter::from_fn(|| rig.machine.poll_output())
        .find(|output| matches!(output, Output::Release { .. } | Output::DestroySockets { .. }));
    assert_eq!(released, None, "an address that stays is not touched");
}

#[test]
fn what_is_released_is_what_was_held() {
    let mut rig = Rig::in_state(State::Lingering);
    let other = vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 101))];
    rig.machine.reconfigure(Settings { addresses: other, ..settings() }, rig.now);
    rig.machine.handle_emptied(rig.now);
    let outputs: Vec<_> = std::iter::from_fn(|| rig.machine.poll_output()).collect();
    assert!(outputs.contains(&Output::Release { addresses: vec![VIP] }), "{outputs:?}");
}

#[test]
fn an_exchanged_interface_is_taken_over_anew() {
    let mut rig = Rig::in_state(State::Master);
    rig.machine.handle_interface(Some(HIGHER_ADDRESS), rig.now);
    assert_eq!(rig.drain(), "hold, answer, advert 100, announce");
    rig.machine.handle_interface(None, rig.now);
    rig.machine.handle_interface(Some(OWN), rig.now);
    assert_eq!(rig.drain(), "silent, release, destroy, FAULT, BACKUP, probe");
}

#[test]
fn timers_that_fire_early_or_twice_do_nothing() {
    for state in [State::Alone, State::Behind, State::Master, State::Resigning, State::Blocked] {
        let mut rig = Rig::in_state(state);
        let before = rig.machine.poll_timeout();
        rig.machine.handle_timeout(rig.now);
        rig.machine.handle_timeout(rig.now);
        assert_eq!((rig.drain().as_str(), rig.machine.poll_timeout()), ("", before), "{state:?}");
    }
}

#[test]
fn only_a_master_answers_and_only_while_it_runs() {
    for state in [State::Fault, State::Blocked, State::Alone, State::Behind, State::Lingering, State::Stopped]
    {
        let mut rig = Rig::in_state(state);
        assert!(!rig.machine.answers(rig.now), "{state:?}");
    }
    for state in [State::Master, State::Resigning] {
        let mut rig = Rig::in_state(state);
        assert!(rig.machine.answers(rig.now), "{state:?}");
        assert!(!rig.machine.answers(rig.now + ms(400)), "{state:?} that waited with its answer");
    }
}
