//! Random bytes in place of a name server's answer, and of the files that say where to ask: nothing panics, and
//! whatever is taken for an answer keeps its bounds.
//!
//! `FUZZ_ITERATIONS=1000000 cargo test --release --test fuzz_dns` for longer; `SEED=n` repeats one case.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the number of cases comes from the environment, and a test may fail"
)]

#[path = "fuzz/cases.rs"]
mod cases;

use cases::{Random, each};
use vipgate::dns::*;

const ITERATIONS: u64 = 20_000;
const ID: u16 = 7;

/// Records and parts of them: names, pointers, types, lengths.
const PIECES: &[&[u8]] = &[
    b"\xc0\x0c\0\x01\0\x01\0\0\0\x09\0\x04\xc0\0\x02\x01",
    b"\xc0\x0c\0\x1c\0\x01\0\0\0\x09\0\x10\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
    b"\xc0\x0c\0\x05\0\x01\0\0\0\x09\0\x05\x03web\0",
    b"\x03web\0\0\x01\0\x01\0\0\0\x03\0\x04\x7f\0\0\x01",
    b"\xc0\x0c\0\x05\0\x01\0\0\0\x09\0\x02\xc0\x0c",
    b"\xc0\x11\0\x05\0\x01\x80\0\0\0\0\x02\xc0\x11",
    b"\xc0\x0c",
    b"\xff\xff",
    b"\x3faaaaaaaa",
    b"\0",
];

fn answer(random: &mut Random, question: &Question) -> Vec<u8> {
    let mut bytes = question.encode(ID);
    bytes[2] |= 0x80;
    bytes[7] = random.below(6) as u8;
    for _ in 0..random.below(8) {
        bytes.extend_from_slice(random.pick(PIECES));
    }
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        match random.below(3) {
            0 => bytes[at] = random.draw() as u8,
            1 => bytes.truncate(at.max(1)),
            _ => bytes.insert(at, random.draw() as u8),
        }
    }
    bytes
}

#[test]
fn answers() {
    each(ITERATIONS, |random| {
        let family = if random.below(2) == 0 { Family::V4 } else { Family::V6 };
        let question = Question::try_new("app", family).unwrap();
        let bytes = answer(random, &question);
        if let Ok(Answer::Addresses { addresses, .. }) = read(&bytes, ID, &question) {
            assert!((1..=ADDRESSES_MAX).contains(&addresses.len()), "{bytes:?}");
            assert!(addresses.is_sorted_by(|a, b| a < b), "{bytes:?}");
            assert!(addresses.iter().all(|a| a.is_ipv4() == (family == Family::V4)), "{bytes:?}");
            assert_eq!(bytes[..2], ID.to_be_bytes());
        }
    });
}

#[test]
fn files() {
    let words = [
        "nameserver",
        "search",
        "options",
        "ndots:",
        "127.0.0.1",
        "::1",
        "app",
        "#",
        "\n",
        " ",
        "\t",
        ".",
        "9",
    ];
    each(ITERATIONS, move |random| {
        let text: String = (0..random.below(30)).map(|_| random.pick(&words)).collect();
        let conf = ResolvConf::parse(&text);
        assert!(!conf.servers.is_empty() && conf.candidates("app").contains(&"app".to_owned()), "{text:?}");
        hosts(&text, "app");
    });
}
