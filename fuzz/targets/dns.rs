//! What a name server, or whoever says that he is one, can answer: any bytes.
#![no_main]

#[allow(dead_code, unreachable_pub, reason = "what this target does not use, the proxy does")]
#[path = "../../src/dns/message.rs"]
mod message;

use message::{ADDRESSES_MAX, Answer, Family, Question, read};

const ID: u16 = 7;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else { return };
    let family = if mode & 1 == 0 { Family::V4 } else { Family::V6 };
    let question = Question::try_new("web.example", family).expect("a name");
    let mut bytes = data.to_vec();
    if mode & 2 != 0 {
        // Behind a sound head and question, of which only the counts are drawn.
        bytes = question.encode(ID);
        bytes[2] |= 0x80;
        bytes[7] = mode >> 2;
        bytes.extend_from_slice(data);
    }
    if let Ok(Answer::Addresses { addresses, .. }) = read(&bytes, ID, &question) {
        assert!((1..=ADDRESSES_MAX).contains(&addresses.len()));
        let is_asked_for = |address: &std::net::IpAddr| address.is_ipv4() == (family == Family::V4);
        assert!(addresses.iter().all(is_asked_for));
    }
});
