//! What these tests know the engine not to do. With a constant `true`, the rule that it names is tried and what comes
//! of it is printed, but nothing fails. Each is to become `false`, and then to go.

/// A connection from the pool is used although bytes that nobody asked for wait in its socket, as long as the event
/// loop has not turned since they came: the next request, if it is there already, gets them for its answer.
pub(crate) const POOLED_CONNECTIONS_ARE_TAKEN_UNSEEN: bool = true;
