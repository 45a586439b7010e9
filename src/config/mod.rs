//! Configuration: the document as written becomes a `Config` that cannot be wrong, or every problem it has.

mod model;

pub use model::*;
