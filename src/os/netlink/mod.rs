//! Netlink: messages, requests with their acknowledgement, links, addresses and neighbours, and the kernel's own news.

mod event;
mod message;
mod neighbour;
mod route;
mod socket;

pub use event::{Event, EventSocket};
pub(in crate::os) use message::{Message, Received, be_u16_at};
pub use neighbour::Neighbour;
pub use route::{Address, Link, Route};
pub(in crate::os) use socket::Socket;
