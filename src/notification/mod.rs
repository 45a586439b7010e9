//! What is told to whom when a virtual router changes its state, in which order, and how often it is tried. No process,
//! no socket, no clock.

pub mod history;
pub mod hooks;
pub mod lane;
pub mod mail;
pub mod webhook;
