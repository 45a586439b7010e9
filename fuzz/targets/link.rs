//! What a peer can send over the link: keys' files, greetings, streams of frames, and messages, out of any bytes.
#![no_main]

#[allow(dead_code, unreachable_pub, reason = "what this target does not use, the daemon does")]
#[path = "../../src/net.rs"]
mod net;
#[allow(dead_code, unreachable_pub, reason = "what this target does not use, the daemon does")]
#[path = "../../src/peer/mod.rs"]
mod peer;
#[allow(dead_code, unreachable_pub, reason = "what this target does not use, the daemon does")]
#[path = "../../src/vrrp/auth_hmac"]
mod vrrp {
    mod key;
    pub use key::{AuthKey, AuthKeys};
}

use std::net::{IpAddr, Ipv4Addr};

use peer::{Ends, Frames, Greeted, HELLO, Keys, Message, Refusal, Secret, accept, greet};

const ENDS: Ends = Ends {
    dialler: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
    listener: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3)),
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else { return };
    match mode % 4 {
        0 => drop(Keys::parse(data)),
        1 => greeting(data),
        2 => stream(data),
        _ => message(data),
    }
});

fn keys() -> Keys {
    Keys::parse(&[b'k'; 64]).expect("a key")
}

fn secret(keys: &Keys, number: u8) -> Secret<'_> {
    Secret { keys, node: [number; 16], nonce: [number; 32] }
}

/// Nobody without the key is greeted.
fn greeting(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<HELLO>() else { return };
    let keys = keys();
    let (dialler, listener) = (secret(&keys, 1), secret(&keys, 2));
    let (question, opening) = greet(&dialler, ENDS).expect("a greeting");
    assert!(accept(&listener, ENDS, bytes).is_err() || *bytes == question);
    let answer = accept(&listener, ENDS, &question).expect("a sound greeting").answer;
    assert!(opening.finish(&dialler, bytes).is_err() || *bytes == answer);
}

/// Sound frames, as many as the first byte says, and then whatever: only those pass.
fn stream(data: &[u8]) {
    let Some((sound, data)) = data.split_first() else { return };
    let keys = keys();
    let (dialler, listener) = (secret(&keys, 1), secret(&keys, 2));
    let (question, opening) = greet(&dialler, ENDS).expect("a greeting");
    let accepted = accept(&listener, ENDS, &question).expect("a sound greeting");
    let Greeted { session: mut ours, .. } = opening.finish(&dialler, &accepted.answer).expect("an answer");
    let mut theirs = accepted.greeted.session;
    let sound = usize::from(sound % 4);
    let mut bytes = vec![];
    for _ in 0..sound {
        bytes.extend(ours.sealer.seal(3, b"{}").expect("a frame"));
    }
    bytes.extend_from_slice(data);
    let (mut frames, mut rest, mut passed) = (Frames::default(), bytes.as_slice(), 0);
    let refusal = loop {
        match frames.take() {
            Ok(Some(frame)) => match theirs.opener.open(frame) {
                Ok((kind, payload)) => {
                    assert_eq!((kind, payload), (3, &b"{}"[..]));
                    passed += 1;
                }
                Err(refusal) => break Some(refusal),
            },
            Ok(None) if rest.is_empty() => break frames.finish().err(),
            Ok(None) => {
                let space = frames.space();
                assert!(!space.is_empty());
                let n = rest.len().min(space.len()).min(1 + data.len() % 97);
                space[..n].copy_from_slice(&rest[..n]);
                frames.filled(n);
                rest = &rest[n..];
            }
            Err(refusal) => break Some(refusal),
        }
    };
    assert_eq!(passed, sound);
    assert!(refusal.is_some() == !data.is_empty() && refusal != Some(Refusal::Key));
}

/// What is taken for a message is said again in the same way.
fn message(data: &[u8]) {
    let Some((kind, payload)) = data.split_first() else { return };
    if let Ok(Some(message)) = Message::parse(kind % 16, payload) {
        let (kind, again) = message.emit();
        assert_eq!(Message::parse(kind, &again), Ok(Some(message)));
    }
}
