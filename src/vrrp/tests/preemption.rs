//! Who replaces a master that is alive, when, and what a changed priority does to that.

use super::stories::{at, told};
use super::*;

#[test]
fn preemption_is_a_timer_that_a_lesser_master_does_not_reset() {
    for (preempt, expect) in [(true, VrrpState::Master), (false, VrrpState::Backup)] {
        let mut rig = Rig::standing(Settings { preempt, ..settings() });
        for _ in 0..5 {
            rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
            rig.run(ms(100));
        }
        assert_eq!(rig.machine.state(), expect, "preempt {preempt}");
    }
}

#[test]
fn a_lesser_master_is_left_alone_for_the_configured_delay() {
    let waiting = Settings { preempt_delay: ms(1000), ..settings() };
    let hear = |rig: &mut Rig, priority: u8| {
        rig.machine.handle_advert(LOWER_ADDRESS, &advert(priority), rig.now);
        rig.run(ms(100));
    };
    // Ten adverts are listened to, the last of them 900 ms after the first; then the down timer runs out.
    let mut rig = Rig::standing(waiting.clone());
    for _ in 0..12 {
        hear(&mut rig, 50);
        assert_eq!(rig.machine.state(), VrrpState::Backup, "{:?}", rig.now - rig.start);
    }
    let takeover = "relay to 10.0.0.3, hold, answer, advert 100, announce, MASTER";
    assert_eq!(told(&mut rig, ms(61)), [at(1_260_937, takeover)]);
    assert_eq!(rig.machine.reason().0, "10.0.0.3 has the lower priority 50");

    // A better one in between begins the delay anew.
    let mut rig = Rig::standing(waiting.clone());
    (0..8).for_each(|_| hear(&mut rig, 50));
    hear(&mut rig, 150);
    for _ in 0..12 {
        hear(&mut rig, 50);
        assert_eq!(rig.machine.state(), VrrpState::Backup);
    }

    // One that falls silent or gives up is replaced as any other.
    for (priority, reason) in [(50, "10.0.0.3 is silent for 361ms"), (0, "10.0.0.3 has released it")] {
        let mut rig = Rig::standing(waiting.clone());
        hear(&mut rig, 50);
        hear(&mut rig, priority);
        rig.run(ms(300));
        assert_eq!((rig.machine.state(), rig.machine.reason().0), (VrrpState::Master, reason));
    }

    // The owner of the addresses waits for nobody: after a freeze it listens for a down interval.
    let mut rig = Rig::standing(Settings { priority: Priority::OWNER, ..waiting });
    rig.machine.handle_gap(paused(ms(2300)), rig.now);
    rig.drain();
    (0..4).for_each(|_| hear(&mut rig, 50));
    assert_eq!(rig.machine.state(), VrrpState::Master);
}

#[test]
fn an_owner_preempts_whatever_is_configured() {
    let mut rig = Rig::standing(Settings { preempt: false, ..settings() });
    rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
    rig.machine.reconfigure(Settings { priority: Priority::OWNER, preempt: false, ..settings() }, rig.now);
    assert_eq!(rig.machine.state(), VrrpState::Master);
}

#[test]
fn an_edit_that_ends_preemption_spares_the_master_that_is_there() {
    let table = [
        ("the owner becomes a backup that does not preempt", Priority::OWNER, 209, 50, true),
        ("it is the better one, as before", Priority::OWNER, 209, 250, true),
        ("what has been given up is nobody's", Priority::OWNER, 209, 0, false),
    ];
    for (what, before, after, master, spared) in table {
        let settings = Settings { priority: before, preempt: false, ..settings() };
        let mut rig = Rig::standing(settings.clone());
        // After a freeze the owner waits for its turn as well.
        rig.machine.handle_gap(paused(ms(2300)), rig.now);
        rig.drain();
        for _ in 0..3 {
            rig.machine.handle_advert(LOWER_ADDRESS, &advert(master), rig.now);
            rig.run(ms(90));
        }
        let after = Priority::try_from(after).unwrap();
        if rig.machine.state() == VrrpState::Backup {
            rig.machine.reconfigure(Settings { priority: after, ..settings }, rig.now);
        }
        for _ in 0..6 {
            if master > 0 {
                rig.machine.handle_advert(LOWER_ADDRESS, &advert(master), rig.now);
            }
            rig.run(ms(90));
        }
        assert_eq!(rig.machine.state() == VrrpState::Backup, spared, "{what}");
    }
}

#[test]
fn a_priority_that_changes_moves_what_is_left_of_the_down_interval_in_proportion() {
    let with = |priority| Settings { priority: Priority::try_from(priority).unwrap(), ..settings() };
    let left = |rig: &Rig| rig.machine.poll_timeout().map(|(at, _)| (at - rig.now).as_micros());
    let mut rig = Rig::standing(with(56));
    rig.machine.handle_advert(HIGHER_ADDRESS, &advert(200), rig.now);
    // 300 ms and a skew time of 78.125 ms, half of it over.
    rig.now += Duration::from_nanos(378_125_000 / 2);
    assert_eq!(left(&rig), Some(189_062));
    // The skew time is (256 - 156) / 256 of 100 ms.
    rig.machine.reconfigure(with(156), rig.now);
    assert_eq!(left(&rig), Some((300_000 + 39_062) / 2));
    rig.machine.reconfigure(with(56), rig.now);
    assert_eq!(left(&rig), Some(189_062));
    assert_eq!(rig.drain(), "");

    // It becomes the better one, and what it hears no more resets the timer; then it is the lesser one again.
    rig.machine.reconfigure(with(201), rig.now);
    let running = left(&rig).unwrap();
    rig.machine.handle_advert(HIGHER_ADDRESS, &advert(200), rig.now);
    assert_eq!(left(&rig), Some(running));
    rig.machine.reconfigure(with(56), rig.now);
    assert_eq!(left(&rig), Some(378_125), "it listens for a whole interval");

    // A master says it at once, and goes on in its rhythm from there.
    let mut rig = Rig::in_state(State::Master);
    rig.machine.reconfigure(with(80), rig.now);
    assert_eq!((rig.drain().as_str(), rig.machine.state()), ("hold, advert 80", VrrpState::Master));
    assert_eq!(left(&rig), Some(100_000));
}
