//! How long a backup bears the silence of a master, what it promises of that, and what the master relies on.

use super::silence::{MASTER, TAKEOVER, goes_on, one_peer};
use super::*;

#[test]
fn a_late_peer_gets_three_times_its_lateness_and_a_throttled_one_two_periods() {
    use PeerNews::{Late, Quota};
    // What is said; after how much silence this node asks, a third of it before it takes over; what it promises of that.
    let table: [(&[PeerNews], Duration, Duration); 8] = [
        (&[Late(ms(0))], ms(300), ms(300)),
        (&[Late(ms(100))], ms(300), ms(300)),
        (&[Late(ms(150))], us(337_500), us(337_500)),
        (&[Quota(ms(100))], ms(300), ms(300)),
        (&[Quota(ms(210))], ms(420), ms(420)),
        (&[Late(ms(150)), Quota(ms(200))], ms(400), ms(400)),
        // A lesser one waits until the greater does not count any more, and is what is promised from now on.
        (&[Late(ms(150)), Late(ms(10)), Quota(ms(200)), Quota(ms(0))], ms(400), ms(300)),
        // Who is later than this is frozen.
        (&[Late(ms(5000))], PATIENCE_MAX, PATIENCE_MAX),
    ];
    for (news, expect, promised) in table {
        let rig = || {
            let mut rig = Rig::behind(true, 150);
            rig.news(PeerNews::Askable(true));
            news.iter().for_each(|news| rig.news(*news));
            rig
        };
        let mut asks = rig();
        assert_eq!(asks.next(), (expect + ms(100) / 256, format!("ask {MASTER}")), "{news:?}");
        assert_eq!(asks.next(), (expect / 3, TAKEOVER.to_owned()), "{news:?}");
        let mut rig = rig();
        let relied = rig.machine.promise(MASTER, rig.now);
        assert_eq!(relied, promised + promised / 4, "what the peer may rely on: {news:?}");
        rig.now += PATIENCE_KEPT;
        rig.hear(150);
        assert_eq!(rig.next().0, one_peer(), "it was not said again: {news:?}");
    }
}

/// Where there is no time for an answer it waits as long without one.
#[test]
fn a_late_peer_that_cannot_be_asked_gets_three_times_its_lateness_as_well() {
    use PeerNews::{Askable, Late};
    let table: [&[PeerNews]; 3] =
        [&[Late(ms(150))], &[Askable(true), Late(ms(150)), Askable(false)], &[Late(ms(150)), Askable(false)]];
    for news in table {
        let mut rig = Rig::behind(true, 150);
        news.iter().for_each(|news| rig.news(*news));
        assert_eq!(rig.next(), (ms(450) + ms(100) / 256, TAKEOVER.to_owned()), "{news:?}");
    }
    // Nor does it get more of it because this node has stood still.
    let mut rig = Rig::behind(true, 150);
    rig.news(Askable(true));
    rig.news(Late(ms(160)));
    rig.machine.handle_gap(paused(ms(1500)), rig.now);
    rig.drain();
    assert_eq!(rig.next(), (ms(360) + ms(100) / 256, format!("ask {MASTER}")));
    assert_eq!(rig.next(), (ms(120), TAKEOVER.to_owned()));
}

/// Reports of a falling lateness, each with the promise that answers it: until that one has ended, this node waits for no
/// less, however much was reported in between.
#[test]
fn no_promise_is_answered_that_ends_before_it_is_relied_on() {
    let mut rig = Rig::behind(true, 150);
    let start = rig.now;
    let reports: Vec<(u64, u64)> =
        [(0, 200), (9_900, 110)].into_iter().chain((0..40).map(|n| (10_000 + 100 * n, 105 - n))).collect();
    let mut promised = vec![];
    for (at, late) in reports {
        rig.now = start + ms(at);
        // The first one may have waited while this node did not run.
        rig.hear(150);
        rig.hear(150);
        rig.news(PeerNews::Late(ms(late)));
        promised.push((rig.now, rig.machine.promise(MASTER, rig.now)));
        rig.hear(150);
        let silent = rig.machine.poll_timeout().unwrap().0 - rig.now;
        let waits = silent + silent / 3;
        for (since, bound) in &promised {
            let relied = rig.now < *since + ms(9_000);
            assert!(!relied || waits >= *bound, "at {at} ms {waits:?} of {bound:?} is waited");
        }
    }
    assert_eq!(promised[1].1, us(412_500), "the greater one ends 100 ms after this answer");
    rig.now = start + ms(13_900) + PATIENCE_KEPT;
    rig.hear(150);
    assert_eq!(rig.next().0, one_peer(), "nothing was said again");
}

