//! Where a message's body ends (RFC 9112 section 6), decided once, from all fields that say something about it.

use super::fields::{Fields, members};
use super::head::{HeadError, ResponseError, Version};
use super::known::Known;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// No body, and no field that speaks of one.
    #[default]
    None,
    Length(u64),
    Chunked,
    /// Until the connection closes; responses only.
    Close,
}

/// What the fields say, before the rules that differ between requests and responses.
enum Declared {
    Nothing,
    Length(u64),
    Chunked,
}

#[derive(Clone, Copy)]
enum Fault {
    Unknown,
    Bad(&'static str),
}

impl Framing {
    pub(super) fn of_request(head: &[u8], fields: &Fields, version: Version) -> Result<Self, HeadError> {
        match declared(head, fields, version) {
            Ok(Declared::Nothing) => Ok(Self::None),
            Ok(Declared::Length(n)) => Ok(Self::Length(n)),
            Ok(Declared::Chunked) => Ok(Self::Chunked),
            Err(Fault::Unknown) => Err(HeadError::UnknownCoding),
            Err(Fault::Bad(text)) => Err(HeadError::Bad(text)),
        }
    }

    /// `bodiless`: the status or the request's method allows none, whatever the fields say (section 6.3, rules 1 and
    /// 2); they are checked all the same.
    pub(super) fn of_response(
        head: &[u8],
        fields: &Fields,
        version: Version,
        bodiless: bool,
    ) -> Result<Self, ResponseError> {
        let declared = match declared(head, fields, version) {
            Ok(declared) => declared,
            Err(Fault::Unknown) => return Err(ResponseError::Bad("transfer coding other than chunked")),
            Err(Fault::Bad(text)) => return Err(ResponseError::Bad(text)),
        };
        Ok(match declared {
            _ if bodiless => Self::None,
            Declared::Nothing => Self::Close,
            Declared::Length(n) => Self::Length(n),
            Declared::Chunked => Self::Chunked,
        })
    }
}

fn declared(head: &[u8], fields: &Fields, version: Version) -> Result<Declared, Fault> {
    let length = content_length(head, fields)?;
    if !fields.has(Known::TransferEncoding) {
        return Ok(length.map_or(Declared::Nothing, Declared::Length));
    }
    if length.is_some() {
        // Section 6.3 rule 3 lets a recipient go on with Transfer-Encoding; it "ought to be handled as an error".
        return Err(Fault::Bad("both Transfer-Encoding and Content-Length"));
    }
    if version == Version::Http10 {
        // Section 6.1: the framing of such a message is faulty.
        return Err(Fault::Bad("Transfer-Encoding in HTTP/1.0"));
    }
    let mut values = fields.values(Known::TransferEncoding).map(|v| v.of(head));
    if values.next().is_some_and(|v| v.eq_ignore_ascii_case(b"chunked")) && values.next().is_none() {
        return Ok(Declared::Chunked);
    }
    // Anything else in that field is refused; the rest only chooses the words.
    let mut codings = fields.values(Known::TransferEncoding).flat_map(|v| members(v.of(head)));
    if codings.all(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
        return Err(Fault::Bad("Transfer-Encoding must say chunked, once"));
    }
    Err(Fault::Unknown)
}

/// Repeated fields and lists are refused even where the values agree, as nginx does.
fn content_length(head: &[u8], fields: &Fields) -> Result<Option<u64>, Fault> {
    if fields.is_repeated(Known::ContentLength) {
        return Err(Fault::Bad("repeated Content-Length"));
    }
    let Some(value) = fields.only(Known::ContentLength) else { return Ok(None) };
    let digits = value.of(head);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Bad("Content-Length is not a number"));
    }
    let length = digits
        .iter()
        .try_fold(0u64, |n, digit| n.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .ok_or(Fault::Bad("Content-Length is not a number of 64 bits"))?;
    Ok(Some(length))
}
