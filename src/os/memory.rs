//! Copying memory, where musl does it with `rep movsq` whatever the length: a start-up of some thirty cycles for each of
//! the dozens of short copies that a request takes. glibc's way, with overlapping moves for short lengths.
//!
//! The linker takes these in the place of libc's, because an archive is only asked for what is missing.

use std::arch::asm;
use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_storeu_si128};

/// Longer copies are left to the processor, which moves whole cache lines then.
const LONG: usize = 256;

/// As C has it.
///
/// # Safety
/// `n` bytes can be read from `from` and written to `to`, and the two do not overlap.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    if n <= LONG {
        // SAFETY: the caller's promise.
        unsafe { short(to, from, n) };
    } else {
        // SAFETY: the caller's promise; the direction flag is clear between functions (System V ABI).
        unsafe { words(to, from, n) };
    }
    to
}

/// As C has it.
///
/// # Safety
/// `n` bytes can be read from `from` and written to `to`.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(super) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    if n <= LONG {
        // SAFETY: the caller's promise; all is read before anything is written.
        unsafe { short(to, from, n) };
    } else if (to as usize).wrapping_sub(from as usize) >= n {
        // SAFETY: the caller's promise; what is written lies in front of what is still to be read, or elsewhere.
        unsafe { forwards(to, from, n) };
    } else {
        // SAFETY: the caller's promise; the flag is cleared again.
        unsafe {
            asm!(
                "std", "rep movsb", "cld",
                inout("rcx") n => _,
                inout("rdi") to.add(n - 1) => _,
                inout("rsi") from.add(n - 1) => _,
                options(nostack),
            );
        }
    }
    to
}

/// More than `LONG` bytes, the last of which are moved by themselves.
///
/// # Safety
/// As `memcpy`.
#[inline(always)]
unsafe fn words(to: *mut u8, from: *const u8, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let last = from.add(n - 8).cast::<u64>().read_unaligned();
        asm!(
            "rep movsq",
            inout("rcx") n / 8 => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
        to.add(n - 8).cast::<u64>().write_unaligned(last);
    }
}

/// More than `LONG` bytes to a place in front of them, however near: the processor's own copy takes ten times as long
/// where the two are less than a cache line apart, as the pieces of a chunked body are.
///
/// # Safety
/// As `memcpy`, except that what is written may overlap what has been read.
#[inline(always)]
unsafe fn forwards(to: *mut u8, from: *const u8, n: usize) {
    const STEP: usize = 64;
    // SAFETY (of all below): no access begins before the first byte or ends behind the last one, since `n` is at least
    // `STEP`.
    unsafe {
        let block = |at: usize| _mm_loadu_si128(from.add(at).cast());
        let put = |at: usize, block: __m128i| _mm_storeu_si128(to.add(at).cast(), block);
        let end = n - STEP;
        let last = (block(end), block(end + 16), block(end + 32), block(end + 48));
        let mut at = 0;
        while at < end {
            let (a, b, c, d) = (block(at), block(at + 16), block(at + 32), block(at + 48));
            put(at, a);
            put(at + 16, b);
            put(at + 32, c);
            put(at + 48, d);
            // Else the compiler may see through it, and call memmove.
            asm!("", options(nostack, preserves_flags));
            at += STEP;
        }
        put(end, last.0);
        put(end + 16, last.1);
        put(end + 32, last.2);
        put(end + 48, last.3);
    }
}

/// At most `LONG` bytes. Reads all of them before it writes one, so that the two may overlap.
///
/// # Safety
/// `n` bytes can be read from `from` and written to `to`.
#[inline(always)]
unsafe fn short(to: *mut u8, from: *const u8, n: usize) {
    // SAFETY (of all below): no access begins before the first byte or ends behind the last one, by the bounds of `n`.
    unsafe {
        let block = |at: usize| _mm_loadu_si128(from.add(at).cast());
        let put = |at: usize, block: __m128i| _mm_storeu_si128(to.add(at).cast(), block);
        match n {
            0 => (),
            1..4 => {
                let (first, middle, last) = (from.read(), from.add(n / 2).read(), from.add(n - 1).read());
                to.write(first);
                to.add(n / 2).write(middle);
                to.add(n - 1).write(last);
            }
            4..8 => {
                let (first, last) =
                    (from.cast::<u32>().read_unaligned(), from.add(n - 4).cast::<u32>().read_unaligned());
                to.cast::<u32>().write_unaligned(first);
                to.add(n - 4).cast::<u32>().write_unaligned(last);
            }
            8..16 => {
                let (first, last) =
                    (from.cast::<u64>().read_unaligned(), from.add(n - 8).cast::<u64>().read_unaligned());
                to.cast::<u64>().write_unaligned(first);
                to.add(n - 8).cast::<u64>().write_unaligned(last);
            }
            16..=32 => {
                let (first, last) = (block(0), block(n - 16));
                put(0, first);
                put(n - 16, last);
            }
            33..=64 => {
                let (a, b, c, d) = (block(0), block(16), block(n - 32), block(n - 16));
                put(0, a);
                put(16, b);
                put(n - 32, c);
                put(n - 16, d);
            }
            65..=128 => {
                let (a, b, c, d) = (block(0), block(16), block(32), block(48));
                let (e, f, g, h) = (block(n - 64), block(n - 48), block(n - 32), block(n - 16));
                put(0, a);
                put(16, b);
                put(32, c);
                put(48, d);
                put(n - 64, e);
                put(n - 48, f);
                put(n - 32, g);
                put(n - 16, h);
            }
            _ => {
                let (a, b, c, d) = (block(0), block(16), block(32), block(48));
                let (e, f, g, h) = (block(64), block(80), block(96), block(112));
                let (i, j, k, l) = (block(n - 128), block(n - 112), block(n - 96), block(n - 80));
                let (m, o, p, q) = (block(n - 64), block(n - 48), block(n - 32), block(n - 16));
                put(0, a);
                put(16, b);
                put(32, c);
                put(48, d);
                put(64, e);
                put(80, f);
                put(96, g);
                put(112, h);
                put(n - 128, i);
                put(n - 112, j);
                put(n - 96, k);
                put(n - 80, l);
                put(n - 64, m);
                put(n - 48, o);
                put(n - 32, p);
                put(n - 16, q);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every length, at every overlap, against what the language does by itself.
    #[test]
    fn bytes_arrive_however_the_two_overlap() {
        let original: Vec<u8> = (0..1500u32).map(|n| (n * 7 % 251) as u8).collect();
        for n in (0..390).chain([511, 512, 700]) {
            for shift in [0usize, 1, 6, 7, 15, 16, 17, 63, 64, 65, 255, 700] {
                for (from, to) in [(0, shift), (shift, 0)] {
                    let mut moved = original.clone();
                    let base = moved.as_mut_ptr();
                    // SAFETY: both ranges lie within the vector.
                    unsafe { memmove(base.add(to), base.add(from), n) };
                    let mut expect = original.clone();
                    expect.copy_within(from..from + n, to);
                    assert!(moved == expect, "{n} bytes from {from} to {to}");
                }
            }
            let mut copied = vec![0; n + 2];
            // SAFETY: the destination has room for `n` bytes behind its first.
            unsafe { memcpy(copied.as_mut_ptr().add(1), original.as_ptr(), n) };
            assert!(copied[1..=n] == original[..n] && copied[0] == 0 && copied[n + 1] == 0, "{n}");
        }
    }
}