/// A part of the time for its answer is promised with the rest, and is waited whether or not it can still be asked.
#[test]
fn time_for_an_answer_is_promised_and_kept() {
    let (relied, skew) = (ms(375), ms(100) / 256);
    let table: [(&str, &[PeerNews], Duration, &str); 6] = [
        ("it is asked", &[], ms(400) + skew, "ask 10.0.0.7"),
        ("the link has broken", &[PeerNews::Askable(false)], relied + skew, ""),
        (
            "it is linked again",
            &[PeerNews::Askable(false), PeerNews::Askable(true)],
            ms(400) + skew,
            "ask 10.0.0.7",
        ),
        ("its process has ended", &[PeerNews::Gone], ms(150) + skew, ""),
        ("and another is there", &[PeerNews::Gone, PeerNews::Askable(true)], ms(400) + skew, "ask 10.0.0.7"),
        ("another cannot be asked", &[PeerNews::Restarted, PeerNews::Askable(false)], relied + skew, ""),
    ];
    for (what, news, expect, first) in table {
        let mut rig = Rig::behind(true, 150);
        rig.news(PeerNews::Askable(true));
        assert_eq!(rig.machine.promise(MASTER, rig.now), relied);
        let since = rig.now;
        news.iter().for_each(|news| rig.news(*news));
        let (mut told, mut asked) = (rig.next().1, String::new());
        if told == first {
            (asked, told) = (told, rig.next().1);
        }
        assert_eq!((asked.as_str(), told.as_str(), rig.now - since), (first, TAKEOVER, expect), "{what}");
    }
}

#[test]
fn an_edit_takes_no_promise_back_and_time_ends_it() {
    let mut rig = Rig::behind(true, 150);
    rig.machine.promise(MASTER, rig.now);
    let hurried = Settings { advert_interval: Centiseconds::try_from(1).unwrap(), ..settings() };
    rig.machine.handle_advert(MASTER, &hurried.advert(150), rig.now);
    rig.drain();
    assert_eq!(rig.next(), (ms(375) + ms(10) / 256, TAKEOVER.to_owned()));
    let mut rig = Rig::behind(true, 150);
    rig.machine.promise(MASTER, rig.now);
    rig.now += PATIENCE_KEPT;
    rig.hear(150);
    assert_eq!(rig.next(), (one_peer(), TAKEOVER.to_owned()), "it was not said again");
}

/// Both have promised the same; who was linked and is not waits for the end of that.
#[test]
fn what_is_promised_does_not_keep_two_backups_together() {
    let waits = |priority| {
        let mut rig =
            Rig::standing(Settings { priority: Priority::try_from(priority).unwrap(), ..settings() });
        rig.machine.handle_peers(Some(vec![MASTER, LOWER_ADDRESS]), rig.now);
        rig.hear(150);
        rig.machine.promise(MASTER, rig.now);
        rig.next().0
    };
    assert_eq!(waits(100) - waits(140), ms(100) * 40 / 256);
}

/// To a backup, or to whoever has not been heard yet, nothing is promised but what its lateness asks for.
#[test]
fn only_the_master_that_is_heard_is_promised_time_for_an_answer() {
    let fresh = || {
        let mut rig = Rig::new(settings());
        rig.machine.handle_peers(Some(vec![MASTER]), rig.now);
        rig.machine.handle_interface(Some(OWN), rig.now);
        rig.machine.handle_eligible(Ok(()), rig.now);
        rig.drain();
        rig
    };
    let stalled = || {
        let mut rig = Rig::behind(true, 150);
        rig.machine.promise(MASTER, rig.now);
        rig.machine.handle_gap(paused(ms(1500)), rig.now);
        rig.drain();
        rig
    };
    let table: [(&str, Rig, u64); 6] = [
        ("nobody is heard", fresh(), 0),
        ("it is to be preempted", Rig::behind(true, 50), 0),
        ("another one is master", Rig::behind(true, 150), 0),
        ("it is", Rig::behind(true, 150), 375),
        ("this node has stood still", stalled(), 0),
        ("this node is", Rig::in_state(State::Master), 0),
    ];
    for (what, mut rig, expect) in table {
        let peer = if what == "another one is master" { LOWER_ADDRESS } else { MASTER };
        assert_eq!(rig.machine.promise(peer, rig.now), ms(expect), "{what}");
    }
}

/// Whoever is master by now may have been told so.
#[test]
fn a_promise_counts_after_standing_still() {
    let mut rig = Rig::behind(true, 150);
    rig.machine.promise(MASTER, rig.now);
    rig.machine.handle_gap(paused(ms(1500)), rig.now);
    rig.drain();
    assert_eq!(rig.next(), (ms(375) + ms(100) / 256, TAKEOVER.to_owned()));
}

