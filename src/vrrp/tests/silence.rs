//! What silence means: with one peer, with a link, with a peer that is late or gone.

use super::*;

/// Behind this master, which advertises with priority 150.
pub(super) const MASTER: IpAddr = HIGHER_ADDRESS;

/// With one peer: three intervals and the least skew.
pub(super) fn one_peer() -> Duration {
    ms(300) + ms(100) / 256
}

impl Rig {
    /// A backup of one peer, which advertises just now.
    pub(super) fn behind(preempt: bool, priority: u8) -> Self {
        let mut rig = Self::standing(Settings { preempt, ..settings() });
        rig.machine.handle_peers(Some(vec![MASTER]), rig.now);
        rig.hear(priority);
        rig
    }

    pub(super) fn hear(&mut self, priority: u8) {
        self.machine.handle_advert(MASTER, &advert(priority), self.now);
        self.drain();
    }

    pub(super) fn news(&mut self, news: PeerNews) {
        self.machine.handle_peer(MASTER, news, self.now);
    }

    /// Serves every timer until something but a counter comes out: when, and what.
    pub(super) fn next(&mut self) -> (Duration, String) {
        let start = self.now;
        loop {
            self.now = self.machine.poll_timeout().unwrap().0;
            self.machine.handle_timeout(self.now);
            let told = self.drain();
            if !told.is_empty() {
                return (self.now - start, told);
            }
        }
    }

    fn reason(&self) -> &str {
        self.machine.reason().0
    }
}

const ALONE: &str = "hold, answer, advert 100, announce, MASTER";
pub(super) const TAKEOVER: &str = "hold, answer, advert 100, announce, tell clients of 10.0.0.7, MASTER";

#[test]
fn the_skew_is_skipped_by_the_only_other_node_and_by_nobody_else() {
    let skew = ms(100) * 156 / 256;
    let other = LOWER_ADDRESS;
    let table = [
        (None, skew),
        (Some(vec![]), skew),
        (Some(vec![MASTER]), ms(100) / 256),
        (Some(vec![MASTER, other]), skew),
        (Some(vec![other]), skew),
    ];
    for (all, expect) in table {
        let mut rig = Rig::standing(settings());
        rig.machine.handle_peers(all.clone(), rig.now);
        rig.hear(150);
        let silent = rig.next();
        let mut rig = Rig::standing(settings());
        rig.machine.handle_peers(all.clone(), rig.now);
        rig.hear(150);
        rig.hear(0);
        assert_eq!((silent.0, rig.next().0), (ms(300) + expect, expect), "{all:?}");
    }
}

#[test]
fn two_that_start_at_once_are_parted_by_the_skew() {
    let mut rig = Rig::new(settings());
    rig.machine.handle_peers(Some(vec![MASTER]), rig.now);
    rig.machine.handle_interface(Some(OWN), rig.now);
    rig.machine.handle_eligible(Ok(()), rig.now);
    rig.drain();
    assert_eq!(rig.next().0, us(360_937) + Duration::from_nanos(500));
}

#[test]
fn a_silent_master_is_asked_before_it_is_replaced() {
    let mut rig = Rig::behind(true, 150);
    rig.news(PeerNews::Askable(true));
    assert_eq!(rig.next(), (one_peer(), format!("ask {MASTER}")));
    assert_eq!(rig.next(), (ms(100), TAKEOVER.to_owned()));
    assert_eq!(rig.reason(), "10.0.0.7 is silent for 400ms and does not answer");
}

#[test]
fn without_a_link_nobody_is_asked() {
    for link in [None, Some(false)] {
        let mut rig = Rig::behind(true, 150);
        if let Some(askable) = link {
            rig.news(PeerNews::Askable(true));
            rig.news(PeerNews::Askable(askable));
        }
        assert_eq!(rig.next(), (one_peer(), TAKEOVER.to_owned()));
        assert_eq!(rig.reason(), "10.0.0.7 is silent for 300ms");
    }
}

