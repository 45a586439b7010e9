//! What a request gets: which server and route, and the answers that no upstream gives. No I/O, no clock.

mod answer;
mod conditional;
mod files;
mod path;
mod prefixes;
mod ranges;
mod select;
mod template;

pub use answer::{Answer, redirect_lines};
pub use conditional::Conditions;
pub use files::{Asked, Entry, Serving, file_name, serve};
pub use path::{PathError, normalise, replaced_target};
pub use ranges::{Segment, Slice};
pub use select::{Deed, Forward, Gateway, Route, Site};
pub use template::{COMBINED, Moment, PLAIN_VARIABLES, Part, Template, TemplateError, Variable};
