//! What a request gets: which server and route, and the answers that no upstream gives. No I/O, no clock.

mod answer;
mod conditional;
mod files;
mod path;
mod select;
mod template;

pub use answer::{Answer, redirect_lines};
pub use conditional::Conditions;
pub use files::{Entry, Serving, file_name, serve};
pub use path::{PathError, normalise};
pub use select::{Deed, Gateway, Site};
pub use template::{COMBINED, Moment, PLAIN_VARIABLES, Part, Template, TemplateError, Variable};
