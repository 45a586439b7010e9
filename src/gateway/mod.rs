//! What a request gets: which server and route, and the answers that no upstream gives. No I/O, no clock.

mod answer;
mod conditional;
mod digits;
mod error_pages;
mod facts;
mod files;
mod header_rules;
mod lookup;
mod path;
mod prefixes;
mod ranges;
mod render;
mod request_ids;
mod select;
mod sink;
mod template;

pub use answer::{Answer, redirect_lines};
pub use conditional::Conditions;
pub use digits::SecondText;
pub use error_pages::ErrorPages;
pub use facts::{Facts, Outcome, Try};
pub use files::{Asked, Entry, Serving, file_name, serve};
pub use header_rules::{HeaderRules, OwnField, RequestFields};
pub use path::{PathError, normalise, replaced_target};
pub use ranges::{Segment, Slice};
pub use render::access_line;
pub use request_ids::RequestIds;
pub use select::{Deed, Forward, Gateway, Route, Site};
pub use template::{COMBINED, Moment, PLAIN_VARIABLES, Part, Template, TemplateError, Variable};
