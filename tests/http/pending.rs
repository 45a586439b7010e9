//! What these tests know the engine not to do. With a constant `true`, the rule that it names is tried and what comes
//! of it is printed, but nothing fails. Each is to become `false`, and then to go.

/// `uri` of a route's `proxy`.
pub(crate) const NO_PATH_REPLACEMENT: bool = true;
/// WebSockets and other upgrades.
pub(crate) const NO_UPGRADES: bool = true;
/// Trailers pass, in both directions.
pub(crate) const NO_TRAILERS: bool = true;

/// `next_upstream`, `max_fails`, `fail_timeout`.
pub(crate) const NO_NEXT_UPSTREAM: bool = true;

/// A worker that does not run is helped out by its siblings.
pub(crate) const NO_RESCUE_BY_SIBLINGS: bool = true;

/// Fails with what was found, unless that is known.
pub(crate) fn expect_none(is_pending: bool, complaints: Vec<String>) {
    match (is_pending, complaints.is_empty()) {
        (false, _) => assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n")),
        (true, false) => println!("known, see tests/http/pending.rs:\n{}", complaints.join("\n")),
        (true, true) => println!("nothing found: its constant in tests/http/pending.rs can go"),
    }
}
