//! Configuration: the document as written becomes a `Config` that cannot be wrong, or every problem it has.

mod accord;
mod argv;
mod auth_hmac;
mod build;
pub mod built_in;
mod document;
mod email;
mod field;
mod interpolate;
mod load;
mod model;
mod names;
mod problem;
mod proxy_values;
mod reference;
mod report;
mod schema;
mod syntax;
mod track;
mod track_values;
mod tree;
mod units;
mod values;
mod webhook;

pub use accord::can_follow;
pub use auth_hmac::{AntiReplay, AuthHmac, AuthHmacKey, AuthHmacKeys, AuthMode};
pub use build::{KEY_VARIABLE, ReadFile};
#[cfg(test)]
pub(crate) use load::example;
pub use load::{Loaded, Source, load, load_with};
pub use model::*;
pub use problem::{Problem, Problems, Severity, Snippet};
pub use reference::reference;
pub use schema::schema;
pub use track::{Track, TrackCheck, TrackCheckKind, Tracked};
pub use units::parse_duration;
