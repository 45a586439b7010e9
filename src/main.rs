//! argv -> role -> exit code.

fn main() {}
