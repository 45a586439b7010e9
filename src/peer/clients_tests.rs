//! What is told of clients, what is kept of it, and how fast they are told.

use proptest::prelude::*;

use super::*;

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 99));

fn client(n: u32) -> Client {
    let [a, b, c, d] = n.to_be_bytes();
    Client {
        virtual_address: VIP,
        port: 80,
        address: IpAddr::V4(Ipv4Addr::new(10, 1, a, b)),
        client_port: u16::from_be_bytes([c, d]),
    }
}

fn clients(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<Client> {
    numbers.into_iter().map(client).collect()
}

fn list(numbers: impl IntoIterator<Item = u32>) -> Vec<Client> {
    numbers.into_iter().map(client).collect()
}

fn opened(numbers: impl IntoIterator<Item = u32>) -> Change {
    Change { opened: list(numbers), ..Change::default() }
}

#[test]
fn only_what_two_looks_have_seen_is_told() {
    let mut watched = Watched::default();
    let table: [(&[u32], &[u32], &[u32]); 7] = [
        (&[1, 2], &[], &[]),
        (&[2, 3], &[2], &[]),
        (&[2, 3], &[3], &[]),
        (&[2, 3, 4], &[], &[]),
        (&[3], &[], &[2]),
        // The one before last was too long ago.
        (&[3, 4], &[], &[]),
        (&[], &[], &[3]),
    ];
    for (number, (seen, opened, closed)) in table.into_iter().enumerate() {
        let change = watched.look(&clients(seen.iter().copied()));
        let expect = Change {
            anew: false,
            opened: list(opened.iter().copied()),
            closed: list(closed.iter().copied()),
        };
        assert_eq!(change, expect, "look {number}");
    }
    assert!(watched.is_empty());
}

#[test]
fn no_more_are_told_of_than_the_list_holds() {
    let mut watched = Watched::default();
    let many = clients(0..MAX_CLIENTS as u32 + 100);
    assert!(watched.look(&many).opened.is_empty());
    assert_eq!(watched.look(&many).opened.len(), MAX_CLIENTS);
    assert_eq!(watched.look(&many), Change::default());
    // What ends makes room.
    let fewer = clients(10..MAX_CLIENTS as u32 + 100);
    let change = watched.look(&fewer);
    assert_eq!((change.opened.len(), change.closed.len()), (10, 10));

    let messages = watched.all().messages();
    let Message::Clients(first) = &messages[0] else { panic!() };
    assert_eq!((first.anew, first.opened.len()), (true, Change::max_clients(Family::V4)));
    let mut remembered = Remembered::default();
    remembered.apply(&opened([1_000_000]), MAX_CLIENTS, |_| true);
    for message in &messages {
        let (kind, payload) = message.emit();
        assert!(payload.len() <= MAX_PAYLOAD);
        let Ok(Some(Message::Clients(change))) = Message::parse(kind, &payload) else { panic!() };
        remembered.apply(&change, MAX_CLIENTS - remembered.len(), |_| true);
    }
    assert_eq!(remembered.clients, watched.told, "the whole list, and nothing of before");
}

#[test]
fn who_says_too_much_is_not_remembered_beyond_the_bound() {
    let mut remembered = Remembered::default();
    remembered.apply(&opened(0..10), 4, |_| true);
    assert_eq!(remembered.clients, clients(0..4));
    remembered.apply(&Change { closed: list([0]), ..opened(4..10) }, 0, |_| true);
    assert_eq!(remembered.clients, clients(1..5), "one went, one came");
    remembered.apply(&Change { anew: true, ..opened(20..30) }, 1, |_| true);
    assert_eq!(remembered.clients, clients(20..25), "the old ones' room, and one more");
    remembered.apply(&opened(30..40), 100, |client| *client == self::client(35));
    assert_eq!(remembered.len(), 6, "of foreign addresses it has nothing to say");
    let all = opened(0..MAX_CLIENTS as u32 + 7);
    remembered.apply(&all, usize::MAX - MAX_CLIENTS, |_| true);
    assert_eq!(remembered.len(), MAX_CLIENTS);

    assert_eq!(remembered.take(&[IpAddr::V4(Ipv4Addr::new(10, 0, 0, 98))]).len(), 0);
    assert_eq!(remembered.take(&[VIP]).len(), MAX_CLIENTS);
    assert!(remembered.is_empty());
}

#[test]
fn no_second_has_more_than_two_thousand() {
    let start = Instant::now();
    let mut bereaved = Bereaved::default();
    bereaved.add(clients(0..7_000), start);
    let mut sent: Vec<(Instant, Client)> = vec![];
    let mut late = 0;
    while let Some(at) = bereaved.poll_timeout() {
        // Timers are late now and then, and somebody asks too early.
        late = (late + 1) % 7;
        assert_eq!(bereaved.due(at - Duration::from_millis(1)), []);
        let now = at + Duration::from_millis(late);
        let batch = bereaved.due(now);
        assert!(!batch.is_empty() && bereaved.due(now).is_empty());
        sent.extend(batch.into_iter().map(|client| (now, client)));
        if sent.len() == 5_000 {
            bereaved.add(clients(7_000..8_000), now);
        }
    }
    assert!(sent.iter().map(|(_, client)| *client).eq(list(0..8_000)), "each once");
    for (at, _) in sent.iter().step_by(10) {
        let second = sent.iter().filter(|(other, _)| other >= at && *other < *at + Duration::from_secs(1));
        assert!(second.count() <= 2_000);
    }
    // The pace outlives an empty list.
    let last = sent.last().unwrap().0;
    bereaved.add(clients([1]), last);
    assert_eq!(bereaved.due(last), []);
    bereaved.forget(VIP);
    assert_eq!((bereaved.poll_timeout(), bereaved.due(last + BATCH_EVERY)), (None, vec![]));
}

#[test]
fn a_dear_look_is_repeated_later() {
    for (spent, busy, idle) in [
        (0, 50_000, 50_000),
        (100, 50_000, 99_900),
        (1_000, 99_000, 999_000),
        (14_000, 1_386_000, 1_386_000),
        (100_000, 9_900_000, 9_900_000),
        (60_000_000, 10_000_000, 10_000_000),
    ] {
        let spent = Duration::from_micros(spent);
        let pauses = [false, true].map(|is_idle| pause_after(spent, is_idle));
        assert_eq!(pauses, [busy, idle].map(Duration::from_micros), "{spent:?}");
    }
}

#[test]
fn a_connection_that_is_young_is_looked_at_again_soon() {
    let mut watched = Watched::default();
    let mut is_idle = |seen: &[u32]| {
        let change = watched.look(&clients(seen.iter().copied()));
        watched.is_idle(&change)
    };
    assert!(is_idle(&[]));
    assert_eq!([&[1][..], &[1], &[1]].map(&mut is_idle), [false, false, true], "young, told, old");
    assert_eq!([&[][..], &[]].map(&mut is_idle), [false, true], "closed");
}

proptest! {
    #[test]
    fn whoever_is_told_of_every_change_knows_the_whole_list(
        looks in proptest::collection::vec(proptest::collection::btree_set(0_u32..20, 0..20), 0..20),
        joins in 0_usize..20,
    ) {
        let (mut watched, mut remembered) = (Watched::default(), Remembered::default());
        for (number, look) in looks.into_iter().enumerate() {
            let change = watched.look(&clients(look));
            let change = if number == joins { watched.all() } else { change };
            for message in change.messages() {
                let Message::Clients(change) = message else { unreachable!() };
                if number >= joins {
                    remembered.apply(&change, MAX_CLIENTS, |_| true);
                }
            }
            if number >= joins {
                prop_assert_eq!(&remembered.clients, &watched.told);
            }
        }
    }
}
