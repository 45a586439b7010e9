//! The field names that mean something to a proxy, and sets of them.

macro_rules! known {
    ($($name:ident = $text:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Known {
            $($name,)*
            Other,
        }

        impl Known {
            pub(super) const ALL: &[(Self, &str)] = &[$((Self::$name, $text),)*];
        }
    };
}

known! {
    Connection = "connection",
    ContentLength = "content-length",
    Date = "date",
    Expect = "expect",
    Forwarded = "forwarded",
    Host = "host",
    IfMatch = "if-match",
    IfModifiedSince = "if-modified-since",
    IfNoneMatch = "if-none-match",
    IfRange = "if-range",
    IfUnmodifiedSince = "if-unmodified-since",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    Range = "range",
    Server = "server",
    Te = "te",
    Trailer = "trailer",
    TransferEncoding = "transfer-encoding",
    Upgrade = "upgrade",
    XForwardedFor = "x-forwarded-for",
    XForwardedHost = "x-forwarded-host",
    XForwardedProto = "x-forwarded-proto",
    XRealIp = "x-real-ip",
}

/// How far a request's field goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// To the next hop and no further.
    Hop,
    /// This proxy writes its own.
    Anew,
    /// Past this proxy. Trailer and Forwarded depend on more than their name.
    End,
}

impl Known {
    const fn scope(self) -> Scope {
        match self {
            Self::Connection
            | Self::KeepAlive
            | Self::ProxyConnection
            | Self::Te
            | Self::TransferEncoding
            | Self::Upgrade => Scope::Hop,
            Self::ContentLength
            | Self::Expect
            | Self::Host
            | Self::XForwardedFor
            | Self::XForwardedHost
            | Self::XForwardedProto
            | Self::XRealIp => Scope::Anew,
            Self::Date
            | Self::Forwarded
            | Self::IfMatch
            | Self::IfModifiedSince
            | Self::IfNoneMatch
            | Self::IfRange
            | Self::IfUnmodifiedSince
            | Self::Range
            | Self::Server
            | Self::Trailer
            | Self::Other => Scope::End,
        }
    }
}

/// Sets the bit that tells a small letter from a capital one. No other byte of a token becomes a letter or a hyphen
/// by it.
const FOLD: u64 = 0x2020_2020_2020_2020;

/// The eight bytes of `text` from `at`, in small letters; zeros beyond its end.
const fn word(text: &[u8], at: usize) -> u64 {
    let Some((_, rest)) = text.split_at_checked(at) else { return 0 };
    match rest.first_chunk::<8>() {
        Some(bytes) => u64::from_le_bytes(*bytes) | FOLD,
        None => 0,
    }
}

const fn half(text: &[u8]) -> u32 {
    match text.first_chunk::<4>() {
        Some(bytes) => u32::from_le_bytes(*bytes) | FOLD as u32,
        None => 0,
    }
}

impl Known {
    /// `name` is a token: only then are words compared instead of bytes.
    pub(super) fn of(name: &[u8]) -> Self {
        macro_rules! pick {
            ($($text:literal => $known:ident),*) => {{
                let (first, last) = (word(name, 0), word(name, name.len() - 8));
                $(if first == const { word($text, 0) } && last == const { word($text, $text.len() - 8) } {
                    return Self::$known;
                })*
                Self::Other
            }};
        }
        // Names of more than sixteen bytes have some in the middle that are in neither word.
        let whole = |text: &[u8], known| if name.eq_ignore_ascii_case(text) { known } else { Self::Other };
        match name.len() {
            2 => whole(b"te", Self::Te),
            4 => match half(name) {
                n if n == const { half(b"host") } => Self::Host,
                n if n == const { half(b"date") } => Self::Date,
                _ => Self::Other,
            },
            6 => match half(name) {
                n if n == const { half(b"expe") } => whole(b"expect", Self::Expect),
                n if n == const { half(b"serv") } => whole(b"server", Self::Server),
                _ => Self::Other,
            },
            7 => match half(name) {
                n if n == const { half(b"upgr") } => whole(b"upgrade", Self::Upgrade),
                n if n == const { half(b"trai") } => whole(b"trailer", Self::Trailer),
                _ => Self::Other,
            },
            5 => whole(b"range", Self::Range),
            8 => pick!(b"if-match" => IfMatch, b"if-range" => IfRange),
            9 => pick!(b"x-real-ip" => XRealIp, b"forwarded" => Forwarded),
            10 => pick!(b"connection" => Connection, b"keep-alive" => KeepAlive),
            13 => pick!(b"if-none-match" => IfNoneMatch),
            14 => pick!(b"content-length" => ContentLength),
            15 => pick!(b"x-forwarded-for" => XForwardedFor),
            16 => pick!(b"x-forwarded-host" => XForwardedHost, b"proxy-connection" => ProxyConnection),
            17 => match word(name, 0) {
                n if n == const { word(b"x-forwarded-proto", 0) } => {
                    whole(b"x-forwarded-proto", Self::XForwardedProto)
                }
                n if n == const { word(b"transfer-encoding", 0) } => {
                    whole(b"transfer-encoding", Self::TransferEncoding)
                }
                n if n == const { word(b"if-modified-since", 0) } => {
                    whole(b"if-modified-since", Self::IfModifiedSince)
                }
                _ => Self::Other,
            },
            19 => whole(b"if-unmodified-since", Self::IfUnmodifiedSince),
            _ => Self::Other,
        }
    }
}

/// One bit for each known field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KnownSet(u32);

impl KnownSet {
    pub(super) const fn of_those(scope: Scope) -> Self {
        let mut set = Self(0);
        let mut rest = Known::ALL;
        while let [(known, _), tail @ ..] = rest {
            if known.scope() as u8 == scope as u8 {
                set.insert(*known);
            }
            rest = tail;
        }
        set
    }

    pub(super) const fn has(self, known: Known) -> bool {
        self.0 >> known as u32 & 1 == 1
    }

    pub(super) const fn insert(&mut self, known: Known) {
        self.0 |= 1 << known as u32;
    }

    /// Inserts it if `other` has it.
    pub(super) const fn insert_if(&mut self, known: Known, other: Self) {
        self.0 |= 1 << known as u32 & other.0;
    }

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::fields::is_token_byte;

    #[test]
    fn names_are_known_in_any_case_and_nothing_else_is() {
        for (known, text) in Known::ALL {
            assert_eq!(Known::of(text.as_bytes()), *known, "{text}");
            assert_eq!(Known::of(text.to_ascii_uppercase().as_bytes()), *known, "{text}");
            let mut set = KnownSet::default();
            set.insert(*known);
            assert!(set.has(*known) && !set.has(Known::Other));
            for at in 0..text.len() {
                for byte in (0..=u8::MAX).filter(|b| is_token_byte(*b)) {
                    let mut other = text.as_bytes().to_vec();
                    if !other[at].eq_ignore_ascii_case(&byte) {
                        other[at] = byte;
                        assert_eq!(Known::of(&other), Known::Other, "{}", String::from_utf8_lossy(&other));
                    }
                }
                assert_ne!(Known::of(&text.as_bytes()[..at]), *known, "{text} cut");
            }
            assert_eq!(Known::of(format!("{text}s").as_bytes()), Known::Other, "{text}s");
        }
    }
}
