//! The number of an advert: when it was made, and never twice the same.

use std::time::Duration;

/// Seconds since 1970 (32 bits, which wrap), a fraction of 1/65536 (16 bits), a counter (16 bits). Ordered as RFC 1982
/// orders serial numbers, so that the wrap is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence(u64);

impl Sequence {
    /// `wall`: since 1970.
    pub const fn at(wall: Duration) -> Self {
        // What is beyond 32 bits of seconds goes with the shift, and nanoseconds make less than 2^16 fractions.
        let fraction = ((wall.subsec_nanos() as u64) << 16) / 1_000_000_000;
        Self(wall.as_secs() << 32 | fraction << 16)
    }

    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> u64 {
        self.0
    }

    /// RFC 1982 section 3.2.
    pub const fn is_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    /// The counter carries into the time.
    pub(super) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// In whole seconds, below zero if it is behind.
    pub(super) fn seconds_ahead_of(self, wall: Duration) -> i32 {
        let seconds = |bits: u64| (bits >> 32) as u32;
        seconds(self.0).wrapping_sub(seconds(Self::at(wall).0)).cast_signed()
    }

    pub(super) const fn distance_to(self, later: Self) -> u64 {
        later.0.wrapping_sub(self.0)
    }
}
