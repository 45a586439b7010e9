//! What a request gets: which server and route, and the answers that no upstream gives. No I/O, no clock.

mod answer;
mod conditional;
mod path;
mod select;

pub use answer::{escaped_path, page, redirect_lines};
pub use conditional::{Conditions, Validators, Verdict, verdict};
pub use path::{PathError, normalise};
pub use select::{Deed, Gateway, Site};
