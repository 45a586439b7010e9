//! The document, read, becomes a `Config`: names are resolved, and what contradicts itself is reported. Values that
//! could not be read are passed over here; they have been reported.

mod auth_hmac;
mod email;
mod link;
mod loops;
mod servers;
mod sync_groups;
mod track;
mod upstreams;
mod vrrp;
mod webhooks;

pub(super) use email::email;
pub use link::{KEY_VARIABLE, ReadFile};
pub(super) use link::{has_key, link};
pub(super) use loops::{refuse_loops, warn_deaf};
pub(super) use servers::{Surroundings, servers};
pub(super) use sync_groups::sync_groups;
pub(super) use upstreams::upstreams;
pub(super) use vrrp::instances;
pub(super) use webhooks::webhooks;
