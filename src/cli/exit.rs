//! Exit codes as BSD's sysexits names them.

/// The command line is wrong (EX_USAGE).
pub const USAGE: u8 = 64;
/// No vipgate runs that could be asked (EX_UNAVAILABLE).
pub const UNAVAILABLE: u8 = 69;
/// vipgate's own fault (EX_SOFTWARE).
pub const BUG: u8 = 70;
/// It cannot be done as things are (EX_TEMPFAIL).
pub const TEMPORARY: u8 = 75;
/// A capability is missing (EX_NOPERM).
pub const PERMISSION: u8 = 77;
/// The configuration is invalid (EX_CONFIG).
pub const CONFIG: u8 = 78;
