//! HTTP/1 on bytes: heads, strict framing, chunked decoding, rewriting.
//!
//! No socket, no clock, no header map: a parsed head is a set of spans into the buffer that it was read into. What
//! RFC 9112 leaves in doubt is refused, so that no recipient behind this proxy can read a message differently.

mod body;
mod chunked;
mod fields;
mod framing;
mod head;
mod limits;
mod request;
mod response;
mod rewrite;
mod scan;
mod status;
mod target;

pub use body::{BodyDecoder, CHUNK_HEADROOM, CHUNK_TAILROOM, LAST_CHUNK, append_chunk, frame_chunk};
pub use chunked::{Chunked, ChunkedError, Decoded, Step};
pub use fields::{Field, Fields, Known, Span};
pub use framing::Framing;
pub use head::{HeadError, ResponseError, Version};
pub use limits::*;
pub use request::{Method, RequestHead};
pub use response::ResponseHead;
pub use rewrite::{Delivery, Forwarded, OwnHead, write_interim, write_own, write_request, write_response};
pub use scan::{HeadScan, Scanned};
pub use status::reason;
pub use target::Target;
