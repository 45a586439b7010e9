//! What is asked of name servers and what they answer, and the two files that say where and whether to ask. On bytes
//! and text: no socket, no file, no clock, no rand.

mod hosts;
mod message;
mod resolv_conf;

pub use hosts::hosts;
pub use message::{ADDRESSES_MAX, Answer, BadName, Family, Ignored, Question, read};
pub use resolv_conf::ResolvConf;
