//! Netlink: messages, requests with their acknowledgement, links and addresses, and the kernel's own news.

mod event;
mod message;
mod route;
mod socket;

pub use event::{Event, EventSocket};
pub(in crate::os) use message::{Message, Received, be_u16_at};
pub use route::{Address, Link, Neighbour, Route};
pub(in crate::os) use socket::Socket;
