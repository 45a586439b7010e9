//! What two nodes say to each other beside VRRP: keys, the greeting, frames, their messages, and what the link to one
//! peer tells about it. No socket, no clock, no file, no random number: all is handed in.

mod clients;
mod frame;
mod hello;
mod key;
mod message;
mod pair;
mod refusal;

pub use clients::{Bereaved, Change, Client, MAX_CLIENTS, Remembered, Watched, pause_after};
pub use frame::{Frames, MAX_FRAME, Opener, Sealer, Session};
pub use hello::{Accepted, Ends, Greeted, HELLO, Node, Nonce, Opening, Secret, accept, greet};
pub use key::{Key, KeyFault, Keys, MAX_KEY_FILE};
pub use message::{Farewell, Message, Order, Outcome, Router, State};
pub use pair::{Connection, Dialler, Failure, Output, Pair, Standing};
pub use refusal::Refusal;
