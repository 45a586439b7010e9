//! Sixteen bytes at a time: where the control characters and the line ends of a head are, and how far a name reaches.
//!
//! Few instructions a byte, in place of a look at each or a search in each line.

use wide::u8x16;

use super::fields::is_token_byte;
use super::target::{is_name_byte, is_target_byte};

pub(super) const BLOCK: usize = 64;

/// Bit n stands for byte n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LineMasks {
    lf: u64,
    cr: u64,
}

/// What `look` finds in the bytes from `at`, filled up with spaces behind the end of `bytes`; `None` if there are none.
#[inline]
fn block<T>(bytes: &[u8], at: usize, look: impl Fn(&[u8; BLOCK]) -> T) -> Option<T> {
    let rest = bytes.get(at..)?;
    if let Some(block) = rest.first_chunk::<BLOCK>() {
        return Some(look(block));
    }
    if rest.is_empty() {
        return None;
    }
    let mut block = [b' '; BLOCK];
    block.get_mut(..rest.len())?.copy_from_slice(rest);
    Some(look(&block))
}

fn mask(block: &[u8; BLOCK], test: impl Fn(u8x16) -> u8x16) -> u64 {
    let (lanes, _) = block.as_chunks::<16>();
    lanes
        .iter()
        .enumerate()
        .fold(0, |mask, (n, lane)| mask | u64::from(test(u8x16::new(*lane)).to_bitmask() as u16) << (16 * n))
}

/// Below a space, or DEL: in the block that begins at `at`, if there is one.
#[inline]
pub(super) fn controls_from(bytes: &[u8], at: usize) -> Option<u64> {
    block(bytes, at, controls)
}

fn controls(block: &[u8; BLOCK]) -> u64 {
    mask(block, |lane| {
        let low = lane.min(u8x16::splat(0x1f)).simd_eq(lane);
        low | lane.simd_eq(u8x16::splat(0x7f))
    })
}

fn line_masks(block: &[u8; BLOCK]) -> LineMasks {
    LineMasks {
        lf: mask(block, |lane| lane.simd_eq(u8x16::splat(b'\n'))),
        cr: mask(block, |lane| lane.simd_eq(u8x16::splat(b'\r'))),
    }
}

/// How many bytes of `head[start..end]`, from its start, pass `byte`; `lane` may know some of those.
#[inline]
fn reach(
    head: &[u8],
    start: usize,
    end: usize,
    lane: impl Fn(u8x16) -> u8x16,
    byte: impl Fn(u8) -> bool,
) -> usize {
    let mut at = start;
    while let Some(bytes) = head.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let passed = (!lane(u8x16::new(*bytes)).to_bitmask()).trailing_zeros() as usize;
        at += passed.min(16);
        if passed < 16 || at >= end {
            break;
        }
    }
    let rest = head.get(at..end).unwrap_or_default();
    (at + rest.iter().take_while(|b| byte(**b)).count()).min(end) - start
}

#[inline]
fn is_between(lane: u8x16, first: u8, last: u8) -> u8x16 {
    let offset = lane - u8x16::splat(first);
    offset.min(u8x16::splat(last - first)).simd_eq(offset)
}

#[inline]
fn is_letter_digit_hyphen(lane: u8x16) -> u8x16 {
    is_between(lane | u8x16::splat(0x20), b'a', b'z')
        | is_between(lane, b'0', b'9')
        | lane.simd_eq(u8x16::splat(b'-'))
}

/// Bytes of a token (RFC 9110 section 5.6.2) at the start of `head[start..end]`.
#[inline]
pub(super) fn token(head: &[u8], start: usize, end: usize) -> usize {
    reach(head, start, end, is_letter_digit_hyphen, is_token_byte)
}

/// Bytes of a registered name, as `is_name_byte` has it.
#[inline]
pub(super) fn host_name(head: &[u8], start: usize, end: usize) -> usize {
    let lane = |lane: u8x16| is_letter_digit_hyphen(lane) | lane.simd_eq(u8x16::splat(b'.'));
    reach(head, start, end, lane, is_name_byte)
}