#[test]
fn an_answer_is_as_good_as_an_advert_three_times_in_a_row() {
    let mut rig = Rig::behind(true, 150);
    rig.news(PeerNews::Askable(true));
    for round in 0..2 {
        for _ in 0..3 {
            assert_eq!(rig.next(), (one_peer(), format!("ask {MASTER}")), "{round}");
            rig.now += ms(10);
            rig.news(PeerNews::Alive);
        }
        if round == 0 {
            rig.hear(150);
        }
    }
    assert_eq!(rig.next(), (one_peer(), TAKEOVER.to_owned()));
    assert!(rig.reason().starts_with("10.0.0.7 answers, but is silent for "), "{}", rig.reason());
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    let mut rig = Rig::behind(true, 150);
    rig.news(PeerNews::Askable(true));
    rig.now += ms(200);
    rig.news(PeerNews::Alive);
    rig.machine.handle_peer(LOWER_ADDRESS, PeerNews::Alive, rig.now);
    assert_eq!(rig.next().0, one_peer() - ms(200));
    rig.machine.handle_peer(LOWER_ADDRESS, PeerNews::Alive, rig.now);
    assert_eq!(rig.next(), (ms(100), TAKEOVER.to_owned()));
}

#[test]
fn who_is_gone_is_replaced_after_one_interval_and_a_half() {
    for since in [0, 30, 149, 150, 250] {
        let mut rig = Rig::behind(true, 150);
        rig.news(PeerNews::Askable(true));
        rig.now += ms(since);
        rig.news(PeerNews::Gone);
        let wait = ms(150).saturating_sub(ms(since)) + ms(100) / 256;
        assert_eq!(rig.next(), (wait, TAKEOVER.to_owned()), "{since} ms");
        let silent = since.max(150);
        let reason = format!("the link to 10.0.0.7 has broken off, and it is silent for {silent}ms");
        assert_eq!(rig.reason(), reason);
    }
}

#[test]
fn of_two_backups_the_better_takes_the_place_of_who_is_gone() {
    let mut rig = Rig::behind(true, 150);
    rig.machine.handle_peers(Some(vec![MASTER, LOWER_ADDRESS]), rig.now);
    rig.news(PeerNews::Gone);
    assert_eq!(rig.next(), (us(210_937) + Duration::from_nanos(500), TAKEOVER.to_owned()));
}

#[test]
fn an_end_that_waited_while_this_node_did_not_run_is_no_news() {
    for (gap, expect) in [(ms(200), ms(100) / 256), (ms(2300), one_peer())] {
        let mut rig = Rig::behind(true, 150);
        rig.now += gap;
        rig.machine.handle_gap(Gap { length: gap, hidden: Duration::ZERO }, rig.now);
        rig.news(PeerNews::Gone);
        rig.drain();
        assert_eq!(rig.next(), (expect, TAKEOVER.to_owned()), "{gap:?}");
    }
}

#[test]
fn a_lesser_master_that_is_gone_need_not_be_preempted() {
    let mut rig = Rig::behind(true, 50);
    rig.now += ms(20);
    rig.news(PeerNews::Gone);
    assert_eq!(rig.next(), (ms(130) + ms(100) / 256, TAKEOVER.to_owned()));
    assert!(rig.reason().starts_with("the link to 10.0.0.7 has broken off"), "{}", rig.reason());
}

#[test]
fn who_is_gone_and_heard_again_is_not_gone() {
    let table: [(&str, &[PeerNews], bool); 3] = [
        ("an advert", &[], true),
        ("a link", &[PeerNews::Askable(true), PeerNews::Askable(false)], false),
        ("both", &[PeerNews::Askable(true), PeerNews::Askable(false)], true),
    ];
    for (what, news, advert) in table {
        let mut rig = Rig::behind(true, 150);
        rig.now += ms(50);
        rig.news(PeerNews::Gone);
        if advert {
            rig.hear(150);
        }
        for news in news {
            rig.news(*news);
        }
        let expect = if advert { one_peer() } else { one_peer() - ms(50) };
        assert_eq!(rig.next(), (expect, TAKEOVER.to_owned()), "{what}");
        assert_eq!(rig.reason(), "10.0.0.7 is silent for 300ms", "{what}");
    }
}

