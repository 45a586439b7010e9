//! Numbers and times as header fields and logs write them, without an allocation and without `format!`: each request
//! writes some.

use std::time::Duration;

/// The last second of the year 9999: the texts have room for four digits.
const LAST_SECOND: u64 = 253_402_300_799;
const DAY: u64 = 86_400;
const MONTHS: [(&[u8; 3], u64); 12] = [
    (b"Jan", 31),
    (b"Feb", 28),
    (b"Mar", 31),
    (b"Apr", 30),
    (b"May", 31),
    (b"Jun", 30),
    (b"Jul", 31),
    (b"Aug", 31),
    (b"Sep", 30),
    (b"Oct", 31),
    (b"Nov", 30),
    (b"Dec", 31),
];

pub(super) fn push_number(out: &mut Vec<u8>, n: u64) {
    push_padded(out, n, 1);
}

/// With zeros in front, up to `width` digits.
pub(super) fn push_padded(out: &mut Vec<u8>, n: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut rest = n;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        if rest == 0 && used >= width {
            break;
        }
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
        used += 1;
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// Seconds with three places, as nginx writes durations and `$msec`.
pub(super) fn push_seconds(out: &mut Vec<u8>, time: Duration) {
    push_number(out, time.as_secs());
    out.push(b'.');
    push_padded(out, u64::from(time.subsec_millis()), 3);
}

pub(super) fn push_hex(out: &mut Vec<u8>, n: u128) {
    for byte in n.to_be_bytes() {
        out.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte)]);
    }
}

/// Of the lower four bits.
fn hex_digit(n: u8) -> u8 {
    match n & 15 {
        n @ 0..=9 => b'0' + n,
        n => b'a' + (n - 10),
    }
}

/// What stays the same for a second: make it anew when the second changes. Always UTC, since an image from scratch
/// knows no time zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondText {
    second: u64,
    local: Vec<u8>,
    iso8601: Vec<u8>,
}

impl SecondText {
    /// `second` since 1970.
    pub fn new(second: u64) -> Self {
        let bounded = second.min(LAST_SECOND);
        let (year, month, day) = date(bounded / DAY);
        let (name, _) = MONTHS.get(month).copied().unwrap_or((b"Jan", 31));
        let rest = bounded % DAY;
        let time = [rest / 3600, rest / 60 % 60, rest % 60];
        let mut local = Vec::with_capacity(26);
        push_padded(&mut local, day, 2);
        local.push(b'/');
        local.extend_from_slice(name);
        local.push(b'/');
        push_padded(&mut local, year, 4);
        let mut iso8601 = Vec::with_capacity(25);
        push_padded(&mut iso8601, year, 4);
        for part in [month as u64 + 1, day] {
            iso8601.push(b'-');
            push_padded(&mut iso8601, part, 2);
        }
        for (n, part) in time.into_iter().enumerate() {
            local.push(b':');
            push_padded(&mut local, part, 2);
            iso8601.push(if n == 0 { b'T' } else { b':' });
            push_padded(&mut iso8601, part, 2);
        }
        local.extend_from_slice(b" +0000");
        iso8601.extend_from_slice(b"+00:00");
        Self { second, local, iso8601 }
    }

    pub fn second(&self) -> u64 {
        self.second
    }

    /// `29/Nov/2026:08:09:10 +0000`
    pub(super) fn local(&self) -> &[u8] {
        &self.local
    }

    /// `2026-11-29T08:09:10+00:00`
    pub fn iso8601(&self) -> &[u8] {
        &self.iso8601
    }

    /// `2026-11-29T08:09:10`
    pub(super) fn without_zone(&self) -> &[u8] {
        self.iso8601.strip_suffix(b"+00:00").unwrap_or_default()
    }
}

/// Year, month from 0, day from 1.
fn date(days: u64) -> (u64, usize, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut rest) = (1970, days);
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if rest < length {
            break;
        }
        rest -= length;
        year += 1;
    }
    for (month, (_, length)) in MONTHS.into_iter().enumerate() {
        let length = if month == 1 && leap(year) { 29 } else { length };
        if rest < length {
            return (year, month, rest + 1);
        }
        rest -= length;
    }
    (year, 0, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = vec![];
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_decimal() {
        let table = [
            (0, 1, "0"),
            (7, 1, "7"),
            (10, 1, "10"),
            (u64::MAX, 1, "18446744073709551615"),
            (0, 3, "000"),
            (5, 3, "005"),
            (1234, 3, "1234"),
        ];
        for (n, width, expect) in table {
            assert_eq!(text(|out| push_padded(out, n, width)), expect);
        }
        for (us, expect) in [(0, "0.000"), (999, "0.000"), (1_000, "0.001"), (61_234_567, "61.234")] {
            assert_eq!(text(|out| push_seconds(out, Duration::from_micros(us))), expect);
        }
        assert_eq!(text(|out| push_hex(out, 0xab << 64)), format!("{:032x}", 0xabu128 << 64));
    }

    /// httpdate knows the calendar as well.
    #[test]
    fn seconds_are_dates() {
        let table = [
            (0, "01/Jan/1970:00:00:00 +0000", "1970-01-01T00:00:00+00:00"),
            (951_782_399, "28/Feb/2000:23:59:59 +0000", "2000-02-28T23:59:59+00:00"),
            (951_782_400, "29/Feb/2000:00:00:00 +0000", "2000-02-29T00:00:00+00:00"),
            (4_107_542_400, "01/Mar/2100:00:00:00 +0000", "2100-03-01T00:00:00+00:00"),
            (1_795_939_750, "29/Nov/2026:08:09:10 +0000", "2026-11-29T08:09:10+00:00"),
            (u64::MAX, "31/Dec/9999:23:59:59 +0000", "9999-12-31T23:59:59+00:00"),
        ];
        for (second, local, iso8601) in table {
            let made = SecondText::new(second);
            assert_eq!(String::from_utf8_lossy(made.local()), local);
            assert_eq!(String::from_utf8_lossy(made.iso8601()), iso8601);
        }
        let mut second = 0;
        while second < 5_000_000_000 {
            let time = std::time::UNIX_EPOCH + Duration::from_secs(second);
            let date = httpdate::fmt_http_date(time);
            let words: Vec<&str> = date.split(' ').collect();
            let expect = format!("{}/{}/{}:{} +0000", words[1], words[2], words[3], words[4]);
            assert_eq!(String::from_utf8_lossy(SecondText::new(second).local()), expect);
            second += 86_400 * 13 + 4_321;
        }
    }
}
