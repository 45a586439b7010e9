//! keepalived's `auth_hmac` (2.4.2 and later, draft-cassen-vrrp-auth-hmac): 28 bytes behind an advert that only a holder
//! of the key can make, and only once. No socket, no clock, no file: the time of day is handed in.

mod authenticator;
mod key;
mod sequence;
mod trailer;

#[cfg(test)]
mod tests;

pub use authenticator::{Authenticator, Form, SHOWN_FOR};
pub use key::{AuthKey, AuthKeyFault, AuthKeys};
pub use sequence::Sequence;
pub use trailer::{Bound, TRAILER, Trailer, cover, split, uncover};
