//! Random numbers of the kernel.

use nix::libc;

/// For identifiers that strangers must not guess or repeat. Without a source of randomness, which a kernel after its
/// boot always has, the clock stands in: identifiers stay different, and could be guessed.
pub fn bits() -> u128 {
    let mut bytes = [0; 16];
    // SAFETY: the kernel writes at most as many bytes as the array has.
    let n = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    match usize::try_from(n) {
        Ok(n) if n == bytes.len() => u128::from_ne_bytes(bytes),
        _ => u128::from(super::clock::boottime_ns()).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike() {
        assert_ne!(bits(), bits());
    }
}
