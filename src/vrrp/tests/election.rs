//! Clauses of RFC 9568 section 6.4 that one event alone does not show: what is learnt of whom, who gives way, and which
//! timer runs on.

use super::stories::{at, told};
use super::*;

/// Every 500 ms, where this node is configured to 100 ms.
fn slow(priority: u8) -> Advert {
    Advert { interval: Centiseconds::try_from(50).unwrap(), ..advert(priority) }
}

fn down(rig: &Rig) -> Option<u128> {
    rig.machine.timers.deadline(timers::Timer::Down).map(|at| (at - rig.now).as_micros())
}

/// Three intervals and the skew time of priority 100, (256 - 100) / 256 of one.
fn down_interval(interval_ms: u128) -> Option<u128> {
    Some(interval_ms * 1000 * 3 + interval_ms * 1000 * 156 / 256)
}

#[test]
fn the_interval_of_an_accepted_master_is_learnt_and_that_of_a_discarded_one_is_not() {
    let lesser = |preempt| Rig::standing(Settings { preempt, ..settings() });
    let table = [
        ("a better one", lesser(true), 150, down_interval(500)),
        ("an equal one", lesser(true), 100, down_interval(500)),
        ("a lesser one that is not preempted", lesser(false), 50, down_interval(500)),
        ("a lesser one", lesser(true), 50, down_interval(100)),
        ("one to which a master gives way", Rig::in_state(State::Master), 150, down_interval(500)),
    ];
    for (case, mut rig, priority, expect) in table {
        rig.machine.handle_advert(HIGHER_ADDRESS, &slow(priority), rig.now);
        assert_eq!((rig.machine.state(), down(&rig)), (VrrpState::Backup, expect), "{case}");
        // Of the interval that counts, not of the one that the release says.
        rig.machine.handle_advert(HIGHER_ADDRESS, &advert(0), rig.now);
        let skew = if expect == down_interval(500) { 500_000 } else { 100_000 } * 156 / 256;
        assert_eq!(down(&rig), Some(skew), "{case}: Skew_Time");
    }
}

#[test]
fn who_stands_anew_has_learnt_nothing() {
    let mut rig = Rig::standing(settings());
    rig.machine.handle_advert(HIGHER_ADDRESS, &slow(150), rig.now);
    rig.machine.handle_eligible(Err("the proxy is down".to_owned()), rig.now);
    assert_eq!(down(&rig), None, "Shutdown");
    rig.machine.handle_eligible(Ok(()), rig.now);
    assert_eq!(down(&rig), down_interval(100), "Startup");
}

#[test]
fn a_release_of_somebody_else_is_answered_and_begins_the_rhythm_anew() {
    let mut rig = Rig::in_state(State::Master);
    // The last advert left at 1460.9375 ms.
    rig.machine.handle_advert(LOWER_ADDRESS, &advert(0), rig.now);
    assert_eq!(rig.drain(), "advert 100");
    let expect = [at(1_600_000, "advert 100"), at(1_700_000, "advert 100")];
    assert_eq!(told(&mut rig, ms(200)), expect, "Adver_Timer is set to Advertisement_Interval");
}

#[test]
fn an_owner_advertises_from_the_start_on() {
    let mut rig = Rig::standing(Settings { priority: Priority::OWNER, ..settings() });
    let adverts = |(at, told): &(Duration, String)| told.contains("advert 255").then_some(at.as_millis());
    let times: Vec<_> = told(&mut rig, ms(350)).iter().filter_map(adverts).collect();
    assert_eq!(times, [100, 200, 300]);
}

/// "Based on an unsigned integer comparison of the IPvX addresses in network byte order".
#[test]
fn of_two_equal_masters_the_one_with_the_lower_address_gives_way() {
    let table = [
        ("10.0.0.5", "10.0.0.6", true),
        ("10.0.0.5", "10.0.0.4", false),
        ("10.0.0.5", "10.0.1.0", true),
        ("10.0.0.5", "9.255.255.255", false),
        ("10.0.0.5", "200.0.0.1", true),
        ("200.0.0.1", "10.0.0.5", false),
        ("fe80::5", "fe80::6", true),
        ("fe80::1:0:0:0", "fe80::ffff", false),
        ("fe80::7fff:0:0:0", "fe80::8000:0:0:0", true),
    ];
    for (own, peer, gives_way) in table {
        for priority in [Priority::DEFAULT, Priority::OWNER] {
            let mut rig = Rig::new(Settings { priority, ..settings() });
            rig.machine.handle_interface(Some(own.parse().unwrap()), rig.now);
            rig.machine.handle_eligible(Ok(()), rig.now);
            rig.run(ms(420));
            rig.machine.handle_advert(peer.parse().unwrap(), &advert(priority.get()), rig.now);
            let is = (rig.machine.state() == VrrpState::Backup, rig.drain().contains("warn TwoMasters"));
            assert_eq!(is, (gives_way, !gives_way), "{priority:?}: {own} hears {peer}");
        }
    }
}
