//! Finding one value among many in a request's head: by nginx's rules, which are not those of a browser's.

use crate::http1::Fields;

/// `name` in lower case; in their order.
pub(super) fn field_values<'v>(
    head: &'v [u8],
    fields: &'v Fields,
    name: &'v str,
) -> impl Iterator<Item = &'v [u8]> {
    let is_meant = move |field: &[u8]| field.eq_ignore_ascii_case(name.as_bytes());
    fields.iter().filter(move |field| is_meant(field.name.of(head))).map(|field| field.value.of(head))
}

/// The first of that name, in any case; undecoded.
pub(super) fn argument<'q>(query: &'q [u8], name: &[u8]) -> Option<&'q [u8]> {
    query.split(|b| *b == b'&').find_map(|pair| {
        let (start, rest) = pair.split_at_checked(name.len())?;
        rest.strip_prefix(b"=").filter(|_| start.eq_ignore_ascii_case(name))
    })
}

/// The first of that name, in any case. Names may follow a comma, too; values end at a semicolon only.
pub(super) fn cookie<'l>(mut line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    loop {
        if let Some((start, rest)) = line.split_at_checked(name.len())
            && start.eq_ignore_ascii_case(name)
            && let Some(value) = without_spaces(rest).strip_prefix(b"=")
        {
            let value = without_spaces(value);
            let end = memchr::memchr(b';', value).unwrap_or(value.len());
            return value.get(..end);
        }
        let end = memchr::memchr2(b';', b',', line)?;
        line = without_spaces(line.get(end + 1..)?);
    }
}

fn without_spaces(mut bytes: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// The user of `Basic` credentials (RFC 7617 section 2). No colon or nobody before it: none.
pub(super) fn basic_user(credentials: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = credentials.split_at_checked(b"Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let mut user = base64(without_spaces(encoded))?;
    let colon = memchr::memchr(b':', &user).filter(|at| *at > 0)?;
    user.truncate(colon);
    Some(user)
}

/// RFC 4648 section 4; what follows the padding does not count.
fn base64(encoded: &[u8]) -> Option<Vec<u8>> {
    let digits = encoded.split(|b| *b == b'=').next()?;
    if digits.len() % 4 == 1 {
        return None;
    }
    let mut decoded = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0u32, 0);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count) as u8);
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: Option<&[u8]>) -> Option<&str> {
        value.map(|v| std::str::from_utf8(v).unwrap())
    }

    #[test]
    fn arguments_are_found_by_name() {
        let table = [
            ("a=1&b=2", "b", Some("2")),
            ("A=1", "a", Some("1")),
            ("ab=1&b=2", "b", Some("2")),
            ("a&a=2", "a", Some("2")),
            ("a=", "a", Some("")),
            ("a=b=c%20", "a", Some("b=c%20")),
            ("a=1&a=2", "a", Some("1")),
            ("xa=1", "a", None),
            ("", "a", None),
        ];
        for (query, name, expect) in table {
            assert_eq!(text(argument(query.as_bytes(), name.as_bytes())), expect, "{query}");
        }
    }

    #[test]
    fn cookies_are_found_by_name() {
        let table = [
            ("a=1; b=2", "b", Some("2")),
            ("a=1;b=2", "b", Some("2")),
            ("SID=x", "sid", Some("x")),
            ("sid = x y ; b=1", "sid", Some("x y ")),
            ("asid=1; sid=2", "sid", Some("2")),
            ("sidx=1; sid=2", "sid", Some("2")),
            ("a, sid=2", "sid", Some("2")),
            ("sid=1,2; b=3", "sid", Some("1,2")),
            ("sid=", "sid", Some("")),
            ("sid", "sid", None),
            ("", "sid", None),
        ];
        for (line, name, expect) in table {
            assert_eq!(text(cookie(line.as_bytes(), name.as_bytes())), expect, "{line}");
        }
    }

    #[test]
    fn users_are_those_of_basic_credentials() {
        let table: [(&str, Option<&[u8]>); 11] = [
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(b"Aladdin")),
            ("basic  YTpi", Some(b"a")),
            ("Basic YTo=", Some(b"a")),
            ("Basic YTpiOmM", Some(b"a")),
            ("Basic /wo6eA==", Some(b"\xff\n")),
            ("Basic Ong=", None),
            ("Basic YQ==", None),
            ("Basic YTpiY", None),
            ("Basic Y!pi", None),
            ("Bearer YTpi", None),
            ("Basic", None),
        ];
        for (credentials, expect) in table {
            assert_eq!(basic_user(credentials.as_bytes()).as_deref(), expect, "{credentials}");
        }
    }
}