#[test]
fn another_peers_lateness_is_no_reason_to_wait() {
    let mut rig = Rig::behind(true, 150);
    rig.machine.handle_peers(Some(vec![MASTER, LOWER_ADDRESS]), rig.now);
    rig.machine.handle_peer(LOWER_ADDRESS, PeerNews::Late(ms(500)), rig.now);
    rig.hear(150);
    assert_eq!(rig.next().0, us(360_937) + Duration::from_nanos(500));
}

/// Whoever was master may be another one by now, which has been promised more.
#[test]
fn after_standing_still_every_promise_counts() {
    let mut rig = Rig::behind(true, 150);
    rig.machine.handle_peer(LOWER_ADDRESS, PeerNews::Late(ms(300)), rig.now);
    rig.machine.handle_gap(paused(ms(1500)), rig.now);
    rig.drain();
    rig.run(ms(890));
    assert_eq!(rig.machine.state(), VrrpState::Backup);
    rig.run(ms(100));
    assert_eq!(rig.machine.state(), VrrpState::Master);
}

/// Nor is a release that it had heard before, and the peer relies on what it is promised now.
#[test]
fn a_promise_after_standing_still_is_kept_whatever_was_heard_before() {
    for last in [150, 0] {
        let mut rig = Rig::behind(true, 150);
        rig.hear(last);
        rig.machine.handle_gap(paused(ms(1500)), rig.now);
        rig.news(PeerNews::Late(ms(300)));
        rig.drain();
        rig.run(ms(890));
        assert_eq!(rig.machine.state(), VrrpState::Backup, "priority {last}");
        rig.run(ms(100));
        assert_eq!(rig.machine.state(), VrrpState::Master, "priority {last}");
    }
}

#[test]
fn a_master_relies_on_what_every_peer_has_promised_and_on_nothing_else() {
    let [a, b] = [LOWER_ADDRESS, HIGHER_ADDRESS];
    let promise = |ms| Some(Duration::from_millis(ms));
    /// Who there is, what the two have promised, and after how much silence a peer may have taken over.
    type Row = (Option<Vec<IpAddr>>, [Option<Duration>; 2], u64);
    let table: [Row; 6] = [
        (Some(vec![a]), [promise(450), None], 450),
        (Some(vec![a]), [promise(10), None], 300),
        (Some(vec![a]), [None, None], 300),
        (Some(vec![a, b]), [promise(450), promise(600)], 450),
        (Some(vec![a, b]), [promise(450), None], 300),
        // Anybody may be in the group.
        (None, [promise(450), promise(450)], 300),
    ];
    for (all, promises, expect) in table {
        let rig = |frozen| {
            let mut rig = Rig::in_state(State::Master);
            rig.machine.handle_peers(all.clone(), rig.now);
            for (peer, bound) in [a, b].into_iter().zip(promises) {
                if let Some(bound) = bound {
                    rig.machine.handle_peer(peer, PeerNews::Patient { bound, asked: rig.now }, rig.now);
                }
            }
            rig.next();
            goes_on(rig, frozen)
        };
        assert!(rig(ms(expect)) && !rig(ms(expect + 1)), "{all:?} {promises:?} {expect} ms");
    }
}

#[test]
fn a_promise_ends() {
    for (age, expect) in [(ms(0), true), (ms(8500), true), (ms(8700), false)] {
        let mut rig = Rig::in_state(State::Master);
        rig.machine.handle_peers(Some(vec![LOWER_ADDRESS]), rig.now);
        rig.next();
        let patient = PeerNews::Patient { bound: ms(450), asked: rig.now - age };
        rig.machine.handle_peer(LOWER_ADDRESS, patient, rig.now);
        assert_eq!(goes_on(rig, ms(400)), expect, "{age:?}");
    }
}

#[test]
fn a_promise_ends_with_the_process_that_made_it() {
    let table = [(PeerNews::Gone, false), (PeerNews::Restarted, false), (PeerNews::Askable(false), true)];
    for (news, expect) in table {
        let mut rig = Rig::in_state(State::Master);
        rig.machine.handle_peers(Some(vec![LOWER_ADDRESS]), rig.now);
        rig.next();
        let patient = PeerNews::Patient { bound: ms(450), asked: rig.now };
        rig.machine.handle_peer(LOWER_ADDRESS, patient, rig.now);
        rig.machine.handle_peer(LOWER_ADDRESS, news, rig.now);
        assert_eq!(goes_on(rig, ms(400)), expect, "{news:?}");
    }
}
