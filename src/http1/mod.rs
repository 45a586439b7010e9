//! HTTP/1 on bytes: heads, strict framing, chunked decoding, rewriting.
//!
//! No socket, no clock, no header map: a parsed head is a set of spans into the buffer that it was read into. What
//! RFC 9112 leaves in doubt is refused, so that no recipient behind this proxy can read a message differently.

mod body;
mod chunked;
mod connection;
mod copy;
mod deliver;
mod fields;
mod framing;
mod head;
mod known;
mod lanes;
mod limits;
mod lines;
mod request;
mod response;
mod rewrite;
mod rules;
mod scan;
mod status;
mod target;
mod trailers;

pub use body::{
    BodyDecoder, CHUNK_HEADROOM, CHUNK_TAILROOM, LAST_CHUNK, append_chunk, append_decoded, append_last_chunk,
    frame_chunk,
};
pub use chunked::{Chunked, ChunkedError, Decoded, Step};
pub use deliver::{Delivery, OwnHead, write_interim, write_own, write_response, write_switching};
pub use fields::{Field, Fields, Span};
pub use framing::Framing;
pub use head::{HeadError, ResponseError, Version};
pub use known::Known;
pub use limits::*;
pub use request::{Method, RequestHead};
pub use response::ResponseHead;
pub use rewrite::{Forwarded, append_path, write_request};
pub use rules::{Names, Rules};
pub use scan::{HeadScan, Scanned};
pub use status::reason;
pub use target::Target;
