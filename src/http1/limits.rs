//! Every bound of the codec, in bytes unless the name says otherwise.

/// Request line without its CRLF: nginx's `large_client_header_buffers` buffer (414 beyond).
pub const REQUEST_LINE_MAX: usize = 8 << 10;

/// A whole request head: nginx's four buffers of 8 KiB (431 beyond).
pub const REQUEST_HEAD_MAX: usize = 32 << 10;

/// A whole response head. Applications set large cookies, so this is as much as a `Span` can address.
pub const RESPONSE_HEAD_MAX: usize = u16::MAX as usize;

/// Fields in one head (431 beyond; 502 in a response).
pub const FIELDS_MAX: usize = 128;

/// Empty lines in front of a request line: RFC 9112 section 2.2 asks for at least one to be ignored.
pub const LEADING_EMPTY_LINES_MAX: usize = 1;

/// Hexadecimal digits of a chunk size: no sum of two sizes can overflow 64 bits.
pub const CHUNK_SIZE_DIGITS_MAX: u8 = 15;

/// All chunk extensions of one message: they carry nothing that anybody uses.
pub const CHUNK_EXTENSIONS_MAX: usize = 16 << 10;

/// All trailers of one message, those included that are dropped.
pub const TRAILERS_MAX: usize = 16 << 10;
