//! nftables by messages of our own: the few tables that the fence needs, each put in place in one batch. Needs NET_ADMIN.

mod error;
mod expression;
pub mod gate;
pub mod relay;
pub mod silence;
mod table;

pub use error::Error;
