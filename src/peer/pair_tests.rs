//! Stories of one link, and two that dial each other at once.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const LOW: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const HIGH: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3));
const NODE: Node = [7; 16];

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn outputs(pair: &mut Pair) -> Vec<Output> {
    std::iter::from_fn(|| pair.poll_output()).filter(|output| !matches!(output, Output::Count(_))).collect()
}

/// One that has dialled and greeted, at `now`.
fn linked(now: Instant) -> Pair {
    let mut pair = Pair::new(LOW, HIGH, now);
    pair.handle_timeout(now);
    assert_eq!(outputs(&mut pair), [Output::Dial { patience: DIAL_PATIENCE }]);
    pair.handle_greeted(1, Dialler::Own, NODE, now);
    assert_eq!(outputs(&mut pair), [Output::Linked(1)]);
    pair
}

#[test]
fn an_end_is_a_suspicion_and_only_a_missing_process_confirms_it() {
    use Failure::{HungUp, Local, Refused, Silent, Unanswered, Unreachable};
    let table: [(&[Failure], bool); 13] = [
        (&[Refused], true),
        (&[Unreachable], true),
        (&[Unanswered, Refused], true),
        // One segment is lost easily, and so are two.
        (&[Unanswered, Unanswered, Unanswered, Unanswered], true),
        (&[Unanswered, HungUp, Silent, HungUp], false),
        (&[Unanswered, Unanswered, Unanswered, HungUp], false),
        (&[HungUp, HungUp, Unanswered, Unanswered], false),
        // Its listener closes after its connections.
        (&[HungUp, Refused], true),
        (&[HungUp, Unanswered, Unanswered, Unanswered], true),
        (&[HungUp, Silent, HungUp, Refused], true),
        (&[Silent, Silent, Silent, Silent], false),
        (&[HungUp, HungUp, HungUp, HungUp], false),
        (&[Failure::Refusal(Refusal::Key), Local, Local, Local], false),
    ];
    for (failures, expect) in table {
        let start = Instant::now();
        let mut pair = linked(start);
        pair.handle_end(1, start + ms(5));
        assert_eq!(outputs(&mut pair), [Output::Unlinked], "{failures:?}: nothing is said of it yet");
        assert_eq!(pair.poll_timeout().unwrap().0, start + ms(5), "dialled at once");
        let mut said = vec![];
        for failure in failures {
            let at = pair.poll_timeout().unwrap().0;
            pair.handle_timeout(at);
            assert_eq!(outputs(&mut pair), [Output::Dial { patience: SUSPECT_PATIENCE }]);
            pair.handle_failure(*failure, at);
            assert_eq!(pair.standing(at), Standing::Unlinked(*failure));
            said.extend(outputs(&mut pair));
        }
        assert_eq!(said, if expect { vec![Output::Gone] } else { vec![] }, "{failures:?}");
        // Once, and in its own time from now on.
        let at = pair.poll_timeout().unwrap().0;
        pair.handle_timeout(at);
        pair.handle_failure(Refused, at);
        assert_eq!(outputs(&mut pair), [Output::Dial { patience: DIAL_PATIENCE }], "{failures:?}");
    }
}

#[test]
fn a_reset_by_a_stranger_moves_nothing() {
    let now = Instant::now();
    let mut pair = linked(now);
    for n in 2..20 {
        pair.handle_end(n - 1, now);
        pair.handle_timeout(now);
        pair.handle_greeted(n, Dialler::Own, NODE, now);
        let expect = [Output::Unlinked, Output::Dial { patience: SUSPECT_PATIENCE }, Output::Linked(n)];
        assert_eq!(outputs(&mut pair), expect);
    }
    pair.handle_end(3, now);
    assert_eq!(outputs(&mut pair), [], "an old one's end");
}

#[test]
fn whoever_says_goodbye_or_was_never_there_is_not_gone() {
    let now = Instant::now();
    for why in [Farewell::Stopping, Farewell::Duplicate, Farewell::Settings, Farewell::Other] {
        let mut pair = linked(now);
        assert!(!pair.handle_message(1, &Message::Farewell(why), now));
        assert_eq!(outputs(&mut pair), [Output::Close(1), Output::Unlinked]);
        pair.handle_end(1, now);
        pair.handle_timeout(now + RETRY_AT_FIRST);
        pair.handle_failure(Failure::Refused, now + RETRY_AT_FIRST);
        assert_eq!(outputs(&mut pair), [Output::Dial { patience: DIAL_PATIENCE }], "{why:?}");
    }

    let mut pair = Pair::new(LOW, HIGH, now);
    let (mut at, mut dials) = (now, vec![]);
    for _ in 0..12 {
        at = pair.poll_timeout().unwrap().0;
        dials.push((at - now).as_millis());
        pair.handle_timeout(at);
        pair.handle_failure(Failure::Refused, at);
        assert_eq!(outputs(&mut pair), [Output::Dial { patience: DIAL_PATIENCE }]);
    }
    assert_eq!(dials[..5], [0, 50, 150, 350, 750]);
    assert_eq!(pair.poll_timeout().unwrap().0 - at, RETRY_AT_MOST_EVERY);
}

