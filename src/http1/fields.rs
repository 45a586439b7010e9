//! Header fields as spans into the head's bytes, and the names that this proxy has to know.

/// A range of a head's bytes. Heads are shorter than 64 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// Where `part` lies in `whole`, of which it must be a subslice; `None` beyond 64 KiB.
    pub(super) fn within(whole: &[u8], part: &[u8]) -> Option<Self> {
        let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
        let end = start.checked_add(part.len())?;
        if end > whole.len() {
            return None;
        }
        Some(Self { start: u16::try_from(start).ok()?, end: u16::try_from(end).ok()? })
    }

    /// The bytes meant; empty if `whole` is not the head that this span was made from.
    pub fn of(self, whole: &[u8]) -> &[u8] {
        whole.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default()
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: Span,
    pub value: Span,
    pub known: Known,
}

/// A head's fields in their order. Give an old one to the next `parse` and its memory is used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<Field>);

impl Fields {
    pub fn iter(&self) -> impl Iterator<Item = Field> + '_ {
        self.0.iter().copied()
    }

    pub fn values(&self, known: Known) -> impl Iterator<Item = Span> + '_ {
        self.iter().filter(move |f| f.known == known).map(|f| f.value)
    }

    /// The only value of a field, `None` where it is missing or repeated.
    pub fn only(&self, known: Known) -> Option<Span> {
        let mut values = self.values(known);
        values.next().filter(|_| values.next().is_none())
    }

    /// Takes over what httparse found in `head`; `None` where a span would not fit.
    pub(super) fn fill(mut self, head: &[u8], parsed: &[httparse::Header<'_>]) -> Option<Self> {
        self.0.clear();
        self.0.reserve(parsed.len());
        for header in parsed {
            self.0.push(Field {
                name: Span::within(head, header.name.as_bytes())?,
                value: Span::within(head, trim(header.value))?,
                known: Known::of(header.name.as_bytes()),
            });
        }
        Some(self)
    }
}

/// The fields that mean something to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Connection,
    ContentLength,
    Date,
    Expect,
    Host,
    IfMatch,
    IfModifiedSince,
    IfNoneMatch,
    IfRange,
    IfUnmodifiedSince,
    KeepAlive,
    ProxyConnection,
    Range,
    Server,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRealIp,
    Other,
}

impl Known {
    fn of(name: &[u8]) -> Self {
        // By length first: most names are told apart without looking at a byte.
        let candidates: &[(&[u8], Self)] = match name.len() {
            2 => &[(b"te", Self::Te)],
            4 => &[(b"host", Self::Host), (b"date", Self::Date)],
            5 => &[(b"range", Self::Range)],
            6 => &[(b"expect", Self::Expect), (b"server", Self::Server)],
            7 => &[(b"upgrade", Self::Upgrade), (b"trailer", Self::Trailer)],
            8 => &[(b"if-match", Self::IfMatch), (b"if-range", Self::IfRange)],
            9 => &[(b"x-real-ip", Self::XRealIp)],
            10 => &[(b"connection", Self::Connection), (b"keep-alive", Self::KeepAlive)],
            13 => &[(b"if-none-match", Self::IfNoneMatch)],
            14 => &[(b"content-length", Self::ContentLength)],
            15 => &[(b"x-forwarded-for", Self::XForwardedFor)],
            16 => {
                &[(b"x-forwarded-host", Self::XForwardedHost), (b"proxy-connection", Self::ProxyConnection)]
            }
            17 => &[
                (b"x-forwarded-proto", Self::XForwardedProto),
                (b"transfer-encoding", Self::TransferEncoding),
                (b"if-modified-since", Self::IfModifiedSince),
            ],
            19 => &[(b"if-unmodified-since", Self::IfUnmodifiedSince)],
            _ => &[],
        };
        candidates.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or(Self::Other, |(_, k)| *k)
    }
}

/// The members of a comma-separated list, without white space and without the empty ones (RFC 9110 section 5.6.1.2).
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(trim).filter(|m| !m.is_empty())
}

/// Without optional white space (RFC 9110 section 5.6.3) at both ends.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// A character of a token (RFC 9110 section 5.6.2).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case_and_nothing_else_is() {
        let table = [
            ("Host", Known::Host),
            ("tRANSFER-eNCODING", Known::TransferEncoding),
            ("X-Real-IP", Known::XRealIp),
            ("Transfer_Encoding", Known::Other),
            ("Hos", Known::Other),
            ("", Known::Other),
        ];
        for (name, expect) in table {
            assert_eq!(Known::of(name.as_bytes()), expect, "{name}");
        }
    }

    #[test]
    fn spans_are_found_and_foreign_ones_are_empty() {
        let whole = b"Host: a";
        assert_eq!(Span::within(whole, &whole[6..]).map(|s| s.of(whole)), Some(&b"a"[..]));
        let other = vec![0; 1 << 17];
        assert_eq!(Span::within(&other, &other[70_000..70_001]), None);
        assert!(Span { start: 3, end: 9 }.of(b"Host").is_empty());
    }

    #[test]
    fn lists_are_split_at_commas() {
        let got: Vec<_> = members(b" a ,,\tb c ,").collect();
        assert_eq!(got, [&b"a"[..], b"b c"]);
    }
}