#[test]
fn that_somebody_else_is_gone_means_nothing() {
    let released = |rig: &mut Rig| rig.hear(0);
    let nothing = |_: &mut Rig| {};
    let alone = |rig: &mut Rig| {
        *rig = Rig::new(settings());
        rig.machine.handle_peers(Some(vec![MASTER]), rig.now);
        rig.machine.handle_interface(Some(OWN), rig.now);
        rig.machine.handle_eligible(Ok(()), rig.now);
        rig.drain();
    };
    let succeeded = |rig: &mut Rig| {
        rig.machine.handle_peers(Some(vec![MASTER, LOWER_ADDRESS]), rig.now);
        rig.machine.handle_advert(LOWER_ADDRESS, &advert(150), rig.now);
        rig.hear(150);
    };
    let gone = |rig: &mut Rig| rig.news(PeerNews::Gone);
    let another = |rig: &mut Rig| rig.machine.handle_peer(LOWER_ADDRESS, PeerNews::Gone, rig.now);
    /// What was before, what happens, and how long the takeover takes from there.
    type Row = (&'static str, fn(&mut Rig), fn(&mut Rig), Duration, &'static str);
    let table: [Row; 4] = [
        ("not the master", nothing, another, one_peer(), TAKEOVER),
        ("master before", succeeded, another, us(360_937) + Duration::from_nanos(500), TAKEOVER),
        ("it has released", released, gone, ms(100) / 256, TAKEOVER),
        ("nobody is master", alone, gone, us(360_937) + Duration::from_nanos(500), ALONE),
    ];
    for (what, before, news, expect, takeover) in table {
        let mut rig = Rig::behind(true, 150);
        before(&mut rig);
        news(&mut rig);
        assert_eq!(rig.next(), (expect, takeover.to_owned()), "{what}");
    }
    for state in [State::Fault, State::Blocked, State::Master, State::Resigning, State::Stopping] {
        let mut rig = Rig::in_state(state);
        let before = rig.machine.state();
        rig.news(PeerNews::Gone);
        assert_eq!((rig.drain(), rig.machine.state()), (String::new(), before), "{state:?}");
    }
}

/// A master does not run for that long. Does it go on?
pub(super) fn goes_on(mut rig: Rig, frozen: Duration) -> bool {
    rig.now += frozen;
    rig.machine.handle_timeout(rig.now);
    rig.machine.state() == VrrpState::Master
}

/// A backup may not have heard that the interval is longer: it waits for three of the old ones.
#[test]
fn a_longer_interval_counts_once_three_adverts_have_said_it() {
    let slower = Settings { advert_interval: Centiseconds::try_from(20).unwrap(), ..settings() };
    // Adverts since the reload, when the last of them left, and the silence that the master survives from there.
    for (adverts, left_at, expect) in [(1, 0, 300), (2, 100, 300), (3, 200, 600)] {
        let rig = |frozen| {
            let mut rig = Rig::in_state(State::Master);
            rig.machine.reconfigure(slower.clone(), rig.now);
            let start = rig.now;
            let mut said = rig.drain().matches("advert").count();
            while said < adverts {
                rig.now = rig.machine.poll_timeout().unwrap().0;
                rig.machine.handle_timeout(rig.now);
                said += rig.drain().matches("advert").count();
            }
            assert_eq!(rig.now - start, ms(left_at), "advert {adverts}");
            goes_on(rig, frozen)
        };
        assert!(rig(ms(expect)) && !rig(ms(expect + 1)), "after advert {adverts}");
    }
    let mut rig = Rig::in_state(State::Master);
    let quicker = Settings { advert_interval: Centiseconds::try_from(5).unwrap(), ..settings() };
    rig.machine.reconfigure(quicker, rig.now);
    assert!(!goes_on(rig, ms(151)), "a shorter one counts at once");
}