#[test]
fn another_process_at_the_same_address_is_told_of() {
    let now = Instant::now();
    let mut pair = linked(now);
    pair.handle_end(1, now);
    pair.handle_greeted(2, Dialler::Peer, NODE, now);
    assert_eq!(outputs(&mut pair), [Output::Unlinked, Output::Linked(2)], "the same one");
    pair.handle_end(2, now);
    pair.handle_greeted(3, Dialler::Peer, [8; 16], now);
    assert_eq!(outputs(&mut pair), [Output::Unlinked, Output::Restarted, Output::Linked(3)]);
}

#[test]
fn only_the_answer_to_the_question_counts() {
    let now = Instant::now();
    let mut pair = linked(now);
    pair.handle_timeout(now + PING_EVERY);
    let [Output::Send(1, Message::Ask { id: ping })] = outputs(&mut pair)[..] else { panic!() };
    pair.ask();
    let [Output::Send(1, Message::Ask { id })] = outputs(&mut pair)[..] else { panic!() };
    let alive = |id| Message::Alive { id, masters: vec![51] };
    pair.handle_message(1, &alive(ping), now);
    assert_eq!(outputs(&mut pair), [], "said before it was asked");
    pair.handle_message(2, &alive(id), now);
    assert_eq!(outputs(&mut pair), [], "said by another connection");
    pair.handle_message(1, &alive(id), now);
    assert_eq!(outputs(&mut pair), [Output::Alive { masters: vec![51] }]);
    pair.handle_message(1, &alive(id), now);
    assert_eq!(outputs(&mut pair), [], "said once");
}

#[test]
fn a_frozen_peer_does_not_answer_and_is_not_gone() {
    let now = Instant::now();
    let mut pair = linked(now);
    let mut at = now;
    let mut pings = 0;
    while pair.connection().is_some() {
        at = pair.poll_timeout().unwrap().0;
        let expect = Standing::Linked { answers: at - now < SILENT_AFTER };
        assert_eq!(pair.standing(at), expect);
        pair.handle_timeout(at);
        pings +=
            outputs(&mut pair).iter().filter(|o| matches!(o, Output::Send(_, Message::Ask { .. }))).count();
    }
    assert!(at - now >= HOPELESS_AFTER && at - now < HOPELESS_AFTER + PING_EVERY);
    assert_eq!(pings, 33);
    pair.handle_failure(Failure::Silent, at);
    assert_eq!(outputs(&mut pair), []);
    assert_eq!(pair.standing(at), Standing::Unlinked(Failure::Silent));

    let mut pair = linked(now);
    pair.handle_gap(now + ms(60_000));
    assert_eq!(pair.standing(now + ms(60_000)), Standing::Linked { answers: true }, "we were out");
}

#[test]
fn one_of_two_asks_and_the_other_one_if_it_hears_nothing() {
    let now = Instant::now();
    let mut pairs = [Pair::new(LOW, HIGH, now), Pair::new(HIGH, LOW, now)];
    pairs[0].handle_greeted(1, Dialler::Own, NODE, now);
    pairs[1].handle_greeted(1, Dialler::Peer, NODE, now);
    let mut asked = [0; 2];
    // The lower one does not run from the third second on.
    for at in (0..4_000).map(|at| now + ms(at)) {
        let runs = [at < now + ms(2_000), true];
        for from in [0, 1] {
            if runs[from] {
                pairs[from].handle_timeout(at);
            }
            for output in outputs(&mut pairs[from]) {
                let Output::Send(_, Message::Ask { id }) = output else { continue };
                asked[from] += 1;
                if runs[1 - from] {
                    pairs[1 - from].handle_message(1, &Message::Ask { id }, at);
                    pairs[from].handle_message(1, &Message::Alive { id, masters: vec![] }, at);
                }
            }
        }
        if at == now + ms(1_999) {
            assert_eq!(asked, [7, 0]);
        }
    }
    assert_eq!(asked, [7, 5]);
    assert_eq!(pairs[1].standing(now + ms(3_999)), Standing::Linked { answers: false });
}

/// Two nodes dial each other, with these delays until each side has greeted.
fn cross(delays: [u64; 4], start: u64) -> Vec<Connection> {
    let now = Instant::now();
    let mut pairs = [Pair::new(LOW, HIGH, now), Pair::new(HIGH, LOW, now)];
    // Connection 1 is dialled by the first, 2 by the second; each is greeted at its listener first.
    let mut events = vec![
        (delays[0], 1, 1, Dialler::Peer),
        (delays[0] + delays[1], 0, 1, Dialler::Own),
        (start + delays[2], 0, 2, Dialler::Peer),
        (start + delays[2] + delays[3], 1, 2, Dialler::Own),
    ];
    events.sort_by_key(|(at, ..)| *at);
    let mut said = vec![];
    for (at, side, connection, by) in events {
        pairs[side].handle_greeted(connection, by, [side as u8; 16], now + ms(at));
        for output in std::iter::from_fn(|| pairs[side].poll_output()) {
            if let Output::Send(connection, message @ Message::Farewell(_)) = output {
                said.push((1 - side, connection, message));
            }
        }
    }
    for (side, connection, message) in said {
        pairs[side].handle_message(connection, &message, now + ms(900));
    }
    pairs.iter().filter_map(Pair::connection).collect()
}

proptest! {
    #[test]
    fn of_two_that_cross_both_sides_keep_the_same(
        delays in proptest::array::uniform4(0_u64..100), start in 0_u64..100,
    ) {
        prop_assert_eq!(cross(delays, start), [1, 1], "that of the lower address");
    }
}
