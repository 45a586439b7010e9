//! What request and response heads have in common: the version, and why one is refused.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    Http10,
    #[default]
    Http11,
}

impl Version {
    /// Bytes that `suffix` finds.
    pub(super) const SUFFIX: usize = b" HTTP/1.1".len();

    /// Of a request line.
    pub(super) fn suffix(line: &[u8]) -> Option<Self> {
        match line.last_chunk()? {
            b" HTTP/1.1" => Some(Self::Http11),
            b" HTTP/1.0" => Some(Self::Http10),
            _ => None,
        }
    }

    /// Of a status line.
    pub(super) fn prefix(line: &[u8]) -> Option<Self> {
        match line.first_chunk()? {
            b"HTTP/1.1 " => Some(Self::Http11),
            b"HTTP/1.0 " => Some(Self::Http10),
            _ => None,
        }
    }
}

/// What is said of bytes that a caller took for one head.
pub(super) const ENDS_BEFORE: &str = "head ends before its bytes do";

/// Why a request head is refused. The connection is closed after the answer: where one message is malformed, nobody
/// knows where the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// What is wrong, for the log.
    #[error("malformed request: {0}")]
    Bad(&'static str),
    #[error("request line longer than {} bytes", super::REQUEST_LINE_MAX)]
    LineTooLong,
    #[error("request head longer than {} bytes or {} fields", super::REQUEST_HEAD_MAX, super::FIELDS_MAX)]
    TooLarge,
    #[error("transfer coding other than chunked")]
    UnknownCoding,
    #[error("CONNECT and TRACE are not served")]
    Method,
    #[error("expectation other than 100-continue")]
    Expectation,
}

impl HeadError {
    /// The status that says so to the client.
    pub fn status(self) -> u16 {
        match self {
            Self::Bad(_) => 400,
            Self::LineTooLong => 414,
            Self::TooLarge => 431,
            Self::UnknownCoding => 501,
            Self::Method => 405,
            Self::Expectation => 417,
        }
    }
}

/// Why a response head is refused: always 502, and the connection to the upstream is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResponseError {
    #[error("malformed response: {0}")]
    Bad(&'static str),
    #[error("response head longer than {} bytes or {} fields", super::RESPONSE_HEAD_MAX, super::FIELDS_MAX)]
    TooLarge,
}
