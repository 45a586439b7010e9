//! PID 1: reads the configuration, starts the roles, restarts them, reaps everybody, stops in order. No packet and no
//! request ever reaches it. What to do is decided in `supervision`; this room does it.

mod act;
mod chronicle;
mod control;
mod edition;
mod loading;
mod notices;
mod orders;
mod player;
mod preflight;
mod reload;
mod run;
mod sockets;
mod start;
mod status;
mod watch;
mod wishes;

pub use start::{GiveUp, Settings, run};
