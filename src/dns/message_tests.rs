//! Answers as name servers write them, and as those write them who want to be believed.

use domain::base::MessageBuilder;
use domain::base::iana::Rcode;

use super::*;

const ID: u16 = 0x1234;

fn question(family: Family) -> Question {
    Question::try_new("app", family).unwrap()
}

fn name(text: &str) -> Name<Vec<u8>> {
    text.parse().unwrap()
}

/// An answer to `question` with `records` as "owner ttl A|AAAA|CNAME data".
fn answer(question: &Question, rcode: Rcode, records: &[&str]) -> Vec<u8> {
    let query = question.encode(ID);
    let query = Message::from_octets(query.as_slice()).unwrap();
    let mut answer = MessageBuilder::new_vec().start_answer(&query, rcode).unwrap();
    for record in records {
        let [owner, ttl, kind, data] = record.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (owner, ttl) = (name(owner), ttl.parse::<u32>().unwrap());
        let pushed = match kind {
            "A" => answer.push((owner, ttl, A::new(data.parse().unwrap()))),
            "AAAA" => answer.push((owner, ttl, Aaaa::new(data.parse().unwrap()))),
            "CNAME" => answer.push((owner, ttl, Cname::new(name(data)))),
            _ => panic!("{kind}"),
        };
        pushed.unwrap();
    }
    answer.finish()
}

/// "address address ttl", or what else it is.
fn shown(answer: Result<Answer, Ignored>) -> String {
    match answer {
        Ok(Answer::Addresses { addresses, ttl }) => {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            format!("{} {ttl}", addresses.join(" "))
        }
        Ok(Answer::NoAddress) => "no address".into(),
        Ok(Answer::NoSuchName) => "no such name".into(),
        Ok(Answer::Truncated) => "truncated".into(),
        Ok(Answer::Failed(why)) => format!("failed: {why}"),
        Err(ignored) => format!("ignored: {ignored}"),
    }
}

#[track_caller]
fn check(family: Family, records: &[&str], expect: &str) {
    let question = question(family);
    let bytes = answer(&question, Rcode::NOERROR, records);
    assert_eq!(shown(read(&bytes, ID, &question)), expect, "{records:?}");
}

#[test]
fn sets_in_order_with_the_least_time_to_live() {
    check(Family::V4, &["app 600 A 192.0.2.1"], "192.0.2.1 600");
    check(
        Family::V4,
        &["app 9 A 192.0.2.3", "APP 3 A 192.0.2.1", "app 5 A 192.0.2.3"],
        "192.0.2.1 192.0.2.3 3",
    );
    check(Family::V6, &["app 7 AAAA fd00::2", "app 7 A 192.0.2.1"], "fd00::2 7");
    check(Family::V4, &["app 7 AAAA fd00::2"], "no address");
    check(Family::V4, &["other 7 A 192.0.2.1"], "no address");
    check(Family::V4, &[], "no address");
    check(Family::V4, &["app 4294967295 A 192.0.2.1"], "192.0.2.1 0");
    check(Family::V4, &["app 5 A 0.0.0.0"], "no address");
    check(Family::V4, &["app 5 A 224.0.0.1", "app 5 A 192.0.2.1"], "192.0.2.1 5");
}

#[test]
fn aliases_lead_to_addresses_in_whatever_order() {
    check(Family::V4, &["app 60 CNAME web", "web 30 A 192.0.2.1"], "192.0.2.1 30");
    check(Family::V4, &["b 60 A 192.0.2.1", "a 5 CNAME b", "app 60 CNAME a"], "192.0.2.1 5");
    check(Family::V4, &["app 60 CNAME web"], "no address");
    check(Family::V4, &["app 60 CNAME app"], "failed: too long a chain of aliases");
    check(Family::V4, &["app 60 CNAME a", "a 60 CNAME app"], "failed: too long a chain of aliases");
    let chain = |length: usize| -> Vec<String> {
        let link = |n: usize| if n == 0 { "app".to_owned() } else { format!("n{n}") };
        let aliases = (0..length).map(|n| format!("{} 9 CNAME {}", link(n), link(n + 1)));
        aliases.chain([format!("{} 9 A 192.0.2.1", link(length))]).collect()
    };
    for (length, expect) in
        [(ALIASES_MAX, "192.0.2.1 9"), (ALIASES_MAX + 1, "failed: too long a chain of aliases")]
    {
        let chain = chain(length);
        check(Family::V4, &chain.iter().map(String::as_str).collect::<Vec<_>>(), expect);
    }
}