/// Bytes of a target, as `is_target_byte` has it.
#[inline]
pub(super) fn target(head: &[u8], start: usize, end: usize) -> usize {
    let lane = |lane: u8x16| is_between(lane, b'$', b'~') | is_between(lane, b'!', b'"');
    reach(head, start, end, lane, is_target_byte)
}

/// A line ends in a LF without CR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BareLf;

/// One past the first empty line that ends behind `from`. Lines end in CRLF, and one does right in front of `from`, or
/// else begins before it.
pub(super) fn empty_line(bytes: &[u8], from: usize) -> Result<Option<usize>, BareLf> {
    let before = |n: usize, byte: u8| u64::from(from >= n && bytes.get(from - n) == Some(&byte));
    let mut carried_cr = before(1, b'\r');
    let mut carried_lf = before(1, b'\n') << 1 | before(2, b'\n');
    let mut at = from;
    while let Some(LineMasks { lf, cr }) = block(bytes, at, line_masks) {
        let bare = lf & !(cr << 1 | carried_cr);
        // Two line ends with only a CR between them.
        let empty = lf & (lf << 2 | carried_lf);
        if bare | empty != 0 {
            let first = (bare | empty).trailing_zeros();
            let is_bare = bare >> first & 1 == 1;
            return if is_bare { Err(BareLf) } else { Ok(Some(at + first as usize + 1)) };
        }
        carried_cr = cr >> 63;
        carried_lf = lf >> 62;
        at += BLOCK;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_where_the_mask_says() {
        for byte in 0..=u8::MAX {
            for other in [b'a', 0x80, b'\t', 0xff, 0x20] {
                for at in [0, 1, 7, 8, 15, 16, 31, 63] {
                    let mut block = [other; BLOCK];
                    block[at] = byte;
                    let naive = |test: fn(u8) -> bool| {
                        block.iter().enumerate().fold(0, |mask, (n, b)| mask | u64::from(test(*b)) << n)
                    };
                    let is_control = |b| b < 0x20 || b == 0x7f;
                    assert_eq!(controls(&block), naive(is_control), "{byte} at {at}");
                    let lines = LineMasks { lf: naive(|b| b == b'\n'), cr: naive(|b| b == b'\r') };
                    assert_eq!(line_masks(&block), lines, "{byte} at {at}");
                }
            }
        }
    }

    #[test]
    fn a_run_reaches_as_far_as_its_bytes_allow() {
        type Reach = fn(&[u8], usize, usize) -> usize;
        type Test = fn(u8) -> bool;
        let table: [(Reach, Test); 3] =
            [(token, is_token_byte), (host_name, is_name_byte), (target, is_target_byte)];
        for (reach, test) in table {
            for byte in 0..=u8::MAX {
                for length in [0, 1, 15, 16, 17, 40] {
                    for behind in [0, 1, 20] {
                        let mut head = [b"  ", [b'a'; 40].get(..length).unwrap(), &[byte]].concat();
                        let end = head.len();
                        head.extend(std::iter::repeat_n(b'b', behind));
                        let expect = length + usize::from(test(byte));
                        assert_eq!(reach(&head, 2, end,), expect, "{byte} behind {length}");
                        assert_eq!(reach(&head, 2, 2 + length), length, "{byte} behind {length}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_empty_line_is_found_across_blocks() {
        for length in 0..140 {
            let text = format!("{}\r\n\r\nrest", "a".repeat(length)).into_bytes();
            let bare = format!("{}\nb\r\n\r\n", "a".repeat(length)).into_bytes();
            for from in 0..=length {
                assert_eq!(empty_line(&text, from), Ok(Some(length + 4)), "{length} from {from}");
                assert_eq!(empty_line(&text[..length + 3], from), Ok(None), "{length} from {from}");
                assert_eq!(empty_line(&bare, from), Err(BareLf), "{length} from {from}");
            }
            for from in length + 1..=length + 3 {
                assert_eq!(empty_line(&text, from), Ok(Some(length + 4)), "{length} from {from}");
            }
        }
    }
}
