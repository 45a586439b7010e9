//! A chunked body, out of any bytes cut anywhere.
#![no_main]

#[allow(dead_code, unreachable_pub, reason = "what this target does not use, others do")]
#[path = "../../src/http1/mod.rs"]
mod http1;

#[allow(dead_code, reason = "what this target does not use, others do")]
#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::chunked(data));