#[test]
fn no_more_addresses_than_are_of_use() {
    let question = question(Family::V4);
    let many = |n: u16| -> Vec<String> {
        (0..n).rev().map(|n| format!("app 9 A 10.0.{}.{}", n / 256, n % 256)).collect()
    };
    let read_many = |n: u16| {
        let records = many(n);
        let records: Vec<_> = records.iter().map(String::as_str).collect();
        read(&answer(&question, Rcode::NOERROR, &records), ID, &question)
    };
    let Ok(Answer::Addresses { addresses, .. }) = read_many(RECORDS_MAX) else { panic!() };
    assert_eq!(addresses.len(), ADDRESSES_MAX);
    assert_eq!(addresses[ADDRESSES_MAX - 1].to_string(), "10.0.0.63", "the same ones each time");
    assert_eq!(shown(read_many(RECORDS_MAX + 1)), "ignored: too many records");
}

#[test]
fn refusals_and_what_is_no_answer() {
    let asked = question(Family::V4);
    let good = answer(&asked, Rcode::NOERROR, &["app 9 A 192.0.2.1"]);
    for (rcode, expect) in [
        (Rcode::NXDOMAIN, "no such name"),
        (Rcode::SERVFAIL, "failed: the name server says SERVFAIL"),
        (Rcode::REFUSED, "failed: the name server says REFUSED"),
    ] {
        assert_eq!(shown(read(&answer(&asked, rcode, &[]), ID, &asked)), expect);
    }
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    for (bytes, expect) in [
        (changed(0, 0), "ignored: another id"),
        (asked.encode(ID), "ignored: no answer"),
        (changed(2, 0x80 | 5 << 3), "ignored: no answer"),
        (changed(2, 0x83), "truncated"),
        (changed(5, 0), "ignored: not one question"),
        (changed(5, 2), "ignored: not one question"),
        (changed(13, b'b'), "ignored: another question"),
        (changed(13, b'A'), "192.0.2.1 9"),
        (answer(&question(Family::V6), Rcode::NOERROR, &[]), "ignored: another question"),
        (changed(7, 9), "ignored: malformed"),
        (good[..11].to_vec(), "ignored: too short"),
        (good[..good.len() - 1].to_vec(), "ignored: malformed"),
        (vec![], "ignored: too short"),
    ] {
        assert_eq!(shown(read(&bytes, ID, &asked)), expect, "{bytes:?}");
    }
}

#[test]
fn every_cut_and_every_changed_byte_is_survived() {
    let asked = question(Family::V4);
    let good = answer(&asked, Rcode::NOERROR, &["app 9 CNAME web", "web 9 A 192.0.2.1"]);
    for at in 0..good.len() {
        assert!(read(&good[..at], ID, &asked).is_err(), "{at}");
        for to in 0..=u8::MAX {
            let mut bytes = good.clone();
            bytes[at] = to;
            // Whatever it says.
            let _ = read(&bytes, ID, &asked);
        }
    }
}

#[test]
fn questions() {
    assert_eq!(
        question(Family::V6).encode(0xabcd),
        b"\xab\xcd\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03app\x00\x00\x1c\x00\x01"
    );
    let long = "a.".repeat(130);
    for (name, fine) in
        [("app", true), ("app.", true), ("a..b", false), (&"a".repeat(64), false), (&long, false)]
    {
        assert_eq!(Question::try_new(name, Family::V4).is_ok(), fine, "{name}");
    }
}
