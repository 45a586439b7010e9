//! How the static binary is linked: what a release needs nothing of is left out of it.

#![expect(clippy::disallowed_methods, reason = "Cargo says everything in the environment")]

use std::env;
use std::path::Path;

/// A panic ends the process, nothing is unwound: without its tables the file is a sixteenth smaller.
const NO_UNWIND_TABLES: &str = "docker/no-unwind-tables.ld";

fn main() {
    println!("cargo:rerun-if-changed={NO_UNWIND_TABLES}");
    let of = |name: &str| env::var(name).unwrap_or_default();
    if of("CARGO_CFG_TARGET_ENV") != "musl" {
        return;
    }
    let argument = |argument: &str| println!("cargo:rustc-link-arg-bins=-Wl,{argument}");
    // A static file brings its relocations along: packed, they take a tenth of the room (musl knows them from 1.2.4 on).
    argument("-z,pack-relative-relocs");
    // The profile that has `panic = "abort"`.
    if of("PROFILE") == "release" {
        let script = Path::new(&of("CARGO_MANIFEST_DIR")).join(NO_UNWIND_TABLES);
        argument(&format!("-T,{}", script.display()));
    }
}
