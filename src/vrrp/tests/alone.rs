//! A stall of a master that nobody is there to replace.

use super::silence::goes_on;
use super::*;

#[test]
fn a_master_without_anybody_to_replace_it_outlives_a_stall() {
    const A: IpAddr = LOWER_ADDRESS;
    const B: IpAddr = HIGHER_ADDRESS;
    type Row = (&'static str, Option<Vec<IpAddr>>, fn(&mut Machine, Instant), bool);
    let table: [Row; 13] = [
        ("there is no peer", Some(vec![]), |_, _| {}, true),
        ("there is one", Some(vec![A]), |_, _| {}, false),
        ("there may be others", None, |m, now| m.handle_absent(&[A], now), false),
        ("it is not there", Some(vec![A]), |m, now| m.handle_absent(&[A], now), true),
        ("one of two is not there", Some(vec![A, B]), |m, now| m.handle_absent(&[A], now), false),
        ("nobody has the peer's name", None, |m, now| m.handle_named(Some(vec![]), now), true),
        (
            "one is there, nobody has the other's name",
            None,
            |m, now| m.handle_named(Some(vec![A]), now),
            false,
        ),
        (
            "one is not there, nobody has the other's name",
            None,
            |m, now| {
                m.handle_named(Some(vec![A]), now);
                m.handle_absent(&[A], now);
            },
            true,
        ),
        (
            "nobody says any more whether somebody has it",
            None,
            |m, now| [Some(vec![]), None].into_iter().for_each(|named| m.handle_named(named, now)),
            false,
        ),
        // It may be back any moment.
        ("its process has ended", Some(vec![A]), |m, now| m.handle_peer(A, PeerNews::Gone, now), false),
        (
            "it is found again",
            Some(vec![A]),
            |m, now| [&[A][..], &[]].iter().for_each(|gone| m.handle_absent(gone, now)),
            false,
        ),
        (
            "it is linked",
            Some(vec![A]),
            |m, now| {
                m.handle_absent(&[A], now);
                m.handle_peer(A, PeerNews::Askable(true), now);
            },
            false,
        ),
        (
            "it is heard",
            Some(vec![A]),
            |m, now| {
                m.handle_absent(&[A], now);
                m.handle_advert(A, &advert(50), now);
            },
            false,
        ),
    ];
    for (what, all, news, expect) in table {
        let rig = |frozen| {
            let mut rig = Rig::in_state(State::Master);
            rig.machine.handle_peers(all.clone(), rig.now);
            news(&mut rig.machine, rig.now);
            rig.drain();
            rig.next();
            goes_on(rig, frozen)
        };
        assert_eq!(rig(ms(450)), expect, "{what}");
        assert!(rig(ms(300)), "{what}");
        assert!(!rig(ms(1000)), "{what}: the lease has ended");
    }
}

/// Its bound is the lease; that of whoever has come up meanwhile is not.
#[test]
fn who_was_alone_and_hears_another_after_a_stall_has_been_replaced() {
    for (stalled, expect) in [(ms(300), VrrpState::Master), (ms(450), VrrpState::Backup)] {
        let mut rig = Rig::in_state(State::Master);
        rig.machine.handle_peers(Some(vec![LOWER_ADDRESS]), rig.now);
        rig.machine.handle_absent(&[LOWER_ADDRESS], rig.now);
        rig.drain();
        rig.next();
        rig.now += stalled;
        rig.machine.handle_advert(LOWER_ADDRESS, &advert(50), rig.now);
        assert_eq!(rig.machine.state(), expect, "{stalled:?}");
    }
}

/// Whose name was nobody's has another address than any that is known.
#[test]
fn who_was_alone_and_hears_somebody_unknown_after_a_stall_has_been_replaced() {
    let named: [(Option<Vec<IpAddr>>, _); 2] = [(Some(vec![]), VrrpState::Backup), (None, VrrpState::Master)];
    for (named, expect) in named {
        let told = |by: fn(&mut Machine, Instant), stalled| {
            let mut rig = Rig::in_state(State::Master);
            let all = named.is_none().then(Vec::new);
            rig.machine.handle_peers(all, rig.now);
            rig.machine.handle_named(named.clone(), rig.now);
            rig.drain();
            rig.next();
            rig.now += stalled;
            by(&mut rig.machine, rig.now);
            rig.machine.state()
        };
        let advertised: fn(&mut Machine, Instant) = |machine, now| machine.handle_unknown_advert(now);
        // Nor does that one know where to send an advert to.
        let claimed: fn(&mut Machine, Instant) = |machine, now| machine.handle_claim(STRANGERS_CLAIM, now);
        for by in [advertised, claimed] {
            assert_eq!((told(by, ms(300)), told(by, ms(450))), (VrrpState::Master, expect), "{named:?}");
        }
    }
}
