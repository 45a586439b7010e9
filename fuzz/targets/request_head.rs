//! A request head, out of any bytes; what the codec accepts, hyper reads with the same framing.
#![no_main]

#[allow(dead_code, unreachable_pub, reason = "what this target does not use, others do")]
#[path = "../../src/http1/mod.rs"]
mod http1;

#[allow(dead_code, reason = "what this target does not use, others do")]
#[path = "../checks.rs"]
mod checks;

#[path = "../hyper_oracle.rs"]
mod hyper_oracle;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(head) = checks::request(data) {
        hyper_oracle::agrees(&data[..head.length], &head);
    }
});
