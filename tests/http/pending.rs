//! What these tests know the engine not to do. With a constant `true`, the rule that it names is tried and what comes
//! of it is printed, but nothing fails. Each is to become `false`, and then to go.

/// A server that closes within its head has failed (nginx: `error`), and the next one is tried.
pub(crate) const HALF_A_HEAD_IS_NO_ERROR: bool = false;
/// A connection whose body does not come holds no more than one buffer.
pub(crate) const SLOW_BODIES_HOLD_TWO_BUFFERS: bool = true;
/// A connection from the pool is used although bytes that nobody asked for wait in its socket, if the event loop has
/// not turned since they came: the next request, if it is there already, gets them for its answer.
pub(crate) const POOLED_CONNECTIONS_ARE_TAKEN_UNSEEN: bool = false;
