//! What a configuration says about fields: which are not passed on, and what stands in their place.

/// Names of fields, in any case. Cheap where there are none, and for a name of a length that none has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    names: Vec<Box<[u8]>>,
    /// Bit n: one has n bytes, or 63 and more.
    lengths: u64,
}

/// What a name is looked up in where no rule was made.
static NONE: Names = Names { names: Vec::new(), lengths: 0 };

impl Default for &Names {
    fn default() -> Self {
        &NONE
    }
}

impl<'n> FromIterator<&'n str> for Names {
    fn from_iter<I: IntoIterator<Item = &'n str>>(names: I) -> Self {
        let names: Vec<Box<[u8]>> = names.into_iter().map(|name| name.as_bytes().into()).collect();
        let lengths = names.iter().fold(0, |lengths, name| lengths | length_bit(name));
        Self { names, lengths }
    }
}

const fn length_bit(name: &[u8]) -> u64 {
    1 << if name.len() < 63 { name.len() } else { 63 }
}

impl Names {
    pub fn is_empty(&self) -> bool {
        self.lengths == 0
    }

    pub fn has(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name) != 0 && self.names.iter().any(|n| n.eq_ignore_ascii_case(name))
    }
}

/// What becomes of a request's fields on their way to an upstream. `None` leaves what this proxy says by itself;
/// an empty value leaves the field out, as nginx's `proxy_set_header` has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules<'a> {
    /// Not passed on.
    pub drop: &'a Names,
    /// Whole lines, each with its CRLF.
    pub add: &'a [u8],
    /// Never left out: a request of HTTP/1.1 has to have it.
    pub host: Option<&'a [u8]>,
    pub forwarded_for: Option<&'a [u8]>,
    pub forwarded_proto: Option<&'a [u8]>,
    pub forwarded_host: Option<&'a [u8]>,
    pub real_ip: Option<&'a [u8]>,
}

/// RFC 9110 section 5.5.
pub(super) fn is_value(value: &[u8]) -> bool {
    value.iter().all(|b| matches!(b, b'\t' | b' '..=b'~' | 0x80..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        let long = "x".repeat(80);
        let names = Names::from_iter(["x-a", "Server", &long]);
        for (name, expect) in
            [("X-A", true), ("server", true), ("x-b", false), ("", false), (&long.to_uppercase(), true)]
        {
            assert_eq!(names.has(name.as_bytes()), expect, "{name}");
            assert!(!<&Names>::default().has(name.as_bytes()));
        }
        assert!(!names.is_empty() && Names::default().is_empty());
    }
}
